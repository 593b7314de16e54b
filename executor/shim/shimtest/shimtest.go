// Package shimtest builds the programs that drover carries, as the Makefile does, for tests that need real ones.
package shimtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs are paths of what was built.
type Programs struct{ Shim, ContainerMaker string }

// Main builds the programs, runs the tests and exits.
func Main(m *testing.M, programs *Programs) {
	dir, err := os.MkdirTemp("", "programs")
	if err != nil {
		panic(err)
	}
	programs.Shim = build(dir, "drover-shim", "CGO_ENABLED=0", "-ldflags=-s -w")
	programs.ContainerMaker = build(dir, "drover-container", "CGO_ENABLED=1", "-tags=netgo osusergo", "-ldflags=-s -w -extldflags '-static'")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir, name, env string, flags ...string) string {
	path := filepath.Join(dir, name)
	args := append(append([]string{"build", "-trimpath"}, flags...), "-o", path, "drover/cmd/"+name)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
		os.Exit(1)
	}
	return path
}
