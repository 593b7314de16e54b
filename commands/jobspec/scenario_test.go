package jobspec

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"drover/eventlog/event"
)

// Scenarios are texts in testdata/scenarios. Commands:
//
//	parse [var=name=value …] [env=NAME=value …] [lenient] [files] [show=(path, …)]
//	    reads a job file in HCL, or in HCL's JSON, and prints errors and warnings, else the values at the paths
//	implied [show=(path, …)]
//	    the same after the constraints that a registration adds
//	json [show=(…)]
//	    the same for the API's JSON
//	varfile name=x
//	    a variable file for the parse commands after it
//	reset
//	    forgets the variable files
//
// Paths go through the job as the API shows it: TaskGroups.0.Tasks.0.Config. The path "all" shows what differs from the
// job "bare": one group, one task, nothing else written.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		var varFiles []VarFile
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "varfile":
				varFiles = append(varFiles, VarFile{Path: d.CmdArgs[0].Vals[0], Body: []byte(d.Input)})
				return ""
			case "reset":
				varFiles = nil
				return ""
			case "parse", "implied":
				cfg := ParseConfig{Path: "job.hcl", Body: []byte(d.Input), VarFiles: varFiles, Strict: !d.HasArg("lenient")}
				if d.HasArg("files") {
					cfg.AllowFS, cfg.Path = true, "testdata/files/job.hcl"
				}
				for _, arg := range d.CmdArgs {
					switch arg.Key {
					case "var":
						cfg.Vars = append(cfg.Vars, arg.Vals...)
					case "env":
						cfg.Env = append(cfg.Env, arg.Vals...)
					}
				}
				r, err := Parse(cfg)
				if d.Cmd == "implied" && err == nil {
					AddImplied(r.Job)
				}
				return report(d, r, err)
			case "json":
				r, err := ParseJSON([]byte(d.Input))
				return report(d, r, err)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func report(d *datadriven.TestData, r *Result, err error) string {
	if err != nil {
		return "refused:\n" + indent(err.Error())
	}
	var out strings.Builder
	if len(r.Warnings) > 0 {
		out.WriteString("warnings:\n" + indent(strings.Join(r.Warnings, "\n")))
	}
	warnings, err := Validate(r.Job)
	if len(warnings) > 0 {
		out.WriteString("warnings:\n" + indent(strings.Join(warnings, "\n")))
	}
	if err != nil {
		out.WriteString("invalid:\n" + indent(err.Error()))
	}
	for _, arg := range d.CmdArgs {
		if arg.Key != "show" {
			continue
		}
		for _, path := range arg.Vals {
			out.WriteString(path + ": " + lookup(generic(r.Job), path) + "\n")
		}
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

func generic(job *event.Job) any {
	data, err := json.Marshal(job)
	if err != nil {
		panic(err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // every digit of them
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

// lookup prints the value at a path, without what is zero in it.
func lookup(v any, path string) string {
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i := int(step[0] - '0')
			if i >= len(at) {
				return "missing"
			}
			v = at[i]
		default:
			return "missing"
		}
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(prune(v)); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		kept := map[string]any{}
		for k, item := range v {
			if p := prune(item); p != nil && p != "" && p != false && p != json.Number("0") {
				kept[k] = p
			}
		}
		return kept
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = prune(v[i])
		}
		return list
	}
	return v
}

// The job files that people start from: their canonical form is golden.
func TestJobFiles(t *testing.T) {
	files, err := filepath.Glob("../../testdata/jobs/*.nomad.hcl")
	if err != nil || len(files) < 6 {
		t.Fatalf("job files: %d, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".nomad.hcl")
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Parse(ParseConfig{Path: file, Body: body, Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			warnings, err := Validate(r.Job)
			if err != nil || len(warnings) > 0 || len(r.Warnings) > 0 {
				t.Errorf("a file that people start from must be without problems: %v %v %v", err, warnings, r.Warnings)
			}
			got, err := json.MarshalIndent(r.Job, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "golden", name+".json")
			if slices.Contains(os.Args, "-rewrite") || slices.Contains(os.Args, "--rewrite") {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got)+"\n" {
				t.Errorf("%s: the canonical job differs from %s; run with -rewrite if that is meant", file, golden)
			}
		})
	}
}
