package main

import (
	"errors"
	"os"
	"syscall"
	"time"

	"drover/executor/shim/logfile"
	"drover/executor/shim/wire"
)

// logs are the two output streams of the task.
type logs struct {
	streams []*stream
	done    chan struct{} // receives once per stream
}

type stream struct {
	pipe *os.File
	file *logfile.Writer
}

// open makes the ends that the task writes to.
func (l *logs) open(spec wire.Spec) (stdout, stderr *os.File, err error) {
	if spec.LogsDisabled {
		if stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return nil, nil, err
		}
		stderr, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return stdout, stderr, err
	}
	ends := make([]*os.File, 2)
	for i, name := range []string{".stdout", ".stderr"} {
		file, err := logfile.Open(spec.LogDir, spec.LogName+name, spec.LogBytesMax, spec.LogFilesMax)
		if err != nil {
			return nil, nil, err
		}
		// Our end must not hold a thread while it waits; the task's end must block, as programs expect of their output.
		var pipe [2]int
		if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
			return nil, nil, os.NewSyscallError("pipe", err)
		}
		if err := syscall.SetNonblock(pipe[0], true); err != nil {
			return nil, nil, os.NewSyscallError("pipe", err)
		}
		l.streams = append(l.streams, &stream{pipe: os.NewFile(uintptr(pipe[0]), name), file: file})
		ends[i] = os.NewFile(uintptr(pipe[1]), name)
	}
	return ends[0], ends[1], nil
}

// copy moves output into the files until the pipes end.
func (l *logs) copy() {
	l.done = make(chan struct{}, len(l.streams))
	for _, s := range l.streams {
		go func() {
			s.copy()
			l.done <- struct{}{}
		}()
	}
}

// copy never stops reading: a task whose pipe nobody reads would hang, so output that cannot be written is lost.
func (s *stream) copy() {
	buffer := make([]byte, copyBytes)
	for {
		n, err := s.pipe.Read(buffer)
		if n > 0 {
			s.file.Write(buffer[:n])
		}
		if err != nil {
			s.file.Close()
			return
		}
	}
}

// drain waits until all output that the task has written is in the files.
func (l *logs) drain() {
	timeout := time.After(drainTimeout)
	for range l.streams {
		select {
		case <-l.done:
		case <-timeout:
			return
		}
	}
}

// listen makes a Unix socket at a path of the working directory. Being relative it fits into the 108 bytes that an
// address has, however deep the directory lies.
func listen(name string) (*os.File, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := syscall.Listen(fd, listenBacklog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// accept waits for the next connection without holding a thread.
func accept(listener *os.File) (*os.File, error) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var acceptErr error
	err = raw.Read(func(l uintptr) bool {
		fd, _, acceptErr = syscall.Accept4(int(l), syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		return !errors.Is(acceptErr, syscall.EAGAIN)
	})
	if err == nil {
		err = acceptErr
	}
	if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) {
		return accept(listener)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}
