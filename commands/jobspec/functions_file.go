package jobspec

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// fileFunctions read the machine of the person who runs the command. Relative paths start where the job file is.
func fileFunctions(jobPath string) map[string]function.Function {
	base := filepath.Dir(jobPath)
	if jobPath == "" {
		base = "."
	}
	locate := func(path string) (string, error) {
		path, err := expandHome(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(base, path)
		}
		return filepath.Clean(path), nil
	}
	read := func(path string) ([]byte, error) {
		path, err := locate(path)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	}
	return map[string]function.Function{
		"abspath":    textFunction(func(s string) (string, error) { p, err := filepath.Abs(s); return filepath.ToSlash(p), err }),
		"basename":   textFunction(func(s string) (string, error) { return filepath.Base(s), nil }),
		"dirname":    textFunction(func(s string) (string, error) { return filepath.Dir(s), nil }),
		"pathexpand": textFunction(expandHome),
		"file": textFunction(func(s string) (string, error) {
			data, err := read(s)
			if err == nil && !utf8.Valid(data) {
				err = fmt.Errorf("%s is not UTF-8 text; filebase64 reads any file", s)
			}
			return string(data), err
		}),
		"filebase64": textFunction(func(s string) (string, error) {
			data, err := read(s)
			return base64.StdEncoding.EncodeToString(data), err
		}),
		"fileexists": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Bool),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				path, err := locate(args[0].AsString())
				if err != nil {
					return cty.NilVal, err
				}
				info, err := os.Stat(path)
				if os.IsNotExist(err) {
					return cty.False, nil
				}
				if err != nil {
					return cty.NilVal, err
				}
				if !info.Mode().IsRegular() {
					return cty.NilVal, fmt.Errorf("%s is not a regular file", path)
				}
				return cty.True, nil
			},
		}),
		"fileset": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "pattern", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Set(cty.String)),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				dir, err := locate(args[0].AsString())
				if err != nil {
					return cty.NilVal, err
				}
				return fileSet(dir, args[1].AsString())
			},
		}),
	}
}

// fileSet lists the regular files below dir whose path relative to dir matches the pattern.
func fileSet(dir, pattern string) (cty.Value, error) {
	match, err := globPattern(pattern)
	if err != nil {
		return cty.NilVal, err
	}
	var names []cty.Value
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); match.MatchString(rel) {
			names = append(names, cty.StringVal(rel))
		}
		return nil
	})
	if err != nil {
		return cty.NilVal, err
	}
	if len(names) == 0 {
		return cty.SetValEmpty(cty.String), nil
	}
	return cty.SetVal(names), nil
}

// globPattern compiles *, ?, [set], {a,b} and ** (any number of directories).
func globPattern(pattern string) (*regexp.Regexp, error) {
	var re strings.Builder
	re.WriteString("^")
	alternatives := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/"):
			re.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(pattern[i:], "**"):
			re.WriteString(".*")
			i++
		case c == '*':
			re.WriteString("[^/]*")
		case c == '?':
			re.WriteString("[^/]")
		case c == '{':
			alternatives++
			re.WriteString("(?:")
		case c == '}' && alternatives > 0:
			alternatives--
			re.WriteString(")")
		case c == ',' && alternatives > 0:
			re.WriteString("|")
		case c == '[':
			end := strings.IndexByte(pattern[i+1:], ']')
			if end < 0 {
				return nil, fmt.Errorf("glob pattern %q: [ without ]", pattern)
			}
			set := pattern[i+1 : i+1+end]
			if strings.HasPrefix(set, "!") {
				set = "^" + set[1:]
			}
			re.WriteString("[" + strings.ReplaceAll(set, `\`, `\\`) + "]")
			i += end + 1
		default:
			re.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	compiled, err := regexp.Compile(re.String() + "$")
	if err != nil {
		return nil, fmt.Errorf("glob pattern %q: %w", pattern, err)
	}
	return compiled, nil
}

// expandHome replaces a leading ~ by the home directory.
func expandHome(path string) (string, error) {
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory: %w", err)
	}
	return filepath.Join(home, path[1:]), nil
}
