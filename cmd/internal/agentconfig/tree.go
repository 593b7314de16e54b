package agentconfig

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tree is one layer of configuration, or several merged: values by key.
type tree map[string]value

// value is what one key was set to; the key's kind says which field counts.
type value struct {
	text  string
	on    bool          // boolean
	num   float64       // number, fraction
	dur   time.Duration // duration
	bytes int64         // size
	list  []string      // list, appended
	table map[string]string
	tree  tree            // section
	named map[string]tree // named
	raw   node            // opaque
}

// keyError is a mistake in one key's value.
type keyError struct {
	path string // "server.heartbeat_grace"
	line int
	msg  string
}

func (e *keyError) Error() string { return fmt.Sprintf("line %d: %s %s", e.line, e.path, e.msg) }

// decode reads a block by its table of keys. prefix is the block's name with a
// dot, or "" for the file itself.
func decode(n node, keys []entry, prefix string) (tree, error) {
	t := tree{}
	var unexpected []string
	for _, f := range n.fields {
		e, ok := lookup(keys, f.name)
		if !ok {
			hint := fmt.Sprintf("line %d", f.line)
			if near := nearest(f.name, keys); near != "" {
				hint += fmt.Sprintf("; did you mean %q?", near)
			}
			unexpected = append(unexpected, fmt.Sprintf("%s (%s)", f.name, hint))
			continue
		}
		v, err := decodeValue(f.val, e, prefix+f.name)
		if err != nil {
			return nil, err
		}
		if earlier, ok := t[e.name]; ok {
			v = mergeValue(e, earlier, v)
		}
		t[e.name] = v
	}
	if len(unexpected) > 0 {
		where := ""
		if prefix != "" {
			where = strings.TrimSuffix(prefix, ".") + " "
		}
		return nil, fmt.Errorf("%sunexpected keys %s", where, strings.Join(unexpected, ", "))
	}
	return t, nil
}

func decodeValue(n node, e entry, path string) (value, error) {
	wrong := func(format string, args ...any) (value, error) {
		return value{}, &keyError{path: path, line: n.line, msg: fmt.Sprintf(format, args...)}
	}
	switch e.kind {
	case opaque:
		return value{raw: n}, nil
	case section:
		blocks, ok := n.objects()
		if !ok {
			return wrong("must be a block")
		}
		merged := tree{}
		for _, b := range blocks {
			t, err := decode(b, e.sub, path+".")
			if err != nil {
				return value{}, err
			}
			merged = merge(e.sub, merged, t)
		}
		return value{tree: merged}, nil
	case named:
		blocks, ok := n.objects()
		if !ok {
			return wrong("must be a block with a label")
		}
		all := map[string]tree{}
		for _, b := range blocks {
			for _, f := range b.fields {
				if !isBlock(f.val) {
					return wrong("must be a block with a label")
				}
				bodies, _ := f.val.objects()
				for _, body := range bodies {
					t, err := decode(body, e.sub, fmt.Sprintf("%s[%q].", path, f.name))
					if err != nil {
						return value{}, err
					}
					all[f.name] = merge(e.sub, all[f.name], t)
				}
			}
		}
		return value{named: all}, nil
	case table:
		blocks, ok := n.objects()
		if !ok {
			return wrong("must be a block of strings")
		}
		all := map[string]string{}
		for _, b := range blocks {
			for _, f := range b.fields {
				if f.val.literal == nil {
					return wrong("has the key %q, whose value is not a string", f.name)
				}
				all[f.name] = *f.val.literal
			}
		}
		return value{table: all}, nil
	case list, appended:
		elements := n.list
		if n.literal != nil {
			elements = []node{n}
		} else if n.list == nil {
			return wrong("must be a list of strings")
		}
		texts := make([]string, 0, len(elements))
		for _, element := range elements {
			if element.literal == nil {
				return wrong("must be a list of strings")
			}
			texts = append(texts, *element.literal)
		}
		return value{list: texts}, nil
	}
	if n.literal == nil {
		return wrong("must be a single value")
	}
	v, err := scalar(e.kind, *n.literal)
	if err != nil {
		return wrong("%v", err)
	}
	return v, nil
}

func isBlock(n node) bool {
	_, ok := n.objects()
	return ok
}

