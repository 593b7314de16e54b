package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"

	"drover/executor/container/bundle"
	"drover/executor/shim/cgroup"
	"drover/executor/shim/wire"
)

// killPause is between two rounds of killing: long enough for the kernel to take a process down.
const killPause = 2 * time.Millisecond

// program is what runs in a container beside its task.
type program struct {
	process *libcontainer.Process
	groups  []string // directory of the control group that it has for itself
}

// serve runs the program that the agent asks for. It ends with the agent's connection, however that ends, and leaves
// nothing running: what the program starts cannot leave its control group.
func serve(dir string, agent *os.File) error {
	request, err := wire.Read(agent)
	if err != nil {
		return fmt.Errorf("read what to run: %w", err)
	}
	p, err := begin(dir, bundle.ProgramOf(request))
	if err != nil {
		return err
	}
	var begun wire.Message
	begun.Add("begun", "1")
	err = wire.Write(agent, begun)
	ended := make(chan struct{})
	go func() {
		if err == nil {
			wire.Read(agent) // it has nothing more to say
		}
		for {
			select {
			case <-ended:
				return
			case <-time.After(killPause):
				cgroup.Kill(p.groups)
			}
		}
	}()
	state, waitErr := p.process.Wait()
	close(ended)
	cgroup.Remove(p.groups)
	if state == nil {
		return waitErr
	}
	code := state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	var end wire.Message
	end.AddInt("code", int64(code))
	return wire.Write(agent, end)
}

// begin starts a program in the container that is described in dir.
func begin(dir string, wanted *bundle.Program) (*program, error) {
	b, err := bundle.Load(dir)
	if err != nil {
		return nil, err
	}
	container, err := libcontainer.Load(filepath.Join(dir, bundle.ContainerDir), bundle.ContainerID)
	if err != nil {
		return nil, fmt.Errorf("find container: %w", err)
	}
	state, err := container.State()
	if err != nil {
		return nil, fmt.Errorf("find container: %w", err)
	}
	p := &program{process: processOf(b.Spec.Process)}
	p.process.Args = wanted.Args
	tellCapabilities(b.Spec.Process)
	if wanted.Terminal {
		syscall.CloseOnExec(4)
		p.process.ConsoleSocket = os.NewFile(4, "console")
		p.process.ConsoleHeight, p.process.ConsoleWidth = wanted.Rows, wanted.Columns
		if !hasVariable(p.process.Env, "TERM") {
			p.process.Env = append(p.process.Env, "TERM="+terminalType)
		}
	}
	controller, group, err := ownGroup(state.CgroupPaths)
	if err != nil {
		return nil, err
	}
	p.groups = []string{group}
	p.process.SubCgroupPaths = map[string]string{controller: filepath.Base(group)}
	if err := container.Run(p.process); err != nil {
		cgroup.Remove(p.groups)
		return nil, err
	}
	return p, nil
}

// ownGroup makes a control group below one of a container's, which are told by controller. One hierarchy of version 1 is
// enough to find and kill all that a program starts; "" is that of version 2, and may be there beside version 1. Limits
// are those of the container's own groups.
func ownGroup(groups map[string]string) (controller, dir string, err error) {
	for _, controller := range []string{"freezer", ""} {
		if group := groups[controller]; group != "" {
			dir, err := os.MkdirTemp(group, bundle.ExecGroup)
			if err != nil {
				return "", "", fmt.Errorf("make control group: %w", err)
			}
			return controller, dir, nil
		}
	}
	return "", "", errors.New("make control group: the container has none")
}

// terminalType is the kind of terminal that a program is told of when its task's environment names none.
const terminalType = "xterm"

func hasVariable(env []string, name string) bool {
	for _, pair := range env {
		if strings.HasPrefix(pair, name+"=") {
			return true
		}
	}
	return false
}
