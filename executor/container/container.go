// Package container runs a task in a container of its own: namespaces, control groups, a root file system, and few
// capabilities, by libcontainer and without a daemon.
//
// Its promise: what is made for a task (control groups, mounts, the root's upper layer) is gone when the task is
// destroyed, whatever was killed in between. Mounts are made in the container's own mount namespace, so the machine never
// sees them.
//
// A container is made by the program drover-container, which the task's shim runs and which is gone when the task
// starts; see package bundle for what it is told. The same program, as a child of the agent, runs further programs in it.
// The drivers exec, java and oci are built on this package.
package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drover/executor/container/bundle"
	"drover/executor/driver"
	"drover/executor/shim/cgroup"
	"drover/executor/shim/wire"
	"drover/executor/shimtask"
)

// Runtime is what containers are made with.
type Runtime struct {
	Shim  string // path of the task shim
	Maker string // path of drover-container
}

// Container is what a driver wants of a task's container.
type Container struct {
	Root    string          // directory of the root file system, or where Overlay is mounted
	Overlay *bundle.Overlay // nil: Root is there already
	Mounts  []specs.Mount   // after the usual ones
	Masked  []string        // paths of the root that the task does not see

	Args []string
	Env  map[string]string
	Dir  string
	User User
	Caps []string // full names, CAP_...

	HostPID, HostIPC bool // share the machine's
	NoPivotRoot      bool
}

// User is who a task runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Check says why containers cannot be run here, or nil.
func (r *Runtime) Check() error {
	if os.Geteuid() != 0 {
		return errors.New("the agent must run as root")
	}
	if r.Shim == "" || r.Maker == "" {
		return errors.New("this drover was built without its task shim: build it with `make build`")
	}
	_, err := FindCgroups()
	return err
}

// Start runs a task in a container.
func (r *Runtime) Start(t *driver.Task, c *Container) (*Task, error) {
	groups, err := FindCgroups()
	if err != nil {
		return nil, err
	}
	go groups.expectMove() // while the programs that make the container start
	if err := os.MkdirAll(t.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := bundle.Save(t.StateDir, &bundle.Bundle{Spec: specOf(t, c, groups), Overlay: c.Overlay, NoPivotRoot: c.NoPivotRoot}); err != nil {
		return nil, err
	}
	task, err := shimtask.Start(r.Shim, t, wire.Spec{
		Path: r.Maker, Args: []string{r.Maker, "create", t.StateDir}, Dir: t.StateDir,
		// As few threads as will do: it lives for milliseconds.
		Env:    []string{"GOMAXPROCS=2", "GOGC=off"},
		LogDir: t.LogDir, LogName: t.Name, LogBytesMax: t.LogBytesMax, LogFilesMax: t.LogFilesMax, LogsDisabled: t.LogsDisabled,
		Maker: true, Cgroups: groups.dirs(t.ID),
	})
	if err != nil {
		return nil, err
	}
	return r.task(t, task, groups), nil
}

// Recover finds a start of an earlier agent. What that agent had run beside it ends: nobody has its streams.
func (r *Runtime) Recover(t *driver.Task) (*Task, error) {
	task, err := shimtask.Recover(t)
	if err != nil {
		return nil, err
	}
	groups, err := FindCgroups()
	if err != nil {
		return nil, err
	}
	cgroup.Remove(execGroups(groups.dirs(t.ID)))
	return r.task(t, task, groups), nil
}

// Task is one start. It implements driver.Running and driver.Execer.
type Task struct {
	*shimtask.Task
	maker    string
	stateDir string
	groups   Cgroups
	id       string
}

func (r *Runtime) task(t *driver.Task, task *shimtask.Task, groups Cgroups) *Task {
	return &Task{Task: task, maker: r.Maker, stateDir: t.StateDir, groups: groups, id: t.ID}
}

// Usage implements driver.Running.
func (r *Task) Usage(context.Context) (driver.Usage, error) {
	usage, ok := r.groups.usage(r.id)
	if !ok {
		return usage, driver.ErrEnded
	}
	return usage, nil
}

// specOf describes the container in the terms of the OCI runtime specification.
func specOf(t *driver.Task, c *Container, groups Cgroups) *specs.Spec {
	env := make([]string, 0, len(c.Env))
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name])
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	caps := &specs.LinuxCapabilities{Bounding: c.Caps, Effective: c.Caps, Permitted: c.Caps}
	if c.User.UID != 0 { // without these a user other than root loses them all when the program begins
		caps.Inheritable, caps.Ambient = c.Caps, c.Caps
	}
	zero := 0
	namespaces := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if !c.HostPID {
		namespaces = append(namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	if !c.HostIPC {
		namespaces = append(namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace})
	}
	masked := append(slices.Clone(maskedPaths), c.Masked...)
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: c.Root},
		Process: &specs.Process{
			Args: c.Args, Env: env, Cwd: dir, Capabilities: caps, OOMScoreAdj: &zero,
			User: specs.User{UID: c.User.UID, GID: c.User.GID, AdditionalGids: c.User.Groups},
		},
		Mounts: append(usualMounts(c.HostIPC), c.Mounts...),
		Linux: &specs.Linux{
			Namespaces: namespaces, CgroupsPath: groups.path(t.ID), Resources: resources(t, groups.Version),
			MaskedPaths: masked, ReadonlyPaths: readonlyPaths,
		},
	}
}