// scalar reads the text of a single value. Numbers and booleans may stand in
// quotes.
func scalar(k kind, s string) (value, error) {
	if s == "" && (k == duration || k == size) {
		return value{}, nil // not set
	}
	switch k {
	case text:
		return value{text: s}, nil
	case boolean:
		on, err := strconv.ParseBool(s)
		if err != nil {
			return value{}, fmt.Errorf("must be true or false, not %q", s)
		}
		return value{on: on}, nil
	case number:
		n, err := strconv.ParseInt(s, 0, 53)
		if err != nil {
			return value{}, fmt.Errorf("must be a whole number, not %q", s)
		}
		return value{num: float64(n)}, nil
	case fraction:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return value{}, fmt.Errorf("must be a number, not %q", s)
		}
		return value{num: n}, nil
	case duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return value{}, fmt.Errorf("can't parse time duration %s", s)
		}
		return value{dur: d}, nil
	case size:
		n, err := parseSize(s)
		if err != nil {
			return value{}, err
		}
		return value{bytes: n}, nil
	}
	panic(fmt.Sprintf("agentconfig: kind %d is no scalar", k))
}

// parseSize reads bytes with an optional unit: K, M, G and T count in thousands
// (with or without a B), KiB, MiB, GiB and TiB in 1024s.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.ToLower(strings.TrimSpace(s[len(digits):]))
	factors := map[string]int64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}
	factor, ok := factors[unit]
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || !ok || n < 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("must be a size such as \"1M\" or \"100GB\", not %q", s)
	}
	return n * factor, nil
}

// merge lays over over base. Neither is changed.
func merge(keys []entry, base, over tree) tree {
	merged := maps.Clone(base)
	if merged == nil {
		merged = tree{}
	}
	for name, v := range over {
		e, ok := lookup(keys, name)
		if !ok {
			panic("agentconfig: unknown key in a layer: " + name)
		}
		if earlier, set := merged[name]; set {
			v = mergeValue(e, earlier, v)
		}
		merged[name] = v
	}
	return merged
}

func mergeValue(e entry, base, over value) value {
	switch e.kind {
	case text:
		if over.text == "" {
			return base
		}
	case boolean:
		if !e.free && base.on {
			return base
		}
	case number, fraction:
		if over.num == 0 {
			return base
		}
	case duration:
		if over.dur == 0 {
			return base
		}
	case size:
		if over.bytes == 0 {
			return base
		}
	case list:
		if len(over.list) == 0 {
			return base
		}
	case appended:
		return value{list: slices.Concat(base.list, over.list)}
	case table:
		all := maps.Clone(base.table)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, over.table)
		return value{table: all}
	case opaque:
		below, ok := base.raw.objects()
		above, also := over.raw.objects()
		if ok && also {
			joined := node{line: over.raw.line, object: true}
			for _, b := range slices.Concat(below, above) {
				joined.fields = append(joined.fields, b.fields...)
			}
			return value{raw: joined}
		}
	case section:
		return value{tree: merge(e.sub, base.tree, over.tree)}
	case named:
		all := maps.Clone(base.named)
		if all == nil {
			all = map[string]tree{}
		}
		for label, t := range over.named {
			all[label] = merge(e.sub, all[label], t)
		}
		return value{named: all}
	}
	return over
}

// idle lists the keys of a layer that nothing acts on, sorted.
func idle(keys []entry, t tree, prefix string) []string {
	var names []string
	for name, v := range t {
		e, _ := lookup(keys, name)
		path := prefix + name
		switch {
		case e.kind == section:
			names = append(names, idle(e.sub, v.tree, path+".")...)
		case e.kind == named:
			for label, body := range v.named {
				if prefix == "" && name == "plugin" && drivers[label] != nil {
					continue // build looks at it key by key
				}
				names = append(names, idle(e.sub, body, fmt.Sprintf("%s[%q].", path, label))...)
			}
		case !e.acts:
			names = append(names, path)
		}
	}
	slices.Sort(names)
	return names
}

// The getters read a merged tree; path leads through sections. A key that no
// layer set gives the zero value.

func (t tree) get(path ...string) value {
	for _, name := range path[:len(path)-1] {
		t = t[name].tree
	}
	return t[path[len(path)-1]]
}

func (t tree) text(path ...string) string            { return t.get(path...).text }
func (t tree) on(path ...string) bool                { return t.get(path...).on }
func (t tree) int(path ...string) int                { return int(t.get(path...).num) }
func (t tree) duration(path ...string) time.Duration { return t.get(path...).dur }
func (t tree) bytes(path ...string) int64            { return t.get(path...).bytes }
func (t tree) fraction(path ...string) float64       { return t.get(path...).num }
func (t tree) list(path ...string) []string          { return t.get(path...).list }
func (t tree) table(path ...string) map[string]string {
	return t.get(path...).table
}
