package event

import (
	"encoding/binary"
	"slices"
)

// EncodeOrders is the CBOR of a batch whose specs are encoded already: the bytes of
// their blobs. Its meaning is Marshal of the batch with the jobs that these bytes
// are the encoding of. A million placements are a million orders and nearly as many
// specs, and reflection over them was a fifth of a server's work.
func EncodeOrders(buf []byte, b *OrderBatch, specs map[Hash][]byte) []byte {
	fields := 1
	for _, there := range []bool{b.Full, len(specs) > 0, len(b.Orders) > 0, len(b.Gone) > 0} {
		if there {
			fields++
		}
	}
	w := cborWriter(buf)
	w.head(cborMap, uint64(fields))
	w.key(1)
	w.generation(b.Generation)
	if b.Full {
		w.key(2)
		w.truth()
	}
	if len(specs) > 0 {
		w.key(3)
		w.head(cborMap, uint64(len(specs)))
		hashes := make([]Hash, 0, len(specs))
		for hash := range specs {
			hashes = append(hashes, hash)
		}
		slices.SortFunc(hashes, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
		for _, hash := range hashes {
			w.bytes(hash[:])
			w = append(w, specs[hash]...)
		}
	}
	if len(b.Orders) > 0 {
		w.key(4)
		w.head(cborArray, uint64(len(b.Orders)))
		for i := range b.Orders {
			w.order(&b.Orders[i])
		}
	}
	if len(b.Gone) > 0 {
		w.key(5)
		w.head(cborArray, uint64(len(b.Gone)))
		for i := range b.Gone {
			w.id(b.Gone[i])
		}
	}
	return w
}

// cborWriter appends CBOR (RFC 8949) as Marshal writes it: heads in their shortest
// form, keys in ascending order, zero fields left out.
type cborWriter []byte

const (
	cborUint = iota << 5
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	_
	cborSimple
)

func (w *cborWriter) head(major byte, n uint64) {
	switch {
	case n < 24:
		*w = append(*w, major|byte(n))
	case n < 1<<8:
		*w = append(*w, major|24, byte(n))
	case n < 1<<16:
		*w = binary.BigEndian.AppendUint16(append(*w, major|25), uint16(n))
	case n < 1<<32:
		*w = binary.BigEndian.AppendUint32(append(*w, major|26), uint32(n))
	default:
		*w = binary.BigEndian.AppendUint64(append(*w, major|27), n)
	}
}

func (w *cborWriter) key(n uint64) { w.head(cborUint, n) }

func (w *cborWriter) truth() { *w = append(*w, cborSimple|21) }

func (w *cborWriter) bytes(b []byte) {
	w.head(cborBytes, uint64(len(b)))
	*w = append(*w, b...)
}

func (w *cborWriter) text(s string) {
	w.head(cborText, uint64(len(s)))
	*w = append(*w, s...)
}

func (w *cborWriter) integer(n int64) {
	if n < 0 {
		w.head(cborNegative, uint64(-1-n))
		return
	}
	w.head(cborUint, uint64(n))
}

// open begins a map of as many fields as are set.
func (w *cborWriter) open(set ...bool) {
	n := uint64(0)
	for _, is := range set {
		if is {
			n++
		}
	}
	w.head(cborMap, n)
}

func (w *cborWriter) uintField(key, value uint64) {
	if value != 0 {
		w.key(key)
		w.head(cborUint, value)
	}
}

func (w *cborWriter) textField(key uint64, value string) {
	if value != "" {
		w.key(key)
		w.text(value)
	}
}

func (w *cborWriter) generation(g Generation) {
	w.open(g.Incarnation != 0, g.Index != 0)
	w.uintField(1, g.Incarnation)
	w.uintField(2, g.Index)
}

func (w *cborWriter) order(o *Order) {
	w.open(true, !o.EvalID.IsZero(), o.Job != JobKey{}, o.JobVersion != 0, !o.Spec.IsZero(), o.Group != "", o.NameIndex != 0, o.Desired != 0,
		o.ModifyIndex != 0, len(o.Ports) > 0, !o.Previous.IsZero(), len(o.WaitFor) > 0, o.CreateTime != 0, o.ClientStatus != 0, o.KnownTerminal, o.MemoryOversubscribed, o.NoShutdownDelay)
	w.key(1)
	w.id(o.ID)
	if !o.EvalID.IsZero() {
		w.key(2)
		w.id(o.EvalID)
	}
	if o.Job != (JobKey{}) {
		w.key(3)
		w.open(o.Job.Namespace != "", o.Job.ID != "")
		w.textField(1, o.Job.Namespace)
		w.textField(2, o.Job.ID)
	}
	w.uintField(4, o.JobVersion)
	if !o.Spec.IsZero() {
		w.key(5)
		w.bytes(o.Spec[:])
	}
	w.textField(6, o.Group)
	w.uintField(7, uint64(o.NameIndex))
	w.uintField(8, uint64(o.Desired))
	w.uintField(9, o.ModifyIndex)
	if len(o.Ports) > 0 {
		w.key(10)
		w.head(cborArray, uint64(len(o.Ports)))
		for i := range o.Ports {
			w.port(&o.Ports[i])
		}
	}
	if !o.Previous.IsZero() {
		w.key(11)
		w.id(o.Previous)
	}
	if len(o.WaitFor) > 0 {
		w.key(12)
		w.head(cborArray, uint64(len(o.WaitFor)))
		for _, id := range o.WaitFor {
			w.id(id)
		}
	}
	if o.CreateTime != 0 {
		w.key(13)
		w.integer(o.CreateTime)
	}
	w.uintField(14, uint64(o.ClientStatus))
	if o.KnownTerminal {
		w.key(15)
		w.truth()
	}
	if o.MemoryOversubscribed {
		w.key(16)
		w.truth()
	}
	if o.NoShutdownDelay {
		w.key(17)
		w.truth()
	}
}

// id writes the zero ID as no bytes, as MarshalBinary does.
func (w *cborWriter) id(id ID) {
	if id.IsZero() {
		w.bytes(nil)
		return
	}
	w.bytes(id[:])
}

func (w *cborWriter) port(p *AssignedPort) {
	w.open(p.Label != "", p.Value != 0, p.To != 0, p.HostNetwork != "")
	w.textField(1, p.Label)
	for i, n := range []int{p.Value, p.To} {
		if n != 0 {
			w.key(uint64(2 + i))
			w.integer(int64(n))
		}
	}
	w.textField(4, p.HostNetwork)
}
