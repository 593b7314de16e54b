// Package oci runs tasks from OCI images without a daemon: the driver oci.
//
// Its promise: a task sees the files of its image and what its job mounts, and nothing else of the machine; what it changes
// in them is gone with it, and what it runs on was checked against the image's digests.
package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"

	"drover/eventlog/event"
	"drover/executor/container"
	"drover/executor/container/bundle"
	"drover/executor/driver"
	"drover/executor/oci/image"
)

// Driver is the driver "oci".
type Driver struct {
	Runtime container.Runtime
	Images  *image.Store
	Policy  container.Policy
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return "oci" }

// KillSignal implements driver.Driver.
func (d *Driver) KillSignal() string { return "SIGTERM" }

// Capabilities implements driver.Driver.
func (d *Driver) Capabilities() driver.Capabilities {
	return driver.Capabilities{FS: driver.IsolationImage, Mounts: true}
}

// Fingerprint implements driver.Driver.
func (d *Driver) Fingerprint(context.Context) event.DriverInfo {
	if err := d.Runtime.Check(); err != nil {
		return driver.Undetected(time.Now(), "Driver needs root and control groups: "+err.Error())
	}
	systems, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(systems), "\toverlay\n") {
		return driver.Undetected(time.Now(), "Driver needs overlayfs, which this kernel does not have loaded")
	}
	return driver.Healthy(time.Now(), map[string]string{"driver.oci": "1"})
}

// options are what a job file says of a task.
type options struct {
	image            image.Reference
	entrypoint       []string
	command          string
	args             []string
	env              map[string]string
	user, workDir    string
	mounts           []mount
	caps             []string
	hostPID, hostIPC bool
}

// mount is a directory or file of the task's directory in the container.
type mount struct {
	source, target string
	readOnly       bool
}

func (d *Driver) options(t *driver.Task) (*options, error) {
	o := driver.OptionsOf(t.Config)
	name := o.String("image")
	got := &options{
		entrypoint: o.Strings("entrypoint"), command: o.String("command"), args: o.Strings("args"),
		user: o.String("user"), workDir: o.String("work_dir"),
	}
	mounts, pidMode, ipcMode := o.Strings("mounts"), o.String("pid_mode"), o.String("ipc_mode")
	var credentials image.Credentials
	o.Blocks("auth", func(a *driver.Options) {
		credentials = image.Credentials{Username: a.String("username"), Password: a.String("password")}
	})
	add, drop, env := o.Strings("cap_add"), o.Strings("cap_drop"), o.Strings("env")
	if err := o.Err(); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, errors.New(`option "image" is required`)
	}
	var err error
	if got.image, err = image.ParseReference(name); err != nil {
		return nil, err
	}
	if credentials.Username == "" && credentials.Password != "" {
		return nil, errors.New(`option "auth.username" is required with a password`)
	}
	got.image.Credentials = credentials
	if got.image.Path != "" && !filepath.IsAbs(got.image.Path) {
		switch first, rest, _ := strings.Cut(path.Clean(got.image.Path), "/"); {
		case !filepath.IsLocal(got.image.Path):
			return nil, fmt.Errorf("image %q leads out of the task's directory", name)
		case first == "alloc":
			got.image.Path = filepath.Join(t.SharedDir, rest)
		default:
			got.image.Path = filepath.Join(t.TaskDir, got.image.Path)
		}
	}
	got.env = map[string]string{}
	for _, pair := range env {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("env: %q is not NAME=value", pair)
		}
		got.env[key] = value
	}
	for _, text := range mounts {
		parts := strings.Split(text, ":")
		if len(parts) == 2 {
			parts = append(parts, "rw")
		}
		if len(parts) != 3 || parts[2] != "ro" && parts[2] != "rw" || !filepath.IsAbs(parts[1]) || filepath.Clean(parts[1]) == "/" {
			return nil, fmt.Errorf("mount %q is not source:/target or source:/target:ro", text)
		}
		if !filepath.IsLocal(parts[0]) {
			return nil, fmt.Errorf("mount %q: the source must be a path of the task's directory", text)
		}
		got.mounts = append(got.mounts, mount{parts[0], filepath.Clean(parts[1]), parts[2] == "ro"})
	}
	if got.hostPID, got.hostIPC, err = d.Policy.Modes(pidMode, ipcMode); err != nil {
		return nil, err
	}
	if got.workDir != "" && !filepath.IsAbs(got.workDir) {
		return nil, fmt.Errorf("work_dir must be an absolute path: %q", got.workDir)
	}
	got.caps, err = container.Capabilities(d.Policy.AllowCaps, add, drop)
	return got, err
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, t *driver.Task) (driver.Running, error) {
	o, err := d.options(t)
	if err != nil {
		if !errors.As(err, new(driver.Invalid)) {
			err = driver.Invalid{Err: err}
		}
		return nil, err
	}
	for _, dir := range []string{"root", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(t.StateDir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make root file system: %w", err)
		}
	}
	ready, err := d.Images.Get(ctx, o.image, t.StateDir, t.Tell)
	if err != nil {
		if o.image.Path != "" || image.Refused(err) { // a registry may be back in a moment; a disk does not mend by itself
			err = driver.Unrecoverable{Err: err}
		}
		return nil, errors.Join(err, d.forget(t))
	}
	c, err := d.container(t, o, ready)
	if err != nil {
		return nil, errors.Join(driver.Unrecoverable{Err: err}, d.forget(t))
	}
	r, err := d.Runtime.Start(t, c)
	if err != nil {
		return nil, errors.Join(err, d.Images.Release(t.StateDir))
	}
	return &running{Task: r, images: d.Images, stateDir: t.StateDir}, nil
}

