// Package driver is the contract between the node agent and what can run a task: processes, containers, machines.
//
// Its promise: the agent knows drivers by this contract alone, and one contract test (package drivertest) runs against
// each of them.
//
// A start is named by its Task.ID, which the agent writes down before it calls Start. So Recover finds a start even
// when the agent died before it could keep the handle that Start returned.
package driver

import (
	"context"
	"errors"
	"time"

	"drover/eventlog/event"
)

// Errors that a driver answers with, wrapped or bare.
var (
	// ErrNotFound says that there is no such start, and that it will not begin later either.
	ErrNotFound = errors.New("task is not known to its driver")
	// ErrEnded says that the task takes no signal because it has ended.
	ErrEnded = errors.New("task has ended")
	// ErrLost says that the task is gone and how it ended cannot be known. Nothing of it is left running.
	ErrLost = errors.New("task was lost")
)

// Unrecoverable marks a start that fails the same way however often it is tried, such as a missing option.
type Unrecoverable struct{ Err error }

func (e Unrecoverable) Error() string { return e.Err.Error() }
func (e Unrecoverable) Unwrap() error { return e.Err }

// Invalid marks a task whose configuration the driver refuses. The task fails validation and is not tried again.
type Invalid struct{ Err error }

func (e Invalid) Error() string { return e.Err.Error() }
func (e Invalid) Unwrap() error { return e.Err }

// Driver runs tasks of one kind. All methods may be called from several goroutines.
type Driver interface {
	// Name is what job files call it.
	Name() string
	// Fingerprint says whether the driver can be used now, and node attributes. It must answer within milliseconds.
	Fingerprint(ctx context.Context) event.DriverInfo
	// Capabilities are what the agent must know to make a task ready for the driver. They never change.
	Capabilities() Capabilities
	// KillSignal is the signal that asks a task to end when its job names none; "" leaves it to what the task runs, and
	// Stop is given "" then.
	KillSignal() string
	// Start runs the task. When it returns without error the task's program has begun.
	Start(ctx context.Context, t *Task) (Running, error)
	// Recover finds a start of an earlier agent, running or ended. handle is what Running.Handle gave, or nil if the agent
	// died too early. Of t only ID, AllocID, Name and the directories need to be set. [ErrNotFound] when there is nothing.
	Recover(ctx context.Context, t *Task, handle []byte) (Running, error)
}

// Keeper is a driver that has work of its own beside its tasks, such as removing what nobody knows any more. [KeeperOf]
// finds it.
type Keeper interface {
	// Keep works until ctx ends. It is called once every task of an earlier agent was looked for.
	Keep(ctx context.Context)
}

// Isolation is what a task sees of the machine's file system.
type Isolation uint8

// What a task sees.
const (
	IsolationNone   Isolation = iota // the machine's own paths
	IsolationChroot                  // a root of its own, made from the machine's files
	IsolationImage                   // a root of its own that has nothing to do with the machine
)

// Paths of a task's directories where it has a root of its own.
const (
	SharedMount  = "/alloc"
	LocalMount   = "/local"
	SecretsMount = "/secrets"
)

// Capabilities are what a driver's tasks need of the agent.
type Capabilities struct {
	// FS decides which paths a task is told in NOMAD_ALLOC_DIR and its like, and whether it gets the agent's environment:
	// a PATH of the machine means nothing inside an image.
	FS Isolation
	// Mounts says that the driver mounts [Task.Mounts].
	Mounts bool
}

// Running is one start of a task, from Start or Recover on until Destroy.
type Running interface {
	// Handle is what Recover needs, opaque to the agent.
	Handle() []byte
	// Wait waits for the end. [ErrLost] when it is not known how the task ended.
	Wait(ctx context.Context) (Exit, error)
	// Signal sends a signal, by name. [ErrEnded] when there is nobody to take it.
	Signal(ctx context.Context, signal string) error
	// Stop asks the task to end with the signal and forces it after the timeout. It may return before the end; Wait tells
	// that. A task that has ended already is no error.
	Stop(ctx context.Context, timeout time.Duration, signal string) error
	// Destroy ends the task by force if it runs and removes what the driver keeps of it. It returns after the end.
	Destroy(ctx context.Context) error
	// Inspect says how the start stands.
	Inspect(ctx context.Context) (Status, error)
	// Usage samples what the task uses.
	Usage(ctx context.Context) (Usage, error)
}

// Task is one start of one task, ready to run: everything is interpolated.
type Task struct {
	ID      string // "<allocation>/<task>/<start>", unique for ever
	AllocID event.ID
	Name    string
	Config  map[string]any // the task's driver configuration, evaluated
	Env     map[string]string
	User    string // "" is the driver's default

	StateDir   string // directory of this start alone, for the driver to use; it survives the agent
	TaskDir    string // <allocation>/<task>
	LocalDir   string // <allocation>/<task>/local
	SecretsDir string // <allocation>/<task>/secrets
	SharedDir  string // <allocation>/alloc
	LogDir     string // <allocation>/alloc/logs; files are <task>.stdout.<n> and <task>.stderr.<n>

	LogBytesMax  int64 // size at which a log file is full
	LogFilesMax  int   // files kept of each stream
	LogsDisabled bool

	CPUMHz      int64
	NodeMHz     int64 // what the whole machine has, over all its cores
	MemoryMB    int64
	MemoryMaxMB int64 // what the task may use while the machine has it; 0 is MemoryMB

	// Mounts are directories of the machine that the task sees besides its own.
	Mounts []Mount
	// Ports are those that the allocation got, the group's and the task's own.
	Ports []Port
	// Event adds a line of the driver's to the task's history, such as that an image is being pulled. Nil drops it.
	Event func(message string)
}

// Mount is a directory of the machine that a task sees at a place of its own root file system.
type Mount struct {
	Source   string // absolute path on the machine
	Target   string // absolute path inside
	ReadOnly bool
	// Propagation of mounts that are made later below it: "" or private, host-to-task, bidirectional.
	Propagation string
}

// Port is a port of the machine that belongs to the allocation.
type Port struct {
	Label  string
	HostIP string // address of the machine, "" if not known
	Host   int    // port of the machine
	To     int    // port inside the task's network; 0 is the same
}

// Tell adds a line to the task's history.
func (t *Task) Tell(message string) {
	if t.Event != nil {
		t.Event(message)
	}
}

// Exit is how a task ended.
type Exit struct {
	Code      int
	Signal    int // number of the signal that ended it, or 0
	OOMKilled bool
	Time      time.Time // zero if not known
	Error     string    // the driver's words, if any
}

// Successful reports whether the task ended as it should.
func (e Exit) Successful() bool { return e.Code == 0 && e.Signal == 0 && !e.OOMKilled && e.Error == "" }

// Status is how a start stands.
type Status struct {
	Ended bool
	PID   int // first process, or 0 if the driver knows none
	Exit  Exit
}
