package jobdiff

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

func TestDiffs(t *testing.T) {
	datadriven.RunTest(t, "testdata/diffs.txt", func(t *testing.T, d *datadriven.TestData) string {
		before, after, _ := strings.Cut(d.Input, "\n---\n")
		old, new := readJob(t, before), readJob(t, after)
		diff := Compare(old, new)
		diff.Annotate(old, new, nil)
		var b strings.Builder
		show(&b, "", "job "+diff.ID, diff.Type, nil, diff.Fields, diff.Objects)
		for _, g := range diff.TaskGroups {
			show(&b, "  ", "group "+g.Name, g.Type, nil, g.Fields, g.Objects)
			for _, task := range g.Tasks {
				show(&b, "    ", "task "+task.Name, task.Type, task.Annotations, task.Fields, task.Objects)
			}
		}
		return b.String()
	})
}

func readJob(t *testing.T, text string) *event.Job {
	if strings.TrimSpace(text) == "nil" {
		return nil
	}
	job := new(event.Job)
	if err := json.Unmarshal([]byte(text), job); err != nil {
		t.Fatal(err)
	}
	return job
}

func show(b *strings.Builder, indent, what string, typ Type, notes []string, fields []*Field, objects []*Object) {
	fmt.Fprintf(b, "%s%s: %s", indent, what, typ)
	for _, n := range notes {
		fmt.Fprintf(b, " (%s)", n)
	}
	b.WriteByte('\n')
	for _, f := range fields {
		fmt.Fprintf(b, "%s  %s: %s %q => %q", indent, f.Name, f.Type, f.Old, f.New)
		for _, n := range f.Annotations {
			fmt.Fprintf(b, " (%s)", n)
		}
		b.WriteByte('\n')
	}
	for _, o := range objects {
		show(b, indent+"  ", o.Name, o.Type, nil, o.Fields, o.Objects)
	}
}

// Every value that a job can hold is changed by itself, by another value and by
// none, and every time the difference says so. Of nothing else it does.
func TestWhateverChangesShows(t *testing.T) {
	full := func() *event.Job {
		job := new(event.Job)
		fill(reflect.ValueOf(job).Elem(), 1)
		return job
	}
	if d := Compare(full(), full()); d.Type != None {
		t.Fatalf("a job differs from itself: %+v", d)
	}
	var paths []string
	each(reflect.ValueOf(full()).Elem(), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	if len(paths) < 300 {
		t.Fatalf("only %d values: %v", len(paths), paths)
	}
	for _, empty := range []bool{false, true} {
		for _, path := range paths {
			changed := full()
			each(reflect.ValueOf(changed).Elem(), "", func(p string, v reflect.Value) {
				switch {
				case p != path:
				case empty:
					v.SetZero()
				default:
					v.Set(other(v))
				}
			})
			shows := !unshown(path)
			if forth := Compare(full(), changed); (forth.Type != None) != shows {
				t.Errorf("%s changed (to nothing: %v): the difference is %v", path, empty, forth.Type)
			}
			if back := Compare(changed, full()); (back.Type != None) != shows {
				t.Errorf("%s changed back (from nothing: %v): the difference is %v", path, empty, back.Type)
			}
		}
	}
}

func unshown(path string) bool {
	parts := strings.Split(path, ".")
	last := parts[len(parts)-1]
	owner := strings.Join(parts[:len(parts)-1], ".")
	switch {
	case owner == "":
		return apart["Job"][last]
	case parts[0] == "VersionTag":
		return true
	case strings.HasSuffix(owner, "Update"):
		return last == "Stagger"
	case strings.Contains(owner, "Scaling") || strings.Contains(owner, "ScalingPolicies"):
		return apart["ScalingPolicy"][strings.TrimSuffix(last, "[]")]
	}
	return false
}

// each visits the values of a job that can be set by themselves.
func each(v reflect.Value, path string, visit func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Elem().Kind() == reflect.Struct {
			each(v.Elem(), path, visit)
		} else {
			visit(path, v)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if path != "" {
				name = path + "." + name
			}
			each(v.Field(i), name, visit)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 || v.Len() == 0 {
			visit(path, v)
			return
		}
		each(v.Index(0), path, visit)
	case reflect.Map:
		visit(path, v)
	default:
		visit(path, v)
	}
}

func other(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	fill(c, 77)
	if v.Kind() == reflect.Bool {
		c.SetBool(!v.Bool())
	}
	return c
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
		v.SetBool(n < 77)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(n)
	case reflect.Interface:
		v.Set(reflect.ValueOf(fmt.Sprint("opaque", n)))
	default:
		panic(v.Kind())
	}
}

