// Drover-shim stands between the node agent and one running task. It outlives the agent: it holds the task's output
// pipes and writes the log files, it is the parent that learns the exit status, and it keeps that status on disk for an
// agent that comes back later. It ends when its task has ended.
//
// The agent starts it with the path of a state directory as the only argument and one end of a socket pair as file
// descriptor 3, over which it sends what to run (wire.Spec), reads that it runs (wire.Process) and, later, how it ended
// (wire.Exit). Agents that attach later use the socket in the state directory.
//
// Nothing here may grow: there is one process of it per task, so it uses neither package net nor any encoder.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"drover/executor/shim/cgroup"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

const prSetChildSubreaper = 36

func main() {
	// Caught and dropped, not ignored: a task inherits "ignored", also when the agent was started that way by a shell's &
	// or nohup, and its kill signal would have no effect.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "drover-shim is started by drover's node agent, not by hand")
		os.Exit(2)
	}
	if err := syscall.SetNonblock(3, true); err != nil {
		fmt.Fprintln(os.Stderr, "drover-shim: no connection to an agent:", err)
		os.Exit(2)
	}
	syscall.CloseOnExec(3)
	agent := os.NewFile(3, "agent")
	s, err := begin(os.Args[1], agent)
	if err != nil {
		reply := wire.Exit{Error: err.Error(), Time: time.Now().UnixNano()}
		// Whoever finds this directory later must see that the task never began, also when nobody reads the answer.
		if s != nil && s.locked {
			if err := wire.SaveRecord(".", wire.ExitFile, reply.Message(), true); err != nil {
				fmt.Fprintln(os.Stderr, "drover-shim: record failed start:", err)
			}
		}
		answer := reply.Message()
		if hopeless(err) || errors.As(err, new(hopelessError)) {
			answer.Add(wire.Hopeless, "1")
		}
		wire.Write(agent, answer)
		os.Exit(1)
	}
	s.run(agent)
}

// hopeless reports whether the same order fails the same way next time: the program or the user is wrong, not the
// machine short of something.
func hopeless(err error) bool {
	for _, e := range []error{
		syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.ENOEXEC, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP,
		syscall.E2BIG, syscall.EINVAL, syscall.ENAMETOOLONG,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// begin reads the order, makes the state directory its own, and starts the task.
func begin(dir string, agent *os.File) (*shim, error) {
	m, err := wire.Read(agent)
	if err != nil {
		return nil, fmt.Errorf("read what to run: %w", err)
	}
	spec := wire.SpecOf(m)
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	// Orphans of the task become children of this process, wherever in its tree they come from.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("become reaper of the task's orphans: %w", errno)
	}
	s := &shim{spec: spec, boot: proctree.BootID(), ended: make(chan struct{})}

	// The socket listens before the lock is taken: who finds the lock taken finds somebody listening.
	if s.listener, err = listen(wire.SocketFile); err != nil {
		return s, fmt.Errorf("listen in %s: %w", dir, err)
	}
	lock, err := os.OpenFile(wire.LockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return s, fmt.Errorf("state directory %s belongs to another process: %w", dir, err)
	}
	s.lock = lock
	// An agent that came back in the meantime may have given this start up.
	if _, err := os.Stat(wire.ExitFile); !errors.Is(err, os.ErrNotExist) {
		return s, errors.New("this start of the task was given up before it began")
	}
	s.locked = true
	return s, s.start()
}

// shim is the one task and all that is kept about it.
type shim struct {
	spec     wire.Spec
	boot     string
	listener *os.File
	lock     *os.File // keeps the descriptor, and with it the lock, alive
	locked   bool
	task     wire.Process
	logs     logs

	ended chan struct{} // closed when exit is valid and on disk
	exit  wire.Exit
}

// start runs the task and records which processes are who.
func (s *shim) start() error {
	self, err := proctree.ReadStat(os.Getpid())
	if err != nil {
		return fmt.Errorf("read own start time: %w", err)
	}
	// Before the fork: whatever happens from here on, the session's number leads to all that is left over.
	me := wire.Process{PID: self.PID, Start: self.Start, BootID: s.boot}
	record := me.Message()
	for _, c := range s.spec.Cgroups {
		record.Add(wire.Cgroup, c)
	}
	if err := wire.SaveRecord(".", wire.ShimFile, record, false); err != nil {
		return fmt.Errorf("record shim: %w", err)
	}
	stdout, stderr, err := s.logs.open(s.spec)
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{
		Dir: s.spec.Dir, Env: s.spec.Env,
		Files: []uintptr{null.Fd(), stdout.Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if s.spec.SetUser {
		attr.Sys.Credential = &syscall.Credential{Uid: s.spec.UID, Gid: s.spec.GID, Groups: s.spec.Groups}
	}
	if s.spec.SetOOMScoreAdj {
		// The task inherits it; a shim that is as likely a victim as its task loses nothing that the task would not.
		if err := os.WriteFile("/proc/self/oom_score_adj", fmt.Appendf(nil, "%d", s.spec.OOMScoreAdj), 0); err != nil {
			return fmt.Errorf("set oom_score_adj: %w", err)
		}
	}
	run := s.fork
	if s.spec.Maker {
		run = s.make
	}
	pid, err := run(attr)
	null.Close()
	stdout.Close()
	stderr.Close()
	if err != nil {
		return err
	}
	s.task = wire.Process{PID: pid, BootID: s.boot}
	if stat, err := proctree.ReadStat(pid); err == nil { // it cannot be gone: nobody has waited for it
		s.task.Start = stat.Start
	}
	return wire.SaveRecord(".", wire.TaskFile, s.task.Message(), false)
}

// fork starts the program.
func (s *shim) fork(attr *syscall.ProcAttr) (pid int, err error) {
	if pid, err = syscall.ForkExec(s.spec.Path, s.spec.Args, attr); err != nil {
		return 0, fmt.Errorf("run %s: %w", s.spec.Path, err)
	}
	return pid, nil
}

// run stays until the task has ended and everybody who waits was told.
func (s *shim) run(agent *os.File) {
	s.logs.copy()
	go s.reap()
	go s.serve()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if wire.Write(agent, s.task.Message()) != nil {
			return
		}
		<-s.ended
		wire.Write(agent, s.exit.Message())
	}()
	<-s.ended
	select {
	case <-gone:
	case <-time.After(tellTimeout): // an agent that does not read finds the record on disk
	}
	os.Exit(0)
}

// reap waits for every child, the adopted ones too. When the task's first process ends its status is written to disk
// before anything else; then the rest of its tree is killed, and only when all output is in the log files is the end
// told.
func (s *shim) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return
		case pid != s.task.PID:
			continue
		}
		s.exit = wire.Exit{Code: status.ExitStatus(), Time: time.Now().UnixNano()}
		if status.Signaled() {
			s.exit.Signal = int(status.Signal())
			s.exit.Code = 128 + s.exit.Signal
		}
		// A task that lived through the death of one of its processes did not end by it.
		s.exit.OOM = s.exit.Code != 0 && cgroup.OOMKills(s.spec.Cgroups) > 0
		if err := wire.SaveRecord(".", wire.ExitFile, s.exit.Message(), true); err != nil {
			// The disk is full or broken: the agent that listens still learns it, a later one finds the shim gone.
			fmt.Fprintln(os.Stderr, "drover-shim: record exit status:", err)
		}
		s.killTree()
		cgroup.Remove(s.spec.Cgroups)
		s.logs.drain()
		// Spares an agent that finds this start later the search for leftovers; worth nothing more, so errors are too.
		wire.SaveRecord(".", wire.CleanFile, nil, false)
		close(s.ended)
	}
}

