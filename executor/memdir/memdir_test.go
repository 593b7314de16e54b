package memdir

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mountsBelow lists what is mounted below a directory, as the kernel has it.
func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir) {
			all = append(all, at)
		}
	}
	return all
}

func TestMount(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "web", "secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Unmount(dir) })
	m := New(slog.New(slog.DiscardHandler))
	if inMemory, err := m.Mount(dir, 1); err != nil || !inMemory {
		t.Fatalf("in memory %v: %v", inMemory, err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Fatalf("mode %v: %v", info.Mode(), err)
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(script).Run(); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a program among secrets: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a file of 1 MB beside another: %v", err)
	}
	// Another maker is what another agent has.
	if inMemory, err := New(slog.New(slog.DiscardHandler)).Mount(dir, 8); err != nil || !inMemory {
		t.Errorf("again: in memory %v: %v", inMemory, err)
	}
	if all := mountsBelow(t, parent); len(all) != 1 {
		t.Errorf("mounts %q", all)
	}
	if _, err := os.Stat(script); err != nil {
		t.Errorf("what was there is lost: %v", err)
	}
	held, err := os.Open(script) // whoever holds a file does not keep it mounted
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := UnmountEach(parent, "secrets"); err != nil {
		t.Error(err)
	}
	if all := mountsBelow(t, parent); len(all) != 0 {
		t.Errorf("mounts are left: %q", all)
	}
	for _, none := range []string{dir, filepath.Join(parent, "nobody")} {
		if err := Unmount(none); err != nil {
			t.Error(err)
		}
	}
	if err := UnmountEach(filepath.Join(parent, "nobody"), "secrets"); err != nil {
		t.Error(err)
	}
}

// A link in the place of the directory is not followed: it may lead anywhere.
func TestMountOverLink(t *testing.T) {
	parent := t.TempDir()
	other, link := filepath.Join(parent, "other"), filepath.Join(parent, "secrets")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	m := New(slog.New(slog.DiscardHandler))
	if _, err := m.Mount(link, 1); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a link: %v", err)
	}
	if all := mountsBelow(t, parent); len(all) != 0 {
		t.Errorf("mounts %q", all)
	}
}

func TestMountNotAllowed(t *testing.T) {
	var log bytes.Buffer
	m := New(slog.New(slog.NewTextHandler(&log, nil)))
	answer := error(unix.EPERM)
	m.mount = func(string, string, string, uintptr, string) error { return answer }
	for range 3 {
		if inMemory, err := m.Mount(t.TempDir(), 1); err != nil || inMemory {
			t.Errorf("in memory %v: %v", inMemory, err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "secrets of tasks are kept on disk") {
		t.Errorf("%d lines: %s", n, &log)
	}
	answer = unix.ENOMEM
	if _, err := m.Mount(t.TempDir(), 1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("no memory: %v", err)
	}
}

// A kernel that does not know the option which keeps it from swapping is asked once.
func TestMountOlderKernel(t *testing.T) {
	var asked []string
	m := New(slog.New(slog.DiscardHandler))
	m.mount = func(_, _, _ string, _ uintptr, data string) error {
		asked = append(asked, data)
		if strings.Contains(data, "noswap") {
			return unix.EINVAL
		}
		return nil
	}
	for range 2 {
		if inMemory, err := m.Mount(t.TempDir(), 2); err != nil || !inMemory {
			t.Errorf("in memory %v: %v", inMemory, err)
		}
	}
	want := "mode=0700,size=2m,nr_inodes=2048,noswap mode=0700,size=2m,nr_inodes=2048 mode=0700,size=2m,nr_inodes=2048"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked %s\nwant %s", got, want)
	}
}

func BenchmarkMount(b *testing.B) {
	dir := b.TempDir()
	m := New(slog.New(slog.DiscardHandler))
	for b.Loop() {
		if _, err := m.Mount(dir, 1); err != nil {
			b.Fatal(err)
		}
		if err := Unmount(dir); err != nil {
			b.Fatal(err)
		}
	}
}
