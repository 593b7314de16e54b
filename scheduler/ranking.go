package scheduler

import (
	"math"

	"drover/eventlog/event"
)

// ranking keeps the nodes that can take a group's next allocation in order.
//
// Its meaning is simple: the best node is that with the highest mean of its
// scores; among equals the seed decides, then the node's ID. Means are compared
// exactly, not as the rounded numbers that are shown.
//
// A placement changes what one node's own scores add up to, and what spreads add
// to it; the latter for all nodes with the same values of the spreads' attributes
// alike. So nodes are kept apart in buckets: by their values, and by whether the
// group is there already, which makes one score more to take the mean of. In a
// bucket the sum of own scores decides whatever the spreads add, since the same is
// added to all and all are divided by the same number. Each bucket is a heap, and
// a tournament among the tops of all buckets finds the best. Limits on a property
// close buckets in the same way.
//
// An attribute that is unique to nodes would make a bucket of each. There the count
// stands in place of the value: what is equally full fares alike, and the few
// nodes of the value that got one more change their bucket.
type ranking struct {
	fleet    *fleet
	sites    *sites
	scorers  int64 // that every node has
	spreads  []*spread
	limits   []*propertyLimit
	combos   *combos // of the values for spreads, then limits
	standing []standing

	entries []entry  // what is gathered, and then the memory of most buckets
	spare   []entry  // the same, for sorting
	starts  []int32  // by combination, for sorting
	buckets []bucket // two of each combination: nodes without and with the group
	tree    []int32  // the tournament: winners of pairs, the leaves last; -1 for nobody
	leaves  int
	changed []int32 // combinations whose standing has to be found anew
	all     bool    // every combination's has
	moved   []moved // values whose nodes have come to other combinations
}

// moved is a value of a wide attribute whose mark has changed.
type moved struct{ position, value int32 }

// rankScale is a common multiple of the numbers of scores that a node can have,
// so that means can be compared as integers.
const rankScale = 420

// standing is how the nodes of one combination fare.
type standing struct {
	spread event.Score // added to each node's own scores
	factor [2]int64    // of the sum in the rank, without and with the group
	closed bool        // by a limit
}

// entry is a node in a bucket.
type entry struct {
	key   int64 // sum of the node's own scores
	tie   uint64
	slot  int32
	combo int32
}

// bucket is a heap of nodes. A node that changed leaves its old entry behind;
// only those at the top have to be good.
type bucket struct {
	entries []entry
	rank    int64 // of the top, worst when there is none or the bucket is closed
}

const worst = math.MinInt64

// begin makes the ranking one of the nodes for a group. It is empty until seal.
func (r *ranking) begin(g *groupPlacer, combos *combos) {
	r.scorers, r.spreads, r.limits, r.combos = 1, g.spreads, g.limits, combos
	if g.affinities.total > 0 {
		r.scorers++
	}
	count := 1
	if combos != nil {
		count = combos.len()
	}
	r.standing = resize(r.standing, count)
	r.buckets = resize(r.buckets, 2*count)
	for i := range r.standing {
		r.standing[i] = r.find(int32(i))
	}
	for i := range r.buckets {
		r.buckets[i].entries = nil
	}
	r.entries = r.entries[:0]
	r.changed, r.moved, r.all = r.changed[:0], r.moved[:0], false
}

func resize[T any](list []T, n int) []T {
	if n > cap(list) {
		return make([]T, n)
	}
	return list[:n]
}

// find is the standing of a combination as the counts are.
func (r *ranking) find(combo int32) standing {
	var s standing
	if r.combos != nil {
		list := r.combos.of(combo)
		for i, spread := range r.spreads {
			s.spread += spread.boostOf(list[i])
		}
		for i, limit := range r.limits {
			s.closed = s.closed || limit.closedAt(list[len(r.spreads)+i])
		}
	}
	scores := r.scorers
	if s.spread != 0 {
		scores++
	}
	s.factor = [2]int64{rankScale / scores, rankScale / (scores + 1)}
	return s
}

// mean is the score that is shown for a node.
func (r *ranking) mean(combo int32, with int32, key int64) event.Score {
	s := &r.standing[combo]
	return meanOf(event.Score(key)+s.spread, int(rankScale/s.factor[with]))
}

