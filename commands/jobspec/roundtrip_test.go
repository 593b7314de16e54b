package jobspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"pgregory.net/rapid"

	"drover/eventlog/event"
)

func mustJSON(t interface{ Fatal(...any) }, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// checkStable holds a job against everything that may happen to it: reading our own JSON again, the log's encoding, a
// trip through the official client.
func checkStable(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, job *event.Job) {
	data := mustJSON(t, job)
	again, err := ParseJSON(data)
	if err != nil {
		t.Fatalf("our own JSON is refused: %v\n%s", err, data)
	}
	if !bytes.Equal(data, mustJSON(t, again.Job)) {
		t.Fatalf("our own JSON reads as something else: %s\n%s", differences(job, again.Job), data)
	}
	if event.SpecChanged(job, again.Job) {
		t.Fatalf("the spec read from our own JSON differs:\n%s", data)
	}
	var theirs api.Job
	if err := json.Unmarshal(data, &theirs); err != nil {
		t.Fatalf("the official client cannot read our JSON: %v\n%s", err, data)
	}
	back, err := ParseJSON(mustJSON(t, &theirs))
	if err != nil {
		t.Fatalf("refused after a trip through the official client: %v", err)
	}
	nearestFloats(reflect.ValueOf(again.Job))
	nearestFloats(reflect.ValueOf(back.Job))
	if event.SpecChanged(again.Job, back.Job) {
		t.Fatalf("changed on a trip through the official client: %s\n%s", differences(again.Job, back.Job), data)
	}
	if _, err := Validate(job); err == nil {
		encoded, err := event.Marshal(job)
		if err != nil {
			t.Fatalf("the log cannot encode a valid job: %v\n%s", err, data)
		}
		var decoded event.Job
		if err := event.Unmarshal(encoded, &decoded); err != nil {
			t.Fatalf("the log cannot decode a valid job: %v\n%s", err, data)
		}
		if event.SpecChanged(job, &decoded) {
			t.Fatalf("changed in the log's encoding: %s\n%s", differences(job, &decoded), data)
		}
	}
}

// nearestFloats gives the whole numbers of opaque content the precision that the official client has for them.
func nearestFloats(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			nearestFloats(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			nearestFloats(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			if n, ok := v.Index(i).Interface().(int64); ok && v.Index(i).Kind() == reflect.Interface {
				v.Index(i).Set(reflect.ValueOf(float64(n)))
			}
			nearestFloats(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if n, ok := v.MapIndex(k).Interface().(int64); ok {
				v.SetMapIndex(k, reflect.ValueOf(float64(n)))
			}
			nearestFloats(v.MapIndex(k))
		}
	}
}

// The official client fills defaults before it sends a job. They must be ours, and give no warning.
func TestDefaultsAreThoseOfTheOfficialClient(t *testing.T) {
	files, err := filepath.Glob("../../testdata/jobs/*.nomad.hcl")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"kept": everyBlock}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(body)
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			ours, err := Parse(ParseConfig{Body: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			checkStable(t, ours.Job)
			var theirs api.Job
			if err := json.Unmarshal(ours.Written, &theirs); err != nil {
				t.Fatal(err)
			}
			theirs.Canonicalize()
			sent, err := ParseJSON(mustJSON(t, &theirs))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range differences(ours.Job, sent.Job) {
				t.Errorf("our default is not the client's: %s", d)
			}
			if len(ours.Warnings) == 0 && len(sent.Warnings) > 0 {
				t.Errorf("the client's defaults are taken for wishes: %s", sent.Warnings)
			}
		})
	}
}

func differences(a, b *event.Job) (list []string) {
	fa, fb := flatten(generic(a)), flatten(generic(b))
	for _, path := range slices.Sorted(maps.Keys(fa)) {
		if fa[path] != fb[path] {
			list = append(list, fmt.Sprintf("%s: %q, %q", path, fa[path], fb[path]))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(fb)) {
		if _, ok := fa[path]; !ok {
			list = append(list, fmt.Sprintf("%s: only the second has %q", path, fb[path]))
		}
	}
	return list
}

func flatten(v any) map[string]string {
	flat := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, item := range v {
				walk(path+"."+k, item)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		case nil: // the same as absent
		default:
			flat[path] = fmt.Sprint(v)
		}
	}
	walk("", v)
	return flat
}

