package jobspec

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// What is written but acted on by nothing yet is kept and named, so that nobody waits for an effect that cannot come.

// writtenKept lists the dotted paths of such fields in a tree that holds only what an author wrote.
func writtenKept(t tree, b *block, path string) []string {
	var paths []string
	b.walkWritten(t, path, func(at string) {
		if !slices.Contains(paths, at) {
			paths = append(paths, at)
		}
	})
	return paths
}

// walkWritten calls visit for every outermost field that is written and not acted on.
func (b *block) walkWritten(t tree, path string, visit func(at string)) {
	for i := range b.fields {
		f := &b.fields[i]
		v, ok := t[f.json]
		if !ok || f.kind != kindBool && f.kind != kindInt && isEmpty(v) && !f.kind.isBlock() {
			continue
		}
		at := f.path(path, "")
		switch {
		case !f.acts:
			if f.mayMatter(v) {
				visit(at)
			}
		case f.kind == kindBlock:
			f.block.walkWritten(v.(tree), at, visit)
		case f.kind == kindBlocks:
			for _, item := range v.([]any) {
				item := item.(tree)
				f.block.walkWritten(item, f.path(path, text(item, f.block.label)), visit)
			}
		}
	}
}

func (f *field) path(outer, label string) string {
	name := f.hcl
	if name == "" {
		switch name = f.json; name {
		case "ReservedPorts", "DynamicPorts":
			name = "port"
		case "Identity", "Identities":
			name = "identity"
		}
	}
	at := outer + "." + name
	if label != "" {
		at += "." + label
	}
	return at
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// changedKept lists those of them that make a difference: API clients write every default, and a default asks for
// nothing. It compares full, the canonical job, with the one that would result had they not been written.
func changedKept(written, full tree) []string {
	bare := jobBlock.acted(written)
	canonicalize(bare)
	var paths []string
	jobBlock.compareKept(written, full, bare, "job", &paths)
	return paths
}

// acted copies a block without the fields that nothing acts on.
func (b *block) acted(t tree) tree {
	c := make(tree, len(t)+len(b.fills))
	for k, v := range t {
		f := b.byJSON[k]
		switch {
		case !f.acts:
			continue
		case f.kind == kindBlock:
			v = f.block.acted(v.(tree))
		case f.kind == kindBlocks:
			items := v.([]any)
			list := make([]any, len(items))
			for i, item := range items {
				list[i] = f.block.acted(item.(tree))
			}
			v = list
		}
		c[k] = v
	}
	return c
}

func (b *block) compareKept(written, full, bare tree, path string, paths *[]string) {
	for i := range b.fields {
		f := &b.fields[i]
		v, ok := written[f.json]
		if !ok {
			continue
		}
		switch {
		case !f.acts:
			if !f.mayMatter(v) || sameOrAbsent(full[f.json], bare[f.json]) {
				continue
			}
			if at := f.path(path, ""); !slices.Contains(*paths, at) {
				*paths = append(*paths, at)
			}
		case f.kind == kindBlock:
			f.block.compareKept(v.(tree), full[f.json].(tree), bare[f.json].(tree), f.path(path, ""), paths)
		case f.kind == kindBlocks:
			for i, item := range v.([]any) {
				item := item.(tree)
				f.block.compareKept(item, full[f.json].([]any)[i].(tree), bare[f.json].([]any)[i].(tree),
					f.path(path, text(item, f.block.label)), paths)
			}
		}
	}
}

// sameOrAbsent takes the zero value and absence for the same, as they are in a job.
func sameOrAbsent(a, b any) bool {
	return isZero(a) && isZero(b) || reflect.DeepEqual(a, b)
}

func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case int64:
		return v == 0
	case time.Duration:
		return v == 0
	case []byte:
		return v == nil
	}
	return isEmpty(v)
}

// mayMatter tells whether a value of the field is one that nothing acts on.
func (f *field) mayMatter(v any) bool { return !f.acts && !slices.Contains(f.actsOn, v) }

func cloneTree(t tree) tree {
	c := make(tree, len(t))
	for k, v := range t {
		c[k] = cloneValue(v)
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return cloneTree(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = cloneValue(v[i])
		}
		return list
	}
	return v
}

func keptWarning(paths []string) []string {
	if len(paths) == 0 {
		return nil
	}
	return []string{"kept with the job, but nothing acts on it yet: " + strings.Join(paths, ", ")}
}
