package cli

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestEscape shows what the escape character does to what is typed.
func TestEscape(t *testing.T) {
	for typed, want := range map[string]struct {
		passed string
		ended  bool
	}{
		"ls\n":       {"ls\n", false},
		"~.":         {"", true},
		"a\n~.b":     {"a\n", true},
		"a\r~.b":     {"a\r", true},
		"a~.b\n":     {"a~.b\n", false},
		"~~.\n":      {"~.\n", false},
		"~/bin\n~":   {"~/bin\n~", false},
		"cd ~\n~~\n": {"cd ~\n~\n", false},
	} {
		for name, from := range map[string]io.Reader{"whole": strings.NewReader(typed), "by byte": iotest.OneByteReader(strings.NewReader(typed))} {
			ended := false
			got, err := io.ReadAll(&escapeReader{from: from, escape: '~', end: func() { ended = true }, atStart: true})
			if err != nil || string(got) != want.passed || ended != want.ended {
				t.Errorf("%q, %s: %q, ended %v, %v", typed, name, got, ended, err)
			}
		}
	}
}
