package chrootexec

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drover/executor/container"
	"drover/executor/driver"
)

// defaultChroot are the directories of the machine that tasks see, each at its own path.
var defaultChroot = []string{
	"/bin", "/etc", "/lib", "/lib32", "/lib64", "/run/resolvconf", "/run/systemd/resolve", "/sbin", "/usr",
}

// chroot is the part of the machine that tasks see: paths in the task's root, and where they come from.
type chroot map[string]string

func chrootOf(env map[string]string) chroot {
	c := chroot{}
	if len(env) == 0 {
		for _, path := range defaultChroot {
			c[path] = path
		}
		return c
	}
	for source, target := range env {
		c[filepath.Clean("/"+target)] = source
	}
	return c
}

// build makes ready the root of a task, its own directory: links of the machine are made anew in it, everything else is
// to be mounted read-only. What the machine does not have is left out.
func (c chroot) build(t *driver.Task) ([]specs.Mount, error) {
	root, err := os.OpenRoot(t.TaskDir)
	if err != nil {
		return nil, fmt.Errorf("build root file system: %w", err)
	}
	defer root.Close()
	var mounts []specs.Mount
	for _, target := range slices.Sorted(maps.Keys(c)) { // parents before what stands in them
		source := c[target]
		info, err := os.Lstat(source)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("build root file system: %w", err)
		}
		name := strings.TrimPrefix(target, "/")
		switch {
		case name == "":
			return nil, fmt.Errorf("build root file system: %s cannot be the whole of a task's root file system", source)
		case info.Mode()&fs.ModeSymlink != 0:
			if err := link(root, source, name); err != nil {
				return nil, fmt.Errorf("build root file system: %w", err)
			}
		case info.IsDir() && holdsFiles(root, name):
			// Templates and artifacts of the task lie there: they stand before what the machine has.
			mounts = append(mounts, container.Layers(target, filepath.Join(t.TaskDir, name), source))
		case info.IsDir(), info.Mode().IsRegular():
			mounts = append(mounts, container.Bind(source, target, true))
		}
	}
	volumes, err := container.VolumeMounts(t)
	if err != nil {
		return nil, err
	}
	return slices.Concat(mounts, container.TaskMounts(t), volumes), nil
}

// holdsFiles reports whether a directory of the task has something in it. An empty one is where an earlier start had
// something mounted.
func holdsFiles(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		return false
	}
	dir, err := root.Open(name)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(1)
	return len(names) > 0
}

// link makes a link of the machine anew in root, where an earlier start may have left it or something else.
func link(root *os.Root, source, name string) error {
	to, err := os.Readlink(source)
	if err != nil {
		return err
	}
	if have, err := root.Readlink(name); err == nil && have == to {
		return nil
	}
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return root.Symlink(to, name)
}

// host is where a path of the task's root comes from on the machine; "" when no part of the machine stands there.
func (c chroot) host(path string) string {
	longest := ""
	for target := range c {
		if (path == target || strings.HasPrefix(path, target+"/")) && len(target) > len(longest) {
			longest = target
		}
	}
	if longest == "" {
		return ""
	}
	return c[longest] + strings.TrimPrefix(path, longest)
}

// programDirs are searched for programs that are named without a path. The agent's own PATH says nothing of the task's
// root.
var programDirs = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// lookup finds a program as a path of the task's root: in its local directory, in its directory, then in the usual
// ones.
func (c chroot) lookup(t *driver.Task, command string) (string, error) {
	if filepath.IsAbs(command) {
		return command, nil // whether it is there is found out inside
	}
	if !filepath.IsLocal(command) {
		return "", fmt.Errorf("find program %q: the path leads out of the task's directory", command)
	}
	root, err := os.OpenRoot(t.TaskDir)
	if err != nil {
		return "", fmt.Errorf("find program %q: %w", command, err)
	}
	defer root.Close()
	for _, name := range []string{filepath.Join("local", command), command} {
		info, err := root.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if info.Mode().Perm()&0o555 != 0o555 {
			if err := root.Chmod(name, info.Mode().Perm()|0o555); err != nil {
				return "", fmt.Errorf("make program %q executable: %w", command, err)
			}
		}
		return "/" + name, nil
	}
	for _, dir := range programDirs {
		path := filepath.Join(dir, command)
		if host := c.host(path); host != "" {
			if info, err := os.Stat(host); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("find program %q: it is not in the task's directory nor in %s of its root file system",
		command, strings.Join(programDirs, ", "))
}