// maskedPaths are what no task sees, as runc has it: the machine's memory, keys, secrets of its firmware and what tells
// of other tasks by power or timing. readonlyPaths are what no task changes. What a machine does not have is passed over.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// resources are the limits of a task. No device may be used but those that every container has.
func resources(t *driver.Task, version int) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	if t.MemoryMB > 0 {
		limit := t.MemoryMB << 20
		r.Memory = &specs.LinuxMemory{Limit: &limit}
		if hard := t.MemoryMaxMB << 20; t.MemoryMaxMB != 0 { // what it may have is apart from what it is sure of
			r.Memory.Reservation = &limit
			r.Memory.Limit = &hard
			if t.MemoryMaxMB < 0 {
				r.Memory.Limit = nil
			}
		}
		if _, err := os.Stat(filepath.Join(cgroupRoot, "memory/memory.swappiness")); version == 1 && err == nil {
			never := uint64(0)
			r.Memory.Swappiness = &never
		}
	}
	if t.CPUMHz > 0 {
		shares := uint64(max(t.CPUMHz, sharesMin))
		r.CPU = &specs.LinuxCPU{Shares: &shares}
	}
	return r
}

// usualMounts are what programs expect of a Linux system.
func usualMounts(hostIPC bool) []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	}
	if hostIPC {
		mounts = append(mounts, Bind("/dev/shm", "/dev/shm", false))
	} else {
		mounts = append(mounts, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + shmBytes}})
	}
	return append(mounts,
		specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}})
}

// Bind is a directory or file of the machine in a container, with what is mounted below it.
func Bind(source, target string, readOnly bool) specs.Mount {
	m := specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"rbind", "rprivate"}}
	switch {
	case readOnly && mountsRecursively():
		m.Options = append(m.Options, "rro")
	case readOnly: // an older kernel would leave what is mounted below writable: it is not shown
		m.Options = []string{"bind", "rprivate", "ro"}
	}
	return m
}

// mountsRecursively reports whether the kernel can make a whole tree of mounts read-only at once (Linux 5.12).
func mountsRecursively() bool {
	return !errors.Is(unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}), unix.ENOSYS)
}

// TaskMounts are the directories of a task where a task with a root of its own finds them.
func TaskMounts(t *driver.Task) []specs.Mount {
	secrets := Bind(t.SecretsDir, driver.SecretsMount, false)
	secrets.Options = append(secrets.Options, "nosuid", "nodev", "noexec") // nothing there is a program
	return []specs.Mount{
		secrets,
		Bind(t.SharedDir, driver.SharedMount, false),
		Bind(t.LogDir, driver.SharedMount+"/"+filepath.Base(t.LogDir), true),
	}
}

// Layers are directories of the machine over one another, read-only: what is in the first hides the same in the next.
func Layers(target string, dirs ...string) specs.Mount {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace // as the kernel reads its options
	for i := range dirs {
		dirs[i] = escape(dirs[i])
	}
	return specs.Mount{Destination: target, Type: "overlay", Source: "overlay", Options: []string{"ro", "lowerdir=" + strings.Join(dirs, ":")}}
}

// VolumeMounts are the directories of the machine that a task mounts. They come last, as one may stand inside another of
// its directories.
func VolumeMounts(t *driver.Task) ([]specs.Mount, error) {
	var mounts []specs.Mount
	for _, v := range t.Mounts {
		m := Bind(v.Source, v.Target, v.ReadOnly)
		switch v.Propagation {
		case "", "private":
		case "host-to-task":
			m.Options[slices.Index(m.Options, "rprivate")] = "rslave"
		default: // mounts of a task would have to outlive it
			return nil, driver.Unrecoverable{Err: fmt.Errorf("mount %s: propagation mode %q is not supported here; use private or host-to-task", v.Target, v.Propagation)}
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}
