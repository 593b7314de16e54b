// Drover-container makes the container of one task and is gone when the task runs. The task's shim starts it in a mount
// namespace of its own and becomes the parent of the task when this program ends, as every process in between does.
//
// It is a program apart because libcontainer enters namespaces from C code that runs before main: neither drover nor
// the shim, of which there is one per task, should carry that.
//
// It is called as
//
//	drover-container create <state directory>
//
// with the task's output on its own, and answers on file descriptor 3: a wire.Process, or what went wrong. Or as
//
//	drover-container exec <state directory>
//
// by the agent, to run a program in a container that is there, with the program's streams on its own or, for one in a
// terminal, a socket on file descriptor 4 that takes the terminal. It reads what to run on file descriptor 3, answers
// there that it runs and how it ended, and ends it when the agent hangs up.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	_ "github.com/opencontainers/cgroups/devices" // without it no device rules can be set
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // what "init" runs before main
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"

	"drover/executor/container/bundle"
	"drover/executor/container/seccomp"
	"drover/executor/shim/wire"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "init" {
		// What remains to be done before the task's program begins needs none of the calls that are refused.
		if err := seccomp.Install(capabilitiesTold(os.Args[0])); err != nil {
			fmt.Fprintln(os.Stderr, "drover-container:", err)
			os.Exit(1)
		}
		libcontainer.Init() // this process becomes the task
		return
	}
	if len(os.Args) != 3 || os.Args[1] != "create" && os.Args[1] != "exec" {
		fmt.Fprintln(os.Stderr, "drover-container is started by drover, not by hand")
		os.Exit(2)
	}
	logrus.SetOutput(io.Discard) // what it says would stand in the task's own output
	syscall.CloseOnExec(3)
	other := os.NewFile(3, "other side")
	var err error
	if dir := os.Args[2]; os.Args[1] == "exec" {
		err = serve(dir, other)
	} else {
		err = create(dir, other)
	}
	if err == nil {
		return
	}
	var answer wire.Message
	answer.Add("error", plain(err))
	if hopeless(err) {
		answer.Add(wire.Hopeless, "1")
	}
	wire.Write(other, answer)
	os.Exit(1)
}

// create makes the container that is described in dir, runs its first process and tells the shim which one that is.
func create(dir string, shim *os.File) error {
	b, err := bundle.Load(dir)
	if err != nil {
		return err
	}
	if b.Overlay != nil {
		if err := mountOverlay(b.Spec.Root.Path, b.Overlay); err != nil {
			return err
		}
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName: bundle.ContainerID, Spec: b.Spec, NoPivotRoot: b.NoPivotRoot,
		NoNewKeyring: true, // users have few keys, and a task that wants a keyring can make one
	})
	if err != nil {
		return fmt.Errorf("configure container: %w", err)
	}
	container, err := libcontainer.Create(filepath.Join(dir, bundle.ContainerDir), bundle.ContainerID, config)
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	process := processOf(b.Spec.Process)
	process.Init = true
	tellCapabilities(b.Spec.Process)
	if err := container.Run(process); err != nil {
		container.Destroy() // what cannot be removed now is removed by the shim, which knows the cgroups
		return err
	}
	pid, err := process.Pid()
	if err != nil {
		return err
	}
	var answer wire.Message
	answer.AddInt("pid", int64(pid))
	return wire.Write(shim, answer)
}

// processOf is the process of a specification with this program's input and output.
func processOf(p *specs.Process) *libcontainer.Process {
	process := &libcontainer.Process{
		Args: p.Args, Env: p.Env, UID: int(p.User.UID), GID: int(p.User.GID), Cwd: p.Cwd,
		NoNewPrivileges: &p.NoNewPrivileges, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	for _, g := range p.User.AdditionalGids {
		process.AdditionalGroups = append(process.AdditionalGroups, int(g))
	}
	if c := p.Capabilities; c != nil {
		process.Capabilities = &configs.Capabilities{
			Bounding: c.Bounding, Effective: c.Effective, Permitted: c.Permitted, Inheritable: c.Inheritable, Ambient: c.Ambient,
		}
	}
	return process
}

// tellCapabilities lets the process that becomes p know which capabilities that will have, before it has read anything:
// libcontainer starts it under the name that this process has.
func tellCapabilities(p *specs.Process) {
	var names []string
	if p.Capabilities != nil {
		names = p.Capabilities.Bounding
	}
	os.Args[0] = toldPrefix + strings.Join(names, ",")
}

// capabilitiesTold reads what tellCapabilities said.
func capabilitiesTold(name string) []string {
	return strings.Split(strings.TrimPrefix(name, toldPrefix), ",")
}

const toldPrefix = "drover-container:"

// mountOverlay puts layers together at root. Paths in the options are separated by colons, so those in names are
// escaped.
func mountOverlay(root string, o *bundle.Overlay) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace
	var lower []string
	for _, l := range o.Lower {
		lower = append(lower, escape(l))
	}
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + escape(o.Upper) + ",workdir=" + escape(o.Work)
	if err := syscall.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the image's %d layers as an overlay at %s: %w", len(o.Lower), root, err)
	}
	return nil
}

// initPrefix is what libcontainer puts before errors of the process that is to become the task.
const initPrefix = "error during container init: "

// plain is an error in the words that a user can do something with.
func plain(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, initPrefix); ok {
		text = after
	}
	if name, ok := strings.CutPrefix(text, `exec: "`); ok {
		if name, why, ok := strings.Cut(name, `": `); ok {
			if strings.Contains(why, "not found") || strings.Contains(why, "no such file") {
				why = "it is not there"
			}
			return fmt.Sprintf("run %q in the task's root file system: %s", name, why)
		}
	}
	return text
}

// hopeless reports whether the same container fails the same way next time. Errors of the first process come as text:
// it has no other way to tell.
func hopeless(err error) bool {
	for _, text := range []string{
		"executable file not found", "no such file or directory", "permission denied", "exec format error", "not a directory",
		"is a directory", "argument list too long", "invalid argument",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
