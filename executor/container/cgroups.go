package container

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"drover/executor/driver"
	"drover/executor/shim/cgroup"
)

// Cgroups are the machine's control groups.
type Cgroups struct {
	Version int      // 1 or 2; 0 when there are none that can be used
	mounts  []string // where the hierarchies are mounted
}

// FindCgroups looks where control groups are mounted. A machine with both versions is one of version 1: its controllers
// are there.
func FindCgroups() (Cgroups, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Cgroups{}, fmt.Errorf("find control groups: %w", err)
	}
	c := cgroupsOf(string(b))
	return c, c.check()
}

const cgroupRoot = "/sys/fs/cgroup"

// cgroupsOf reads the table of mounts. Its lines are "id parent device root mountpoint options [tags] - type source
// super-options".
func cgroupsOf(mountinfo string) Cgroups {
	var c Cgroups
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(place) < 5 || len(kind) == 0 {
			continue
		}
		switch mount := place[4]; {
		case mount == cgroupRoot && kind[0] == "cgroup2":
			return Cgroups{Version: 2, mounts: []string{mount}}
		case filepath.Dir(mount) != cgroupRoot:
		case kind[0] == "cgroup":
			c.Version = 1
			c.mounts = append(c.mounts, mount)
		case kind[0] == "cgroup2": // without controllers; tasks have a group there too
			c.mounts = append(c.mounts, mount)
		}
	}
	return c
}

// check makes sure that limits can be set.
func (c Cgroups) check() error {
	switch c.Version {
	case 1:
		for _, controller := range []string{"memory", "cpu", "devices", "freezer"} {
			if _, err := os.Stat(filepath.Join(cgroupRoot, controller)); err != nil {
				return fmt.Errorf("control groups have no controller %q", controller)
			}
		}
		return nil
	case 2:
		b, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("find controllers of control groups: %w", err)
		}
		have := strings.Fields(string(b))
		for _, controller := range []string{"memory", "cpu"} {
			if !slices.Contains(have, controller) {
				return fmt.Errorf("control groups have no controller %q", controller)
			}
		}
		return nil
	}
	return errors.New("no control groups are mounted at " + cgroupRoot)
}

// path is where the group of a start stands in each hierarchy. Names that differ in signs alone stay different.
func (c Cgroups) path(taskID string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r == '/':
			return '.'
		}
		return '_'
	}, taskID)
	if strings.Contains(name, "_") || len(name) > nameBytesMax {
		sum := sha256.Sum256([]byte(taskID))
		name = name[:min(len(name), nameBytesMax)] + "-" + hex.EncodeToString(sum[:6])
	}
	if c.Version == 2 {
		return "/" + c.Parent() + "/" + name + ".scope"
	}
	return c.Parent() + "/" + name
}

// expectMove makes the next move of a process into a control group fast. Simple meaning: it does nothing.
//
// The first move after a while waits for a grace period of the kernel's read-copy-update, 8 to 15 ms, and a move soon
// after another does not (cgroup_threadgroup_rwsem and rcu_sync in the Linux source). The agent is moved to where it is
// already, so that this wait begins before the container that is being made needs it, and is over by then.
func (c Cgroups) expectMove() error {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	dir := c.own(string(b))
	if dir == "" {
		return errors.New("the agent's own control group was not found")
	}
	f, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("0")
	return errors.Join(err, f.Close())
}

// own is the directory of the control group that a process is in, in the first hierarchy that it names and that is
// mounted; all share the lock. Lines of its table are "id:controllers:path".
func (c Cgroups) own(table string) string {
	for line := range strings.Lines(table) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		mount := filepath.Join(cgroupRoot, strings.TrimPrefix(f[1], "name="))
		if slices.Contains(c.mounts, mount) && !strings.Contains(f[2], "..") { // it may stand above what is mounted
			return filepath.Join(mount, f[2])
		}
	}
	return ""
}

// Parent is the control group that those of tasks are made in, as operators write it: a path in version 1, a slice in
// version 2, "" without any.
func (c Cgroups) Parent() string {
	switch c.Version {
	case 0:
		return ""
	case 2:
		return "drover.slice"
	}
	return "/drover"
}

// nameBytesMax keeps names of groups below the 255 bytes that a file may have.
const nameBytesMax = 200

// dirs are the directories of the groups of a start.
func (c Cgroups) dirs(taskID string) []string {
	var dirs []string
	for _, mount := range c.mounts {
		dirs = append(dirs, filepath.Join(mount, c.path(taskID)))
	}
	return dirs
}

// userHz is the unit of cpuacct.stat, fixed in the kernel's interface.
const userHz = time.Second / 100

// memoryFields are the names that users read and what stands for them in files of both versions: one number, or a
// field of several.
var memoryFields = []struct{ name, file, field string }{
	{"RSS", "memory.stat", "total_rss"}, {"RSS", "memory.stat", "anon"},
	{"Cache", "memory.stat", "total_cache"}, {"Cache", "memory.stat", "file"},
	{"Swap", "memory.stat", "total_swap"}, {"Swap", "memory.swap.current", ""},
	{"Usage", "memory.usage_in_bytes", ""}, {"Usage", "memory.current", ""},
	{"Max Usage", "memory.max_usage_in_bytes", ""}, {"Max Usage", "memory.peak", ""},
	{"Kernel Usage", "memory.kmem.usage_in_bytes", ""}, {"Kernel Usage", "memory.stat", "kernel"},
	{"Kernel Max Usage", "memory.kmem.max_usage_in_bytes", ""},
}

// usage samples the groups of a start. There is none when they are gone.
func (c Cgroups) usage(taskID string) (driver.Usage, bool) {
	usage := driver.Usage{Time: time.Now()}
	dirs := c.dirs(taskID)
	if usage.PIDs = cgroup.PIDs(dirs); len(usage.PIDs) == 0 {
		return usage, false
	}
	slices.Sort(usage.PIDs)
	for _, dir := range dirs {
		sampleMemory(&usage.Memory, dir)
		sampleCPU(&usage.CPU, dir)
	}
	return usage, true
}

func sampleMemory(m *driver.MemoryUsage, dir string) {
	stat := cgroup.Fields(dir, "memory.stat")
	for _, f := range memoryFields {
		n, ok := stat[f.field]
		if f.field == "" {
			n, ok = cgroup.Number(dir, f.file)
		}
		if ok {
			m.Note(f.name, n)
		}
	}
	m.MappedFile += stat["total_mapped_file"] + stat["file_mapped"] // each version has one of them
}

func sampleCPU(c *driver.CPUUsage, dir string) {
	if stat := cgroup.Fields(dir, "cpuacct.stat"); stat != nil {
		c.User, c.System = time.Duration(stat["user"])*userHz, time.Duration(stat["system"])*userHz
	}
	stat := cgroup.Fields(dir, "cpu.stat")
	if micros, ok := stat["user_usec"]; ok {
		c.User, c.System = time.Duration(micros)*time.Microsecond, time.Duration(stat["system_usec"])*time.Microsecond
	}
	if times, ok := stat["nr_throttled"]; ok {
		c.Limited, c.ThrottledPeriods = true, times
		c.ThrottledTime = time.Duration(stat["throttled_time"]) + time.Duration(stat["throttled_usec"])*time.Microsecond
	}
}
