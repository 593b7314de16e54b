package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The lists that make up nearly all of a large plan are one byte string each.
// Their meaning is that of a CBOR array of their elements; but an array of a
// thousand small structs costs a reflection walk per element, thrice for each
// plan (the committer writes it and reads it back, a follower reads it), and
// more than twice the bytes.
//
// A list has one encoding only: the shortest. Whatever else is read is refused.

// IDs is a list of identifiers. It is written as their bytes, one after the other.
type IDs []ID

// IsZero reports whether there is nothing to write.
func (l IDs) IsZero() bool { return len(l) == 0 }

// MarshalBinary is the identifiers' bytes; CBOR uses it.
func (l IDs) MarshalBinary() ([]byte, error) {
	buf := make([]byte, 0, len(l)*len(ID{}))
	for i := range l {
		buf = append(buf, l[i][:]...)
	}
	return buf, nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (l *IDs) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || len(data)%len(ID{}) != 0 {
		return fmt.Errorf("a list of IDs has %d bytes", len(data))
	}
	ids := make(IDs, len(data)/len(ID{}))
	for i := range ids {
		copy(ids[i][:], data[i*len(ID{}):])
	}
	*l = ids
	return nil
}

// Placements is a group's part of a plan.
//
// It is written as the number of placements and then each of them as a head,
// which says what differs from what the one before lets expect, and just that:
//
//	1 ordinal   not the next one: difference to it
//	2 node      another position: difference
//	4 name      not the next one: difference to it
//	8 score     another one: difference
//	16 ports    another number of them: the number
//	32 previous its 16 bytes
//
// then its ports, two bytes each. Numbers are varints (binary.AppendUvarint),
// differences zigzag varints. A scheduler that fills its fleet in order needs
// about four bytes a placement.
type Placements []Placement

const (
	placedOrdinal = 1 << iota
	placedNode
	placedName
	placedScore
	placedPorts
	placedPrevious
	placedEnd
)

// beforePlacements stands before a group's first placement.
func beforePlacements() (p Placement, ports int) {
	return Placement{Ordinal: math.MaxUint32, Name: math.MaxUint32}, 0
}

// IsZero reports whether there is nothing to write.
func (l Placements) IsZero() bool { return len(l) == 0 }

// MarshalBinary writes the list as above; CBOR uses it.
func (l Placements) MarshalBinary() ([]byte, error) {
	buf := make([]byte, 0, 8*len(l)+binary.MaxVarintLen64)
	buf = binary.AppendUvarint(buf, uint64(len(l)))
	before, ports := beforePlacements()
	last := &before
	for i := range l {
		p := &l[i]
		next := Placement{Ordinal: last.Ordinal + 1, Node: last.Node, Name: last.Name + 1, Score: last.Score} // needs its head only
		last = p
		at := len(buf)
		buf = append(buf, 0)
		var head byte
		if p.Ordinal != next.Ordinal {
			head |= placedOrdinal
			buf = binary.AppendVarint(buf, int64(p.Ordinal)-int64(next.Ordinal))
		}
		if p.Node != next.Node {
			head |= placedNode
			buf = binary.AppendVarint(buf, int64(p.Node)-int64(next.Node))
		}
		if p.Name != next.Name {
			head |= placedName
			buf = binary.AppendVarint(buf, int64(p.Name)-int64(next.Name))
		}
		if p.Score != next.Score {
			head |= placedScore
			buf = binary.AppendVarint(buf, int64(p.Score-next.Score)) // wraps around, here and in the reader
		}
		if len(p.Ports) != ports {
			head |= placedPorts
			ports = len(p.Ports)
			buf = binary.AppendUvarint(buf, uint64(ports))
		}
		if !p.Previous.IsZero() {
			head |= placedPrevious
			buf = append(buf, p.Previous[:]...)
		}
		buf[at] = head
		for _, port := range p.Ports {
			buf = binary.BigEndian.AppendUint16(buf, port)
		}
	}
	return buf, nil
}