// forget removes what was made for a start that did not come to be.
func (d *Driver) forget(t *driver.Task) error {
	return errors.Join(d.Images.Release(t.StateDir), os.RemoveAll(t.StateDir))
}

// container puts together what the image and the job say.
func (d *Driver) container(t *driver.Task, o *options, ready *image.Image) (*container.Container, error) {
	args := ready.Config.Entrypoint
	if len(o.entrypoint) > 0 {
		args = o.entrypoint
	}
	args = append([]string(nil), args...)
	switch {
	case o.command != "":
		args = append(append(args, o.command), o.args...)
	case len(o.args) > 0:
		args = append(args, o.args...)
	case len(o.entrypoint) == 0: // an entrypoint of the job's own does not go with the image's arguments
		args = append(args, ready.Config.Cmd...)
	}
	if len(args) == 0 {
		return nil, errors.New("the image names no program to run: say it as command")
	}
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, pair := range ready.Config.Env {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	maps.Copy(env, t.Env)
	maps.Copy(env, o.env)
	who, home, err := userOf(ready, t.User, o.user, ready.Config.User)
	if err != nil {
		return nil, err
	}
	if _, set := env["HOME"]; !set && home != "" {
		env["HOME"] = home
	}
	if err := os.Chown(t.SecretsDir, int(who.UID), int(who.GID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("give secrets to user: %w", err)
	}
	mounts, err := mountsOf(t, o.mounts)
	if err != nil {
		return nil, err
	}
	dir := o.workDir
	if dir == "" {
		dir = ready.Config.WorkingDir
	}
	return &container.Container{
		Root: filepath.Join(t.StateDir, "root"),
		Overlay: &bundle.Overlay{
			Dir: ready.Dir, Lower: ready.Layers, Upper: filepath.Join(t.StateDir, "upper"), Work: filepath.Join(t.StateDir, "work"),
		},
		Mounts: mounts, Args: args, Env: env, Dir: dir, User: who, Caps: o.caps, HostPID: o.hostPID, HostIPC: o.hostIPC,
	}, nil
}

// mountsOf are the task's directories, what tells it the names of other machines, and what its job wants.
func mountsOf(t *driver.Task, wanted []mount) ([]specs.Mount, error) {
	mounts := append(container.TaskMounts(t), container.Bind(t.LocalDir, driver.LocalMount, false))
	for _, file := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if source, err := filepath.EvalSymlinks(file); err == nil {
			mounts = append(mounts, container.Bind(source, file, true))
		}
	}
	volumes, err := container.VolumeMounts(t)
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 {
		return append(mounts, volumes...), nil
	}
	root, err := os.OpenRoot(t.TaskDir)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	defer root.Close()
	for _, m := range wanted {
		if _, err := root.Stat(m.source); err != nil { // also a link that leads out of the task's directory
			return nil, fmt.Errorf("mount %s: %w", m.source, err)
		}
		source, err := filepath.EvalSymlinks(filepath.Join(t.TaskDir, m.source))
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.source, err)
		}
		mounts = append(mounts, container.Bind(source, m.target, m.readOnly))
	}
	return append(mounts, volumes...), nil
}

// userOf is the first user that is named, "name", "name:group" or numbers, as the image's own files know it.
func userOf(ready *image.Image, names ...string) (container.User, string, error) {
	name := ""
	for _, n := range names {
		if name = n; n != "" {
			break
		}
	}
	found, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, bytes.NewReader(ready.File("etc/passwd")), bytes.NewReader(ready.File("etc/group")))
	if err != nil {
		return container.User{}, "", fmt.Errorf("find user %q in the image: %w", name, err)
	}
	who := container.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}
	for _, g := range found.Sgids {
		who.Groups = append(who.Groups, uint32(g))
	}
	return who, found.Home, nil
}

// Recover implements driver.Driver.
func (d *Driver) Recover(_ context.Context, t *driver.Task, _ []byte) (driver.Running, error) {
	r, err := d.Runtime.Recover(t)
	if err != nil {
		return nil, err
	}
	return &running{Task: r, images: d.Images, stateDir: t.StateDir}, nil
}

type running struct {
	*container.Task
	images   *image.Store
	stateDir string
}

// Destroy implements driver.Running.
func (r *running) Destroy(ctx context.Context) error {
	if err := r.Task.Destroy(ctx); err != nil {
		return err
	}
	return r.images.Release(r.stateDir)
}
