package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"drover/executor/memdir"
)

// program is the built drover, moduleRoot where it was built from.
var program, moduleRoot string

// TestMain builds the program once. Everything that the tests and the processes
// make lies below one temporary directory, so that what was left behind can be
// seen, and ended.
func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	if moduleRoot, err = filepath.Abs("../../.."); err != nil {
		return 1, err
	}
	root, err := os.MkdirTemp("", "drover-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	program = filepath.Join(root, "drover")
	if err := build(root); err != nil {
		return 1, err
	}
	if err := noteSources(); err != nil {
		return 1, err
	}
	tmp := filepath.Join(root, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o755), os.Setenv("TMPDIR", tmp)); err != nil {
		return 1, err
	}
	defer endProcessesOf(root)
	code = m.Run()
	if mounts, _ := os.ReadFile("/proc/self/mounts"); bytes.Contains(mounts, []byte(root)) {
		return 1, errors.New("left behind: mounts of tasks' secrets, see mount")
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "drover-*")); len(left) > 0 {
		return 1, fmt.Errorf("left behind: %s", left)
	}
	return code, nil
}

// build makes the programs that drover carries inside, and then drover.
func build(root string) error {
	for _, c := range []struct {
		name, cgo string
		flags     []string
	}{
		{"drover-shim", "CGO_ENABLED=0", []string{"-ldflags", "-s -w"}},
		{"drover-container", "CGO_ENABLED=1", []string{"-tags", "netgo osusergo", "-ldflags", "-s -w -extldflags '-static'"}},
	} {
		built, embedded := filepath.Join(root, c.name), filepath.Join(moduleRoot, "executor/shim/bin", c.name)
		args := append(append([]string{"-trimpath"}, c.flags...), "-o", built, "./cmd/"+c.name)
		if err := goBuild([]string{c.cgo}, args...); err != nil {
			return err
		}
		fresh, err := os.ReadFile(built)
		if err != nil {
			return err
		}
		// Only a program that differs is put in place, and at once: other builds may read it now.
		if old, err := os.ReadFile(embedded); err != nil || !bytes.Equal(old, fresh) {
			next := embedded + ".e2e"
			if err := errors.Join(os.WriteFile(next, fresh, 0o755), os.Rename(next, embedded)); err != nil {
				return err
			}
		}
	}
	return goBuild(nil, append(raceFlags, "-o", program, "./cmd/drover")...)
}

func goBuild(env []string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"build"}, args...)...)
	cmd.Dir, cmd.Env = moduleRoot, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// noteSources looks at every source file, so that `go test` knows that a cached
// result of this package depends on them: it imports none.
func noteSources() error {
	return filepath.WalkDir(moduleRoot, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") {
			_, err = os.Stat(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
}

// processesOf lists the processes whose command line or environment names a path
// below dir: agents, shims and tasks of it.
func processesOf(dir string) map[int]string {
	found := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.Contains(line, []byte(dir)) || bytes.Contains(env, []byte(dir)) {
			found[pid] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// endProcessesOf ends whatever a failed test left running.
func endProcessesOf(dir string) {
	for pid := range processesOf(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone already, maybe
	}
}

// letGoOfSecrets unmounts what allocations that outlive their test have mounted.
func letGoOfSecrets(t *testing.T, allocDir string) {
	allocs, err := filepath.Glob(filepath.Join(allocDir, "*"))
	if err != nil {
		t.Error(err)
	}
	for _, dir := range allocs {
		if err := memdir.UnmountEach(dir, "secrets"); err != nil {
			t.Error(err)
		}
	}
}
