package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Names of the files in a task's state directory. The directory belongs to one start of one task; a restart has its own.
const (
	LockFile   = "lock"   // locked by the shim for as long as it lives
	SocketFile = "socket" // requests of agents that attach later
	ShimFile   = "shim"   // record [Process] of the shim, written before the task is started
	TaskFile   = "task"   // record [Process] of the task
	ExitFile   = "exit"   // record [Exit], synced to disk before anybody is told of it
	CleanFile  = "clean"  // empty; the whole tree is dead and all output is in the log files
)

// Operations that a shim answers on its socket.
const (
	OpWait   = "wait"   // answered with an Exit once the task has ended
	OpStatus = "status" // answered with the task's Process
	OpSignal = "signal" // send "signal" to the task's first process
	OpStop   = "stop"   // send "signal", wait "timeout" ns, then kill the whole tree; answered at once
)

// Hopeless stands in the answer to an order that will fail the same way however often it is tried.
const Hopeless = "hopeless"

// Cgroup names, once for each, the directories of the task's control groups in an order and in the record of the shim.
const Cgroup = "cgroup"

// Spec is what the shim runs.
type Spec struct {
	Path string   // absolute path of the program
	Args []string // the program's arguments, its own name first
	Env  []string // NAME=value
	Dir  string   // working directory

	SetUser bool // run as UID, GID and Groups; otherwise as the agent's user
	UID     uint32
	GID     uint32
	Groups  []uint32

	LogDir       string // directory of the log files
	LogName      string // files are <LogName>.stdout.<n> and <LogName>.stderr.<n>
	LogBytesMax  int64  // size at which a log file is full
	LogFilesMax  int    // files kept of each of the two
	LogsDisabled bool   // output goes nowhere

	SetOOMScoreAdj bool
	OOMScoreAdj    int

	// Maker says that Path is not the task but makes it: it is started in a mount namespace of its own, writes on file
	// descriptor 3 the "pid" of the task, a descendant, or an "error", and ends.
	Maker bool
	// Cgroups are the directories of the task's control groups. Whatever is left in them dies with the task, and they are
	// removed.
	Cgroups []string
}

// Message is the specification as it is sent.
func (s Spec) Message() Message {
	var m Message
	m.Add("path", s.Path)
	for _, a := range s.Args {
		m.Add("arg", a)
	}
	for _, e := range s.Env {
		m.Add("env", e)
	}
	m.Add("dir", s.Dir)
	if s.SetUser {
		m.AddInt("uid", int64(s.UID))
		m.AddInt("gid", int64(s.GID))
		for _, g := range s.Groups {
			m.AddInt("group", int64(g))
		}
	}
	m.Add("logdir", s.LogDir)
	m.Add("logname", s.LogName)
	m.AddInt("logbytes", s.LogBytesMax)
	m.AddInt("logfiles", int64(s.LogFilesMax))
	if s.LogsDisabled {
		m.Add("nologs", "1")
	}
	if s.SetOOMScoreAdj {
		m.AddInt("oomscoreadj", int64(s.OOMScoreAdj))
	}
	if s.Maker {
		m.Add("maker", "1")
	}
	for _, c := range s.Cgroups {
		m.Add(Cgroup, c)
	}
	return m
}

// SpecOf is the inverse of Spec.Message.
func SpecOf(m Message) Spec {
	s := Spec{
		Path: m.Get("path"), Args: m.All("arg"), Env: m.All("env"), Dir: m.Get("dir"),
		SetUser: m.Has("uid"), UID: uint32(m.Int("uid")), GID: uint32(m.Int("gid")),
		LogDir: m.Get("logdir"), LogName: m.Get("logname"),
		LogBytesMax: m.Int("logbytes"), LogFilesMax: int(m.Int("logfiles")), LogsDisabled: m.Has("nologs"),
		SetOOMScoreAdj: m.Has("oomscoreadj"), OOMScoreAdj: int(m.Int("oomscoreadj")),
		Maker: m.Has("maker"), Cgroups: m.All(Cgroup),
	}
	for _, g := range m.All("group") {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			s.Groups = append(s.Groups, uint32(n))
		}
	}
	return s
}

// Process names a process beyond doubt: a PID alone may be given to another process later.
type Process struct {
	PID    int
	Start  uint64 // ticks since boot, field 22 of /proc/<pid>/stat
	BootID string // of the kernel it ran under
}

// Message is the process as a record.
func (p Process) Message() Message {
	var m Message
	m.AddInt("pid", int64(p.PID))
	m.AddInt("start", int64(p.Start))
	m.Add("boot", p.BootID)
	return m
}

// ProcessOf is the inverse of Process.Message.
func ProcessOf(m Message) Process {
	return Process{PID: int(m.Int("pid")), Start: uint64(m.Int("start")), BootID: m.Get("boot")}
}

// Exit is how a task ended.
type Exit struct {
	Code   int    // exit code; 128 + Signal when a signal ended it
	Signal int    // signal that ended it, or 0
	Time   int64  // Unix nanoseconds
	Error  string // the task was never started, and why
	OOM    bool   // the kernel killed one of the task's processes for want of memory
	// Abandoned says that an agent found this start without a shim and gave it up: it never began.
	Abandoned bool
}

// Message is the exit as a record.
func (e Exit) Message() Message {
	var m Message
	m.AddInt("code", int64(e.Code))
	m.AddInt("signal", int64(e.Signal))
	m.AddInt("time", e.Time)
	if e.Error != "" {
		m.Add("error", e.Error)
	}
	if e.Abandoned {
		m.Add("abandoned", "1")
	}
	if e.OOM {
		m.Add("oom", "1")
	}
	m.Add("end", "1")
	return m
}

// ExitOf is the inverse of Exit.Message.
func ExitOf(m Message) (Exit, error) {
	if !m.Has("end") {
		return Exit{}, fmt.Errorf("exit record is incomplete")
	}
	return Exit{
		Code: int(m.Int("code")), Signal: int(m.Int("signal")), Time: m.Int("time"),
		Error: m.Get("error"), Abandoned: m.Has("abandoned"), OOM: m.Has("oom"),
	}, nil
}

// SaveRecord writes a record so that it is there whole or not at all. With sync it survives a power cut; without, only
// the death of the writer, which is enough for what is worthless after a reboot.
func SaveRecord(dir, name string, m Message, sync bool) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(m.Encode())
	if err == nil && sync {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil || !sync {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// LoadRecord reads a record.
func LoadRecord(dir, name string) (Message, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	m, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	return m, nil
}
