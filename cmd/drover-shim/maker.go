package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"drover/executor/shim/cgroup"
	"drover/executor/shim/wire"
)

// hopelessError marks what the maker of a task calls hopeless.
type hopelessError struct{ error }

// make has another program make the task. When it ends, the task becomes a child of the shim.
func (s *shim) make(attr *syscall.ProcAttr) (pid int, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer read.Close()
	attr.Files = append(attr.Files, write.Fd())
	// What it mounts is gone with the task. It must not go on without the shim: nobody would be there for the task.
	attr.Sys.Unshareflags = syscall.CLONE_NEWNS
	attr.Sys.Pdeathsig = syscall.SIGKILL
	maker, err := s.fork(attr)
	write.Close()
	if err != nil {
		return 0, err
	}
	read.SetReadDeadline(time.Now().Add(makeTimeout))
	answer, err := wire.Read(read)
	if err != nil || answer.Has("error") {
		syscall.Kill(maker, syscall.SIGKILL)
	}
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(maker, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch text := answer.Get("error"); {
	case err != nil:
		err = fmt.Errorf("%s did not make the task and ended with status %d: %w", s.spec.Path, status, err)
	case text != "":
		if err = errors.New(text); answer.Has(wire.Hopeless) {
			err = hopelessError{err}
		}
	default:
		return int(answer.Int("pid")), nil
	}
	cgroup.Kill(s.spec.Cgroups)
	s.killTree()
	cgroup.Remove(s.spec.Cgroups)
	return 0, err
}
