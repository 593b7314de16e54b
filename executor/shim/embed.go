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

// binary holds the programs once the build has put them there. The directory has a committed file so that a fresh clone
// compiles without it.
//
//go:embed all:bin
var binary embed.FS

// ErrNotBuilt says that this drover was built without its shim.
var ErrNotBuilt = errors.New("this drover carries no task shim and cannot run tasks: build it with `make build`")

// Programs that drover carries.
const (
	Shim           = "drover-shim"      // stands beside every task
	ContainerMaker = "drover-container" // makes the containers of tasks that have one
)

// Extract writes a program that drover carries below dir, named by its content, and returns its path. One that is there
// already is used as it is.
func Extract(dir, program string) (string, error) {
	content, err := binary.ReadFile("bin/" + program)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("read embedded %s: %w", program, err)
	}
	return install(dir, program, content)
}

func install(dir, program string, content []byte) (string, error) {
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, program+"-"+hex.EncodeToString(sum[:8]))
	if old, err := os.ReadFile(path); err == nil && sha256.Sum256(old) == sum {
		return path, os.Chmod(path, 0o755)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("extract %s: %w", program, err)
	}
	f, err := os.CreateTemp(dir, program+"-new-*")
	if err != nil {
		return "", fmt.Errorf("extract %s: %w", program, err)
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
		return "", fmt.Errorf("extract %s: %w", program, err)
	}
	return path, nil
}
