package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// taskDirs are the directories of one task, as it sees them.
type taskDirs struct {
	alloc   string // <allocation>
	shared  string // <allocation>/alloc
	logs    string // <allocation>/alloc/logs
	task    string // <allocation>/<task>
	local   string // <allocation>/<task>/local
	secrets string // <allocation>/<task>/secrets
	private string // <allocation>/<task>/private, not for the task
	tmp     string // <allocation>/<task>/tmp
}

func dirsOf(allocDir string, id event.ID, task string) taskDirs {
	alloc := filepath.Join(allocDir, id.String())
	shared := filepath.Join(alloc, sharedDirName)
	own := filepath.Join(alloc, task)
	return taskDirs{
		alloc: alloc, shared: shared, logs: filepath.Join(shared, "logs"), task: own,
		local: filepath.Join(own, "local"), secrets: filepath.Join(own, secretsDirName),
		private: filepath.Join(own, privateDirName), tmp: filepath.Join(own, "tmp"),
	}
}

// seenIn are the paths that a task is told.
func (d taskDirs) seenIn(fs driver.Isolation) taskDirs {
	if fs != driver.IsolationNone {
		d.shared, d.local, d.secrets = driver.SharedMount, driver.LocalMount, driver.SecretsMount
	}
	return d
}

// sharedDirName is the directory that all tasks of an allocation share.
const sharedDirName = "alloc"

// Directories of a task that nobody else looks into: its secrets, in memory where the machine lets the agent mount, and
// what the agent has half fetched for it, which may be of any size.
const (
	secretsDirName = "secrets"
	privateDirName = "private"
)

// buildAllocDir makes the directories of an allocation. One that is there is left as it is.
func buildAllocDir(allocDir string, id event.ID, group *event.TaskGroup) error {
	shared := dirsOf(allocDir, id, "x")
	if err := os.Mkdir(shared.alloc, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	dirs := []struct {
		path string
		mode os.FileMode
	}{
		{shared.shared, 0o777}, {filepath.Join(shared.shared, "data"), 0o777}, {shared.logs, 0o777},
		{filepath.Join(shared.shared, "tmp"), 0o777},
	}
	for _, t := range group.Tasks {
		if t.Name == "" || t.Name == "." || t.Name == ".." || t.Name == sharedDirName || strings.ContainsAny(t.Name, "/\x00") {
			return fmt.Errorf("%q cannot be the name of a task's directory", t.Name)
		}
		d := dirsOf(allocDir, id, t.Name)
		dirs = append(dirs, []struct {
			path string
			mode os.FileMode
		}{
			{d.task, 0o777}, {d.local, 0o777}, {d.secrets, 0o700}, {d.private, 0o700}, {d.tmp, os.ModeSticky | 0o777},
		}...)
	}
	for _, d := range dirs {
		err := os.Mkdir(d.path, 0o700)
		if os.IsExist(err) {
			continue
		}
		if err == nil && d.mode != 0o700 {
			err = os.Chmod(d.path, d.mode) // what Mkdir does not do under an umask
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOver moves the data of a predecessor on this node, which has ended, to its successor: what its tasks shared and
// what each had for itself. A predecessor that is not here has nothing to take.
func takeOver(allocDir string, previous, id event.ID, group *event.TaskGroup) error {
	from, to := dirsOf(allocDir, previous, "x"), dirsOf(allocDir, id, "x")
	moves := [][2]string{{filepath.Join(from.shared, "data"), filepath.Join(to.shared, "data")}}
	for _, t := range group.Tasks {
		moves = append(moves, [2]string{dirsOf(allocDir, previous, t.Name).local, dirsOf(allocDir, id, t.Name).local})
	}
	for _, m := range moves {
		info, err := os.Lstat(m[0])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory any more", m[0])
		}
		// The successor's is empty, unless an earlier agent has come this far already.
		err = os.Remove(m[1])
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(m[0], m[1])
		}
		if err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}
