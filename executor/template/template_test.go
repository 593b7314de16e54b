package template

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

var source = Source{
	Env: func(name string) (string, bool) {
		v, ok := map[string]string{"NAME": "web", "EMPTY": "", "node.datacenter": "dc1"}[name]
		return v, ok
	},
	File: func(path string) ([]byte, error) {
		if path == "local/f" {
			return []byte("from file"), nil
		}
		return nil, errors.New("no such file")
	},
}

func TestRender(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{`{{ env "NAME" }}/{{ env "none" }}/{{ env "node.datacenter" }}`, "web//dc1", ""},
		{`{{ envOrDefault "none" "x" }}{{ envOrDefault "EMPTY" "x" }}{{ mustEnv "NAME" }}`, "xweb", ""},
		{`{{ mustEnv "none" }}`, "", `no variable "none"`},
		{`{{ file "local/f" }}`, "from file", ""},
		{`{{ file "/etc/shadow" }}`, "", "no such file"},
		{`{{ key "a" }}`, "", "needs Consul"},
		{`{{ with secret "a" }}{{ end }}`, "", "needs Vault"},
		{`{{ range nomadService "a" }}{{ end }}`, "", "needs service discovery"},
		{`{{ plugin "rm" }}`, "", "not allowed"},
		{`{{ no_such }}`, "", `function "no_such" not defined`},
		{`{{ 1 | add 2 }} {{ 5 | subtract 2 }} {{ 2 | multiply 1.5 }} {{ 7 | divide 2 }} {{ 7 | modulo 2 }}`, "3 3 3 3 1", ""},
		{`{{ 3 | divide 0 }}`, "", "division by zero"},
		{`{{ range loop 2 5 }}{{ . }}{{ end }}{{ range loop 2 }}{{ . }}{{ end }}`, "23401", ""},
		{`{{ range $i := loop 99999999999 }}{{ end }}`, "", "at most"},
		{`{{ with parseJSON "{\"a\":[1,2]}" }}{{ .a }}{{ end }}{{ with "b: {c: d}" | parseYAML }}{{ .b.c }}{{ end }}`, "[1 2]d", ""},
		{`{{ "a,b" | split "," | join "+" }} {{ "abc" | replaceAll "b" "-" }} {{ "a1" | regexReplaceAll "[0-9]" "x" }} {{ "ab" | regexMatch "^a" }}`, "a+b a-c ax true", ""},
		{`{{ "x" | toUpper }}{{ "a b" | toTitle }}{{ " s " | trimSpace }}{{ "xax" | trim "x" }}`, "XA Bsa", ""},
		{`{{ "hello" | base64Encode }} {{ "aGVsbG8=" | base64Decode }} {{ sha256Hex "a" | len }} {{ md5sum "a" }}`, "aGVsbG8= hello 64 0cc175b9c0f1b6a831c399e269772661", ""},
		{`{{ scratch.Set "a" 1 }}{{ scratch.Get "a" }}{{ scratch.MapSet "m" "k" "v" }}{{ scratch.MapValues "m" }}`, "1[v]", ""},
		{`{{ parseJSON "{\"a\":{\"b\":[1,2]}}" | toTOML }}`, "[a]\n  b = [1.0, 2.0]", ""},
		{`{{ sprig_env "HOME" }}`, "", `function "sprig_env" not defined`},
		{`{{ sprig_uuidv4 | len }}`, "36", ""},
		{`{{ byTag 1 }}`, "", "needs Consul"},
		{`{{ "a: b" | parseYAML | toJSON }} {{ parseJSON "{\"a\":\"<\"}" | toUnescapedJSON }} {{ parseJSON "{\"a\":1}" | toYAML }}`, `{"a":"b"} {"a":"<"} a: 1`, ""},
		{`{{ "a\nb" | indent 2 }}`, "  a\n  b", ""},
		{`{{ in (split "," "a,b") "b" }}{{ "a" | sprig_repeat 3 }}`, "trueaaa", ""},
		{`{{ "p=1;q=2" | splitToMap ";" "=" }}`, "map[p:1 q:2]", ""},
		{`{{ if true }}`, "", "unexpected EOF"},
	} {
		r, err := Render(Template{Text: c.text}, source)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.err)
		}
		if err == nil && string(r) != c.want {
			t.Errorf("%s: got %q, want %q", c.text, r, c.want)
		}
	}
	r, err := Render(Template{Text: `[[ env "NAME" ]] {{ x }} [[ file "local/f" ]]`, Left: "[[", Right: "]]"}, source)
	if err != nil || string(r) != "web {{ x }} from file" {
		t.Errorf("other delimiters: %q, %v", r, err)
	}
	missing := `{{ with parseJSON "{\"a\":1}" }}{{ .b }}{{ end }}`
	if _, err := Render(Template{Text: missing, MissingKeyFails: true}, source); err == nil {
		t.Error("a missing key was no error")
	}
	if _, err := Render(Template{Text: missing}, source); err != nil {
		t.Errorf("a missing key was an error: %v", err)
	}
	if _, err := Render(Template{Text: `{{ range loop 1000000 }}{{ range loop 1000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}{{ end }}`}, source); err == nil {
		t.Error("there is no end to it")
	}
}

func TestParseEnv(t *testing.T) {
	got, err := ParseEnv([]byte("# comment\nA=1\n\nexport B = two words # why\nC=\"x\\ny # z\" # c\nD='$HOME \\n'\nE=\nF=a=b\n"))
	want := map[string]string{"A": "1", "B": "two words", "C": "x\ny # z", "D": `$HOME \n`, "E": "", "F": "a=b"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"A", "=x", "A B=1", `A="x`, `A="x" y`} {
		if _, err := ParseEnv([]byte(bad)); err == nil || !strings.Contains(err.Error(), "line 1") && !strings.Contains(err.Error(), "line") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whatever a template says, it ends and harms nobody.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{`{{ env "NAME" }}`, `{{ range loop 3 }}{{ . | add 1 }}{{ end }}`, `{{ "a" | indent -1 }}`, `{{ modulo 0 0 }}`, `{{ contains nil 1 }}`} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if strings.Count(text, "loop")+strings.Count(text, "sprig_")+strings.Count(text, "define") > 1 { // they may take their time
			return
		}
		Render(Template{Text: text}, source)
		ParseEnv([]byte(text))
	})
}
