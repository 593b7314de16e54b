package projections

import (
	"bufio"
	"encoding/binary"
	"fmt"

	"drover/eventlog/event"
)

// rowsPerPart is how many allocations one part of a checkpoint holds, except for
// the last: few enough to be built in memory, many enough to need no thought.
const rowsPerPart = 4096

// placedPart is what a decision's allocations of a group have in common, in a
// checkpoint.
type placedPart struct {
	EvalID      event.ID           `cbor:"1,keyasint,omitzero"`
	Job         event.JobKey       `cbor:"2,keyasint"`
	JobVersion  uint64             `cbor:"3,keyasint,omitempty"`
	SpecHash    event.Hash         `cbor:"4,keyasint"`
	Group       string             `cbor:"5,keyasint"`
	Metric      *event.AllocMetric `cbor:"6,keyasint,omitempty"`
	CreateIndex uint64             `cbor:"7,keyasint"`
	CreateTime  int64              `cbor:"8,keyasint,omitempty"`
}

// What a packed row has beyond its fixed fields.
const (
	rowHandedOver = 1 << iota
	rowPorts
	rowTasks
	rowRest
)

// writeAllocations packs the allocations in the order of their creation: first the
// number and the parts of what they share, in the order of first use, then the
// rows, which name that and their nodes by position.
func (s *State) writeAllocations(out *bufio.Writer) error {
	nodes := make([]uint64, s.fleet.len) // position by ID, by slot
	position := uint64(0)
	for n := range s.nodes.all() {
		nodes[n.slot] = position
		position++
	}
	numbers := make(map[*Placed]uint64)
	var shared []*Placed
	var last *Placed
	for a := range s.Allocations() {
		if a.Placed == last {
			continue
		}
		last = a.Placed
		if _, known := numbers[last]; !known {
			numbers[last] = uint64(len(shared))
			shared = append(shared, last)
		}
	}
	if err := writePart(out, len(shared)); err != nil {
		return err
	}
	for _, p := range shared {
		err := writePart(out, &placedPart{
			EvalID: p.EvalID, Job: p.Job, JobVersion: p.JobVersion, SpecHash: p.SpecHash, Group: p.Group,
			Metric: p.Metric, CreateIndex: p.CreateIndex, CreateTime: p.CreateTime,
		})
		if err != nil {
			return err
		}
	}
	var part []byte
	rows := 0
	last = nil
	number := uint64(0)
	for a := range s.Allocations() {
		if a.Placed != last {
			last, number = a.Placed, numbers[a.Placed]
		}
		n := s.Node(a.NodeID)
		if n == nil {
			panic("allocation " + a.ID.String() + " is on a node that is not there")
		}
		part = packRow(part, a, number, nodes[n.slot])
		if rows++; rows == rowsPerPart {
			if err := writeBytes(out, part); err != nil {
				return err
			}
			part, rows = part[:0], 0
		}
	}
	if rows > 0 {
		return writeBytes(out, part)
	}
	return nil
}

func packRow(to []byte, a *Allocation, placed, node uint64) []byte {
	flags := byte(0)
	if a.HandedOver {
		flags |= rowHandedOver
	}
	if len(a.ports) > 0 {
		flags |= rowPorts
	}
	if a.tasks != "" {
		flags |= rowTasks
	}
	if a.rest != nil {
		flags |= rowRest
	}
	to = append(to, flags, byte(a.Desired), byte(a.Client))
	to = append(to, a.ID[:]...)
	to = binary.AppendUvarint(to, placed)
	to = binary.AppendUvarint(to, node)
	to = binary.AppendUvarint(to, uint64(a.NameIndex))
	to = binary.AppendVarint(to, int64(a.Score))
	to = binary.AppendUvarint(to, a.ModifyIndex)
	to = binary.AppendUvarint(to, a.AllocModifyIndex)
	to = binary.AppendVarint(to, a.ModifyTime)
	if flags&rowPorts != 0 {
		to = binary.AppendUvarint(to, uint64(len(a.ports)))
		for _, port := range a.ports {
			to = binary.BigEndian.AppendUint16(to, port)
		}
	}
	if flags&rowTasks != 0 {
		to = binary.AppendUvarint(to, uint64(len(a.tasks)))
		to = append(to, a.tasks...)
	}
	if flags&rowRest != 0 {
		rest, err := event.Marshal(a.rest)
		if err != nil {
			panic("encode allocation " + a.ID.String() + ": " + err.Error())
		}
		to = binary.AppendUvarint(to, uint64(len(rest)))
		to = append(to, rest...)
	}
	return to
}