// UnmarshalBinary is the inverse of MarshalBinary. The ports of all placements
// share one array.
func (l *Placements) UnmarshalBinary(data []byte) error {
	r := compactReader{data: data}
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.data)) { // each has a head
		return errCompact
	}
	list := make(Placements, n)
	var held []uint16
	before, ports := beforePlacements()
	last := &before
	for i := range list {
		p := &list[i]
		p.Ordinal, p.Node, p.Name, p.Score = last.Ordinal+1, last.Node, last.Name+1, last.Score
		last = p
		head := r.byte()
		if head >= placedEnd {
			return errCompact
		}
		if head&placedOrdinal != 0 {
			p.Ordinal = r.moved(p.Ordinal)
		}
		if head&placedNode != 0 {
			p.Node = r.moved(p.Node)
		}
		if head&placedName != 0 {
			p.Name = r.moved(p.Name)
		}
		if head&placedScore != 0 {
			p.Score += Score(r.difference())
		}
		if head&placedPorts != 0 {
			count := r.uvarint()
			if count == uint64(ports) || count > uint64(len(r.data)) {
				return errCompact
			}
			ports = int(count)
		}
		if head&placedPrevious != 0 {
			if copy(p.Previous[:], r.take(len(p.Previous))); p.Previous.IsZero() {
				return errCompact
			}
		}
		if ports > 0 {
			if held == nil {
				// As many as the rest can hold at most, should they all be alike.
				held = make([]uint16, 0, min(ports*(len(list)-i), len(r.data)/2+1))
			}
			start := len(held)
			for numbers := r.take(2 * ports); len(numbers) > 0; numbers = numbers[2:] {
				held = append(held, binary.BigEndian.Uint16(numbers))
			}
			p.Ports = held[start:len(held):len(held)]
		}
		if r.bad {
			return errCompact
		}
	}
	if len(r.data) > 0 {
		return errCompact
	}
	*l = list
	return nil
}

// Stops is the list of allocations that a plan takes out of service.
//
// It is written as the number of stops and then each of them as a head and its
// 16 bytes:
//
//	1 client      set: its number
//	2 description another one than before: its length and text
//	4 hands over
type Stops []PlannedStop

const (
	stopClient = 1 << iota
	stopDescription
	stopHandsOver
	stopEnd
)

// IsZero reports whether there is nothing to write.
func (l Stops) IsZero() bool { return len(l) == 0 }

// MarshalBinary writes the list as above; CBOR uses it.
func (l Stops) MarshalBinary() ([]byte, error) {
	buf := make([]byte, 0, 20*len(l)+64)
	buf = binary.AppendUvarint(buf, uint64(len(l)))
	description := ""
	for i := range l {
		s := &l[i]
		var head byte
		if s.Client != 0 {
			head |= stopClient
		}
		if s.Description != description {
			head |= stopDescription
		}
		if s.HandsOver {
			head |= stopHandsOver
		}
		buf = append(append(buf, head), s.ID[:]...)
		if head&stopClient != 0 {
			buf = append(buf, byte(s.Client))
		}
		if head&stopDescription != 0 {
			description = s.Description
			buf = binary.AppendUvarint(buf, uint64(len(description)))
			buf = append(buf, description...)
		}
	}
	return buf, nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (l *Stops) UnmarshalBinary(data []byte) error {
	r := compactReader{data: data}
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.data)/(1+len(ID{}))) {
		return errCompact
	}
	list := make(Stops, n)
	description := ""
	for i := range list {
		s := &list[i]
		head := r.byte()
		copy(s.ID[:], r.take(len(s.ID)))
		if head&stopClient != 0 {
			s.Client = ClientStatus(r.byte())
			r.bad = r.bad || s.Client == 0
		}
		if head&stopDescription != 0 {
			text := r.take(int(min(r.uvarint(), math.MaxInt32)))
			r.bad = r.bad || string(text) == description
			description = string(text)
		}
		s.Description, s.HandsOver = description, head&stopHandsOver != 0
		if r.bad || head >= stopEnd {
			return errCompact
		}
	}
	if len(r.data) > 0 {
		return errCompact
	}
	*l = list
	return nil
}

var errCompact = errors.New("a compact list of a plan is damaged")

// compactReader takes fields off the front of data; after the first failure it
// is bad and what it returns means nothing.
type compactReader struct {
	data []byte
	bad  bool
}

func (r *compactReader) take(n int) []byte {
	if n > len(r.data) {
		r.bad = true
		return nil
	}
	field := r.data[:n]
	r.data = r.data[n:]
	return field
}

func (r *compactReader) byte() byte {
	if len(r.data) == 0 {
		r.bad = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *compactReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 || n > 1 && r.data[n-1] == 0 {
		r.bad = true
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *compactReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// difference is one that was worth writing.
func (r *compactReader) difference() int64 {
	d := r.varint()
	r.bad = r.bad || d == 0
	return d
}

// moved is from by a difference.
func (r *compactReader) moved(from uint32) uint32 {
	to := int64(from) + r.difference()
	r.bad = r.bad || to < 0 || to > math.MaxUint32
	return uint32(to)
}
