package scheduler

import (
	"drover/eventlog/event"
)

// noValue stands for a node that does not have the attribute.
const noValue int32 = -1

// values numbers what nodes say of one attribute, so that allocations can be
// counted by it in flat arrays.
type values struct {
	target  target
	numbers map[string]int32
	names   []string
	wide    bool // there may be as many as nodes
}

func newValues(attribute string) *values {
	t := parseTarget(attribute)
	return &values{target: t, numbers: make(map[string]int32), wide: t.unique()}
}

func (v *values) of(n *event.Node) int32 {
	name, ok := v.target.resolve(n)
	if !ok {
		return noValue
	}
	return v.number(name)
}

func (v *values) number(name string) int32 {
	number, known := v.numbers[name]
	if !known {
		number = int32(len(v.names))
		v.numbers[name] = number
		v.names = append(v.names, name)
	}
	return number
}

// tally counts live allocations by the value of an attribute, planned ones
// included and stopped ones not.
type tally struct {
	*values
	used []int32 // by value; values beyond its end have none
}

func (t *tally) count(value int32) int32 {
	if value == noValue || int(value) >= len(t.used) {
		return 0
	}
	return t.used[value]
}

// add counts one more (by 1) or one less (by -1), and returns the new count.
func (t *tally) add(value, by int32) int32 {
	for int(value) >= len(t.used) {
		t.used = append(t.used, 0)
	}
	t.used[value] += by
	return t.used[value]
}

// mark is how a value's count stands, for attributes with as many values as nodes:
// nodes are kept together by that instead of by the value, and change places when
// it changes. For the others the mark is the value itself.
func (t *tally) mark(value int32) int32 {
	if !t.wide || value == noValue {
		return value
	}
	return 2 * t.count(value)
}

// combos numbers the combinations of marks that nodes have. All nodes of one
// combination fare alike under rules that count by value.
type combos struct {
	next   []map[uint64]int32 // by position: (number of the marks before, mark) to a number
	values []int32            // marks of each combination, one after the other
	with   [][][]int32        // by position and mark + 1: the combinations that have it
}

func newCombos(width int) *combos {
	c := &combos{next: make([]map[uint64]int32, width), with: make([][][]int32, width)}
	for i := range c.next {
		c.next[i] = make(map[uint64]int32)
	}
	return c
}

func (c *combos) len() int { return len(c.values) / max(len(c.next), 1) }

// of is what a combination consists of.
func (c *combos) of(combo int32) []int32 {
	width := len(c.next)
	return c.values[int(combo)*width : (int(combo)+1)*width]
}

// number is the combination of these values.
func (c *combos) number(list []int32) int32 {
	number := int32(0)
	for i, value := range list {
		key := uint64(uint32(number))<<32 | uint64(uint32(value))
		known, ok := c.next[i][key]
		if !ok {
			known = int32(len(c.next[i]))
			c.next[i][key] = known
			if i == len(list)-1 {
				c.enter(known, list)
			}
		}
		number = known
	}
	return number
}

func (c *combos) enter(combo int32, list []int32) {
	c.values = append(c.values, list...)
	for i, value := range list {
		for int(value)+1 >= len(c.with[i]) {
			c.with[i] = append(c.with[i], nil)
		}
		c.with[i][value+1] = append(c.with[i][value+1], combo)
	}
}

// having lists the combinations with a value at a position.
func (c *combos) having(position int, value int32) []int32 {
	if int(value)+1 >= len(c.with[position]) {
		return nil
	}
	return c.with[position][value+1]
}

// holders lists the nodes by the values of a wide attribute.
type holders struct {
	first []int32 // by value: slot + 1 of the first node, 0 for none
	next  []int32 // by slot: slot + 1 of the next node with the same value
}

func (h *holders) reset(slots int) {
	clear(h.first)
	h.next = resize(h.next, slots)
}

func (h *holders) enter(value, slot int32) {
	if value == noValue {
		return
	}
	for int(value) >= len(h.first) {
		h.first = append(h.first, 0)
	}
	h.next[slot], h.first[value] = h.first[value], slot+1
}
