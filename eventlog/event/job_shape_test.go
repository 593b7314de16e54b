package event

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/nomad/api"
)

// Every field that the official client knows must exist here under the same JSON name and decode from the same JSON.
func TestJobHasEveryFieldOfTheOfficialClient(t *testing.T) {
	for _, pair := range [][2]reflect.Type{
		{reflect.TypeFor[api.Job](), reflect.TypeFor[Job]()},
		{reflect.TypeFor[api.JobSubmission](), reflect.TypeFor[JobSubmission]()},
	} {
		for _, problem := range compareShape(pair[0].Name(), pair[0], pair[1], map[reflect.Type]bool{}) {
			t.Error(problem)
		}
	}
}

func compareShape(path string, theirs, ours reflect.Type, seen map[reflect.Type]bool) []string {
	theirs, ours = indirect(theirs), indirect(ours)
	if a, b := kindClass(theirs), kindClass(ours); a != b {
		return []string{fmt.Sprintf("%s: the client has %s, we have %s", path, a, b)}
	}
	switch theirs.Kind() {
	case reflect.Slice, reflect.Map:
		return compareShape(path+"[]", theirs.Elem(), ours.Elem(), seen)
	case reflect.Struct:
	default:
		if theirs.Kind() != ours.Kind() && kindClass(theirs) == "number" && theirs.Bits() > ours.Bits() {
			return []string{fmt.Sprintf("%s: %s does not fit into %s", path, theirs, ours)}
		}
		return nil
	}
	if seen[theirs] {
		return nil
	}
	seen[theirs] = true
	var problems []string
	for i := range theirs.NumField() {
		f := theirs.Field(i)
		name, omit := jsonName(f)
		if omit {
			continue
		}
		g, ok := ours.FieldByNameFunc(func(n string) bool { return n == name })
		if !ok {
			problems = append(problems, fmt.Sprintf("%s.%s is missing", path, name))
			continue
		}
		problems = append(problems, compareShape(path+"."+name, f.Type, g.Type, seen)...)
	}
	return problems
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func kindClass(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
	}
	return t.Kind().String()
}

func jsonName(f reflect.StructField) (name string, omit bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return "", true
	}
	if name == "" {
		name = f.Name
	}
	return name, false
}

// Integer keys are dense from 1 in every struct of the spec: a gap is a key that was removed, and a later field would
// take it again by mistake.
func TestJobKeysAreDense(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		next := 1
		for i := range typ.NumField() {
			f := typ.Field(i)
			walk(f.Type)
			tag := f.Tag.Get("cbor")
			if tag == "-" && typ == reflect.TypeFor[Job]() {
				continue
			}
			if want := fmt.Sprintf("%d,keyasint,omitempty", next); tag != want {
				t.Errorf("%s.%s: cbor tag is %q, want %q", typ.Name(), f.Name, tag, want)
			}
			next++
		}
	}
	walk(reflect.TypeFor[Job]())
	walk(reflect.TypeFor[JobSubmission]())
}

// A job with something in every field survives our codec's encoding, and the official client reads the same from our
// JSON as we do.
func TestJobSurvivesCBORAndTheOfficialClient(t *testing.T) {
	full := &Job{}
	fill(reflect.ValueOf(full).Elem(), 1)
	data, err := cbor.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var back Job
	if err := cbor.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	spec := *full
	spec.Stop, spec.Dispatched, spec.Stable, spec.Status, spec.StatusDescription = false, false, false, "", ""
	spec.Version, spec.SubmitTime, spec.CreateIndex, spec.ModifyIndex, spec.JobModifyIndex, spec.VersionTag = 0, 0, 0, 0, 0, nil
	if a, b := mustJSON(t, &spec), mustJSON(t, &back); a != b {
		t.Errorf("spec changed in CBOR:\n%s\n%s", a, b)
	}

	var theirs api.Job
	if err := json.Unmarshal([]byte(mustJSON(t, full)), &theirs); err != nil {
		t.Fatal(err)
	}
	var ours Job
	if err := json.Unmarshal([]byte(mustJSON(t, &theirs)), &ours); err != nil {
		t.Fatal(err)
	}
	if a, b := mustJSON(t, full), mustJSON(t, &ours); a != b {
		t.Errorf("job changed on its way through the official client:\n%s\n%s", a, b)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func fill(v reflect.Value, n int64) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n+int64(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(elem, n)
		v.SetMapIndex(reflect.ValueOf("key"), elem)
	case reflect.String:
		v.SetString(fmt.Sprint("s", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(n)
	case reflect.Interface:
		v.Set(reflect.ValueOf("opaque"))
	default:
		panic(v.Kind())
	}
}