// readAllocations reads what writeAllocations wrote. Rows that contradict one
// another make it panic, which Decode takes for damage.
func (s *State) readAllocations(in *bufio.Reader, count uint64) error {
	var shares uint64
	if err := readPart(in, &shares); err != nil {
		return err
	}
	if shares > count {
		return fmt.Errorf("%w: %d allocations of %d decisions", ErrDamagedCheckpoint, count, shares)
	}
	var shared []*Placed
	err := readParts(in, shares, func(p *placedPart) {
		spec := s.mustSpec(p.SpecHash)
		ask := spec.Ask(p.Group)
		if ask == nil {
			panic(fmt.Sprintf("allocations of a group %q that job %v does not have", p.Group, p.Job))
		}
		shared = append(shared, &Placed{
			EvalID: p.EvalID, Job: p.Job, JobVersion: p.JobVersion, SpecHash: p.SpecHash, Group: p.Group,
			Metric: p.Metric, CreateIndex: p.CreateIndex, CreateTime: p.CreateTime, Spec: spec, Ask: ask,
		})
	})
	if err != nil {
		return err
	}
	var nodes []*Node
	for n := range s.nodes.all() {
		nodes = append(nodes, n)
	}
	lists := make(map[event.JobKey]*ordinals)
	var job event.JobKey
	var of *ordinals
	for count > 0 {
		data, err := readBytes(in)
		if err != nil {
			return err
		}
		row := packed{data}
		together := min(count, rowsPerPart)
		count -= together
		rows := make([]Allocation, together)
		for i := range rows {
			a := &rows[i]
			node := row.unpack(a, shared, nodes)
			if a.Job != job || of == nil {
				if job, of = a.Job, lists[a.Job]; of == nil {
					of = new(ordinals)
					lists[job] = of
				}
			}
			s.enter(a, node)
			of.append(a.ordinal)
		}
		if len(row.data) > 0 {
			return fmt.Errorf("%w: bytes after the last allocation of a part", ErrDamagedCheckpoint)
		}
	}
	for job, of := range lists {
		s.allocationsOfJob.put(job, *of)
	}
	return nil
}

// packed is what is left of a part. Its methods panic at its end.
type packed struct{ data []byte }

func (p *packed) take(n uint64) []byte {
	if n > uint64(len(p.data)) {
		panic("a part ends early")
	}
	taken := p.data[:n]
	p.data = p.data[n:]
	return taken
}

func (p *packed) uvarint() uint64 {
	v, n := binary.Uvarint(p.data)
	if n <= 0 {
		panic("a part ends in a number")
	}
	p.data = p.data[n:]
	return v
}

func (p *packed) varint() int64 {
	v, n := binary.Varint(p.data)
	if n <= 0 {
		panic("a part ends in a number")
	}
	p.data = p.data[n:]
	return v
}

func (p *packed) unpack(a *Allocation, shared []*Placed, nodes []*Node) *Node {
	head := p.take(3)
	flags := head[0]
	a.HandedOver = flags&rowHandedOver != 0
	a.Desired, a.Client = event.DesiredStatus(head[1]), event.ClientStatus(head[2])
	copy(a.ID[:], p.take(uint64(len(a.ID))))
	a.Placed = shared[p.uvarint()]
	node := nodes[p.uvarint()]
	a.NodeID = node.Info.ID
	a.NameIndex = uint32(p.uvarint())
	a.Score = event.Score(p.varint())
	a.ModifyIndex, a.AllocModifyIndex = p.uvarint(), p.uvarint()
	a.ModifyTime = p.varint()
	if flags&rowPorts != 0 {
		packed := p.take(2 * p.uvarint())
		a.ports = make([]uint16, len(packed)/2)
		for i := range a.ports {
			a.ports[i] = binary.BigEndian.Uint16(packed[2*i:])
		}
	}
	if len(a.ports) != len(a.Ask.Ports) {
		panic("allocation " + a.ID.String() + " does not have the ports that its group asks for")
	}
	if flags&rowTasks != 0 {
		a.tasks = string(p.take(p.uvarint()))
	}
	if flags&rowRest != 0 {
		a.rest = new(allocRest)
		if err := event.Unmarshal(p.take(p.uvarint()), a.rest); err != nil {
			panic("allocation " + a.ID.String() + ": " + err.Error())
		}
	}
	return node
}
