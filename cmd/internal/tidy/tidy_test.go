package tidy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const top = "../../.."

// arrows says which of our rooms a room may import, and why. A room is a folder
// at the top (or eventlog/event) with all that is below it; within a room
// anything goes.
var arrows = map[string]map[string]string{
	"eventlog/event": {},
	"eventlog":       {},
	"projections": {
		"eventlog/event": "the fold gives records their meaning",
	},
	"commands": {
		"eventlog/event": "decisions are events",
		"projections":    "commands are decided on a state; answers share the reads' HTTP plumbing",
	},
	"scheduler": {
		"eventlog/event": "a decision is a PlanCommitted",
		"projections":    "it decides on a snapshot",
	},
	"executor": {
		"eventlog/event": "orders and reports are spoken in it",
	},
	"cmd": {
		"eventlog/event": "it shows records and sends jobs",
		"eventlog":       "it opens the log",
		"projections":    "it wires the fold to the log",
		"commands":       "it wires the committer to the log",
		"scheduler":      "it wires the workers to the committer",
		"executor":       "it starts the node agent",
	},
}

// guests says which foreign modules only one room may import, and why.
var guests = map[string]struct{ room, reason string }{
	"github.com/lni/dragonboat":     {"eventlog", "replication hides behind eventlog.Log, so that it can be replaced and simulated"},
	"github.com/cockroachdb/pebble": {"eventlog", "nobody else may know how records are stored"},
	"github.com/moby/moby":          {"executor", "the Docker Engine is one driver's affair"},
	"github.com/hashicorp/cli":      {"cmd", "the core does not print"},
	"github.com/fxamacker/cbor":     {"eventlog/event", "one codec with one set of options: bytes are hashed"},
	"github.com/tidwall/btree":      {"projections", "how the state shares structure is its own affair"},
}

func TestImportDirections(t *testing.T) {
	eachFile(t, func(name string, file *ast.File) {
		from := roomOf(path.Dir(name))
		for _, spec := range file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(imported, "drover/"); ok {
				to := roomOf(ours)
				if to == from || strings.HasSuffix(name, "_test.go") {
					continue
				}
				if _, allowed := arrows[from][to]; !allowed {
					t.Errorf("%s imports %s: there is no arrow %s -> %s; declare the interface you need where you need it, and let cmd connect them", name, imported, from, to)
				}
				continue
			}
			for prefix, guest := range guests {
				if strings.HasPrefix(imported, prefix) && from != guest.room && !strings.HasSuffix(name, "_test.go") {
					t.Errorf("%s imports %s: only %s may, because %s", name, imported, guest.room, guest.reason)
				}
			}
			if strings.HasPrefix(imported, "github.com/hashicorp/nomad") && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s imports %s: the official client is for tests alone", name, imported)
			}
		}
	})
}

// TestArrowsAreUsed keeps the table from allowing what nobody does.
func TestArrowsAreUsed(t *testing.T) {
	used := make(map[[2]string]bool)
	eachFile(t, func(name string, file *ast.File) {
		for _, spec := range file.Imports {
			if ours, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "drover/"); ok {
				used[[2]string{roomOf(path.Dir(name)), roomOf(ours)}] = true
			}
		}
	})
	for from, row := range arrows {
		for to, reason := range row {
			if !used[[2]string{from, to}] {
				t.Errorf("nobody follows the arrow %s -> %s (%s): take it out", from, to, reason)
			}
		}
	}
}

func TestOnePackageCommentEach(t *testing.T) {
	comments := make(map[string][]string)
	packages := make(map[string]bool)
	eachFile(t, func(name string, file *ast.File) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		packages[path.Dir(name)] = true
		if file.Doc != nil {
			comments[path.Dir(name)] = append(comments[path.Dir(name)], name)
		}
	})
	for dir := range packages {
		if len(comments[dir]) != 1 {
			t.Errorf("package %s has %d package comments, in %v; one is wanted, saying what the package promises", dir, len(comments[dir]), comments[dir])
		}
	}
}

