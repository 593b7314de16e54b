package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"drover/eventlog/event"
)

// order is the part of an event.Order that a simulated node acts on.
type order struct {
	ID       event.ID
	Job      []byte // ID of the job; only valid until the next message is read
	Group    []byte // the same
	Index    uint32 // the n of "job.group[n]"
	Desired  event.DesiredStatus
	Client   event.ClientStatus
	Modified uint64
	Created  int64 // Unix nanoseconds, the server's clock: the record that placed it
}

// batch is the part of an event.OrderBatch that a simulated node acts on.
type batch struct {
	Full   bool
	Orders []order
	Gone   []event.ID
}

var errOrders = errors.New("malformed message on a stream of orders")

// decodeOrders reads the CBOR of an event.OrderBatch. It does what
// event.Unmarshal does, for a few of the fields and at a tenth of the cost: the
// nodes of a bench share the machine with the server, and a real node decodes
// only its own share. TestDecodeOrders holds the two against each other.
func decodeOrders(data []byte, into *batch) error {
	into.Full, into.Orders, into.Gone = false, into.Orders[:0], into.Gone[:0]
	r := cbor{data: data}
	for range r.head(cborMap) {
		switch r.head(cborUint) {
		case 2:
			into.Full = r.bool()
		case 4:
			for range r.head(cborArray) {
				into.Orders = append(into.Orders, r.order())
			}
		case 5:
			for range r.head(cborArray) {
				into.Gone = append(into.Gone, r.id())
			}
		default:
			r.skip()
		}
	}
	if !r.bad && len(r.data) > 0 {
		r.bad = true
	}
	if r.bad {
		return errOrders
	}
	return nil
}

func (r *cbor) order() (o order) {
	for range r.head(cborMap) {
		switch r.head(cborUint) {
		case 1:
			o.ID = r.id()
		case 3:
			for range r.head(cborMap) {
				if r.head(cborUint) == 2 {
					o.Job = r.take(r.head(cborText))
				} else {
					r.skip()
				}
			}
		case 6:
			o.Group = r.take(r.head(cborText))
		case 7:
			o.Index = uint32(r.head(cborUint))
		case 8:
			o.Desired = event.DesiredStatus(r.head(cborUint))
		case 9:
			o.Modified = r.head(cborUint)
		case 13:
			o.Created = r.int()
		case 14:
			o.Client = event.ClientStatus(r.head(cborUint))
		default:
			r.skip()
		}
	}
	return o
}

// Major types of CBOR (RFC 8949, section 3.1).
const (
	cborUint     = 0
	cborNegative = 1
	cborBytes    = 2
	cborText     = 3
	cborArray    = 4
	cborMap      = 5
	cborTag      = 6
	cborOther    = 7
)

// cbor reads definite-length CBOR off the front of data; after the first
// failure it only returns zeros.
type cbor struct {
	data []byte
	bad  bool
}

func (r *cbor) fail() uint64 {
	r.data, r.bad = nil, true
	return 0
}

// next reads the head of an item.
func (r *cbor) next() (major byte, n uint64) {
	if len(r.data) == 0 {
		return 0, r.fail()
	}
	major, n = r.data[0]>>5, uint64(r.data[0]&31)
	r.data = r.data[1:]
	if n < 24 {
		return major, n
	}
	size := uint64(1) << (n - 24)
	if n > 27 || uint64(len(r.data)) < size {
		return major, r.fail()
	}
	switch field := r.data[:size]; size {
	case 1:
		n = uint64(field[0])
	case 2:
		n = uint64(binary.BigEndian.Uint16(field))
	case 4:
		n = uint64(binary.BigEndian.Uint32(field))
	case 8:
		n = binary.BigEndian.Uint64(field)
	}
	r.data = r.data[size:]
	return major, n
}

// head reads the head of an item that has to be of one type. Of arrays and maps
// it is the number of elements, which must fit into what is left.
func (r *cbor) head(major byte) uint64 {
	got, n := r.next()
	if got != major || major >= cborArray && n > uint64(len(r.data)) {
		return r.fail()
	}
	return n
}

// int reads an integer that may be negative.
func (r *cbor) int() int64 {
	switch major, n := r.next(); {
	case major == cborUint && n <= math.MaxInt64:
		return int64(n)
	case major == cborNegative && n <= math.MaxInt64:
		return -1 - int64(n)
	}
	return int64(r.fail())
}

func (r *cbor) take(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.fail()
		return nil
	}
	field := r.data[:n]
	r.data = r.data[n:]
	return field
}

func (r *cbor) id() (id event.ID) {
	field := r.take(r.head(cborBytes))
	if len(field) != len(id) {
		r.fail()
		return id
	}
	copy(id[:], field)
	return id
}

func (r *cbor) bool() bool {
	if len(r.data) == 0 {
		r.fail()
		return false
	}
	b := r.data[0]
	r.data = r.data[1:]
	if b != 0xf4 && b != 0xf5 {
		r.fail()
	}
	return b == 0xf5
}

// skip passes over one item, whatever it is.
func (r *cbor) skip() {
	for left := uint64(1); left > 0 && !r.bad; left-- {
		major, n := r.next()
		switch major {
		case cborBytes, cborText:
			r.take(n)
		case cborArray:
			left += n
		case cborMap:
			left += 2 * n
		case cborTag:
			left++
		}
		if left > uint64(len(r.data))+1 {
			r.fail()
		}
	}
}

// readFrame reads one message of a stream of orders into buf, which it returns,
// grown when it was too small.
func readFrame(in io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return buf, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > orderBatchBytesMax {
		return buf, fmt.Errorf("message of %d bytes is too long", n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(in, buf); err != nil {
		return buf, fmt.Errorf("message of %d bytes is cut short: %w", n, err)
	}
	return buf, nil
}
