// Package qemu runs tasks as virtual machines, each an emulator under a shim.
//
// Its promise: a guest's disk is a file that the task brought or that the operator offers, never another one of the
// machine. Whatever is true of a process under a shim is true of a guest.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/shim/wire"
	"drover/executor/shimtask"
)

// Name is what job files call the driver.
const Name = "qemu"

// emulatorPrefix stands before the architecture in the names of the emulators.
const emulatorPrefix = "qemu-system-"

// emulatorDefault is used by tasks that name none, and the one that makes a machine one for guests.
const emulatorDefault = emulatorPrefix + "x86_64"

// Names of sockets in the task's directory.
const (
	monitorSocket = "qemu-monitor.sock" // there while the emulator is to be asked for an orderly end
	agentSocket   = "qa.sock"           // the guest's own agent
)

// Config is what the machine's operator decides.
type Config struct {
	// ImagePaths are directories with images that every task may use.
	ImagePaths []string
	// ArgsAllowed are the arguments of the emulator that tasks may give, as "-drive"; none is all.
	ArgsAllowed []string
	// EmulatorsAllowed are the emulators that tasks may name; none is all.
	EmulatorsAllowed []string
}

// Driver is the qemu driver.
type Driver struct {
	Config
	// Shim is the path of the shim's binary.
	Shim string
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// KillSignal implements driver.Driver.
func (d *Driver) KillSignal() string { return "SIGINT" }

// Capabilities implements driver.Driver: the emulator sees the machine as it is.
func (d *Driver) Capabilities() driver.Capabilities { return driver.Capabilities{} }

// found remembers the version of an emulator: it stays the same until the program is replaced.
var found struct {
	sync.Mutex
	path, version string
	at            time.Time // when the program was last changed
}

// versionText is what an emulator says, as "QEMU emulator version 7.2.22 (Debian ...)".
var versionText = regexp.MustCompile(`version (\d[\d.]*\d)`)

// Fingerprint implements driver.Driver.
func (d *Driver) Fingerprint(ctx context.Context) event.DriverInfo {
	if d.Shim == "" {
		return driver.Undetected(time.Now(), "Driver needs the task shim, which this build does not carry")
	}
	path, err := exec.LookPath(emulatorDefault)
	if err != nil {
		return driver.Undetected(time.Now(), "No QEMU is installed: "+err.Error())
	}
	version, err := versionOf(ctx, path)
	if err != nil {
		return driver.Undetected(time.Now(), err.Error())
	}
	return driver.Healthy(time.Now(), map[string]string{
		"driver.qemu": "1", "driver.qemu.version": version, "driver.qemu.emulators": strings.Join(d.emulators(), ","),
	})
}

func versionOf(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("version of QEMU: %w", err)
	}
	found.Lock()
	defer found.Unlock()
	if found.path == path && found.at.Equal(info.ModTime()) {
		return found.version, nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s --version: no version in %q", path, out)
	}
	found.path, found.at, found.version = path, info.ModTime(), string(match[1])
	return found.version, nil
}

