// Package rawexec runs tasks as plain processes of the machine, without isolation, each under a shim of its own.
//
// Its promise: a task that was started is never started a second time because the agent died, and its exit status and
// output are not missed while no agent runs.
package rawexec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/shim/wire"
	"drover/executor/shimtask"
)

// Name is what job files call the driver.
const Name = "raw_exec"

// Driver is the raw_exec driver.
type Driver struct {
	// Shim is the path of the shim's binary, see [shim.Extract].
	Shim string
	// Denied are users and groups that no task may run as.
	Denied driver.DeniedIDs
	// EnvDenied are patterns of variables that no task has, whatever its job says.
	EnvDenied []string
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// KillSignal implements driver.Driver.
func (d *Driver) KillSignal() string { return "SIGINT" }

// Capabilities implements driver.Driver: a task sees the machine as it is.
func (d *Driver) Capabilities() driver.Capabilities { return driver.Capabilities{} }

// Fingerprint implements driver.Driver.
func (d *Driver) Fingerprint(context.Context) event.DriverInfo {
	return driver.Healthy(time.Now(), map[string]string{"driver.raw_exec": "1"})
}

// Start implements driver.Driver.
func (d *Driver) Start(_ context.Context, t *driver.Task) (driver.Running, error) {
	spec, err := d.spec(t)
	if err != nil {
		return nil, err
	}
	task, err := shimtask.Start(d.Shim, t, spec)
	if err != nil {
		return nil, err
	}
	return &running{task}, nil
}

// spec is what the shim is to run.
func (d *Driver) spec(t *driver.Task) (wire.Spec, error) {
	o := driver.OptionsOf(t.Config)
	command, args, workDir := o.String("command"), o.Strings("args"), o.String("work_dir")
	oomScore, setOOMScore := o.Int("oom_score_adj")
	denied := slices.Concat(d.EnvDenied, o.Strings("denied_envvars"))
	o.Ignore("cgroup_v1_override", "cgroup_v2_override")
	if err := o.Err(); err != nil {
		return wire.Spec{}, err
	}
	if command == "" {
		return wire.Spec{}, driver.Invalid{Err: errors.New(`option "command" is required`)}
	}
	if workDir != "" && !filepath.IsAbs(workDir) {
		return wire.Spec{}, driver.Invalid{Err: fmt.Errorf("work_dir must be an absolute path: %q", workDir)}
	}
	if workDir == "" {
		workDir = t.TaskDir
	}
	path, err := lookup(t, command)
	if err != nil {
		return wire.Spec{}, driver.Unrecoverable{Err: err}
	}
	spec := wire.Spec{
		Path: path, Args: append([]string{command}, args...), Dir: workDir,
		LogDir: t.LogDir, LogName: t.Name, LogBytesMax: t.LogBytesMax, LogFilesMax: t.LogFilesMax, LogsDisabled: t.LogsDisabled,
		SetOOMScoreAdj: setOOMScore, OOMScoreAdj: oomScore,
	}
	for name, value := range t.Env {
		if !slices.ContainsFunc(denied, func(pattern string) bool {
			match, err := filepath.Match(pattern, name)
			return err == nil && match
		}) {
			spec.Env = append(spec.Env, name+"="+value)
		}
	}
	slices.Sort(spec.Env)
	if t.User != "" {
		if err := shimtask.RunAs(&spec, t.User); err != nil {
			return wire.Spec{}, driver.Unrecoverable{Err: err}
		}
	}
	// Who names no user is the agent's own.
	uid, gids := uint32(os.Getuid()), []uint32{uint32(os.Getgid())}
	if spec.SetUser {
		uid, gids = spec.UID, append([]uint32{spec.GID}, spec.Groups...)
	}
	if err := d.Denied.Check(uid, gids...); err != nil {
		return wire.Spec{}, err
	}
	return spec, nil
}

// lookup finds the program: in the task's local directory, in its directory, as an absolute path, in the agent's PATH.
func lookup(t *driver.Task, command string) (string, error) {
	if filepath.IsAbs(command) {
		return command, nil
	}
	if path, err := lookupOwn(t, command); path != "" || err != nil {
		return path, err
	}
	path, err := exec.LookPath(command)
	if err != nil {
		return "", fmt.Errorf("find program %q: %w", command, errors.Unwrap(err))
	}
	return filepath.Abs(path)
}

// lookupOwn looks in the task's own directories and makes what it finds executable. Links that lead out of the
// allocation are not followed: the mode of a file elsewhere is not the task's to change.
func lookupOwn(t *driver.Task, command string) (string, error) {
	root, err := os.OpenRoot(filepath.Dir(t.TaskDir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find program %q: %w", command, err)
	}
	defer root.Close()
	task := filepath.Base(t.TaskDir)
	for _, name := range []string{filepath.Join(task, "local", command), filepath.Join(task, command)} {
		if !filepath.IsLocal(command) {
			break
		}
		info, err := root.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if info.Mode().Perm()&0o111 == 0 {
			if err := root.Chmod(name, info.Mode().Perm()|0o555); err != nil {
				return "", fmt.Errorf("make program %q executable: %w", command, err)
			}
		}
		return filepath.Join(root.Name(), name), nil
	}
	return "", nil
}

// Recover implements driver.Driver.
func (d *Driver) Recover(_ context.Context, t *driver.Task, _ []byte) (driver.Running, error) {
	task, err := shimtask.Recover(t)
	if err != nil {
		return nil, err
	}
	return &running{task}, nil
}

type running struct{ *shimtask.Task }
