package event

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// randomize gives every field that the encoding carries a random value. A container
// is nil or has something in it, since the encoding does not tell nil from empty.
func randomize(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := v.Type().Bits()
		v.SetInt(rapid.Int64Range(-1<<(bits-1), 1<<(bits-1)-1).Draw(t, "int"))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, math.MaxUint64>>(64-v.Type().Bits())).Draw(t, "uint"))
	case reflect.String:
		if rapid.Bool().Draw(t, "text") {
			v.SetString(rapid.StringN(0, 8, -1).Draw(t, "string"))
		} else {
			// What a task or a kernel says of itself need not be text.
			v.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes")))
		}
	case reflect.Array:
		for i := range v.Len() {
			randomize(t, v.Index(i), depth)
		}
	case reflect.Pointer:
		if depth > 0 && rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			randomize(t, v.Elem(), depth-1)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, "len")
		if n == 0 || depth <= 0 || v.Type().Elem().Kind() == reflect.Interface {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			randomizeElem(t, v.Index(i), depth-1)
		}
	case reflect.Map:
		n := rapid.IntRange(0, 2).Draw(t, "size")
		if n == 0 || depth <= 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range n {
			key := reflect.New(v.Type().Key()).Elem()
			randomize(t, key, 0)
			value := reflect.New(v.Type().Elem()).Elem()
			randomizeElem(t, value, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]any{"x", int64(7), int64(-7), true, []any{"y", int64(1)}, map[string]any{"k": "v"}, 1.5}).Draw(t, "any")))
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && f.Tag.Get("cbor") != "-" {
				randomize(t, v.Field(i), depth-1)
			}
		}
	default:
		t.Fatalf("no values for %v", v.Type())
	}
}

// randomizeElem fills an element, and never leaves a nil pointer in a container.
func randomizeElem(t *rapid.T, v reflect.Value, depth int) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	randomize(t, v, depth)
}

func drawRecord(t *rapid.T) *Record {
	r := &Record{}
	r.Kind = rapid.SampledFrom(Kinds()).Draw(t, "kind")
	r.Event = New(r.Kind)
	randomize(t, reflect.ValueOf(r.Event).Elem(), 5)
	r.Index = rapid.Uint64().Draw(t, "index")
	r.Time = rapid.Int64().Draw(t, "time")
	r.Last = rapid.Bool().Draw(t, "last")
	r.Remember = rapid.Bool().Draw(t, "remember")
	r.Epoch = rapid.Uint64().Draw(t, "epoch")
	r.Cause = rapid.Uint64().Draw(t, "cause")
	for _, id := range []*ID{&r.CommandID, &r.EvalID, &r.DataKeyID} {
		if rapid.Bool().Draw(t, "has") {
			randomize(t, reflect.ValueOf(id).Elem(), 0)
		}
	}
	randomize(t, reflect.ValueOf(&r.Previous).Elem(), 0)
	r.Caller.Kind = CallerKind(rapid.IntRange(0, int(CallerServer)).Draw(t, "caller"))
	randomize(t, reflect.ValueOf(&r.Caller.Name).Elem(), 0)
	randomize(t, reflect.ValueOf(&r.Caller.Address).Elem(), 0)
	return r
}

// Whatever can be written can be read, and is the same.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		data, err := AppendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRecord(data)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		got.Size = r.Size
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("round trip:\n%s", cmp.Diff(r, got, cmp.Exporter(func(reflect.Type) bool { return true })))
		}
		again, err := AppendRecord(nil, got)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("second encoding differs (%v)", err)
		}
	})
}

func TestRecordCutAnywhereIsMalformed(t *testing.T) {
	data := mustEncode(t, sampleRecord())
	for n := range len(data) {
		if _, err := DecodeRecord(data[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := DecodeRecord(append(bytes.Clone(data), 0)); !errors.Is(err, ErrMalformed) {
		t.Fatalf("a byte too many: %v", err)
	}
}

func TestRecordRefusals(t *testing.T) {
	change := func(at int, to byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = to; return b }
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		want   string
	}{
		{"another format", change(0, 9), "header format 9, this version reads format 1"},
		{"unknown kind", change(1, 0x7f), "unknown kind"},
		{"newer kind version", change(3, 2), "has version 2 of JobStopped, this version reads 0"},
		{"unknown flags", change(4, 0xff), "unknown flags"},
		{"number not in its shortest form", func(b []byte) []byte {
			return append(append(bytes.Clone(b[:5]), 0x81, 0x00), b[6:]...)
		}, "not in its shortest form"},
		{"an ID that is announced and is none", func(b []byte) []byte {
			at := 5 + 1 + 8 + 1 + 1
			copy(b[at:], make([]byte, 16))
			return b
		}, "announced"},
		{"a field of a later version", func(b []byte) []byte {
			// {1: …} gets another key, 99.
			payload := len(b) - len(mustMarshal(t, sampleRecord().Event))
			b[payload]++
			return append(b, 0x18, 99, 0x01)
		}, "unknown field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeRecord(c.damage(mustEncode(t, sampleRecord())))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want a malformed record, %q", err, c.want)
			}
		})
	}
}

