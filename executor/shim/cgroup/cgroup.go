// Package cgroup handles the control groups of one task by their directories alone: what is in them, what became of it,
// and their removal.
//
// Its promise: it works on version 1, where a task has one directory in each hierarchy, and on version 2, where it has
// one, without knowing which it is. A directory that does not exist is no error.
package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// removeRounds and removePause bound the wait for a group to become empty: the kernel takes a process out of its group
	// a moment after its parent has heard of its end.
	removeRounds = 200
	removePause  = 5 * time.Millisecond
)

// Number reads a file of a group that holds one number.
func Number(dir, file string) (uint64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// Fields reads a file of a group that has lines "name number".
func Fields(dir, file string) map[string]uint64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil
	}
	fields := make(map[string]uint64)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			fields[f[0]] = n
		}
	}
	return fields
}

// OOMKills counts the processes that the kernel has killed because the group was out of memory.
func OOMKills(dirs []string) uint64 {
	var kills uint64
	for _, dir := range dirs {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			kills = max(kills, Fields(dir, file)["oom_kill"])
		}
	}
	return kills
}

// PIDs are the processes in the groups and in groups below them, each once.
func PIDs(dirs []string) []int {
	var pids []int
	seen := map[int]bool{}
	walk(dirs, func(dir string) {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return
		}
		for line := range strings.Lines(string(b)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 && !seen[pid] {
				seen[pid] = true
				pids = append(pids, pid)
			}
		}
	})
	return pids
}

// Kill kills what is in the groups and says how many processes that were. New ones may appear while it works, so it is
// called until it finds none.
func Kill(dirs []string) int {
	for _, dir := range dirs {
		os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) // version 2 only, and whole
	}
	pids := PIDs(dirs)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(pids)
}

// Remove kills what is left in the groups and removes them.
func Remove(dirs []string) {
	for range removeRounds {
		left := 0
		walk(dirs, func(dir string) {
			if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				left++
			}
		})
		if left == 0 {
			return
		}
		Kill(dirs)
		time.Sleep(removePause)
	}
}

// walk visits groups, those below first.
func walk(dirs []string, visit func(dir string)) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				walk([]string{filepath.Join(dir, e.Name())}, visit)
			}
		}
		visit(dir)
	}
}
