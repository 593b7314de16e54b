package projections

import (
	"encoding/binary"
	"iter"
	"maps"
	"math/bits"
	"slices"

	"drover/eventlog/event"
)

// Fleet is all nodes in flat rows, for whoever must look at every node at once:
// what is free on it and what it can run, without a step to the node itself. The
// fold keeps it up to date, record by record.
type Fleet struct {
	rows    *vector[FleetRow]
	classes int
}

// FleetRow is one node. A row without a node is of no node (any more).
type FleetRow struct {
	Node          *Node
	Free          Resources // may be negative
	AvailCPU      int64
	AvailMemoryMB int64
	// Class is the node's feasibility class, a small number: nodes of one class
	// have the same computed class, data center, pool, node class, drivers
	// (detected, and healthy), networks and volumes. So whatever a group asks of
	// a node, unique attributes and room apart, it asks once per class.
	Class       uint32
	Schedulable bool
	Draw        uint64 // DrawOf its ID
}

// DrawOf folds a node's ID into the number that it brings into draws among nodes.
func DrawOf(id event.ID) uint64 {
	return binary.BigEndian.Uint64(id[:8]) ^ bits.RotateLeft64(binary.BigEndian.Uint64(id[8:]), 32)
}

// Fleet is the nodes in flat rows.
func (s *State) Fleet() Fleet { return Fleet{&s.fleet, int(s.classes.handedOut)} }

// Pages visits the rows in pages, each with the slot of its first row.
func (f Fleet) Pages() iter.Seq2[int, []FleetRow] {
	return func(yield func(int, []FleetRow) bool) {
		for first, rows := range f.rows.pages() {
			if !yield(int(first), rows) {
				return
			}
		}
	}
}

// Row is the row at a slot (see Node.Slot).
func (f Fleet) Row(slot int) FleetRow { return f.rows.get(uint64(slot)) }

// Slots is above the highest slot of a row.
func (f Fleet) Slots() int { return int(f.rows.len) }

// Classes is above the highest feasibility class.
func (f Fleet) Classes() int { return f.classes }

// feasibilityClasses numbers the classes of the nodes that are there. Numbers of
// classes without nodes are used again.
type feasibilityClasses struct {
	numbers   table[string, feasibilityClass]
	handedOut uint32
	free      []uint32 // shared among states, never changed
}

type feasibilityClass struct {
	number uint32
	nodes  int
}

func (c *feasibilityClasses) enter(key string) uint32 {
	class, known := c.numbers.get(key)
	if !known {
		if n := len(c.free); n > 0 {
			class.number, c.free = c.free[n-1], slices.Clone(c.free[:n-1])
		} else {
			class.number = c.handedOut
			c.handedOut++
		}
	}
	class.nodes++
	c.numbers.put(key, class)
	return class.number
}

func (c *feasibilityClasses) leave(key string) {
	class, known := c.numbers.get(key)
	if !known {
		panic("a node leaves a feasibility class that it is not in")
	}
	if class.nodes--; class.nodes > 0 {
		c.numbers.put(key, class)
		return
	}
	c.numbers.remove(key)
	c.free = append(slices.Clone(c.free), class.number)
}

// feasibilityKey is equal for nodes that every group finds equally feasible.
func feasibilityKey(n *event.Node) string {
	type named struct {
		_    struct{} `cbor:",toarray"`
		Name string
		Good bool // a driver: works; a volume: can be written
	}
	var key struct {
		_            struct{} `cbor:",toarray"`
		Class        string
		Datacenter   string
		Pool         string
		NodeClass    string
		Only         event.ID // without a computed class, a node is like no other
		Drivers      []named
		Volumes      []named
		HostNetworks []string
		Networks     []string // modes
		NodeNetworks []string // modes
	}
	key.Class, key.Datacenter, key.Pool, key.NodeClass = n.ComputedClass, n.Datacenter, n.NodePool, n.NodeClass
	if n.ComputedClass == "" {
		key.Only = n.ID
	}
	for _, name := range slices.Sorted(maps.Keys(n.Drivers)) {
		if d := n.Drivers[name]; d != nil {
			key.Drivers = append(key.Drivers, named{Name: name, Good: d.Detected && d.Healthy})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.HostVolumes)) {
		if v := n.HostVolumes[name]; v != nil {
			key.Volumes = append(key.Volumes, named{Name: name, Good: !v.ReadOnly})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.HostNetworks)) {
		if n.HostNetworks[name] != nil {
			key.HostNetworks = append(key.HostNetworks, name)
		}
	}
	if r := n.NodeResources; r != nil {
		for _, network := range r.Networks {
			key.Networks = append(key.Networks, network.Mode)
		}
		for _, network := range r.NodeNetworks {
			key.NodeNetworks = append(key.NodeNetworks, network.Mode)
		}
	}
	data, err := event.Marshal(&key)
	if err != nil {
		panic("feasibility class of node " + n.ID.String() + ": " + err.Error())
	}
	return string(data)
}

// enterFleet gives a new node its slot.
func (s *State) enterFleet(n *Node) {
	n.class = s.classes.enter(feasibilityKey(n.Info))
	if free := len(s.freeSlots); free > 0 {
		n.slot, s.freeSlots = s.freeSlots[free-1], slices.Clone(s.freeSlots[:free-1])
	} else {
		n.slot = uint32(s.fleet.append(s.owner, FleetRow{}))
	}
	s.touch(n)
}

// reclass follows a change of what the node said of itself.
func (s *State) reclass(n *Node, old *event.Node) {
	was, is := feasibilityKey(old), feasibilityKey(n.Info)
	if was != is {
		n.class = s.classes.enter(is)
		s.classes.leave(was)
	}
	s.touch(n)
}

// leaveFleet takes a node out.
func (s *State) leaveFleet(n *Node) {
	s.classes.leave(feasibilityKey(n.Info))
	s.fleet.set(s.owner, uint64(n.slot), FleetRow{})
	s.freeSlots = append(slices.Clone(s.freeSlots), n.slot)
	n.dirty = false
}

// touch has the node's row brought up to date at the end of the record.
func (s *State) touch(n *Node) {
	if !n.dirty {
		n.dirty = true
		s.touched = append(s.touched, n)
	}
}

func (s *State) updateFleet() {
	for _, n := range s.touched {
		if !n.dirty {
			continue
		}
		n.dirty = false
		s.fleet.set(s.owner, uint64(n.slot), FleetRow{
			Node: n, Free: n.Available.Minus(n.Used), AvailCPU: n.Available.CPU, AvailMemoryMB: n.Available.MemoryMB,
			Class: n.class, Schedulable: n.Schedulable(), Draw: DrawOf(n.Info.ID),
		})
	}
	s.touched = s.touched[:0]
}