// rank compares nodes of different buckets.
func (r *ranking) rank(combo, with int32, key int64) int64 {
	s := &r.standing[combo]
	return (key + int64(s.spread)) * s.factor[with]
}

// enter gathers a node before seal.
func (r *ranking) enter(e entry, with int32) {
	if with == 0 {
		r.entries = append(r.entries, e)
		return
	}
	b := &r.buckets[2*e.combo+1]
	b.entries = append(b.entries, e)
}

// seal puts what was gathered in order.
func (r *ranking) seal() {
	if len(r.standing) == 1 {
		r.buckets[0].entries = r.entries
	} else {
		r.distribute()
	}
	for i := range r.buckets {
		b := &r.buckets[i]
		for slot := len(b.entries)/2 - 1; slot >= 0; slot-- {
			r.sink(b.entries, slot)
		}
		b.rank = r.topRank(int32(i))
	}
	r.leaves = 1
	for r.leaves < len(r.buckets) {
		r.leaves *= 2
	}
	r.tree = resize(r.tree, 2*r.leaves)
	r.play()
}

// distribute sorts the entries by combination; each gets its part of the memory.
func (r *ranking) distribute() {
	r.starts = resize(r.starts, len(r.standing)+1)
	clear(r.starts)
	for i := range r.entries {
		r.starts[r.entries[i].combo+1]++
	}
	for i := range len(r.standing) {
		r.starts[i+1] += r.starts[i]
	}
	r.spare = resize(r.spare, len(r.entries))
	for i := range r.standing {
		from, to := r.starts[i], r.starts[i+1]
		r.buckets[2*i].entries = r.spare[from:from:to] // what is added beyond moves elsewhere
	}
	for i := range r.entries {
		b := &r.buckets[2*r.entries[i].combo]
		b.entries = append(b.entries, r.entries[i])
	}
}

// before orders the entries of one bucket.
func (r *ranking) before(a, b *entry) bool {
	if a.key != b.key {
		return a.key > b.key
	}
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return r.fleet.earlier(a.slot, b.slot)
}

func (r *ranking) sink(heap []entry, at int) {
	moved := heap[at]
	for {
		child := 2*at + 1
		if child >= len(heap) {
			break
		}
		if right := child + 1; right < len(heap) && r.before(&heap[right], &heap[child]) {
			child = right
		}
		if !r.before(&heap[child], &moved) {
			break
		}
		heap[at] = heap[child]
		at = child
	}
	heap[at] = moved
}

func (r *ranking) rise(heap []entry, at int) {
	moved := heap[at]
	for at > 0 {
		parent := (at - 1) / 2
		if !r.before(&moved, &heap[parent]) {
			break
		}
		heap[at] = heap[parent]
		at = parent
	}
	heap[at] = moved
}

// topRank drops what is no longer good at the top of a bucket and is the rank of
// what stands there then.
func (r *ranking) topRank(number int32) int64 {
	b := &r.buckets[number]
	for len(b.entries) > 0 && !r.good(number, &b.entries[0]) {
		last := len(b.entries) - 1
		b.entries[0] = b.entries[last]
		b.entries = b.entries[:last]
		if last > 0 {
			r.sink(b.entries, 0)
		}
	}
	if len(b.entries) == 0 || r.standing[number/2].closed {
		return worst
	}
	return r.rank(number/2, number%2, b.entries[0].key)
}

// good reports whether an entry says how its node is ranked now. A node that
// nothing has happened to is no site.
func (r *ranking) good(number int32, e *entry) bool {
	s := r.sites.at(e.slot)
	return s == nil || s.bucket == number && s.key == e.key
}

// play holds the whole tournament.
func (r *ranking) play() {
	for i := range r.leaves {
		r.tree[r.leaves+i] = -1
		if i < len(r.buckets) && r.buckets[i].rank != worst {
			r.tree[r.leaves+i] = int32(i)
		}
	}
	for i := r.leaves - 1; i > 0; i-- {
		r.tree[i] = r.winner(r.tree[2*i], r.tree[2*i+1])
	}
}

