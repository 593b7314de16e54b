package jobdiff

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"drover/eventlog/event"
)

// apart are fields that no difference is shown of, by struct: they say what a
// version is called and when it came, not what it asks for, or are compared in a
// way of their own.
var apart = map[string]map[string]bool{
	"Job": set("ID", "TaskGroups", "Dispatched", "Status", "StatusDescription", "Stable", "Version", "SubmitTime",
		"CreateIndex", "ModifyIndex", "JobModifyIndex", "VersionTag", "NomadTokenID"),
	"TaskGroup":      set("Name", "Tasks"),
	"Task":           set("Name"),
	"UpdateStrategy": set("Stagger"), // paces nothing
	"ScalingPolicy":  set("ID", "Namespace", "Target", "CreateIndex", "ModifyIndex"),
}

// singular names the objects of a list, and those that the API calls otherwise
// than the field that holds them.
var singular = map[string]string{
	"Constraints": "Constraint", "Affinities": "Affinity", "Spreads": "Spread", "SpreadTarget": "SpreadTarget", "Services": "Service",
	"Checks": "Check", "Networks": "Network", "ReservedPorts": "Static Port", "DynamicPorts": "Dynamic Port",
	"Artifacts": "Artifact", "Templates": "Template", "Volumes": "Volume", "VolumeMounts": "VolumeMount",
	"Devices": "Device", "ScalingPolicies": "Scaling", "Secrets": "Secret", "Identities": "Identity", "Actions": "Action",
	"Regions": "Region", "Links": "Link", "Upstreams": "ConsulUpstreams",
}

// keys are the fields by which the objects of a list are known again when their
// content differs.
var keys = []string{"Name", "Label", "DestPath", "Volume", "DestinationName"}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// structOf is the struct that p points to; the zero Value for nil.
func structOf(p any) reflect.Value {
	v := reflect.ValueOf(p)
	if v.IsNil() {
		return reflect.Value{}
	}
	return v.Elem()
}

// eachField visits what a difference can be shown of.
func eachField(t reflect.Type, visit func(i int, name string, kind reflect.Type)) {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !apart[t.Name()][f.Name] {
			visit(i, f.Name, f.Type)
		}
	}
}

// scalar reports whether values of a type are shown as one text.
func scalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	case reflect.Pointer:
		return scalar(t.Elem())
	}
	return false
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func isTextMap(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && scalar(t.Elem())
}

// text shows a scalar; false when it is nil or an empty string.
func text(v reflect.Value) (string, bool) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", false
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), v.Len() > 0
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	}
	return fmt.Sprint(plain(v)), true
}

// plain is the number without the type that gives it another form, as durations
// have.
func plain(v reflect.Value) any {
	switch {
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return v.Uint()
	case v.CanFloat():
		return v.Float()
	}
	return v.Interface()
}

// flat is the scalars of a struct by name; those of its maps as Name[key].
func flat(v reflect.Value) map[string]string {
	if !v.IsValid() {
		return nil
	}
	m := make(map[string]string)
	eachField(v.Type(), func(i int, name string, t reflect.Type) {
		f := v.Field(i)
		switch {
		case scalar(t):
			if s, ok := text(f); ok {
				m[name] = s
			}
		case isBytes(t):
			if f.Len() > 0 {
				m[name] = base64.StdEncoding.EncodeToString(f.Bytes())
			}
		case isTextMap(t):
			for it := f.MapRange(); it.Next(); {
				s, _ := text(it.Value())
				m[name+"["+it.Key().String()+"]"] = s
			}
		}
	})
	return m
}

// fields compares the scalars of two structs; either may be the zero Value.
func fields(old, new reflect.Value) []*Field { return compareTexts(flat(old), flat(new)) }

func compareTexts(old, new map[string]string) []*Field {
	names := maps.Clone(old)
	if names == nil {
		names = make(map[string]string)
	}
	maps.Copy(names, new)
	var list []*Field
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := old[name]
		is, has := new[name]
		list = append(list, &Field{Type: typeOf(!had, !has, was != is), Name: name, Old: was, New: is})
	}
	return list
}