// killTree kills everything below the shim until nothing is left. Orphans cannot slip away: they become children of the
// shim, wherever they move their group or session.
func (s *shim) killTree() {
	self := os.Getpid()
	for {
		for { // reap what died
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.ECHILD) {
				return // whoever is left below would be a child, or the child of one
			}
			if pid <= 0 && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		for _, p := range proctree.Descendants(proctree.All(), self) {
			if !p.Zombie {
				syscall.Kill(p.PID, syscall.SIGKILL)
			}
		}
		time.Sleep(killPause)
	}
}

// stop asks the task to end and, after the timeout, ends it.
func (s *shim) stop(signal syscall.Signal, timeout time.Duration) {
	proctree.Kill(s.task.PID, s.task.Start, signal)
	if timeout > 0 {
		select {
		case <-s.ended:
			return
		case <-time.After(timeout):
		}
	}
	// The first process alone: once it is gone, reap kills the rest. Frozen or stopped ones die of SIGKILL as well.
	proctree.Kill(s.task.PID, s.task.Start, syscall.SIGKILL)
}

// serve answers agents that attach later.
func (s *shim) serve() {
	for {
		conn, err := accept(s.listener)
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for s.answer(conn) == nil {
			}
		}()
	}
}

// answer takes one request and answers it.
func (s *shim) answer(conn *os.File) error {
	m, err := wire.Read(conn)
	if err != nil {
		return err
	}
	switch m.Get("op") {
	case wire.OpStatus:
		return wire.Write(conn, s.task.Message())
	case wire.OpWait:
		<-s.ended
		return wire.Write(conn, s.exit.Message())
	case wire.OpSignal:
		return wire.Write(conn, result(proctree.Kill(s.task.PID, s.task.Start, syscall.Signal(m.Int("signal")))))
	case wire.OpStop:
		go s.stop(syscall.Signal(m.Int("signal")), time.Duration(m.Int("timeout")))
		return wire.Write(conn, result(nil))
	}
	return wire.Write(conn, result(fmt.Errorf("unknown request %q", m.Get("op"))))
}

func result(err error) wire.Message {
	var m wire.Message
	if err != nil {
		m.Add("error", err.Error())
	}
	m.Add("done", "1")
	return m
}
