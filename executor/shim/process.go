package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"drover/executor/shim/cgroup"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// Errors that tell what became of a start.
var (
	// ErrNeverStarted says that this start did not get as far as a process, and never will.
	ErrNeverStarted = errors.New("task was never started")
	// ErrLost says that the shim was killed: how the task ended is not known. What was left of it has been killed.
	ErrLost = errors.New("task's shim was killed, its exit status is unknown")
	// ErrEnded says that the task has ended and takes no signal.
	ErrEnded = errors.New("task has ended")
)

// RefusedError says that the shim works, and that the program cannot be run however often it is tried.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "failed to launch command: " + e.Reason }

// Process is one start of one task.
type Process struct {
	dir    string
	marker []string // environment that all processes of the task were started with
	task   wire.Process

	done chan struct{} // closed when exit and err are valid
	exit wire.Exit
	err  error
	once sync.Once
}

// Start runs spec under a new shim whose state is in dir, which must exist, be empty and belong to this start alone.
// marker is one or more NAME=value pairs of spec.Env that no other task has; leftovers are recognized by them.
func Start(binary, dir string, spec wire.Spec, marker ...string) (*Process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "shim")
	ours := os.NewFile(uintptr(fds[0]), "shim")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, fmt.Errorf("connect to shim: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "shim.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		theirs.Close()
		conn.Close()
		return nil, err
	}
	var cmd *exec.Cmd
	for range busyRetries {
		cmd = exec.Command(binary, dir)
		cmd.Env = shimEnv
		cmd.Dir = dir
		cmd.Stderr = log
		cmd.ExtraFiles = []*os.File{theirs}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		// Another goroutine that forked while the binary was written may hold it open for a moment.
		if err = cmd.Start(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(busyPause)
	}
	theirs.Close()
	log.Close()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start shim %s: %w", binary, err)
	}
	p := &Process{dir: dir, marker: marker, done: make(chan struct{})}
	conn.SetDeadline(time.Now().Add(startTimeout))
	err = wire.Write(conn, spec.Message())
	var answer wire.Message
	if err == nil {
		answer, err = wire.Read(conn)
	}
	if err == nil && answer.Has("end") {
		cmd.Wait()
		conn.Close()
		if answer.Has(wire.Hopeless) {
			return nil, &RefusedError{answer.Get("error")}
		}
		return nil, fmt.Errorf("failed to launch command: %s", answer.Get("error"))
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		conn.Close()
		clean(dir, marker)
		return nil, fmt.Errorf("shim did not start the task: %w", err)
	}
	conn.SetDeadline(time.Time{})
	p.task = wire.ProcessOf(answer)
	go func() {
		p.follow(conn)
		cmd.Wait() // it ends by itself once it has told; without this it would stay a zombie
	}()
	return p, nil
}

// shimEnv keeps the shim's Go runtime small: one processor, so that it makes no threads to share work with, no look at
// the machine's cgroups, and a heap that is collected early.
var shimEnv = []string{"GOMAXPROCS=1", "GOGC=20", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// Attach finds the start whose state is in dir: running, ended, or lost. It fails with [ErrNeverStarted] when there is
// nothing to be found, and makes sure that there never will be.
func Attach(dir string, marker ...string) (*Process, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNeverStarted
	}
	p := &Process{dir: dir, marker: marker, done: make(chan struct{})}
	if m, err := wire.LoadRecord(dir, wire.TaskFile); err == nil {
		p.task = wire.ProcessOf(m)
	}
	lock, free, err := tryLock(dir)
	if err != nil {
		return nil, fmt.Errorf("attach to task in %s: %w", dir, err)
	}
	if free {
		defer lock.Close()
		if p.settle() {
			if p.exit.Abandoned || (p.err == nil && p.exit.Error != "") {
				return nil, ErrNeverStarted
			}
			return p, nil
		}
		if _, err := os.Stat(filepath.Join(dir, wire.ShimFile)); errors.Is(err, fs.ErrNotExist) {
			// No shim got so far. One may be on its way: it looks for this record once it has the lock.
			exit := wire.Exit{Abandoned: true, Error: ErrNeverStarted.Error(), Time: time.Now().UnixNano()}
			if err := wire.SaveRecord(dir, wire.ExitFile, exit.Message(), false); err != nil {
				return nil, fmt.Errorf("give up start in %s: %w", dir, err)
			}
			return nil, ErrNeverStarted
		}
		p.lose()
		return p, nil
	}
	conn, err := dial(dir)
	if err != nil {
		// It held the lock a moment ago and does not listen: it is about to end.
		go p.await()
		return p, nil
	}
	if p.task.PID == 0 { // it holds the lock and has not started the task yet
		conn.SetDeadline(time.Now().Add(startTimeout))
		var m wire.Message
		m.Add("op", wire.OpStatus)
		if wire.Write(conn, m) == nil {
			if answer, err := wire.Read(conn); err == nil {
				p.task = wire.ProcessOf(answer)
			}
		}
		conn.SetDeadline(time.Time{})
	}
	var m wire.Message
	m.Add("op", wire.OpWait)
	if err := wire.Write(conn, m); err != nil {
		conn.Close()
		go p.await()
		return p, nil
	}
	go p.follow(conn)
	return p, nil
}

// follow waits for the shim's word on the end of the task.
func (p *Process) follow(conn net.Conn) {
	m, err := wire.Read(conn)
	conn.Close()
	if err == nil {
		if exit, err := wire.ExitOf(m); err == nil {
			p.finish(exit, nil)
			return
		}
	}
	p.await()
}

