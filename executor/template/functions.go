package template

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig/v3"
	sockaddr "github.com/hashicorp/go-sockaddr/template"
	"go.yaml.in/yaml/v3"
)

// remote are the functions that ask another service, which is why they cannot be answered here.
var remote = map[string]string{
	"caLeaf": "Consul", "caRoots": "Consul", "connect": "Consul", "datacenters": "Consul", "exportedServices": "Consul", "key": "Consul",
	"keyExists": "Consul", "keyOrDefault": "Consul", "ls": "Consul", "node": "Consul", "nodes": "Consul", "partitions": "Consul",
	"peerings": "Consul", "safeLs": "Consul", "safeTree": "Consul", "service": "Consul", "services": "Consul", "tree": "Consul",
	"byKey": "Consul", "byMeta": "Consul", "byPort": "Consul", "byTag": "Consul", "explode": "Consul",
	"pkiCert": "Vault", "secret": "Vault", "secrets": "Vault",
	"nomadService": "service discovery", "nomadServices": "service discovery",
	"nomadVar": "variables", "nomadVarExists": "variables", "nomadVarList": "variables", "nomadVarListSafe": "variables",
}

// denied are functions that would lead out of the task's own world.
var denied = []string{"executeTemplate", "plugin", "writeToFile"}

// functions are all that a template may call.
func functions(s Source) template.FuncMap {
	all := template.FuncMap{}
	for name, f := range sprig.TxtFuncMap() {
		all["sprig_"+name] = f
	}
	delete(all, "sprig_env") // the agent's, not the task's
	delete(all, "sprig_expandenv")
	for name, service := range remote {
		all[name] = func(...any) (any, error) {
			return nil, fmt.Errorf("it needs %s, which this version of drover does not offer", service)
		}
	}
	for _, name := range denied {
		all[name] = func(...any) (any, error) { return nil, fmt.Errorf("it is not allowed") }
	}
	for name, f := range pureFunctions {
		all[name] = f
	}
	all["env"] = func(name string) string { v, _ := s.Env(name); return v }
	all["mustEnv"] = func(name string) (string, error) {
		v, ok := s.Env(name)
		if !ok {
			return "", fmt.Errorf("the task has no variable %q", name)
		}
		return v, nil
	}
	all["envOrDefault"] = func(name, otherwise string) string {
		if v, ok := s.Env(name); ok {
			return v
		}
		return otherwise
	}
	all["file"] = func(path string) (string, error) {
		b, err := s.File(path)
		return string(b), err
	}
	scratch := &Scratch{values: map[string]any{}}
	all["scratch"] = func() *Scratch { return scratch }
	all["timestamp"] = func(layout ...string) string {
		now := time.Now().UTC()
		switch {
		case len(layout) == 0:
			return now.Format(time.RFC3339)
		case layout[0] == "unix":
			return strconv.FormatInt(now.Unix(), 10)
		}
		return now.Format(layout[0])
	}
	return all
}

// Scratch is what a template keeps while it is rendered.
type Scratch struct{ values map[string]any }

// Key reports whether there is a value of that name.
func (s *Scratch) Key(k string) bool { _, ok := s.values[k]; return ok }

// Get is the value of that name, or nil.
func (s *Scratch) Get(k string) any { return s.values[k] }

// Set keeps a value. It is "", so that nothing appears where it is called.
func (s *Scratch) Set(k string, v any) string { s.values[k] = v; return "" }

// SetX keeps a value if there is none.
func (s *Scratch) SetX(k string, v any) string {
	if !s.Key(k) {
		s.values[k] = v
	}
	return ""
}

// MapSet keeps a value in a map of that name.
func (s *Scratch) MapSet(k, mk string, v any) (string, error) {
	m, err := s.mapOf(k)
	if err == nil {
		m[mk] = v
	}
	return "", err
}

// MapSetX keeps a value in a map of that name if there is none.
func (s *Scratch) MapSetX(k, mk string, v any) (string, error) {
	m, err := s.mapOf(k)
	if err == nil {
		if _, ok := m[mk]; !ok {
			m[mk] = v
		}
	}
	return "", err
}

// MapValues are the values of the map of that name, in the order of their keys.
func (s *Scratch) MapValues(k string) ([]any, error) {
	m, err := s.mapOf(k)
	if err != nil {
		return nil, err
	}
	values := []any{}
	for _, key := range sortedKeys(m) {
		values = append(values, m[key])
	}
	return values, nil
}

func (s *Scratch) mapOf(k string) (map[string]any, error) {
	if !s.Key(k) {
		s.values[k] = map[string]any{}
	}
	m, ok := s.values[k].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("scratch: %q is not a map", k)
	}
	return m, nil
}

