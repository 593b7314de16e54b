package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Format is the version of the record header and of what the kinds say. Every
// later version reads it: testdata/golden and testdata/histories at the top of the
// project hold what was written, and tests read it for ever. (Format 0, of the time
// before, carried no promise and is not read any more.)
const Format = 1

// CallerKind is what sort of caller a command came from.
type CallerKind uint8

const (
	CallerAnonymous CallerKind = iota // no access rules are in force
	CallerToken                       // Name is the accessor of an ACL token
	CallerNode                        // Name is the node's ID
	CallerWorker                      // a scheduler worker; Name is its server
	CallerReactor                     // Name is the reactor
	CallerServer                      // the committer itself; Name is its server
)

var callerNames = []string{"anonymous", "token", "node", "worker", "reactor", "server"}

func (k CallerKind) String() string { return wordOf(callerNames, uint8(k)) }

// MarshalText is the word; JSON uses it.
func (k CallerKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *CallerKind) UnmarshalText(text []byte) error {
	n, err := numberOf("kind of caller", callerNames, string(text))
	*k = CallerKind(n)
	return err
}

// Caller is who asked for a command, as resolved at its first hop.
type Caller struct {
	Kind    CallerKind
	Name    string `json:",omitempty"`
	Address string `json:",omitempty"` // from where, host:port; empty inside a server
}

// Header stands in front of every event.
type Header struct {
	Index       uint64 // dense from 1
	Time        int64  // Unix nanoseconds; never less than the previous record's
	Kind        Kind
	KindVersion uint8
	// Last marks the last record of its command. State is published only there.
	Last bool
	// Remember asks the fold to keep CommandID for a while, so that the same
	// command sent again takes effect once.
	Remember  bool
	Epoch     uint64 // of the committer that wrote it
	CommandID ID
	Caller    Caller
	Cause     uint64 // index of the record that led to this one; 0 = a caller's own wish
	EvalID    ID     // the evaluation that this belongs to, if any
	DataKeyID ID     // key that sealed the payload's sealed fields; zero = nothing is sealed
	Previous  Hash   // chained hash of record Index-1
}

// Record is an entry of the log decoded: a header and a fact.
type Record struct {
	Header
	Event Event
	Hash  Hash // chained hash up to and including this record; not part of the encoding
	Size  int  // bytes of the encoding, for accounting; not part of it
}

// At is the record's time.
func (r *Record) At() time.Time { return time.Unix(0, r.Time).UTC() }

const (
	flagLast = 1 << iota
	flagRemember
	flagEval
	flagKey
	flagCommand
)

// ErrMalformed marks bytes that are no record of a format that this version reads.
var ErrMalformed = errors.New("malformed record")

// maxCallerText bounds the two strings of a Caller.
const maxCallerText = 1 << 10

// AppendRecord appends the encoding of r to buf. A record that cannot be encoded
// is a bug of the caller, reported before anything is written.
func AppendRecord(buf []byte, r *Record) ([]byte, error) {
	if r.Event == nil || r.Event.Kind() != r.Kind {
		return buf, fmt.Errorf("encode record %d: header says %v, event is %T", r.Index, r.Kind, r.Event)
	}
	if len(r.Caller.Name) > maxCallerText || len(r.Caller.Address) > maxCallerText {
		return buf, fmt.Errorf("encode record %d: caller name or address is longer than %d bytes", r.Index, maxCallerText)
	}
	var flags byte
	set := func(on bool, flag byte) {
		if on {
			flags |= flag
		}
	}
	set(r.Last, flagLast)
	set(r.Remember, flagRemember)
	set(!r.EvalID.IsZero(), flagEval)
	set(!r.DataKeyID.IsZero(), flagKey)
	set(!r.CommandID.IsZero(), flagCommand)

	buf = append(buf, Format)
	buf = binary.BigEndian.AppendUint16(buf, uint16(r.Kind))
	buf = append(buf, r.KindVersion, flags)
	buf = binary.AppendUvarint(buf, r.Index)
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.Time))
	buf = binary.AppendUvarint(buf, r.Epoch)
	buf = binary.AppendUvarint(buf, r.Cause)
	if flags&flagCommand != 0 {
		buf = append(buf, r.CommandID[:]...)
	}
	if flags&flagEval != 0 {
		buf = append(buf, r.EvalID[:]...)
	}
	if flags&flagKey != 0 {
		buf = append(buf, r.DataKeyID[:]...)
	}
	buf = append(buf, r.Previous[:]...)
	buf = append(buf, byte(r.Caller.Kind))
	buf = binary.AppendUvarint(buf, uint64(len(r.Caller.Name)))
	buf = append(buf, r.Caller.Name...)
	buf = binary.AppendUvarint(buf, uint64(len(r.Caller.Address)))
	buf = append(buf, r.Caller.Address...)
	payload, err := Marshal(r.Event)
	if err != nil {
		return buf, fmt.Errorf("encode record %d (%v): %w", r.Index, r.Kind, err)
	}
	return append(buf, payload...), nil
}