// Messages between servers and agents may come from a later version, so fields
// that are not known are passed over there.
func TestMessagesMayHaveUnknownFields(t *testing.T) {
	data, err := Marshal(map[int]any{1: 7, 99: "new"})
	if err != nil {
		t.Fatal(err)
	}
	var g Generation
	if err := Unmarshal(data, &g); err != nil || g.Incarnation != 7 {
		t.Fatalf("%+v, %v", g, err)
	}
}

func TestAppendRecordRefusesWhatItCouldNotRead(t *testing.T) {
	r := sampleRecord()
	r.Kind = KindJobSubmitted
	if _, err := AppendRecord(nil, r); err == nil {
		t.Error("kind and event differ")
	}
	r = sampleRecord()
	r.Caller.Name = strings.Repeat("x", maxCallerText+1)
	if _, err := AppendRecord(nil, r); err == nil {
		t.Error("a caller's name without end")
	}
	if _, err := AppendRecord(nil, &Record{Header: Header{Kind: KindJobStopped}}); err == nil {
		t.Error("no event")
	}
}

func sampleRecord() *Record {
	return &Record{
		Header: Header{
			Index: 7, Time: 1_700_000_000_000_000_000, Kind: KindJobStopped, Last: true, Remember: true, Epoch: 3, Cause: 5,
			CommandID: MustParseID("11111111-2222-3333-4444-555555555555"),
			EvalID:    MustParseID("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"),
			Previous:  HashOf([]byte("before")),
			Caller:    Caller{Kind: CallerToken, Name: "ops", Address: "10.0.0.1:4646"},
		},
		Event: &JobStopped{Namespace: "default", JobID: "web", Version: 2, SubmitTime: 9, Purge: true},
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	data, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustEncode(t testing.TB, r *Record) []byte {
	data, err := AppendRecord(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The layout of the header, byte by byte. The file may only grow.
func TestRecordLayout(t *testing.T) {
	datadriven.RunTest(t, "testdata/record_layout.txt", func(t *testing.T, d *datadriven.TestData) string {
		r := sampleRecord()
		for _, arg := range d.CmdArgs {
			switch arg.Key {
			case "no-ids":
				r.CommandID, r.EvalID = ID{}, ID{}
			case "key":
				r.DataKeyID = HashedID("key")
			case "not-last":
				r.Last, r.Remember = false, false
			case "index":
				if _, err := fmt.Sscan(arg.Vals[0], &r.Index); err != nil {
					d.Fatalf(t, "%v", err)
				}
			default:
				d.Fatalf(t, "unknown argument %s", arg.Key)
			}
		}
		return dissect(mustEncode(t, r))
	})
}

// HashedID is an ID that a word stands for.
func HashedID(word string) ID { return DeriveID(word, ID{}) }

// dissect reads a header by the layout as it is written down, not by the decoder.
func dissect(b []byte) string {
	var out strings.Builder
	field := func(name string, n int) []byte {
		fmt.Fprintf(&out, "%-12s %s\n", name, hex.EncodeToString(b[:n]))
		value := b[:n]
		b = b[n:]
		return value
	}
	number := func(name string) uint64 {
		v, n := binary.Uvarint(b)
		field(name, n)
		return v
	}
	field("format", 1)
	field("kind", 2)
	field("kind version", 1)
	flags := field("flags", 1)[0]
	number("index")
	field("time", 8)
	number("epoch")
	number("cause")
	if flags&16 != 0 {
		field("command", 16)
	}
	if flags&4 != 0 {
		field("evaluation", 16)
	}
	if flags&8 != 0 {
		field("data key", 16)
	}
	field("previous", 32)
	field("caller kind", 1)
	field("name", int(number("name length")))
	field("address", int(number("addr length")))
	field("payload", len(b))
	return out.String()
}

// FuzzDecodeRecord: bytes from a damaged disk or a hostile peer never make the
// decoder panic; what it does read, it writes the same way ever after, and the
// header to the same bytes.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(mustEncode(f, sampleRecord()))
	for _, k := range Kinds() {
		f.Add(mustEncode(f, &Record{Header: Header{Index: 1, Kind: k}, Event: New(k)}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRecord(data)
		if err != nil {
			if r != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		first, err := AppendRecord(nil, r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		payload := mustMarshal(t, r.Event)
		header := len(first) - len(payload)
		if len(data) < header || !bytes.Equal(first[:header], data[:header]) {
			t.Fatalf("header\n%x became\n%x", data, first[:header])
		}
		again, err := DecodeRecord(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if second := mustEncode(t, again); !bytes.Equal(first, second) {
			t.Fatalf("%x became %x", first, second)
		}
	})
}

func BenchmarkRecordCodec(b *testing.B) {
	r := sampleRecord()
	data := mustEncode(b, r)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf, _ = AppendRecord(buf[:0], r)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeRecord(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
