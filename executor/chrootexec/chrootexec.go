// Package chrootexec runs tasks as programs of the machine in a container: the drivers exec and java.
//
// Its promise: a task sees its own directory as its root, with directories of the machine in it that it cannot change,
// and has no more processor time, memory and rights than its job says.
package chrootexec

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"drover/eventlog/event"
	"drover/executor/container"
	"drover/executor/driver"
)

// Config is what both drivers need.
type Config struct {
	Runtime container.Runtime
	// ChrootEnv maps directories of the machine to paths of a task's root; nil is a list of the usual ones.
	ChrootEnv map[string]string
	Policy    container.Policy
}

// Exec is the driver "exec".
type Exec struct{ Config }

// defaultUser is who a task is when its job names nobody.
const defaultUser = "nobody"

// Name implements driver.Driver.
func (d *Exec) Name() string { return "exec" }

// KillSignal implements driver.Driver.
func (c *Config) KillSignal() string { return "SIGINT" }

// Capabilities implements driver.Driver.
func (c *Config) Capabilities() driver.Capabilities {
	return driver.Capabilities{FS: driver.IsolationChroot, Mounts: true}
}

// Recover implements driver.Driver.
func (c *Config) Recover(_ context.Context, t *driver.Task, _ []byte) (driver.Running, error) {
	return running(c.Runtime.Recover(t))
}

// Fingerprint implements driver.Driver.
func (d *Exec) Fingerprint(context.Context) event.DriverInfo {
	if err := d.Runtime.Check(); err != nil {
		return driver.Undetected(time.Now(), "Driver needs root and control groups: "+err.Error())
	}
	return driver.Healthy(time.Now(), map[string]string{"driver.exec": "1"})
}

// Start implements driver.Driver.
func (d *Exec) Start(_ context.Context, t *driver.Task) (driver.Running, error) {
	o := driver.OptionsOf(t.Config)
	command, args := o.String("command"), o.Strings("args")
	iso := isolationOf(o)
	if err := o.Err(); err != nil {
		return nil, err
	}
	if command == "" {
		return nil, driver.Invalid{Err: errors.New(`option "command" is required`)}
	}
	return d.start(t, iso, command, args)
}

// isolation is what a task says of its container.
type isolation struct {
	pidMode, ipcMode string
	capAdd, capDrop  []string
	workDir          string
}

func isolationOf(o *driver.Options) isolation {
	return isolation{
		pidMode: o.String("pid_mode"), ipcMode: o.String("ipc_mode"),
		capAdd: o.Strings("cap_add"), capDrop: o.Strings("cap_drop"), workDir: o.String("work_dir"),
	}
}

// start runs a command in the task's root.
func (c *Config) start(t *driver.Task, iso isolation, command string, args []string) (driver.Running, error) {
	hostPID, hostIPC, err := c.Policy.Modes(iso.pidMode, iso.ipcMode)
	if err != nil {
		return nil, driver.Invalid{Err: err}
	}
	if iso.workDir != "" && !filepath.IsAbs(iso.workDir) {
		return nil, driver.Invalid{Err: fmt.Errorf("work_dir must be an absolute path: %q", iso.workDir)}
	}
	caps, err := container.Capabilities(c.Policy.AllowCaps, iso.capAdd, iso.capDrop)
	if err != nil {
		return nil, driver.Invalid{Err: err}
	}
	who, err := lookupUser(t.User)
	if err != nil {
		return nil, driver.Unrecoverable{Err: err}
	}
	if err := c.Policy.Denied.Check(who.UID, append([]uint32{who.GID}, who.Groups...)...); err != nil {
		return nil, err
	}
	// The directory of secrets is closed to all but the task.
	if err := os.Chown(t.SecretsDir, int(who.UID), int(who.GID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("give secrets to user: %w", err)
	}
	root := chrootOf(c.ChrootEnv)
	path, err := root.lookup(t, command)
	if err != nil {
		return nil, driver.Unrecoverable{Err: err}
	}
	mounts, err := root.build(t)
	if err != nil {
		return nil, err
	}
	env := maps.Clone(who.env)
	maps.Copy(env, t.Env) // a job may say that home is elsewhere
	return running(c.Runtime.Start(t, &container.Container{
		Root: t.TaskDir, Mounts: mounts, Masked: []string{"/private"}, Args: append([]string{path}, args...), Env: env,
		Dir: iso.workDir, User: who.User, Caps: caps, HostPID: hostPID, HostIPC: hostIPC,
		NoPivotRoot: c.Policy.NoPivotRoot,
	}))
}

// running keeps the absence of a task from becoming an interface that is not nil.
func running(t *container.Task, err error) (driver.Running, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

// account is a user of the machine and what a task of theirs is told of it.
type account struct {
	container.User
	env map[string]string
}

// lookupUser finds a user of the machine, by name or number, with all groups.
func lookupUser(name string) (account, error) {
	if name == "" {
		name = defaultUser
	}
	u, err := user.Lookup(name)
	if err != nil {
		byNumber, numberErr := user.LookupId(name)
		if numberErr != nil {
			return account{}, fmt.Errorf("find user %q: %w", name, err) // a name that is unknown, not a number that is malformed
		}
		u = byNumber
	}
	groups, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("find groups of user %q: %w", name, err)
	}
	number := func(s string) uint32 { n, _ := strconv.ParseUint(s, 10, 32); return uint32(n) }
	a := account{
		User: container.User{UID: number(u.Uid), GID: number(u.Gid)},
		env:  map[string]string{"USER": u.Username, "LOGNAME": u.Username, "HOME": u.HomeDir},
	}
	for _, g := range groups {
		a.Groups = append(a.Groups, number(g))
	}
	return a, nil
}
