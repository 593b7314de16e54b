package jobspec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// jsonDecoder turns the API's JSON into a tree by the tables. Names are matched in any case, unknown ones are left out,
// null is the same as absent, as old and new clients of the API expect.
type jsonDecoder struct {
	errs ValidationErrors
	kept bool     // a value was read that nothing acts on
	path []byte   // of the value being read
	keys []string // of the objects around it
}

func (d *jsonDecoder) fail(format string, args ...any) {
	d.errs = append(d.errs, FieldError{Path: string(d.path), Message: fmt.Sprintf(format, args...)})
}

// at extends the path, until back is given what it returns.
func (d *jsonDecoder) at(parts ...string) (before int) {
	before = len(d.path)
	for _, p := range parts {
		d.path = append(d.path, p...)
	}
	return before
}

func (d *jsonDecoder) back(before int) { d.path = d.path[:before] }

// readJSON reads the first JSON value of a text; what follows is ignored.
func readJSON(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return v, nil
}

// member finds an object's member by name: exactly, else in any case. Among several the first in byte order is taken,
// so that the outcome does not depend on map order.
func member(obj map[string]any, name string) (any, bool) {
	if v, ok := obj[name]; ok {
		return v, true
	}
	var keys []string
	for k := range obj {
		if strings.EqualFold(k, name) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, false
	}
	sort.Strings(keys)
	return obj[keys[0]], true
}

func (d *jsonDecoder) block(obj map[string]any, b *block) tree {
	t := make(tree, len(obj)+len(b.fills))
	first := len(d.keys)
	for k := range obj {
		d.keys = append(d.keys, k)
	}
	keys := d.keys[first:]
	slices.Sort(keys)
	for _, k := range keys {
		f := b.byJSON[k]
		if f == nil {
			if f = b.byFold[strings.ToLower(k)]; f == nil {
				continue
			}
			if _, exact := obj[f.json]; exact {
				continue
			}
		}
		if _, have := t[f.json]; have || obj[k] == nil {
			continue
		}
		before := d.at(f.json)
		if v := d.value(obj[k], f); v != nil {
			t[f.json] = v
			d.kept = d.kept || f.mayMatter(v)
		}
		d.back(before)
	}
	d.keys = d.keys[:first]
	return t
}

func (d *jsonDecoder) value(v any, f *field) any {
	switch f.kind {
	case kindString:
		if s, ok := v.(string); ok {
			return s
		}
		d.fail("a string is required")
	case kindBool:
		if b, ok := v.(bool); ok {
			return b
		}
		d.fail("true or false is required")
	case kindInt:
		if n, ok := jsonInteger(v, f.lo, f.hi); ok {
			return n
		}
		if f.hi == maxInt {
			d.fail("a whole number is required")
		} else {
			d.fail("a whole number from %d to %d is required", f.lo, f.hi)
		}
	case kindDuration:
		if n, ok := jsonInteger(v, math.MinInt64, math.MaxInt64); ok {
			return time.Duration(n)
		}
		d.fail("a duration in nanoseconds is required")
	case kindBytes:
		if s, ok := v.(string); ok {
			if data, err := base64.StdEncoding.DecodeString(s); err == nil {
				return data
			}
		}
		d.fail("base64 is required")
	case kindStrings:
		if list, ok := jsonStrings(v); ok {
			return list
		}
		d.fail("a list of strings is required")
	case kindInts:
		list, ok := v.([]any)
		for i := range list {
			n, isInt := jsonInteger(list[i], f.lo, f.hi)
			ok = ok && isInt
			list[i] = n
		}
		if ok {
			return list
		}
		d.fail("a list of whole numbers from %d to %d is required", f.lo, f.hi)
	case kindStringMap, kindStringsMap, kindOpaque:
		m, ok := v.(map[string]any)
		if !ok {
			d.fail("an object is required")
			return nil
		}
		return d.mapValue(m, f)
	case kindBlock:
		obj, ok := v.(map[string]any)
		if !ok {
			d.fail("an object is required")
			return nil
		}
		d.at(".")
		return d.block(obj, f.block)
	case kindBlocks:
		list, ok := v.([]any)
		if !ok {
			d.fail("a list of objects is required")
			return nil
		}
		blocks := make([]any, 0, len(list))
		for i, item := range list {
			before := d.at("[", strconv.Itoa(i), "]")
			if obj, ok := item.(map[string]any); ok {
				d.at(".")
				blocks = append(blocks, d.block(obj, f.block))
			} else {
				d.fail("an object is required")
			}
			d.back(before)
		}
		return blocks
	case kindBlockMap:
		m, ok := v.(map[string]any)
		if !ok {
			d.fail("an object is required")
			return nil
		}
		blocks := tree{}
		for _, k := range sortedKeys(m) {
			before := d.at("[", k, "]")
			if obj, ok := m[k].(map[string]any); ok {
				d.at(".")
				b := d.block(obj, f.block)
				if _, named := b[f.block.label]; !named {
					b[f.block.label] = k
				}
				blocks[k] = b
			} else {
				d.fail("an object is required")
			}
			d.back(before)
		}
		return blocks
	}
	return nil
}

func (d *jsonDecoder) mapValue(m map[string]any, f *field) any {
	out := make(map[string]any, len(m))
	for _, k := range sortedKeys(m) {
		before := d.at(".", k)
		switch f.kind {
		case kindStringMap:
			s, ok := m[k].(string)
			if !ok && m[k] != nil {
				d.fail("a string is required")
				break
			}
			out[k] = s
		case kindStringsMap:
			list, ok := jsonStrings(m[k])
			if !ok {
				d.fail("a list of strings is required")
				break
			}
			out[k] = list
		case kindOpaque:
			v, err := canonicalJSON(m[k])
			if err != nil {
				d.fail("%s", err)
				break
			}
			out[k] = v
		}
		d.back(before)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func jsonInteger(v any, lo, hi int64) (int64, bool) {
	num, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := num.Int64()
	if err != nil {
		x, err := num.Float64()
		if err != nil || x != math.Trunc(x) || math.Abs(x) > maxInt {
			return 0, false
		}
		n = int64(x)
	}
	return n, lo <= n && n <= hi
}

func jsonStrings(v any) ([]any, bool) {
	if v == nil { // a list in a map may be null: Go writes an empty one so
		return []any{}, true
	}
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	for _, item := range list {
		if _, ok := item.(string); !ok {
			return nil, false
		}
	}
	return list, true
}

// canonicalJSON replaces json.Number in opaque content by int64, or float64 where the number is not whole.
func canonicalJSON(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		x, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			return nil, fmt.Errorf("the number %s is too large", v)
		}
		return canonicalFloat(x), nil
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = canonicalJSON(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			var err error
			if m[k], err = canonicalJSON(v[k]); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return v, nil
}
