// Package shim is the agent's side of the task shim: it carries the shim's binary, starts it, and talks to shims that
// earlier agents started.
//
// Its promise: whatever dies, a start of a task (one state directory) has one answer. It runs under a shim that holds
// the directory's lock, or its exit status is on disk, or it is known to be lost and nothing of it is left running.
package shim

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// binary holds the shim once the build has put it there. The directory has a committed file so that a fresh clone
// compiles without it.
//
//go:embed all:bin
var binary embed.FS

// ErrNotBuilt says that this drover was built without its shim.
var ErrNotBuilt = errors.New("this drover carries no task shim and cannot run raw_exec tasks: build it with `make build`")

// Extract writes the shim that drover carries below dir, named by its content, and returns its path. One that is there
// already is used as it is.
func Extract(dir string) (string, error) {
	content, err := binary.ReadFile("bin/drover-shim")
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("read embedded shim: %w", err)
	}
	return install(dir, content)
}

func install(dir string, content []byte) (string, error) {
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, "drover-shim-"+hex.EncodeToString(sum[:8]))
	if old, err := os.ReadFile(path); err == nil && sha256.Sum256(old) == sum {
		return path, os.Chmod(path, 0o755)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("extract shim: %w", err)
	}
	f, err := os.CreateTemp(dir, "drover-shim-new-*")
	if err != nil {
		return "", fmt.Errorf("extract shim: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o755)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("extract shim: %w", err)
	}
	return path, nil
}