// pureFunctions depend on their arguments alone. The value that is worked on comes last, so that it can be piped.
var pureFunctions = template.FuncMap{
	"base64Decode": func(s string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(s)
		return string(b), err
	},
	"base64Encode": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64URLDecode": func(s string) (string, error) {
		b, err := base64.URLEncoding.DecodeString(s)
		return string(b), err
	},
	"base64URLEncode": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },

	"parseBool": func(s string) (bool, error) {
		if s == "" {
			return false, nil
		}
		return strconv.ParseBool(s)
	},
	"parseFloat": func(s string) (float64, error) {
		if s == "" {
			return 0, nil
		}
		return strconv.ParseFloat(s, 64)
	},
	"parseInt": func(s string) (int64, error) {
		if s == "" {
			return 0, nil
		}
		return strconv.ParseInt(s, 10, 64)
	},
	"parseUint": func(s string) (uint64, error) {
		if s == "" {
			return 0, nil
		}
		return strconv.ParseUint(s, 10, 64)
	},
	"parseJSON": func(s string) (any, error) {
		if s == "" {
			return map[string]any{}, nil
		}
		var v any
		err := json.Unmarshal([]byte(s), &v)
		return v, err
	},
	"parseYAML": func(s string) (any, error) {
		if s == "" {
			return map[string]any{}, nil
		}
		var v any
		err := yaml.Unmarshal([]byte(s), &v)
		return v, err
	},
	"toJSON":                func(v any) (string, error) { return toJSON(v, "", true) },
	"toJSONPretty":          func(v any) (string, error) { return toJSON(v, "  ", true) },
	"toUnescapedJSON":       func(v any) (string, error) { return toJSON(v, "", false) },
	"toUnescapedJSONPretty": func(v any) (string, error) { return toJSON(v, "  ", false) },
	"toTOML": func(v map[string]any) (string, error) {
		b, err := toml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	},
	"toYAML": func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	},

	"join":       func(sep string, parts []string) string { return strings.Join(parts, sep) },
	"replaceAll": func(from, to, s string) string { return strings.ReplaceAll(s, from, to) },
	"regexReplaceAll": func(re, to, s string) (string, error) {
		r, err := regexp.Compile(re)
		if err != nil {
			return "", err
		}
		return r.ReplaceAllString(s, to), nil
	},
	"regexMatch": func(re, s string) (bool, error) {
		r, err := regexp.Compile(re)
		return err == nil && r.MatchString(s), err
	},
	"split": func(sep, s string) []string {
		if s = strings.TrimSpace(s); s == "" {
			return []string{}
		}
		return strings.Split(s, sep)
	},
	"splitToMap": func(between, within, s string) (map[string]string, error) {
		m := map[string]string{}
		for part := range strings.SplitSeq(s, between) {
			if part == "" {
				continue
			}
			key, value, _ := strings.Cut(part, within)
			m[key] = value
		}
		return m, nil
	},
	"toLower":    strings.ToLower,
	"toUpper":    strings.ToUpper,
	"toTitle":    toTitle,
	"trim":       func(cutset, s string) string { return strings.Trim(s, cutset) },
	"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	"trimSpace":  strings.TrimSpace,
	"indent": func(spaces int, s string) (string, error) {
		if spaces < 0 || spaces > 1000 {
			return "", fmt.Errorf("%d spaces cannot be", spaces)
		}
		var b strings.Builder
		for line := range strings.Lines(s) {
			if line != "\n" {
				b.WriteString(strings.Repeat(" ", spaces))
			}
			b.WriteString(line)
		}
		return b.String(), nil
	},

	"sha256Hex": func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
	"md5sum":    func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) },
	"hmacSHA256Hex": func(message, key string) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(message))
		return hex.EncodeToString(h.Sum(nil))
	},

	"contains": func(v, list any) (bool, error) { return holds(list, v) },
	"in":       func(list, v any) (bool, error) { return holds(list, v) },
	"containsAll": func(wanted []any, list any) (bool, error) {
		n, err := countHeld(wanted, list)
		return n == len(wanted), err
	},
	"containsAny": func(wanted []any, list any) (bool, error) {
		n, err := countHeld(wanted, list)
		return n > 0, err
	},
	"containsNone": func(wanted []any, list any) (bool, error) {
		n, err := countHeld(wanted, list)
		return n == 0, err
	},
	"containsNotAll": func(wanted []any, list any) (bool, error) {
		n, err := countHeld(wanted, list)
		return n < len(wanted), err
	},
	"explodeMap":           explodeMap,
	"mergeMap":             func(over, m map[string]any) map[string]any { return merged(over, m, false) },
	"mergeMapWithOverride": func(over, m map[string]any) map[string]any { return merged(over, m, true) },
	"loop":                 loop,
	"sockaddr":             func(args ...string) (string, error) { return sockaddr.Parse("{{ " + strings.Join(args, " ") + " }}") },

	"add":      arithmetic(func(a, b int64) (int64, error) { return a + b, nil }, func(a, b float64) float64 { return a + b }),
	"subtract": arithmetic(func(a, b int64) (int64, error) { return a - b, nil }, func(a, b float64) float64 { return a - b }),
	"multiply": arithmetic(func(a, b int64) (int64, error) { return a * b, nil }, func(a, b float64) float64 { return a * b }),
	"divide": arithmetic(func(a, b int64) (int64, error) {
		if b == 0 {
			return 0, fmt.Errorf("division by zero")
		}
		return a / b, nil
	}, func(a, b float64) float64 { return a / b }),
	"modulo": arithmetic(func(a, b int64) (int64, error) {
		if b == 0 {
			return 0, fmt.Errorf("division by zero")
		}
		return a % b, nil
	}, nil),
	"minimum": arithmetic(func(a, b int64) (int64, error) { return min(a, b), nil }, func(a, b float64) float64 { return min(a, b) }),
	"maximum": arithmetic(func(a, b int64) (int64, error) { return max(a, b), nil }, func(a, b float64) float64 { return max(a, b) }),
}

