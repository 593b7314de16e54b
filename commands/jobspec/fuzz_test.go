package jobspec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// seeds are the job files people start from and the inputs of all scenarios of a command.
func seeds(f *testing.F, command string) [][]byte {
	var texts [][]byte
	if command == "parse" {
		files, err := filepath.Glob("../../testdata/jobs/*.nomad.hcl")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			texts = append(texts, text)
		}
		texts = append(texts, []byte(everyBlock))
	}
	files, err := filepath.Glob("testdata/scenarios/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		datadriven.RunTestAny(f, file, func(_ testing.TB, d *datadriven.TestData) string {
			if d.Cmd == command {
				texts = append(texts, []byte(d.Input))
			}
			return d.Expected
		})
	}
	return texts
}

// No text makes the parser panic; what it accepts is stable.
func FuzzParseHCL(f *testing.F) {
	for _, text := range seeds(f, "parse") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(ParseConfig{Body: text, Env: []string{"NOMAD_VAR_n=5"}})
		if err != nil {
			if _, ok := err.(ParseErrors); !ok {
				t.Fatalf("an error of type %T", err)
			}
			return
		}
		checkStable(t, r.Job)
	})
}

func FuzzParseJSON(f *testing.F) {
	for _, text := range seeds(f, "json") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := ParseJSON(text); err == nil {
			checkStable(t, r.Job)
		}
		if r, err := ParseRegisterRequest(text); err == nil && r.Job == nil {
			t.Fatal("a request without a job")
		}
	})
}

// Texts that would make a recursive parser or evaluator exhaust its stack or its memory are refused.
func TestHostileTexts(t *testing.T) {
	inJob := func(meta string) string {
		return "job \"j\" {\n meta {\n a = " + meta + "\n }\n}\n"
	}
	deep := 42_000 // beyond both limits, even where it is halved
	for name, text := range map[string]string{
		"lists":        inJob(strings.Repeat("[", deep) + strings.Repeat("]", deep)),
		"parentheses":  inJob(strings.Repeat("(", deep) + "1" + strings.Repeat(")", deep)),
		"templates":    inJob(strings.Repeat(`"${`, deep) + "1" + strings.Repeat(`}"`, deep)),
		"unary":        inJob(strings.Repeat("-", deep) + "1"),
		"not":          inJob(strings.Repeat("!", deep) + "true"),
		"sums":         inJob("1" + strings.Repeat("+1", deep)),
		"conditionals": inJob(strings.Repeat("true?1:", deep/2) + "1"),
		"directives":   inJob(`"` + strings.Repeat(`%{if true}`, deep/2) + strings.Repeat(`%{endif}`, deep/2) + `"`),
		"blocks":       "job \"j\" {" + strings.Repeat("\nconfig {", deep/20) + strings.Repeat("\n}", deep/20) + "\n}",
		"json":         strings.Repeat(`{"a":`, deep/2) + "1" + strings.Repeat("}", deep/2),
		"json strings": `{"job":{"j":{"meta":{"a":"${` + strings.Repeat("-", deep) + `1}"}}}}`,
		"large":        inJob(`"` + strings.Repeat("x", sourceBytesMax) + `"`),
		"many blocks": `job "j" {
  dynamic "group" {
    for_each = range(1000)
    labels   = [group.value]
    content {
      dynamic "task" {
        for_each = range(1000)
        labels   = [task.value]
        content {}
      }
    }
  }
}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(ParseConfig{Body: []byte(text)}); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := ParseJSON([]byte(strings.Repeat(`{"Job":`, deep))); err == nil {
		t.Error("nested API JSON: accepted")
	}
}

// largeFile is a job file of about the given number of lines, with variables and most kinds of blocks.
func largeFile(lines int) []byte {
	var b strings.Builder
	b.WriteString("variable \"n\" {\n  default = 2\n}\nlocals {\n  name = \"x-${var.n}\"\n}\njob \"large\" {\n")
	group := `  group "g%d" {
    count = var.n
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      port "http" {
        to = 8080
      }
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo ${NOMAD_PORT_http} ${local.name}", "$HOME"]
      }
      env {
        A = "${upper(local.name)}"
        B = "${NOMAD_ALLOC_ID}-${node.unique.name}"
      }
      meta {
        owner = "x"
      }
      resources {
        cpu    = 100
        memory = 64
      }
      logs {
        max_files = 3
      }
    }
  }
`
	for i := 0; strings.Count(b.String(), "\n") < lines-1; i++ {
		fmt.Fprintf(&b, group, i)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

func BenchmarkParseAndValidate1000Lines(b *testing.B) {
	text := largeFile(1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r, err := Parse(ParseConfig{Body: text, Strict: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Validate(r.Job); err != nil {
			b.Fatal(err)
		}
	}
}

// What is brought into today's form once is in today's form; an edit never makes text out of nothing.
func FuzzModernizeText(f *testing.F) {
	for _, text := range seeds(f, "parse") {
		f.Add(text)
	}
	files, err := filepath.Glob("testdata/workshops/*.nomad")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(completeSlide(string(text))))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m := modernizeText(text, "job.hcl")
		if m == nil {
			return
		}
		for at := range m.text {
			if old := m.oldOffset(at); old < 0 || old > len(text) {
				t.Fatalf("offset %d of the new text is %d in one of %d bytes", at, old, len(text))
			}
		}
		if _, diags, _ := parseText(ParseConfig{Path: "job.hcl", Body: m.text}); diags.HasErrors() {
			m.place(diags, "job.hcl")
			return
		}
		if again := modernizeText(m.text, "job.hcl"); again != nil && string(again.text) != string(m.text) {
			r1, d1, _ := parseText(ParseConfig{Path: "job.hcl", Body: m.text})
			r2, d2, _ := parseText(ParseConfig{Path: "job.hcl", Body: again.text})
			if d1.HasErrors() || d2.HasErrors() || string(r1.Written) != string(r2.Written) {
				t.Fatalf("not the same a second time:\n%s\n---\n%s\n%v", m.text, again.text, d2)
			}
		}
	})
}
