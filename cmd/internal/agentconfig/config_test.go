package agentconfig

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// testHost is a machine that is the same everywhere.
func testHost() Host {
	return Host{
		Name:      func() (string, error) { return "alpha", nil },
		PrivateIP: func() (string, error) { return "10.0.0.7", nil },
		Expand: func(s string) (string, error) {
			if s == `{{ GetInterfaceIP "eth0" }}` {
				return "10.0.0.8", nil
			}
			return s, nil
		},
		CPUs: 4,
	}
}

// TestFiles runs the files in testdata: "file" writes one, "load" reads a command
// line and shows the outcome, "banner" what the agent prints.
func TestFiles(t *testing.T) {
	paths, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	datadriven.Walk(t, paths, func(t *testing.T, path string) {
		t.Chdir(t.TempDir())
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				name := d.CmdArgs[0].Key
				if dir := filepath.Dir(name); dir != "." {
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(name, []byte(d.Input), 0o600); err != nil {
					t.Fatal(err)
				}
				return ""
			case "load", "banner":
				cfg, err := loadLine(strings.Fields(d.Input))
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				if d.Cmd == "banner" {
					cfg.Version = "0.1.0"
					return Preamble(cfg) + Banner(cfg, map[string]string{"Node Id": "a1b2c3d4"}) + "end\n"
				}
				return show(cfg)
			}
			t.Fatalf("unknown directive %s", d.Cmd)
			return ""
		})
	})
}

func loadLine(args []string) (Config, error) {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "_SPACE_", " ")
	}
	var line CommandLine
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	line.Register(fs)
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	return Load(&line, testHost())
}

// show lists what is set and is not a default.
func show(cfg Config) string {
	plain := defaults()
	var b strings.Builder
	showFields(&b, "", reflect.ValueOf(cfg), reflect.ValueOf(plain))
	if b.Len() == 0 {
		return "defaults\n"
	}
	return b.String()
}

// defaults is the smallest configuration there is.
func defaults() Config {
	cfg, err := loadLine([]string{"-server", "-bootstrap-expect=1", "-data-dir=/d"})
	if err != nil {
		panic(err)
	}
	return cfg
}

func showFields(b *strings.Builder, prefix string, v, plain reflect.Value) {
	for i := range v.NumField() {
		name, field, other := prefix+v.Type().Field(i).Name, v.Field(i), plain.Field(i)
		switch value := field.Interface().(type) {
		case *slog.LevelVar:
			if value.Level() != other.Interface().(*slog.LevelVar).Level() {
				fmt.Fprintf(b, "%s: %s\n", name, LevelWord(value.Level()))
			}
			continue
		case time.Duration, []string, map[string]string:
		default:
			if field.Kind() == reflect.Struct {
				showFields(b, name+".", field, other)
				continue
			}
		}
		if reflect.DeepEqual(field.Interface(), other.Interface()) {
			continue
		}
		if list, ok := field.Interface().([]string); ok {
			for _, element := range list {
				fmt.Fprintf(b, "%s: %s\n", name, element)
			}
			continue
		}
		fmt.Fprintf(b, "%s: %v\n", name, field.Interface())
	}
}

func TestTheHostsNameIsNeeded(t *testing.T) {
	host := testHost()
	host.Name = func() (string, error) { return "", errors.New("no name") }
	if _, err := Load(&CommandLine{Dev: true, layer: tree{}}, host); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Fatalf("got %v", err)
	}
}

func TestAddressTemplatesAreResolvedOnThisMachine(t *testing.T) {
	got, err := expandAddress(`{{ GetAllInterfaces | include "flags" "loopback" | include "type" "IPv4" | limit 1 | attr "address" }}`)
	if err != nil {
		t.Fatal(err)
	}
	if got != "127.0.0.1" {
		t.Errorf("the loopback interface has the address %q", got)
	}
	if _, err := expandAddress(`{{ Nonsense }}`); err == nil {
		t.Error("a malformed template was taken")
	}
	if _, err := expandAddress(`{{ GetInterfaceIP "no-such-interface" }}`); err == nil {
		t.Error("a template that gives nothing was taken")
	}
}

func TestEveryFlagNamesAKey(t *testing.T) {
	help := FlagHelp() // panics when a flag's key does not exist
	for _, f := range flagKeys {
		if !strings.Contains(help, "-"+f.name) {
			t.Errorf("the help does not name -%s", f.name)
		}
	}
}

// FuzzParse: no input makes the parser panic, hang, or take a key it does not know.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		builtin, devMode, `{"ports":{"http":1}}`, `{"plugin":[{"docker":[{"config":[{"volumes":[{"enabled":true}]}]}]}]}`,
		`plugin "raw_exec" { config { enabled = true } }`, `ports { http = 1 rpc = 2 }`, `meta = [`, `a = <<EOF
x
EOF`, `client { meta { "a.b" = "c" } host_volume "x" { path = "/x" } }`, `{`, `"" = 1`, `server = 3`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		layer, err := readSource(source)
		if err != nil {
			return
		}
		// A layer over itself is a legal merge.
		merge(schema, layer, layer)
		idle(schema, layer, "")
		for name := range layer {
			if _, ok := lookup(schema, name); !ok {
				t.Fatalf("took the unknown key %q", name)
			}
		}
	})
}