// objects compares the parts of two structs that have fields of their own, and
// lists those that differ.
func objects(old, new reflect.Value) []*Object {
	var t reflect.Type
	switch {
	case new.IsValid():
		t = new.Type()
	case old.IsValid():
		t = old.Type()
	default:
		return nil
	}
	var list []*Object
	eachField(t, func(i int, name string, ft reflect.Type) {
		if scalar(ft) || isBytes(ft) || isTextMap(ft) {
			return
		}
		list = append(list, compareParts(name, ft, fieldOf(old, i), fieldOf(new, i))...)
	})
	slices.SortStableFunc(list, func(a, b *Object) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return list
}

func fieldOf(v reflect.Value, i int) reflect.Value {
	if !v.IsValid() {
		return v
	}
	return v.Field(i)
}

// compareParts compares one field of two structs.
func compareParts(name string, t reflect.Type, old, new reflect.Value) []*Object {
	called := name
	if s, ok := singular[name]; ok {
		called = s
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Pointer:
		return some(compareObjects(called, present(old), present(new)))
	case reflect.Slice:
		if scalar(t.Elem()) {
			return some(compareLists(name, texts(old), texts(new)))
		}
		return compareSets(called, elements(old), elements(new))
	case reflect.Map:
		if e := t.Elem(); e.Kind() == reflect.Struct || e.Kind() == reflect.Pointer && e.Elem().Kind() == reflect.Struct {
			return compareNamed(called, old, new)
		}
	}
	return some(compareTrees(name, old, new))
}

func some(o *Object) []*Object {
	if o == nil {
		return nil
	}
	return []*Object{o}
}

// present is the struct in a field; the zero Value when there is none, or nothing
// in it.
func present(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return reflect.Value{}
		}
		return v.Elem()
	}
	if v.IsZero() {
		return reflect.Value{}
	}
	return v
}

// compareObjects is nil when nothing differs.
func compareObjects(name string, old, new reflect.Value) *Object {
	if !old.IsValid() && !new.IsValid() {
		return nil
	}
	o := &Object{Name: name, Fields: fields(old, new), Objects: objects(old, new)}
	return o.settled(!old.IsValid(), !new.IsValid())
}

// settled gives an object its type; nil when nothing differs.
func (o *Object) settled(noOld, noNew bool) *Object {
	differs := len(o.Objects) > 0 || slices.ContainsFunc(o.Fields, func(f *Field) bool { return f.Type != None })
	if o.Type = typeOf(noOld, noNew, differs); o.Type == None {
		return nil
	}
	return o
}

func texts(v reflect.Value) (list []string) {
	for _, e := range elements(v) {
		s, _ := text(e)
		list = append(list, s)
	}
	return list
}

func elements(v reflect.Value) (list []reflect.Value) {
	if !v.IsValid() {
		return nil
	}
	for i := range v.Len() {
		e := v.Index(i)
		if e.Kind() == reflect.Pointer {
			e = e.Elem()
		}
		list = append(list, e)
	}
	return list
}

// compareLists compares texts: what is in one list only, or, when the same stand
// in another order, what stands where.
func compareLists(name string, old, new []string) *Object {
	o := &Object{Name: name}
	left := make(map[string]int, len(old))
	for _, s := range old {
		left[s]++
	}
	gone := len(old)
	for _, s := range new {
		f := &Field{Type: Added, Name: name, New: s}
		if left[s] > 0 {
			left[s]--
			gone--
			f = &Field{Type: None, Name: name, Old: s, New: s}
		}
		o.Fields = append(o.Fields, f)
	}
	for _, s := range old {
		if left[s] > 0 {
			left[s]--
			o.Fields = append(o.Fields, &Field{Type: Deleted, Name: name, Old: s})
		}
	}
	if gone == 0 && len(old) == len(new) && !slices.Equal(old, new) {
		o.Fields = nil
		for i := range new {
			o.Fields = append(o.Fields, &Field{Type: typeOf(false, false, old[i] != new[i]), Name: name + "[" + strconv.Itoa(i) + "]", Old: old[i], New: new[i]})
		}
	}
	return o.settled(len(old) == 0 && len(new) > 0, len(new) == 0 && len(old) > 0)
}