// emulators are the names of those that are installed and allowed.
func (d *Driver) emulators() []string {
	names := map[string]bool{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		paths, _ := filepath.Glob(filepath.Join(dir, emulatorPrefix+"*"))
		for _, p := range paths {
			if name := filepath.Base(p); len(d.EmulatorsAllowed) == 0 || slices.Contains(d.EmulatorsAllowed, name) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
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
	return &running{task, t.TaskDir}, nil
}

// Recover implements driver.Driver.
func (d *Driver) Recover(_ context.Context, t *driver.Task, _ []byte) (driver.Running, error) {
	task, err := shimtask.Recover(t)
	if err != nil {
		return nil, err
	}
	return &running{task, t.TaskDir}, nil
}

// driveInterfaces are the buses that a disk can be at.
var driveInterfaces = []string{"ide", "scsi", "sd", "mtd", "floppy", "pflash", "virtio", "none"}

// word is what stands for itself in an option of the emulator.
var word = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// options are a task's configuration.
type options struct {
	image, emulator, machine, accelerator, drive string
	graceful, guestAgent                         bool
	args                                         []string
	portMap                                      map[string]string
}

func (d *Driver) options(t *driver.Task) (*options, error) {
	c := driver.OptionsOf(t.Config)
	o := &options{
		image: c.String("image_path"), emulator: c.String("emulator"), machine: c.String("machine_type"),
		accelerator: c.String("accelerator"), drive: c.String("drive_interface"),
		graceful: c.Bool("graceful_shutdown"), guestAgent: c.Bool("guest_agent"),
		args: c.Strings("args"), portMap: c.Map("port_map"),
	}
	for _, label := range c.Strings("ports") {
		if _, ok := o.portMap[label]; !ok {
			o.portMap[label] = "" // what the job's network says
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	for value, otherwise := range map[*string]string{&o.emulator: emulatorDefault, &o.machine: "pc", &o.accelerator: "tcg", &o.drive: "ide"} {
		if *value == "" {
			*value = otherwise
		}
	}
	if !strings.HasPrefix(o.emulator, emulatorPrefix) { // the architecture alone
		o.emulator = emulatorPrefix + o.emulator
	}
	invalid := func(format string, args ...any) (*options, error) {
		return nil, driver.Invalid{Err: fmt.Errorf(format, args...)}
	}
	switch {
	case o.image == "":
		return invalid("image_path must be set")
	case !slices.Contains(driveInterfaces, o.drive):
		return invalid("drive_interface must be one of %s, not %q", strings.Join(driveInterfaces, ", "), o.drive)
	case t.MemoryMB < memoryMinMB || t.MemoryMB > memoryMaxMB:
		return invalid("the memory of a guest must be from %d to %d MB, not %d", memoryMinMB, memoryMaxMB, t.MemoryMB)
	}
	for name, value := range map[string]string{"emulator": o.emulator, "machine_type": o.machine, "accelerator": o.accelerator} {
		if !word.MatchString(value) {
			return invalid("%s %q is not a name", name, value)
		}
	}
	if len(d.EmulatorsAllowed) > 0 && !slices.Contains(d.EmulatorsAllowed, o.emulator) {
		return invalid("emulator %q is not among those that this node allows (emulators_allowlist of plugin \"qemu\")", o.emulator)
	}
	for _, arg := range o.args {
		// Both -name and --name are understood by the emulator.
		if strings.HasPrefix(arg, "-") && len(d.ArgsAllowed) > 0 && !slices.ContainsFunc(d.ArgsAllowed, func(a string) bool {
			return strings.TrimLeft(a, "-") == strings.TrimLeft(arg, "-")
		}) {
			return invalid("argument %q is not among those that this node allows (args_allowlist of plugin \"qemu\")", arg)
		}
	}
	return o, nil
}

// spec is what the shim is to run.
func (d *Driver) spec(t *driver.Task) (wire.Spec, error) {
	o, err := d.options(t)
	if err != nil {
		return wire.Spec{}, err
	}
	path, err := exec.LookPath(o.emulator)
	if err != nil {
		return wire.Spec{}, driver.Unrecoverable{Err: fmt.Errorf("find emulator: %w", err)}
	}
	image, err := d.image(t, o.image)
	if err != nil {
		return wire.Spec{}, driver.Unrecoverable{Err: err}
	}
	args := []string{
		o.emulator, "-machine", "type=" + o.machine + ",accel=" + o.accelerator, "-name", "drover-" + t.AllocID.String(),
		"-m", strconv.FormatInt(t.MemoryMB, 10) + "M", "-drive", "file=" + literal(image) + ",if=" + o.drive, "-nographic",
	}
	// Relative to the task's directory: the path of a socket must stay below 108 bytes.
	if o.graceful {
		args = append(args, "-monitor", "unix:"+monitorSocket+",server=on,wait=off")
	}
	if o.guestAgent {
		args = append(args, "-chardev", "socket,path="+agentSocket+",server=on,wait=off,id=qga0", "-device", "virtio-serial",
			"-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")
	}
	args = append(args, o.args...)
	forward, err := forwards(t, o.portMap)
	if err != nil {
		return wire.Spec{}, err
	}
	if forward != "" {
		args = append(args, "-netdev", "user,id=user.0"+forward, "-device", "virtio-net,netdev=user.0")
	}
	if o.accelerator == "kvm" {
		args = append(args, "-enable-kvm", "-cpu", "host")
	}
	spec := wire.Spec{
		Path: path, Args: args, Dir: t.TaskDir, LogDir: t.LogDir, LogName: t.Name, LogBytesMax: t.LogBytesMax,
		LogFilesMax: t.LogFilesMax, LogsDisabled: t.LogsDisabled,
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		spec.Env = append(spec.Env, name+"="+t.Env[name])
	}
	if t.User != "" {
		if err := shimtask.RunAs(&spec, t.User); err != nil {
			return wire.Spec{}, driver.Unrecoverable{Err: err}
		}
	}
	return spec, nil
}

// literal is a text in a list of options that commas part.
func literal(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// image is the path of a guest's disk. Links are followed first: one that a task has put into its allocation must not lead
// a guest to another file of the machine.
func (d *Driver) image(t *driver.Task, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TaskDir, name)
	}
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", fmt.Errorf("find image: %w", err)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("image %s is not a file", name)
	}
	for _, dir := range append([]string{filepath.Dir(t.TaskDir)}, d.ImagePaths...) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(real, path); err == nil && filepath.IsLocal(rel) {
			return path, nil
		}
	}
	return "", fmt.Errorf("image %s is neither in the allocation's directory nor in one that this node offers (image_paths of plugin \"qemu\")", name)
}

// forwards leads ports of the allocation to those of the guest, for both protocols.
func forwards(t *driver.Task, portMap map[string]string) (string, error) {
	var b strings.Builder
	for _, label := range slices.Sorted(maps.Keys(portMap)) {
		i := slices.IndexFunc(t.Ports, func(p driver.Port) bool { return p.Label == label })
		if i < 0 {
			return "", driver.Unrecoverable{Err: fmt.Errorf("Port %q not found, check network block", label)}
		}
		p := t.Ports[i]
		to := p.To
		if portMap[label] != "" {
			n, err := strconv.Atoi(portMap[label])
			if err != nil || n < 1 || n > 65535 {
				return "", driver.Invalid{Err: fmt.Errorf("port_map: %q must lead to a port number, not %q", label, portMap[label])}
			}
			to = n
		}
		if to <= 0 {
			to = p.Host
		}
		ip := ""
		if addr, err := netip.ParseAddr(p.HostIP); err == nil && addr.Is4() {
			ip = addr.String() // the emulator's own network knows this kind only
		}
		for _, protocol := range []string{"tcp", "udp"} {
			fmt.Fprintf(&b, ",hostfwd=%s:%s:%d-:%d", protocol, ip, p.Host, to)
		}
	}
	return b.String(), nil
}

// errNoSignals is told to who signals a guest.
var errNoSignals = errors.New("the qemu driver passes no signals on: a guest has none")
