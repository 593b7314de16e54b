package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"drover/executor/container/bundle"
	"drover/executor/driver"
	"drover/executor/driver/pipes"
	"drover/executor/driver/pty"
	"drover/executor/shim/wire"
)

// Exec implements driver.Execer: the program is made a child of drover-container, which ends it when this agent hangs up
// or dies. It is all that the task's first process is, with the environment that this one was started with.
func (r *Task) Exec(ctx context.Context, _ *driver.Task, x *driver.Exec) (int, error) {
	s := &session{x: x}
	code, err := s.run(ctx, r.maker, r.stateDir)
	return driver.EndOfExec(ctx, r, code, err)
}

// session is a program beside a task and the process that stands between.
type session struct {
	x       *driver.Exec
	cmd     *exec.Cmd
	control net.Conn // to the process between; it ends the program when this is closed
}

func (s *session) run(ctx context.Context, maker, stateDir string) (int, error) {
	control, theirs, err := socketPair()
	if err != nil {
		return 0, err
	}
	defer control.Close()
	s.control = control
	s.cmd = &exec.Cmd{
		Path: maker, Args: []string{maker, "exec", stateDir}, Env: []string{"GOMAXPROCS=2"}, Dir: "/",
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // keys that are meant for the agent do not end it
	}
	defer theirs.Close()
	hungUp := context.AfterFunc(ctx, func() { control.Close() })
	defer hungUp()
	if s.x.TTY {
		return s.inTerminal(theirs)
	}
	return s.onPipes(theirs)
}

// onPipes runs the program with its three streams apart.
func (s *session) onPipes(theirs *os.File) (int, error) {
	streams, err := pipes.Make(s.x)
	if err != nil {
		return 0, err
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = streams.Stdin, streams.Stdout, streams.Stderr
	err = s.begin(theirs, &bundle.Program{Args: s.x.Command})
	streams.Connect()
	code := 0
	if err == nil {
		code, err = s.end()
	}
	streams.End()
	return code, err
}

// inTerminal runs the program in a terminal of the container, so that it finds it there.
func (s *session) inTerminal(theirs *os.File) (int, error) {
	console, theirConsole, err := socketPair()
	if err != nil {
		return 0, err
	}
	defer console.Close()
	defer theirConsole.Close()
	s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, theirConsole)
	program := &bundle.Program{Args: s.x.Command, Terminal: true}
	select { // known before the program looks
	case size := <-s.x.Sizes:
		program.Rows, program.Columns = size.Rows, size.Columns
	default:
	}
	if err := s.begin(theirs, program); err != nil {
		return 0, err
	}
	terminal, err := receiveTerminal(console)
	if err != nil {
		s.wait()
		return 0, err
	}
	defer terminal.Close()
	ended := make(chan struct{})
	defer close(ended)
	shown := terminal.Connect(s.x, ended)
	code, err := s.end()
	<-shown
	return code, err
}

// begin returns when the program runs, or with what is in the way.
func (s *session) begin(theirs *os.File, p *bundle.Program) error {
	err := s.cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("run %q in container: %w", p.Args[0], err)
	}
	err = wire.Write(s.control, p.Message())
	var answer wire.Message
	if err == nil {
		answer, err = wire.Read(s.control)
	}
	if text := answer.Get("error"); err == nil && text != "" {
		err = errors.New(text)
	}
	if err == nil {
		return nil
	}
	s.wait()
	return fmt.Errorf("run %q in container: %w", p.Args[0], err)
}

// end returns when the program and all that it started is gone.
func (s *session) end() (int, error) {
	answer, err := wire.Read(s.control)
	s.wait()
	if err == nil && !answer.Has("code") {
		err = errors.New(answer.Get("error"))
	}
	if err != nil {
		return 0, fmt.Errorf("end of %q in container is not known: %w", s.x.Command[0], err)
	}
	return int(answer.Int("code")), nil
}

// wait hangs up and waits for the end of the process between, which has nothing left to do then but to wait for the death
// of what it kills. Should that fail, nobody here waits for ever.
func (s *session) wait() {
	s.control.Close()
	timer := time.AfterFunc(killTimeout, func() { s.cmd.Process.Kill() })
	defer timer.Stop()
	s.cmd.Wait()
}

// socketPair is a connection to a process that is to be started with the other end.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "container")
	file := os.NewFile(uintptr(fds[0]), "agent")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// receiveTerminal takes the terminal that was made in the container.
func receiveTerminal(conn *net.UnixConn) (*pty.Terminal, error) {
	name, rights := make([]byte, terminalNameBytes), make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, rights)
	if err != nil {
		return nil, fmt.Errorf("take over terminal: %w", err)
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("take over terminal: %d control messages: %w", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("take over terminal: %d descriptors: %w", len(fds), err)
	}
	return pty.FromDescriptor(fds[0])
}

// execGroups are the control groups of what was run beside the task.
func execGroups(dirs []string) []string {
	var groups []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // the task has none in this hierarchy
		}
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), bundle.ExecGroup) {
				groups = append(groups, filepath.Join(dir, e.Name()))
			}
		}
	}
	return groups
}