// compareSets compares lists of structs: those that are in both are left out,
// then those of one key are compared, then what is the only one in both lists.
func compareSets(name string, old, new []reflect.Value) []*Object {
	old, new = withoutSame(old, new)
	var list []*Object
	put := func(a, b reflect.Value) { list = append(list, some(compareObjects(name, a, b))...) }
	if key := keyOf(old, new); key != "" {
		was := make(map[string]reflect.Value, len(old))
		for _, o := range old {
			was[keyText(o, key)] = o
		}
		for _, n := range new {
			put(was[keyText(n, key)], n)
			delete(was, keyText(n, key))
		}
		for _, o := range old {
			if _, left := was[keyText(o, key)]; left {
				put(o, reflect.Value{})
			}
		}
		return list
	}
	if len(old) == 1 && len(new) == 1 && paired[name] {
		put(old[0], new[0])
		return list
	}
	for _, n := range new {
		put(reflect.Value{}, n)
	}
	for _, o := range old {
		put(o, reflect.Value{})
	}
	return list
}

// paired are the lists that mostly hold one: it is edited rather than exchanged.
var paired = set("Network", "Artifact", "Template", "Check", "VolumeMount", "Scaling")

// withoutSame takes out of both lists what stands in both.
func withoutSame(old, new []reflect.Value) (left, rest []reflect.Value) {
	count := make(map[string]int, len(old))
	for _, o := range old {
		count[content(o)]++
	}
	for _, n := range new {
		if c := content(n); count[c] > 0 {
			count[c]--
		} else {
			rest = append(rest, n)
		}
	}
	for _, o := range old {
		if c := content(o); count[c] > 0 {
			count[c]--
			left = append(left, o)
		}
	}
	return left, rest
}

// content is the same for structs that say the same.
func content(v reflect.Value) string {
	data, err := event.Marshal(v.Interface())
	if err != nil {
		panic("jobdiff: encode a part of a job: " + err.Error())
	}
	return string(data)
}

// keyOf is the first of the key fields that tells the structs of each list apart.
func keyOf(old, new []reflect.Value) string {
	for _, key := range keys {
		if tells(old, key) && tells(new, key) {
			return key
		}
	}
	return ""
}

func tells(list []reflect.Value, key string) bool {
	seen := make(map[string]bool)
	for _, v := range list {
		name := keyText(v, key)
		if name == "" || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

func keyText(v reflect.Value, key string) string {
	if f := v.FieldByName(key); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// compareNamed compares maps of structs by their keys.
func compareNamed(name string, old, new reflect.Value) []*Object {
	names := make(map[string]bool)
	at := func(m reflect.Value, key string) reflect.Value {
		if !m.IsValid() {
			return m
		}
		v := m.MapIndex(reflect.ValueOf(key))
		if v.IsValid() && v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		return v
	}
	for _, m := range []reflect.Value{old, new} {
		if m.IsValid() {
			for _, key := range m.MapKeys() {
				names[key.String()] = true
			}
		}
	}
	var list []*Object
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if o := compareObjects(name, at(old, key), at(new, key)); o != nil {
			list = append(list, o)
		}
	}
	return list
}

// compareTrees compares what has no form known to us, such as the configuration
// of a driver.
func compareTrees(name string, old, new reflect.Value) *Object {
	was, is := make(map[string]string), make(map[string]string)
	flattenTree(was, "", old)
	flattenTree(is, "", new)
	o := &Object{Name: name, Fields: compareTexts(was, is)}
	return o.settled(len(was) == 0 && len(is) > 0, len(is) == 0 && len(was) > 0)
}

// flattenTree shows each leaf as path[index][key].
func flattenTree(into map[string]string, path string, v reflect.Value) {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		v = v.Elem()
	}
	if !v.IsValid() {
		if path != "" {
			into[path] = "null"
		}
		return
	}
	below := func(key string) string {
		if path == "" {
			return key
		}
		return path + "[" + key + "]"
	}
	switch {
	case isBytes(v.Type()):
		into[path] = base64.StdEncoding.EncodeToString(v.Bytes())
	case v.Kind() == reflect.Map:
		for it := v.MapRange(); it.Next(); {
			flattenTree(into, below(fmt.Sprint(it.Key().Interface())), it.Value())
		}
		if v.Len() == 0 && path != "" {
			into[path] = "{}"
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			flattenTree(into, below(strconv.Itoa(i)), v.Index(i))
		}
		if v.Len() == 0 && path != "" {
			into[path] = "[]"
		}
	default:
		into[path] = fmt.Sprint(plain(v))
	}
}