// replay lets one bucket play its matches again.
func (r *ranking) replay(number int32) {
	r.buckets[number].rank = r.topRank(number)
	at := r.leaves + int(number)
	r.tree[at] = number
	if r.buckets[number].rank == worst {
		r.tree[at] = -1
	}
	for at /= 2; at > 0; at /= 2 {
		r.tree[at] = r.winner(r.tree[2*at], r.tree[2*at+1])
	}
}

func (r *ranking) winner(a, b int32) int32 {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	}
	x, y := &r.buckets[a], &r.buckets[b]
	if x.rank != y.rank {
		if x.rank > y.rank {
			return a
		}
		return b
	}
	if r.first(&x.entries[0], &y.entries[0]) {
		return a
	}
	return b
}

// first orders nodes of the same rank.
func (r *ranking) first(a, b *entry) bool {
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return r.fleet.earlier(a.slot, b.slot)
}

// best is the bucket of the best node; false when there is none.
func (r *ranking) best() (number int32, ok bool) {
	r.settle()
	if len(r.tree) < 2 || r.tree[1] < 0 {
		return 0, false
	}
	return r.tree[1], true
}

// move ranks a site in a bucket of its combination, or nowhere (-1).
func (r *ranking) move(s *site, combo, number int32, key int64) {
	s.bucket, s.key = number, key
	if number >= 0 {
		b := &r.buckets[number]
		b.entries = append(b.entries, entry{key: key, tie: s.tie, slot: s.slot, combo: combo})
		r.rise(b.entries, len(b.entries)-1)
	}
	r.replay(2 * combo)
	r.replay(2*combo + 1)
}

// count counts an allocation of the group on a node of these values in or out. Who
// calls it sees to what has moved.
func (r *ranking) count(g *groupPlacer, list []int32, by int32) {
	for i, spread := range g.spreads {
		mark, before := spread.mark(list[i]), spread.boost(list[i])
		r.all = spread.add(list[i], by) || r.all
		if now := spread.mark(list[i]); now != mark {
			r.moved = append(r.moved, moved{int32(i), list[i]})
		} else if !r.all && spread.boost(list[i]) != before {
			r.change(i, mark)
		}
	}
	for i, limit := range g.limits {
		position, value := len(g.spreads)+i, list[len(g.spreads)+i]
		if value == noValue {
			continue
		}
		mark, before := limit.mark(value), limit.closed(value)
		limit.add(value, by)
		if now := limit.mark(value); now != mark {
			r.moved = append(r.moved, moved{int32(position), value})
		} else if !r.all && limit.closed(value) != before {
			r.change(position, mark)
		}
	}
}

func (r *ranking) change(position int, mark int32) {
	if r.combos != nil {
		r.changed = append(r.changed, r.combos.having(position, mark)...)
	}
}

// grow makes room for combinations that have come up.
func (r *ranking) grow() {
	for combo := len(r.standing); combo < r.combos.len(); combo++ {
		r.standing = append(r.standing, r.find(int32(combo)))
		r.buckets = append(r.buckets, bucket{rank: worst}, bucket{rank: worst})
	}
	if len(r.buckets) <= r.leaves {
		return
	}
	for r.leaves < len(r.buckets) {
		r.leaves *= 2
	}
	r.tree = resize(r.tree, 2*r.leaves)
	r.play()
}

// settle brings the tournament in line with the counts.
func (r *ranking) settle() {
	if r.all || len(r.changed)*bitsOf(r.leaves) > r.leaves {
		for i := range r.standing {
			r.standing[i] = r.find(int32(i))
			r.buckets[2*i].rank = r.topRank(int32(2 * i))
			r.buckets[2*i+1].rank = r.topRank(int32(2*i + 1))
		}
		r.play()
	} else {
		for _, combo := range r.changed {
			r.standing[combo] = r.find(combo)
			r.replay(2 * combo)
			r.replay(2*combo + 1)
		}
	}
	r.changed, r.all = r.changed[:0], false
}

// bitsOf is the number of matches between a leaf and the root.
func bitsOf(leaves int) (n int) {
	for ; leaves > 1; leaves /= 2 {
		n++
	}
	return n
}
