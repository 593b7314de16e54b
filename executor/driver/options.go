package driver

import (
	"maps"
	"slices"
	"strconv"
)

// Bool reads a switch; absent is false.
func (o *Options) Bool(name string) bool {
	v, ok := o.take(name)
	if !ok {
		return false
	}
	s, ok := text(v)
	on, err := strconv.ParseBool(s)
	if !ok || err != nil {
		o.fail(name, "true or false", v)
	}
	return on
}

// Map reads names with texts. Job files write it as a map or as any number of blocks.
func (o *Options) Map(name string) map[string]string {
	out := map[string]string{}
	for _, block := range o.objects(name) {
		for _, key := range slices.Sorted(maps.Keys(block)) {
			s, ok := text(block[key])
			if !ok {
				o.fail(name+"."+key, "a string", block[key])
				return nil
			}
			out[key] = s
		}
	}
	return out
}

// Blocks reads any number of blocks, each with options of its own; what is wrong inside one of them is o's mistake too.
func (o *Options) Blocks(name string, read func(*Options)) {
	for _, block := range o.objects(name) {
		inner := OptionsOf(block)
		read(inner)
		if err := inner.check(name + "."); err != nil && o.err == nil {
			o.err = err
		}
	}
}

// objects takes one object or a list of them.
func (o *Options) objects(name string) []map[string]any {
	v, ok := o.take(name)
	if !ok {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []map[string]any:
		return v
	case []any:
		out := make([]map[string]any, 0, len(v))
		for _, item := range v {
			block, ok := item.(map[string]any)
			if !ok {
				o.fail(name, "a block", item)
				return nil
			}
			out = append(out, block)
		}
		return out
	}
	o.fail(name, "a block", v)
	return nil
}
