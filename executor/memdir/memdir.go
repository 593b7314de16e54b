// Package memdir keeps directories in memory: what is written there never reaches a disk, and is gone after a power cut.
//
// Its promise: a directory has one such file system or none, whoever mounted it and whatever was killed since; where the
// machine does not let the agent mount, the directory stays the plain one that it was.
package memdir

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Maker mounts. Its methods may be called at the same time, for different directories.
type Maker struct {
	log   *slog.Logger
	mount func(source, target, kind string, flags uintptr, data string) error
	told  sync.Once // that this machine does not let the agent mount
	// swaps is set once the kernel is known to be older than 6.3: it complains in its log of the option that it does not know.
	swaps atomic.Bool
}

// New makes a maker that says once if it may not mount.
func New(log *slog.Logger) *Maker { return &Maker{log: log, mount: unix.Mount} }

// Mount puts a file system in memory over a directory, closed to all but its owner and without programs, unless one is
// there. It must not be called twice at the same time for one directory. inMemory is false where the machine does not let
// this process mount.
func (m *Maker) Mount(dir string, sizeMB int) (inMemory bool, err error) {
	// Held by its descriptor: a task may have put a link into its place, and mount follows links.
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if mounted, err := isMount(fd, dir); mounted || err != nil {
		return mounted, err
	}
	target := "/proc/self/fd/" + strconv.Itoa(fd)
	// A file without content takes no page: the number of files needs a limit of its own.
	data := fmt.Sprintf("mode=0700,size=%dm,nr_inodes=%d", sizeMB, sizeMB*filesPerMB)
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err = unix.EINVAL
	if !m.swaps.Load() {
		err = m.mount("tmpfs", target, "tmpfs", flags, data+",noswap")
	}
	if errors.Is(err, unix.EINVAL) {
		m.swaps.Store(true)
		err = m.mount("tmpfs", target, "tmpfs", flags, data)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENODEV) {
		m.told.Do(func() {
			m.log.Warn("secrets of tasks are kept on disk: this process may not mount a file system in memory", "path", dir, "err", err)
		})
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("mount a file system in memory of %d MB at %s: %w", sizeMB, dir, err)
	}
	return true, nil
}

// isMount reports whether another file system than its parent's is at a directory.
func isMount(fd int, dir string) (bool, error) {
	var own, parent unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return false, fmt.Errorf("look at %s: %w", dir, err)
	}
	if err := unix.Stat(filepath.Dir(dir), &parent); err != nil {
		return false, fmt.Errorf("look at %s: %w", filepath.Dir(dir), err)
	}
	return own.Dev != parent.Dev, nil
}

// Unmount takes the file system away that Mount put over a directory, whatever may still use it. None there is no error.
func Unmount(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil, errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil
	case errors.Is(err, unix.EPERM): // a process that may not unmount may not mount either
		return nil
	}
	return fmt.Errorf("unmount %s: %w", dir, err)
}

// UnmountEach is Unmount of the directory of this name below each directory below dir.
func UnmountEach(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find mounts: %w", err)
	}
	var failed []error
	for _, e := range entries {
		if e.IsDir() {
			failed = append(failed, Unmount(filepath.Join(dir, e.Name(), name)))
		}
	}
	return errors.Join(failed...)
}