// The official client reads what we show, every field of it.
func TestTheOfficialClientReadsIt(t *testing.T) {
	for _, pair := range [][2]reflect.Type{
		{reflect.TypeFor[api.JobDiff](), reflect.TypeFor[Job]()},
		{reflect.TypeFor[api.TaskGroupDiff](), reflect.TypeFor[TaskGroup]()},
		{reflect.TypeFor[api.TaskDiff](), reflect.TypeFor[Task]()},
		{reflect.TypeFor[api.ObjectDiff](), reflect.TypeFor[Object]()},
		{reflect.TypeFor[api.FieldDiff](), reflect.TypeFor[Field]()},
		{reflect.TypeFor[api.DesiredUpdates](), reflect.TypeFor[DesiredUpdates]()},
	} {
		theirs, ours := namesOf(pair[0]), namesOf(pair[1])
		if !maps.Equal(theirs, ours) {
			t.Errorf("%v has the fields %v, ours %v", pair[0], slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)))
		}
	}
	old := &event.Job{ID: "web"}
	full := new(event.Job)
	fill(reflect.ValueOf(full).Elem(), 1)
	diff := Compare(old, full)
	diff.Annotate(old, full, map[string]DesiredUpdates{full.TaskGroups[0].Name: {Place: 2}})
	body, err := json.Marshal(diff)
	if err != nil {
		t.Fatal(err)
	}
	var theirs api.JobDiff
	if err := json.Unmarshal(body, &theirs); err != nil {
		t.Fatal(err)
	}
	if back, _ := json.Marshal(&theirs); string(back) != string(body) {
		t.Errorf("it changed on its way through the official client:\n%s\n%s", body, back)
	}
}

func namesOf(t reflect.Type) map[string]bool {
	m := make(map[string]bool)
	for i := range t.NumField() {
		m[t.Field(i).Name] = true
	}
	return m
}

// FuzzCompare: no two jobs make it panic, none differs from itself, and whether
// two differ does not depend on who is first.
func FuzzCompare(f *testing.F) {
	f.Add(`{"ID":"a","Meta":{"x":""}}`, `{"ID":"a","TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Config":{"a":[1,{"b":null}]}}]}]}`)
	f.Add(`{"Constraints":[{},{}]}`, `{"Constraints":[{}],"Update":{}}`)
	f.Add(`{"TaskGroups":[{"Volumes":{"v":{}},"Networks":[{"DynamicPorts":[{"Label":"a"},{"Label":"a"}]}]}]}`, `{"TaskGroups":[{"Volumes":{}}]}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		var old, new event.Job
		if json.Unmarshal([]byte(a), &old) != nil || json.Unmarshal([]byte(b), &new) != nil || holed(&old) || holed(&new) {
			return
		}
		if d := Compare(&old, &old); d.Type != None {
			t.Errorf("%s differs from itself", a)
		}
		forth, back := Compare(&old, &new), Compare(&new, &old)
		forth.Annotate(&old, &new, nil)
		if forth.Type != back.Type {
			t.Errorf("%s and %s: %v one way, %v the other", a, b, forth.Type, back.Type)
		}
	})
}

// holed jobs have null for a group or task, which no checked job has.
func holed(j *event.Job) bool {
	return slices.ContainsFunc(j.TaskGroups, func(g *event.TaskGroup) bool { return g == nil || slices.Contains(g.Tasks, nil) })
}
