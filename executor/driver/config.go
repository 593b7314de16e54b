package driver

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Options reads a task's driver configuration. It remembers the first mistake and which options were asked for, so that
// a driver reads all it knows and then asks once for the error.
type Options struct {
	config map[string]any
	known  map[string]bool
	err    error
}

// OptionsOf reads config.
func OptionsOf(config map[string]any) *Options {
	return &Options{config: config, known: make(map[string]bool)}
}

func (o *Options) take(name string) (any, bool) {
	o.known[name] = true
	v, ok := o.config[name]
	return v, ok && v != nil
}

func (o *Options) fail(name, want string, got any) {
	if o.err == nil {
		o.err = fmt.Errorf("option %q must be %s, not %v", name, want, got)
	}
}

// String reads a text; numbers and booleans are taken as they are written.
func (o *Options) String(name string) string {
	v, ok := o.take(name)
	if !ok {
		return ""
	}
	s, ok := text(v)
	if !ok {
		o.fail(name, "a string", v)
	}
	return s
}

// Strings reads a list of texts.
func (o *Options) Strings(name string) []string {
	v, ok := o.take(name)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		o.fail(name, "a list of strings", v)
		return nil
	}
	var out []string
	for _, item := range list {
		s, ok := text(item)
		if !ok {
			o.fail(name, "a list of strings", v)
			return nil
		}
		out = append(out, s)
	}
	return out
}

// Int reads a whole number; set is false when the option is absent.
func (o *Options) Int(name string) (n int, set bool) {
	v, ok := o.take(name)
	if !ok {
		return 0, false
	}
	s, ok := text(v)
	n, err := strconv.Atoi(s)
	if !ok || err != nil {
		o.fail(name, "a whole number", v)
	}
	return n, true
}

// Ignore accepts options that are meaningful elsewhere.
func (o *Options) Ignore(names ...string) {
	for _, name := range names {
		o.known[name] = true
	}
}

// Err is the first mistake: an option of the wrong type, or one that was never asked for.
func (o *Options) Err() error {
	if err := o.check(""); err != nil {
		return Invalid{err}
	}
	return nil
}

// check is the first mistake; prefix is the name of the block.
func (o *Options) check(prefix string) error {
	if o.err != nil {
		return o.err
	}
	unknown := ""
	for name := range o.config {
		if !o.known[name] && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	if unknown != "" {
		return fmt.Errorf("option %q is not known", prefix+unknown)
	}
	return nil
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case json.Number:
		return v.String(), true
	}
	return "", false
}
