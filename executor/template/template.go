// Package template renders the templates of tasks, in the language that the field's job files are written in: Go's
// text/template with the functions that such files use.
//
// Its promise: a template sees the task's environment and the task's own files, and nothing else of the machine. What
// would ask another service fails in words that name it.
//
// The usual engine, consul-template, is not used. It cannot be had without the clients of Consul, Vault and Nomad and the
// other versions of modules that they bring, among them some that the replicated log stands on; its env falls back to the
// agent's own environment; and of all that it can fetch, only files could be served here.
package template

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// Template is what to render.
type Template struct {
	Text        string
	Left, Right string // delimiters; "" is the usual
	// MissingKeyFails makes a key that a map does not hold an error.
	MissingKeyFails bool
}

// Source is what a template may look at.
type Source struct {
	// Env looks up a variable of the task.
	Env func(name string) (string, bool)
	// File reads one of the task's files.
	File func(path string) ([]byte, error)
}

// Render renders a template.
func Render(t Template, s Source) ([]byte, error) {
	tmpl := template.New("template").Delims(t.Left, t.Right).Funcs(functions(s)).Option("missingkey=zero")
	if t.MissingKeyFails {
		tmpl.Option("missingkey=error")
	}
	tmpl, err := tmpl.Parse(t.Text)
	if err != nil {
		return nil, plain(err)
	}
	out := &limitedBuffer{}
	if err := tmpl.Execute(out, nil); err != nil {
		return nil, plain(err)
	}
	return out.Bytes(), nil
}

// plain leaves out what the engine says of itself.
func plain(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// limitedBuffer holds so much and no more.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > outputBytesMax {
		return 0, fmt.Errorf("it becomes larger than %d bytes", outputBytesMax)
	}
	return b.Buffer.Write(p)
}

// ParseEnv reads lines of NAME=value, as a template for the environment has them: empty lines and comments are left out,
// values may stand in quotes.
func ParseEnv(text []byte) (map[string]string, error) {
	vars := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line = strings.TrimPrefix(line, "export ")
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, " \t\x00\"'") {
			return nil, fmt.Errorf("line %d is not NAME=value", i+1)
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		vars[name] = value
	}
	return vars, nil
}

// unquote takes the quotes off a value: single ones keep everything as it is, double ones know \n and the like.
func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		if i := strings.Index(s, " #"); i >= 0 { // a comment behind the value
			s = strings.TrimSpace(s[:i])
		}
		return s, nil
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			if rest := strings.TrimSpace(s[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("something follows the closing quote")
			}
			return b.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a quote is not closed")
}
