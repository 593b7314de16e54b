package jobspec

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"drover/eventlog/event"
)

// buildJob makes the job that a canonical tree describes. Tree and struct have the same names, and the tables hold
// every value within its type's bounds (a test compares them), so nothing can fail here but a bug.
func buildJob(t tree) *event.Job {
	job := &event.Job{}
	build(reflect.ValueOf(job).Elem(), t)
	return job
}

func build(dst reflect.Value, v any) {
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		build(dst.Elem(), v)
		return
	}
	switch v := v.(type) {
	case string:
		dst.SetString(v)
	case bool:
		dst.SetBool(v)
	case time.Duration:
		dst.SetInt(int64(v))
	case int64:
		if dst.CanUint() {
			dst.SetUint(uint64(v))
		} else {
			dst.SetInt(v)
		}
	case []byte:
		if len(v) > 0 {
			dst.SetBytes(v)
		}
	case []any:
		if len(v) == 0 { // empty and absent are the same, and have one form
			return
		}
		list := reflect.MakeSlice(dst.Type(), len(v), len(v))
		for i := range v {
			build(list.Index(i), v[i])
		}
		dst.Set(list)
	case map[string]any:
		buildMap(dst, v)
	default:
		panic(fmt.Sprintf("jobspec: a tree holds %T", v))
	}
}

func buildMap(dst reflect.Value, v map[string]any) {
	if dst.Kind() == reflect.Struct {
		names := fieldNames(dst.Type())
		for k, value := range v {
			i, ok := names[k]
			if !ok {
				panic(fmt.Sprintf("jobspec: %s has no field %s", dst.Type(), k))
			}
			build(dst.Field(i), value)
		}
		return
	}
	if len(v) == 0 {
		return
	}
	if dst.Type() == reflect.TypeFor[map[string]any]() {
		dst.Set(reflect.ValueOf(v))
		return
	}
	m := reflect.MakeMapWithSize(dst.Type(), len(v))
	for k, value := range v {
		elem := reflect.New(dst.Type().Elem()).Elem()
		build(elem, value)
		m.SetMapIndex(reflect.ValueOf(k), elem)
	}
	dst.Set(m)
}

var fieldNameCache sync.Map // reflect.Type to map[string]int

func fieldNames(t reflect.Type) map[string]int {
	if m, ok := fieldNameCache.Load(t); ok {
		return m.(map[string]int)
	}
	m := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		m[t.Field(i).Name] = i
	}
	fieldNameCache.Store(t, m)
	return m
}
