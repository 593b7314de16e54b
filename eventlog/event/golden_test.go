package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// goldens holds a record of every kind with every field set, as it was first
// written: its encoding, and what it says. Logs on disks hold such bytes, so the
// file only ever grows.
const goldens = "../../testdata/golden/records.txt"

var addGoldens = flag.Bool("add-goldens", false, "add the records that testdata/golden lacks; those that it has stay as they are")

type golden struct {
	name     string // "Kind" and, for what was added to it later, "Kind/2" and so on
	encoding []byte
	says     string
}

func readGoldens(t *testing.T) []golden {
	text, err := os.ReadFile(goldens)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []golden
	for block := range strings.SplitSeq(string(text), "\n\n") {
		lines := strings.SplitN(strings.TrimSpace(block), "\n", 3)
		if strings.HasPrefix(lines[0], "#") || len(lines) < 3 {
			continue
		}
		data, err := hex.DecodeString(lines[1])
		if err != nil {
			t.Fatalf("%s: %v", lines[0], err)
		}
		list = append(list, golden{lines[0], data, lines[2]})
	}
	return list
}

func saysOf(r *Record) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestGoldenRecords: what was written once says the same for ever, and is written
// the same way.
func TestGoldenRecords(t *testing.T) {
	list := readGoldens(t)
	covered := make(map[string]bool)
	for _, g := range list {
		if strings.HasPrefix(g.name, "blob ") {
			continue
		}
		r, err := DecodeRecord(g.encoding)
		if err != nil {
			t.Errorf("%s cannot be read any more: %v", g.name, err)
			continue
		}
		if says := saysOf(r); says != g.says {
			t.Errorf("%s says something else now\n was %s\n now %s", g.name, g.says, says)
		}
		again, err := AppendRecord(nil, r)
		if err != nil || !bytes.Equal(again, g.encoding) {
			t.Errorf("%s is written in another way now (%v)\n was %x\n now %x", g.name, err, g.encoding, again)
		}
		covered[string(g.encoding)] = true
	}
	var added []golden
	for _, kind := range Kinds() {
		r := fullRecord(kind)
		data, err := AppendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if covered[string(data)] {
			continue
		}
		if !*addGoldens {
			t.Errorf("testdata/golden has no %v with every field that it has now: run this test with -add-goldens and commit what it adds", kind)
			continue
		}
		if r, err = DecodeRecord(data); err != nil {
			t.Fatal(err)
		}
		name, n := kind.String(), 1
		for _, g := range list {
			if g.name == kind.String() || strings.HasPrefix(g.name, kind.String()+"/") {
				n++
			}
		}
		if n > 1 {
			name = fmt.Sprintf("%s/%d", name, n)
		}
		added = append(added, golden{name, data, saysOf(r)})
	}
	write(t, added)
}

// TestGoldenJob: a spec stands in the log as a blob, and is read by whatever
// version folds it.
func TestGoldenJob(t *testing.T) {
	const name = "blob Job"
	full := new(Job)
	new(filler).fill(reflect.ValueOf(full).Elem(), 0)
	now, err := Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	versions, covered := 0, false
	for _, g := range readGoldens(t) {
		if !strings.HasPrefix(g.name, name) {
			continue
		}
		versions++
		job := new(Job)
		if err := Unmarshal(g.encoding, job); err != nil {
			t.Errorf("%s cannot be read any more: %v", g.name, err)
			continue
		}
		says, err := json.Marshal(job)
		if err != nil || string(says) != g.says {
			t.Errorf("%s says something else now (%v)\n was %s\n now %s", g.name, err, g.says, says)
		}
		if again, err := Marshal(job); err != nil || !bytes.Equal(again, g.encoding) {
			t.Errorf("%s is written in another way now (%v)", g.name, err)
		}
		covered = covered || bytes.Equal(g.encoding, now)
	}
	switch {
	case covered:
	case !*addGoldens:
		t.Error("testdata/golden has no Job with every field that it has now: run this test with -add-goldens and commit what it adds")
	default:
		again := new(Job)
		if err := Unmarshal(now, again); err != nil {
			t.Fatal(err)
		}
		says, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		write(t, []golden{{fmt.Sprintf("%s/%d", name, versions+1), now, string(says)}})
	}
}

func write(t *testing.T, added []golden) {
	if len(added) == 0 {
		return
	}
	text, err := os.ReadFile(goldens)
	if err != nil {
		text = []byte("# Records of format 1 as they were first written: name, bytes, meaning. Only ever add to this file.\n")
	}
	for _, g := range added {
		text = fmt.Appendf(text, "\n%s\n%x\n%s\n", g.name, g.encoding, g.says)
	}
	if err := os.MkdirAll(filepath.Dir(goldens), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldens, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// fullRecord sets every field that the encoding carries to a value of its own.
func fullRecord(kind Kind) *Record {
	f := &filler{}
	r := &Record{Event: New(kind)}
	f.fill(reflect.ValueOf(&r.Header).Elem(), 0)
	r.Kind, r.KindVersion, r.Last, r.Remember, r.Caller.Kind = kind, 0, true, true, CallerNode
	f.fill(reflect.ValueOf(r.Event).Elem(), 0)
	return r
}

// filler hands out values in ascending order, so that two fields never have the
// same one and cannot change places unnoticed.
type filler struct{ n uint64 }

func (f *filler) fill(v reflect.Value, depth int) {
	f.n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(int64(f.n % 100))
	case reflect.Uint8:
		v.SetUint(1) // an enumeration: its first word
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(f.n % 60_000)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", f.n))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint((f.n + uint64(i)) % 256)
		}
	case reflect.Pointer:
		if depth > 12 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Slice:
		if depth > 12 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		if depth > 12 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key, depth+1)
			f.fill(value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(fmt.Sprintf("any %d", f.n)))
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Tag.Get("cbor") != "-" {
				f.fill(v.Field(i), depth+1)
			}
		}
	default:
		panic("no value for " + v.Type().String())
	}
}