func toJSON(v any, indent string, escape bool) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escape)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// toTitle makes the first letter of each word a capital.
func toTitle(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		space := strings.ContainsRune(" \t\n\r-_.,;:/", r)
		defer func() { inWord = !space }()
		if !inWord && !space {
			return []rune(strings.ToUpper(string(r)))[0]
		}
		return r
	}, s)
}

// holds reports whether a list, map or text holds a value.
func holds(list, v any) (bool, error) {
	if s, ok := list.(string); ok {
		text, ok := v.(string)
		return ok && strings.Contains(s, text), nil
	}
	l := reflect.ValueOf(list)
	switch l.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range l.Len() {
			if reflect.DeepEqual(l.Index(i).Interface(), v) {
				return true, nil
			}
		}
		return false, nil
	case reflect.Map:
		for _, key := range l.MapKeys() {
			if reflect.DeepEqual(l.MapIndex(key).Interface(), v) {
				return true, nil
			}
		}
		return false, nil
	case reflect.Invalid:
		return false, nil
	}
	return false, fmt.Errorf("%T is not a list", list)
}

func countHeld(wanted []any, list any) (int, error) {
	n := 0
	for _, v := range wanted {
		ok, err := holds(list, v)
		if err != nil {
			return 0, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

// explodeMap makes a tree of a map whose keys are paths.
func explodeMap(m map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, key := range sortedKeys(m) {
		at := out
		parts := strings.Split(key, "/")
		for _, part := range parts[:len(parts)-1] {
			next, ok := at[part].(map[string]any)
			if !ok {
				if _, taken := at[part]; taken {
					return nil, fmt.Errorf("%q is both a value and the beginning of %q", part, key)
				}
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = m[key]
	}
	return out, nil
}

// merged is m with what over has besides, deep; with override what both have is over's.
func merged(over, m map[string]any, override bool) map[string]any {
	out := make(map[string]any, len(m)+len(over))
	for k, v := range m {
		out[k] = v
	}
	for k, v := range over {
		old, both := out[k]
		oldMap, ok := old.(map[string]any)
		newMap, alsoMap := v.(map[string]any)
		switch {
		case ok && alsoMap:
			out[k] = merged(newMap, oldMap, override)
		case !both || override:
			out[k] = v
		}
	}
	return out
}

// loop is the numbers from 0, or from the first argument, up to and without the last one.
func loop(args ...any) ([]int64, error) {
	var bounds []int64
	for _, a := range args {
		n, _, isInt, err := numberOf(a)
		if err != nil || !isInt {
			return nil, fmt.Errorf("loop counts with whole numbers, not with %v", a)
		}
		bounds = append(bounds, n)
	}
	switch len(bounds) {
	case 1:
		bounds = []int64{0, bounds[0]}
	case 2:
	default:
		return nil, fmt.Errorf("loop takes one or two numbers, not %d", len(bounds))
	}
	if bounds[1]-bounds[0] > loopMax {
		return nil, fmt.Errorf("loop counts to %d at most", loopMax)
	}
	list := []int64{}
	for i := bounds[0]; i < bounds[1]; i++ {
		list = append(list, i)
	}
	return list, nil
}

// arithmetic makes a function of two numbers: {{ 2 | subtract 1 }} has the value that is worked on last. It is whole if
// both are.
func arithmetic(whole func(a, b int64) (int64, error), broken func(a, b float64) float64) func(b, a any) (any, error) {
	return func(b, a any) (any, error) {
		ai, af, aInt, err := numberOf(a)
		if err != nil {
			return nil, err
		}
		bi, bf, bInt, err := numberOf(b)
		if err != nil {
			return nil, err
		}
		if aInt && bInt {
			return whole(ai, bi)
		}
		if broken == nil {
			return nil, fmt.Errorf("it is for whole numbers only")
		}
		return broken(af, bf), nil
	}
}

func numberOf(v any) (whole int64, broken float64, isInt bool, err error) {
	switch n := reflect.ValueOf(v); {
	case n.CanInt():
		return n.Int(), float64(n.Int()), true, nil
	case n.CanUint():
		return int64(n.Uint()), float64(n.Uint()), true, nil
	case n.CanFloat():
		return 0, n.Float(), false, nil
	}
	return 0, 0, false, fmt.Errorf("%v is not a number", v)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
