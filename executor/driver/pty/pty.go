// Package pty makes pseudo-terminals.
//
// Its promise: what is read from a Terminal ends with io.EOF once no process holds the other end, on a kernel that says
// EIO there.
package pty

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"drover/executor/driver"
)

// EndOfFile is the character by which somebody at a terminal ends the input of the program that reads it.
const EndOfFile = 0x04

// Type is the kind of terminal that programs are told of when their environment names none.
const Type = "xterm"

// Terminal is the end of a pseudo-terminal at which a person would sit.
type Terminal struct{ file *os.File }

// Open makes a pseudo-terminal. program is the end for the program that runs in it; it is closed by the caller once the
// program has been started, or nobody would see the program's end.
func Open() (t *Terminal, program *os.File, err error) {
	file, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make terminal: %w", err)
	}
	t = &Terminal{file}
	var number uint32
	err = t.control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetUint32(fd, unix.TIOCGPTN)
		return err
	})
	if err == nil {
		program, err = os.OpenFile("/dev/pts/"+strconv.FormatUint(uint64(number), 10), os.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("make terminal: %w", err)
	}
	return t, program, nil
}

// FromDescriptor is the terminal whose end for a person another process has opened and given to this one.
func FromDescriptor(fd int) (*Terminal, error) {
	// Only then does Close end a Read.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("take over terminal", err)
	}
	return &Terminal{os.NewFile(uintptr(fd), "terminal")}, nil
}

// Connect has the streams of x sit at the terminal until ended is closed. shown is closed when x has been given all that
// the program has shown.
func (t *Terminal) Connect(x *driver.Exec, ended <-chan struct{}) (shown <-chan struct{}) {
	all := make(chan struct{})
	go func() {
		if _, err := io.Copy(t, x.Stdin); err == nil {
			t.Write([]byte{EndOfFile})
		}
	}()
	go func() {
		for {
			select {
			case size := <-x.Sizes:
				t.Resize(size.Rows, size.Columns)
			case <-ended:
				return
			}
		}
	}()
	go func() {
		defer close(all)
		if _, err := io.Copy(x.Stdout, t); err != nil {
			io.Copy(io.Discard, t) // nobody looks any more; the program must not wait for that
		}
	}()
	return all
}

// control calls f with the descriptor and leaves it in the runtime's poller, so that Close ends a Read.
func (t *Terminal) control(f func(fd int) error) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Resize tells the terminal its size in characters; the program in it is told by SIGWINCH.
func (t *Terminal) Resize(rows, columns uint16) error {
	return t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

// Read reads what the program shows.
func (t *Terminal) Read(b []byte) (int, error) {
	n, err := t.file.Read(b)
	if errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}

// Write types.
func (t *Terminal) Write(b []byte) (int, error) { return t.file.Write(b) }

// Close hangs up: what still runs in the terminal gets a SIGHUP.
func (t *Terminal) Close() error { return t.file.Close() }
