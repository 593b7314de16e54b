package jobspec

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"drover/eventlog/event"
)

// Fields of a job that nobody outside may set.
var setByServer = []string{
	"Job.DispatchIdempotencyToken", "Job.NomadTokenID", "Job.Status", "Job.StatusDescription", "Job.Stable", "Job.Version",
	"Job.SubmitTime", "Job.CreateIndex", "Job.ModifyIndex", "Job.JobModifyIndex", "Job.VersionTag",
	"ScalingPolicy.CreateIndex", "ScalingPolicy.ModifyIndex",
}

// The tables and the structs say the same: each field of a job is in a table, with a type whose values fit.
func TestTablesMatchTheJob(t *testing.T) {
	compareTable(t, jobBlock, reflect.TypeFor[event.Job](), map[string]bool{})
	compareTable(t, registerBlock.byJSON["Submission"].block, reflect.TypeFor[event.JobSubmission](), map[string]bool{})
}

func compareTable(t *testing.T, b *block, typ reflect.Type, seen map[string]bool) {
	if key := fmt.Sprintf("%p %s", b, typ); seen[key] {
		return
	} else {
		seen[key] = true
	}
	for i := range typ.NumField() {
		sf := typ.Field(i)
		name := typ.Name() + "." + sf.Name
		f := b.byJSON[sf.Name]
		if slices.Contains(setByServer, name) {
			if f != nil {
				t.Errorf("%s is the server's, and in the table", name)
			}
			continue
		}
		if f == nil {
			t.Errorf("%s is not in table %s", name, b.name)
			continue
		}
		compareField(t, f, name, sf.Type, seen)
	}
	for name, f := range b.byJSON {
		if _, ok := typ.FieldByName(name); !ok {
			t.Errorf("table %s has %s, %s has not", b.name, name, typ.Name())
		}
		if f.hcl == "" && f.json == "" {
			t.Errorf("table %s has a field without names", b.name)
		}
	}
}

func compareField(t *testing.T, f *field, name string, typ reflect.Type, seen map[string]bool) {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	wrong := func() {
		t.Errorf("%s is %s, which does not take kind %d with bounds %d, %d", name, typ, f.kind, f.lo, f.hi)
	}
	fits := func(typ reflect.Type) bool {
		v := reflect.New(typ).Elem()
		return v.CanInt() && !v.OverflowInt(f.lo) && !v.OverflowInt(f.hi) ||
			v.CanUint() && f.lo >= 0 && !v.OverflowUint(uint64(f.hi))
	}
	switch f.kind {
	case kindString:
		if typ.Kind() != reflect.String {
			wrong()
		}
	case kindBool:
		if typ.Kind() != reflect.Bool {
			wrong()
		}
	case kindInt:
		if typ == reflect.TypeFor[time.Duration]() || !fits(typ) {
			wrong()
		}
	case kindDuration:
		if typ != reflect.TypeFor[time.Duration]() {
			wrong()
		}
	case kindStrings:
		if typ != reflect.TypeFor[[]string]() {
			wrong()
		}
	case kindInts:
		if typ.Kind() != reflect.Slice || !fits(typ.Elem()) {
			wrong()
		}
	case kindBytes:
		if typ != reflect.TypeFor[[]byte]() {
			wrong()
		}
	case kindStringMap:
		if typ != reflect.TypeFor[map[string]string]() {
			wrong()
		}
	case kindStringsMap:
		if typ != reflect.TypeFor[map[string][]string]() {
			wrong()
		}
	case kindOpaque:
		if typ != reflect.TypeFor[map[string]any]() {
			wrong()
		}
	case kindBlock:
		if typ.Kind() != reflect.Struct {
			wrong()
			return
		}
		compareTable(t, f.block, typ, seen)
	case kindBlocks, kindBlockMap:
		if typ.Kind() != reflect.Slice && f.kind == kindBlocks || typ.Kind() != reflect.Map && f.kind == kindBlockMap {
			wrong()
			return
		}
		elem := typ.Elem()
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		compareTable(t, f.block, elem, seen)
	default:
		wrong()
	}
}

// Canonical jobs share the defaults that depend on the type, so nothing may fill them in or take a value for absent.
func TestSharedDefaultsStayAsTheyAre(t *testing.T) {
	for _, b := range []*block{restartBlock, rescheduleBlock, updateBlock, migrateBlock} {
		if len(b.fills) > 0 {
			t.Errorf("a default in the table %s would be written into those that jobs share", b.name)
		}
		for _, f := range b.fields {
			if f.kind > kindDuration {
				t.Errorf("%s in the table %s is no plain value", f.json, b.name)
			}
		}
	}
	shared := []tree{updateDefaults, migrateDefaults}
	for _, byType := range []map[string]tree{restartDefaults, rescheduleDefaults} {
		for _, defaults := range byType {
			shared = append(shared, defaults)
		}
	}
	for _, defaults := range shared {
		for name, v := range defaults {
			if v == "" {
				t.Errorf("the default of %s is an empty string", name)
			}
		}
	}
}
