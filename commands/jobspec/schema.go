package jobspec

import (
	"strings"
	"time"
)

// kind is the type of a field's value.
type kind uint8

const (
	kindString     kind = iota + 1
	kindInt             // within lo and hi
	kindBool            //
	kindDuration        // "1h30m" or nanoseconds in a file, nanoseconds in JSON
	kindStrings         // list of strings
	kindInts            // list of integers within lo and hi
	kindBytes           // base64 in JSON; never in a file
	kindStringMap       // block or attribute with string values
	kindStringsMap      // block or attribute with lists of strings
	kindOpaque          // block or attribute with any content
	kindBlock           // at most one block
	kindBlocks          // any number of blocks
	kindBlockMap        // blocks by label
)

func (k kind) isBlock() bool { return k == kindBlock || k == kindBlocks || k == kindBlockMap }

// isMap tells the kinds that may be written both as a block and as an attribute.
func (k kind) isMap() bool { return k == kindStringMap || k == kindStringsMap || k == kindOpaque }

// field is one row of the table: something an author may write.
type field struct {
	hcl      string // name in a job file; "" exists in JSON only
	json     string // name in the API; one that starts with "$" is a shorthand, gone after the block's after function
	kind     kind
	block    *block // content of the block kinds
	def      any    // value when absent; nil leaves it absent
	always   bool   // a block that exists, with its defaults, even when absent
	required bool   // must be written in a file
	old      string // accepted and left out, with a warning that says this
	acts     bool   // something in Drover acts on it today
	actsOn   []any  // values that are acted on, of a field that otherwise is only kept
	lo, hi   int64  // bounds of an integer's type
}

// block is one table: everything that may be written inside one block.
type block struct {
	name   string
	label  string            // field that the block's label fills; "" has no label
	fields []field           //
	hints  map[string]string // names that people try, and what to write instead

	// after brings what is written in file-only shorthand into the API's form.
	after func(d *decoder, t tree)

	byHCL  map[string]*field
	byJSON map[string]*field
	byFold map[string]*field // by lower-case API name
	fills  []*field          // with a default, or with one in their blocks
}

// tree is a job, or a part of it, with the API's names: only what is written, until defaults are filled. Values are
// string, int64, bool, time.Duration, []byte, []any, map[string]any (opaque content and maps) and tree (blocks).
type tree = map[string]any

func (b *block) seal() *block {
	b.byHCL, b.byJSON, b.byFold = map[string]*field{}, map[string]*field{}, map[string]*field{}
	for i := range b.fields {
		f := &b.fields[i]
		if f.hcl != "" {
			b.byHCL[f.hcl] = f
		}
		if !strings.HasPrefix(f.json, "$") {
			b.byJSON[f.json] = f
			b.byFold[strings.ToLower(f.json)] = f
		}
		if f.def != nil || f.always || f.block != nil && len(f.block.fills) > 0 {
			b.fills = append(b.fills, f)
		}
	}
	return b
}

func table(name string, fields ...field) *block {
	return (&block{name: name, fields: fields}).seal()
}

func (b *block) labelled(json string) *block { b.label = json; return b }

func (b *block) then(f func(d *decoder, t tree)) *block { b.after = f; return b }

// acting marks every field of a block as acted on.
func (b *block) acting() *block {
	for i := range b.fields {
		b.fields[i].acts = true
	}
	return b
}

func (b *block) hint(pairs ...string) *block {
	b.hints = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		b.hints[pairs[i]] = pairs[i+1]
	}
	return b
}

const (
	maxInt    = 1<<53 - 1 // exact in every JSON reader
	maxUint32 = 1<<32 - 1
)

func str(hcl, json string) field   { return field{hcl: hcl, json: json, kind: kindString} }
func flag(hcl, json string) field  { return field{hcl: hcl, json: json, kind: kindBool} }
func dur(hcl, json string) field   { return field{hcl: hcl, json: json, kind: kindDuration} }
func strs(hcl, json string) field  { return field{hcl: hcl, json: json, kind: kindStrings} }
func strMap(h, json string) field  { return field{hcl: h, json: json, kind: kindStringMap} }
func strsMap(h, json string) field { return field{hcl: h, json: json, kind: kindStringsMap} }
func opaque(h, json string) field  { return field{hcl: h, json: json, kind: kindOpaque} }
func num(hcl, json string) field {
	return field{hcl: hcl, json: json, kind: kindInt, lo: -maxInt, hi: maxInt}
}
func one(hcl, json string, b *block) field {
	return field{hcl: hcl, json: json, kind: kindBlock, block: b}
}
func many(hcl, json string, b *block) field {
	return field{hcl: hcl, json: json, kind: kindBlocks, block: b}
}
func mapped(hcl, json string, b *block) field {
	return field{hcl: hcl, json: json, kind: kindBlockMap, block: b}
}

func (f field) dflt(v any) field {
	switch x := v.(type) {
	case int:
		v = int64(x)
	case []string:
		list := make([]any, len(x))
		for i := range x {
			list[i] = x[i]
		}
		v = list
	case string, bool, int64, time.Duration:
	default:
		panic("jobspec: default of an unknown type for " + f.hcl)
	}
	f.def = v
	return f
}

func (f field) was(hint string) field     { f.old = hint; return f }
func (f field) ever() field               { f.always = true; return f }
func (f field) need() field               { f.required = true; return f }
func (f field) act() field                { f.acts = true; return f }
func (f field) actFor(v ...any) field     { f.actsOn = v; return f }
func (f field) within(lo, hi int64) field { f.lo, f.hi = lo, hi; return f }