// await waits until the shim is gone and then reads what it left.
func (p *Process) await() {
	lock, err := os.OpenFile(filepath.Join(p.dir, wire.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		defer lock.Close()
		for {
			if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
				break
			}
		}
	}
	if !p.settle() {
		p.lose()
	}
}

// settle takes the exit status from disk, if it is there.
func (p *Process) settle() bool {
	m, err := wire.LoadRecord(p.dir, wire.ExitFile)
	if err != nil {
		return false
	}
	exit, err := wire.ExitOf(m)
	if err != nil {
		return false
	}
	// A shim that was killed right after it wrote this may have left others of its tree.
	if _, err := os.Stat(filepath.Join(p.dir, wire.CleanFile)); err != nil {
		clean(p.dir, p.marker)
	}
	p.finish(exit, nil)
	return true
}

// lose cleans up after a shim that was killed.
func (p *Process) lose() {
	clean(p.dir, p.marker)
	exit := wire.Exit{Time: time.Now().UnixNano()}
	if m, err := wire.LoadRecord(p.dir, wire.TaskFile); err == nil {
		p.task = wire.ProcessOf(m)
	}
	p.finish(exit, ErrLost)
}

func (p *Process) finish(exit wire.Exit, err error) {
	p.once.Do(func() {
		p.exit, p.err = exit, err
		close(p.done)
	})
}

// PID is the task's first process.
func (p *Process) PID() int { return p.task.PID }

// Task is the task's first process, with what tells it from a later one of the same PID.
func (p *Process) Task() wire.Process { return p.task }

// Wait waits for the end of the task: all its processes are gone and all its output is in the log files. It fails with
// [ErrLost] when the exit status is not known.
func (p *Process) Wait(ctx context.Context) (wire.Exit, error) {
	select {
	case <-p.done:
		return p.exit, p.err
	case <-ctx.Done():
		return wire.Exit{}, ctx.Err()
	}
}

// Ended reports whether the task has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the task's first process.
func (p *Process) Signal(signal syscall.Signal) error {
	var m wire.Message
	m.Add("op", wire.OpSignal)
	m.AddInt("signal", int64(signal))
	return p.request(m)
}

// Stop asks the task to end with the signal and ends its whole tree after the timeout. It returns once the shim has
// taken the order; Wait tells when it is done.
func (p *Process) Stop(signal syscall.Signal, timeout time.Duration) error {
	var m wire.Message
	m.Add("op", wire.OpStop)
	m.AddInt("signal", int64(signal))
	m.AddInt("timeout", int64(timeout))
	return p.request(m)
}

func (p *Process) request(m wire.Message) error {
	if p.Ended() {
		return ErrEnded
	}
	conn, err := dial(p.dir)
	if err != nil {
		if lock, free, lockErr := tryLock(p.dir); lockErr == nil && free {
			lock.Close()
			return ErrEnded
		}
		return fmt.Errorf("reach shim: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(requestTimeout))
	if err := wire.Write(conn, m); err != nil {
		return fmt.Errorf("ask shim to %s: %w", m.Get("op"), err)
	}
	answer, err := wire.Read(conn)
	if err != nil {
		return fmt.Errorf("ask shim to %s: %w", m.Get("op"), err)
	}
	if text := answer.Get("error"); text != "" {
		if text == proctree.ErrGone.Error() {
			return ErrEnded
		}
		return fmt.Errorf("ask shim to %s: %s", m.Get("op"), text)
	}
	return nil
}

// dial connects to the shim's socket. The path goes through a descriptor of the directory because a socket's address
// has room for 108 bytes only.
func dial(dir string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return net.DialTimeout("unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), wire.SocketFile), requestTimeout)
}

// tryLock takes the lock of a state directory if no shim holds it.
func tryLock(dir string) (lock *os.File, free bool, err error) {
	f, err := os.OpenFile(filepath.Join(dir, wire.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, true, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, nil
	}
	return nil, false, os.NewSyscallError("flock", err)
}

// clean kills whatever a dead shim has left running. A process is one of them when it was started with the task's
// marker in its environment, or is in one of its control groups, or is the recorded task itself or in its process group and session. Start times are compared, so a PID that the kernel has
// given to somebody else since is never touched; after a reboot nothing can be left.
func clean(dir string, marker []string) {
	m, err := wire.LoadRecord(dir, wire.ShimFile)
	if err != nil {
		return
	}
	shim := wire.ProcessOf(m)
	if shim.BootID != proctree.BootID() {
		return
	}
	var task wire.Process
	if m, err := wire.LoadRecord(dir, wire.TaskFile); err == nil {
		task = wire.ProcessOf(m)
	}
	cgroups := m.All(wire.Cgroup)
	defer cgroup.Remove(cgroups)
	for range cleanRounds {
		left := cgroup.Kill(cgroups)
		all := proctree.All()
		ours := make(map[int]bool)
		for _, s := range all {
			switch {
			case s.Zombie || s.Start < shim.Start || s.PID == os.Getpid():
			case s.PID == task.PID && s.Start == task.Start,
				task.PID != 0 && s.Group == task.PID && s.Session == shim.PID,
				len(marker) > 0 && proctree.HasEnv(s.PID, marker...):
				ours[s.PID] = true
				for _, d := range proctree.Descendants(all, s.PID) {
					ours[d.PID] = true
				}
			}
		}
		for _, s := range all {
			if ours[s.PID] && !s.Zombie {
				left++
				proctree.Kill(s.PID, s.Start, syscall.SIGKILL)
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(cleanPause)
	}
}