// shells are the files of the core's rooms that own goroutines, clocks or
// handlers. Everything else in these rooms is pure. (idindex.go needs an atomic:
// it is read while its one owner adds what no reader asks for yet.)
var shells = map[string][]string{
	"eventlog/event": {},
	"projections":    {"store.go", "follower.go", "idindex.go"},
	"commands":       {"committer.go", "batch.go", "tip.go", "http.go", "http_job.go", "http_jobread.go", "http_plan.go", "http_evaluations.go", "http_jobchange.go", "http_node.go", "http_system.go", "http_scale.go", "http_alloc.go", "http_scheduler.go", "http_pool.go", "http_tag.go"},
	"scheduler":      {"workers.go", "unblocker.go", "heartbeats.go", "collector.go"},
}

// pureExecutor lists the executor's pure files; the rest of it runs things.
var pureExecutor = []string{"step.go", "step_group.go", "restart.go"}

// impure says what the pure core may not import or call, and why.
var (
	impureImports = map[string]string{
		"os": "it knows no disk or process", "net": "it knows no network", "net/http": "it knows no network",
		"sync": "it shares nothing", "sync/atomic": "it shares nothing", "context": "it waits for nothing",
		"math/rand": "chance is a parameter", "math/rand/v2": "chance is a parameter", "crypto/rand": "chance is a parameter",
		"log/slog": "it says nothing", "github.com/google/uuid": "identifiers come in or are derived",
	}
	impureCalls = map[string]string{
		"time.Now": "time is a parameter", "time.Since": "time is a parameter", "time.Until": "time is a parameter",
		"time.After": "it waits for nothing", "time.Sleep": "it waits for nothing", "time.NewTimer": "it waits for nothing",
		"time.NewTicker": "it waits for nothing",
	}
)

func TestTheCoreIsPure(t *testing.T) {
	seen := make(map[string]bool)
	eachFile(t, func(name string, file *ast.File) {
		dir, base := path.Dir(name), path.Base(name)
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		allowed, core := shells[dir]
		if slices.Contains(allowed, base) {
			seen[name] = true
			return
		}
		if !core && !(dir == "executor" && slices.Contains(pureExecutor, base)) {
			return
		}
		seen[name] = true
		for _, spec := range file.Imports {
			if reason, bad := impureImports[strings.Trim(spec.Path.Value, `"`)]; bad {
				t.Errorf("%s imports %s, but the core is pure: %s", name, spec.Path.Value, reason)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine, but the core is pure: only shells run on their own", name)
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok {
					if reason, bad := impureCalls[pkg.Name+"."+n.Sel.Name]; bad {
						t.Errorf("%s uses %s.%s, but the core is pure: %s", name, pkg.Name, n.Sel.Name, reason)
					}
				}
			}
			return true
		})
	})
	for dir, files := range shells {
		for _, base := range files {
			if !seen[path.Join(dir, base)] {
				t.Errorf("the shell %s is not there any more: take it off the list", path.Join(dir, base))
			}
		}
	}
	for _, base := range pureExecutor {
		if !seen[path.Join("executor", base)] {
			t.Errorf("the pure file executor/%s is not there any more: take it off the list", base)
		}
	}
}

// TestTopLevel keeps the fixed layout.
func TestTopLevel(t *testing.T) {
	fixed := []string{
		"eventlog", "projections", "commands", "scheduler", "executor", "cmd", "testdata",
		"go.mod", "go.sum", "Makefile", "ARCHITECTURE.md", "README.md", "CHANGELOG.md", "LICENSE", "bin",
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(fixed, e.Name()) {
			t.Errorf("%s is at the top level, which is fixed: %v", e.Name(), fixed)
		}
	}
}

// roomOf is the room that a folder is in.
func roomOf(dir string) string {
	if dir == "eventlog/event" {
		return dir
	}
	room, _, _ := strings.Cut(dir, "/")
	return room
}

func eachFile(t *testing.T, visit func(name string, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(top, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(name), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