// everyBlock writes a block of each kind that is only kept, with as little in it as possible.
const everyBlock = `
job "every" {
  affinity {
    attribute = "${node.class}"
    value     = "x"
  }
  spread {
    attribute = "${node.datacenter}"
    target "dc1" {
      percent = 50
    }
  }
  ui {
    description = "d"
    link {
      label = "l"
      url   = "https://example.com"
    }
  }
  group "g" {
    count = 2
    disconnect {
      lost_after = "1h"
    }
    volume "v" {
      type   = "host"
      source = "data"
    }
    scaling {
      max = 5
      policy {
        a = 1
      }
    }
    network {
      port "http" {
        to = 80
      }
      port "admin" {
        static = 8081
      }
      dns {
        servers = ["1.1.1.1"]
      }
    }
    service {
      name     = "s"
      port     = "http"
      provider = "nomad"
      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
        header {
          Accept = ["text/html"]
        }
        check_restart {
          limit = 3
        }
      }
    }
    task "t" {
      driver = "docker"
      config {
        image = "x"
      }
      lifecycle {
        hook = "prestart"
      }
      artifact {
        source = "https://example.com/x.tgz"
      }
      artifact {
        source = "https://example.com/x"
        mode   = "file"
      }
      template {
        data        = "x"
        destination = "local/x"
      }
      template {
        data        = "x"
        destination = "local/y"
        change_mode = "script"
        change_script {
          command       = "/bin/x"
          fail_on_error = true
        }
        wait {
          min = "1s"
          max = "2s"
        }
      }
      volume_mount {
        volume      = "v"
        destination = "/data"
      }
      vault {
        role = "r"
      }
      action "a" {
        command = "/bin/x"
      }
      resources {
        cores = 2
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }
}
`

// A job of random content keeps its meaning whatever is done to it.
func TestRandomJobsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		job := tree{}
		drawBlock(t, jobBlock, job, 0)
		job["ID"] = rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "id")
		job["Type"] = rapid.SampledFrom([]string{"service", "batch", "system", "sysbatch"}).Draw(t, "type")
		r, err := ParseJSON(mustJSON(t, job))
		if err != nil {
			t.Fatalf("a job by the tables is refused: %v", err)
		}
		checkStable(t, r.Job)
	})
}

func drawBlock(t *rapid.T, b *block, out tree, depth int) {
	for i := range b.fields {
		f := &b.fields[i]
		if strings.HasPrefix(f.json, "$") || rapid.IntRange(0, 2+depth).Draw(t, "skip") > 0 {
			continue
		}
		word := rapid.StringMatching(`[a-zA-Z${}. ]{0,6}`)
		switch f.kind {
		case kindString:
			out[f.json] = word.Draw(t, f.json)
		case kindInt:
			out[f.json] = rapid.Int64Range(max(f.lo, -5), min(f.hi, 70000)).Draw(t, f.json)
		case kindBool:
			out[f.json] = rapid.Bool().Draw(t, f.json)
		case kindDuration:
			out[f.json] = time.Duration(rapid.Int64Range(-1e9, 1e13).Draw(t, f.json))
		case kindStrings:
			out[f.json] = rapid.SliceOfN(word, 0, 2).Draw(t, f.json)
		case kindInts:
			out[f.json] = rapid.SliceOfN(rapid.Int64Range(f.lo, f.hi), 0, 2).Draw(t, f.json)
		case kindStringMap:
			out[f.json] = rapid.MapOfN(word, word, 0, 2).Draw(t, f.json)
		case kindStringsMap:
			out[f.json] = rapid.MapOfN(word, rapid.SliceOfN(word, 0, 2), 0, 2).Draw(t, f.json)
		case kindOpaque:
			out[f.json] = rapid.MapOfN(word, rapid.OneOf(
				word.AsAny(), rapid.Int64Range(-maxInt, maxInt).AsAny(), rapid.Float64().AsAny(), rapid.Bool().AsAny(),
				rapid.Int64().AsAny(), rapid.SliceOfN(word, 0, 2).AsAny(), rapid.SliceOfN(rapid.Int64(), 0, 2).AsAny(), rapid.MapOfN(word, rapid.Int64(), 0, 2).AsAny(),
			), 0, 2).Draw(t, f.json)
		case kindBlock:
			inner := tree{}
			drawBlock(t, f.block, inner, depth+1)
			out[f.json] = inner
		case kindBlocks:
			list := []any{}
			for range rapid.IntRange(0, 2).Draw(t, "n") {
				inner := tree{}
				drawBlock(t, f.block, inner, depth+1)
				list = append(list, inner)
			}
			out[f.json] = list
		case kindBlockMap:
			inner := tree{}
			drawBlock(t, f.block, inner, depth+1)
			out[f.json] = map[string]any{"key": inner}
		}
	}
}