// DecodeRecord is the inverse of AppendRecord.
func DecodeRecord(data []byte) (*Record, error) {
	d := decoder{data: data}
	if format := d.byte(); d.err == nil && format != Format {
		return nil, fmt.Errorf("%w: header format %d, this version reads format %d", ErrMalformed, format, Format)
	}
	r := &Record{}
	r.Kind = Kind(binary.BigEndian.Uint16(d.take(2)))
	r.KindVersion = d.byte()
	flags := d.byte()
	if flags >= flagCommand<<1 {
		return nil, fmt.Errorf("%w: unknown flags %#x", ErrMalformed, flags)
	}
	r.Last, r.Remember = flags&flagLast != 0, flags&flagRemember != 0
	r.Index = d.uvarint()
	r.Time = int64(binary.BigEndian.Uint64(d.take(8)))
	r.Epoch = d.uvarint()
	r.Cause = d.uvarint()
	if flags&flagCommand != 0 {
		r.CommandID = d.id()
	}
	if flags&flagEval != 0 {
		r.EvalID = d.id()
	}
	if flags&flagKey != 0 {
		r.DataKeyID = d.id()
	}
	copy(r.Previous[:], d.take(32))
	r.Caller.Kind = CallerKind(d.byte())
	r.Caller.Name = d.text()
	r.Caller.Address = d.text()
	if d.err != nil {
		return nil, d.err
	}
	r.Event = New(r.Kind)
	if r.Event == nil {
		return nil, fmt.Errorf("%w: record %d has the unknown kind %d", ErrMalformed, r.Index, uint16(r.Kind))
	}
	if r.KindVersion != 0 {
		return nil, fmt.Errorf("%w: record %d has version %d of %v, this version reads 0", ErrMalformed, r.Index, r.KindVersion, r.Kind)
	}
	if err := recordMode.Unmarshal(d.data, r.Event); err != nil {
		return nil, fmt.Errorf("%w: record %d (%v): %v", ErrMalformed, r.Index, r.Kind, err)
	}
	return r, nil
}

// decoder takes fields off the front of data; after the first failure it only
// returns zeros.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || len(d.data) < n {
		if d.err == nil {
			d.err = fmt.Errorf("%w: it ends inside its header", ErrMalformed)
		}
		return make([]byte, n)
	}
	field := d.data[:n]
	d.data = d.data[n:]
	return field
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if d.err == nil && n <= 0 {
		d.err = fmt.Errorf("%w: it ends inside its header", ErrMalformed)
	}
	if d.err != nil {
		return 0
	}
	if n > 1 && d.data[n-1] == 0 {
		d.err = fmt.Errorf("%w: a number is not in its shortest form", ErrMalformed)
		return 0
	}
	d.data = d.data[n:]
	return v
}

// id is an identifier that a flag announced, so it is not the zero one: one
// record has one encoding.
func (d *decoder) id() (id ID) {
	copy(id[:], d.take(len(id)))
	if d.err == nil && id.IsZero() {
		d.err = fmt.Errorf("%w: an identifier is announced and is none", ErrMalformed)
	}
	return id
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > maxCallerText {
		d.err = fmt.Errorf("%w: caller text of %d bytes", ErrMalformed, n)
		return ""
	}
	return string(d.take(int(n)))
}

// The encoding is CBOR (RFC 8949) in its core deterministic form: the same value
// has the same bytes everywhere, so bytes can be hashed and compared.
var (
	encMode = mustEnc(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, ShortestFloat: cbor.ShortestFloat16, IndefLength: cbor.IndefLengthForbidden})
	decMode = mustDec(decOptions(cbor.ExtraDecErrorNone))
	// recordMode refuses what it does not know: a field of a later version that
	// this one passed over would be a fact that one server folds and another does not.
	recordMode = mustDec(decOptions(cbor.ExtraDecErrorUnknownField))
)

func decOptions(extra cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		MaxNestedLevels:   32,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		IntDec:            cbor.IntDecConvertSignedOrFail,
		ExtraReturnErrors: extra,
		// A task's last words or a name out of a kernel need not be UTF-8. What
		// can be written must be readable: otherwise one such string would stop
		// every server at its record.
		UTF8: cbor.UTF8DecodeInvalid,
	}
}

func mustEnc(o cbor.EncOptions) cbor.EncMode {
	mode, err := o.EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}

func mustDec(o cbor.DecOptions) cbor.DecMode {
	mode, err := o.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}

// Marshal is the deterministic encoding of any value of this vocabulary. Orders,
// reports and checkpoints use it as well as records.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Unmarshal is the inverse of Marshal. Trailing bytes and duplicate keys are errors.
func Unmarshal(data []byte, v any) error { return decMode.Unmarshal(data, v) }
