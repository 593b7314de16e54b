package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is the unit of /proc/PID/stat on Linux: hundredths of a second, on
// every architecture that Go runs on.
const clockTicks = 100

// usage is what a process has used so far, as the kernel counts it.
type usage struct {
	cpu          time.Duration // user and system
	resident     int64         // bytes now
	residentPeak int64         // bytes at most
}

// readUsage looks at a process from outside.
func readUsage(pid int) (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The second field is the name in parentheses, and may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	for _, at := range []int{11, 12} { // utime and stime
		ticks, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s/stat: %w", dir, err)
		}
		u.cpu += time.Duration(ticks) * time.Second / clockTicks
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, _ := strconv.ParseInt(number, 10, 64) //nolint:errcheck // lines of text are not asked for
		switch name {
		case "VmRSS":
			u.resident = n << 10
		case "VmHWM":
			u.residentPeak = n << 10
		}
	}
	return u, nil
}

// bytesIn is the size of all files below a directory.
func bytesIn(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				total += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server removes files while it runs
		}
		return err
	})
	return total, err
}

// machine is what the host has left for a run.
type machine struct {
	openFiles uint64 // that a process may have
	memory    int64  // bytes that can be used without swapping
	disk      int64  // bytes free below the data directory
	cores     int
}

func lookAtMachine(dir string, cores int) (m machine, err error) {
	m.cores = cores
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return m, fmt.Errorf("read the limit of open files: %w", err)
	}
	m.openFiles = files.Max // the runtime raises the soft limit to it
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return m, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	m.disk = int64(stat.Bavail) * stat.Bsize
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(info)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); n == 1 { //nolint:errcheck // another line
			m.memory = kb << 10
		}
	}
	return m, nil
}
