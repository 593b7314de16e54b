package agentconfig

import (
	"log/slog"
	"sync"
	"time"
)

// Config is what an agent runs by. Load made it, so everything in it has been
// checked and every default is filled in; "empty" below says what an empty value
// means where that is left to the agent.
type Config struct {
	// Dev: a server and a node agent for trying things out. Everything lives in a
	// temporary directory that the agent makes and removes when it ends.
	Dev bool

	Region     string // name of the cluster's region
	Datacenter string // of this machine
	Name       string // of this machine; the host's name by default
	DataDir    string // absolute; empty only with Dev

	Ports     Ports
	Bind      Bind
	Advertise Advertise

	Log Log

	// LeaveOnInterrupt and LeaveOnTerminate make the agent end gracefully, with
	// exit code 0, on SIGINT and SIGTERM. Without them it ends at once, with 1.
	LeaveOnInterrupt bool
	LeaveOnTerminate bool

	// Telemetry is what /v1/metrics shows beyond what costs nothing.
	Telemetry Telemetry

	EnableDebug bool // serve profiles of the process under /v1/agent/pprof/

	HTTPResponseHeaders map[string]string // added to every HTTP answer

	Server Server
	Client Client

	RawExecEnabled   bool // offer the raw_exec task driver
	RawExecDenied    DeniedIDs
	RawExecEnvDenied []string // patterns of variables that no task of it has
	Docker           Docker
	Qemu             Qemu
	// Exec, Java and OCI are what is said of the containers of these task drivers.
	Exec, Java, OCI Containers

	// Version is that of this program. Load leaves it empty; the agent command
	// fills it in.
	Version string

	// Warnings are for the operator to read, one sentence each.
	Warnings []string

	// Live, if set, is told of a configuration that was read again.
	Live *Live
	// Reload, if set, reads the configuration again and has take effect what can
	// while the agent runs. It says what that is, or why all stays as it was.
	Reload func() (string, error)
	// Sources are the files that were read, in order.
	Sources []string
}

// Docker is what the docker task driver may do. It is offered where its daemon
// is.
type Docker struct {
	Endpoint             string // the daemon's address; "" is DOCKER_HOST or the usual socket
	AllowPrivileged      bool
	VolumesEnabled       bool     // paths of the machine may be mounted
	AllowCaps            []string // nil is the usual list
	ExtraLabels          []string
	AuthFile, AuthHelper string // credentials of registries
	KeepContainers       bool
	KeepImages           bool
	ImageDelay           time.Duration // 0 is the driver's own
	NoLogs               bool
	DanglingOff          bool          // containers that no allocation knows stay
	DanglingDryRun       bool          // they are only told of
	DanglingPeriod       time.Duration // 0 is the driver's own
	DanglingGrace        time.Duration // 0 is the driver's own
}

// Containers is what is said of the containers of one task driver.
type Containers struct {
	PIDMode, IPCMode string   // of a task that names none: private or host; "" is private
	AllowCaps        []string // nil is the usual list
	Denied           DeniedIDs
	NoPivotRoot      bool
}

// DeniedIDs are users and groups, as "0,10-20", that no task of a driver may run as.
type DeniedIDs struct{ UIDs, GIDs string }

// Qemu is what the qemu task driver may do. It is offered where the emulator is.
type Qemu struct {
	ImagePaths       []string // directories with images for everybody
	ArgsAllowed      []string // of the emulator; none is all
	EmulatorsAllowed []string // none is all
}

// Ports are the TCP ports the agent listens on, and gossip's UDP port.
type Ports struct {
	HTTP int
	RPC  int // servers and node agents among themselves
	Serf int // gossip among servers
	Raft int // the replicated log
}

// Bind is where the agent listens, each as host:port.
type Bind struct {
	HTTP []string // at least one
	RPC  string
	Serf string
	Raft string
}

// Advertise is where others reach the agent, each as host:port. RPC, Serf and
// Raft are empty when the agent is no server.
type Advertise struct {
	HTTP string
	RPC  string
	Serf string
	Raft string
}

// Log is where the agent's own log goes, and how much of it.
type Log struct {
	// Level is the least severe level that is written. The agent's log handler
	// must use it as its Leveler: a reload of the configuration sets it.
	Level *slog.LevelVar
	JSON  bool   // one JSON object per line
	File  string // written beside the standard output; empty = none
	// Location adds the file and line of each log call.
	Location bool
}

// Log levels beside those of slog.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelOff   = slog.LevelError + 100 // above anything that is ever logged
)

// Server is the part of the agent that takes part in the cluster's decisions.
type Server struct {
	Enabled         bool
	BootstrapExpect int // number of servers to wait for before the first start; 1

	// HeartbeatGrace is added to a node's heartbeat time to live before it counts
	// as down.
	HeartbeatGrace time.Duration
	// MinHeartbeatTTL is the least time between two heartbeats of a node.
	MinHeartbeatTTL time.Duration

	// EnabledSchedulers are the types of jobs that they take, sorted; empty = all.
	EnabledSchedulers []string
	NumSchedulers     int // parallel scheduler workers; at least 1, half of the CPUs unless it is set

	GC GC

	// Scheduler is how a new cluster takes and places jobs. In one that exists it is
	// what was last set by command.
	Scheduler Scheduler
}

// Scheduler is how jobs are taken and placed.
type Scheduler struct {
	Algorithm            string // "binpack" or "spread"
	MemoryOversubscribed bool   // tasks may use memory_max
	RejectJobs           bool   // no job is taken
	Pause                bool   // nothing is decided
	NodeLimit            uint   // kept; nothing acts on it
	// Which types of job may take the room of lower priorities: kept; nothing acts on them.
	PreemptSystem, PreemptSysBatch, PreemptBatch, PreemptService bool
}

// GC says when what has ended leaves the servers' memory. The event log keeps it.
type GC struct {
	Interval time.Duration // between two looks for what is old enough
	// Ages after the last change; all are above zero.
	JobThreshold       time.Duration // of a dead job
	EvalThreshold      time.Duration // of an evaluation and its allocations
	BatchEvalThreshold time.Duration // the same of batch jobs
	NodeThreshold      time.Duration // of a node that is down
	// KeptMax is how many ended allocations, and how many ended evaluations, stay
	// at most: beyond it the oldest leave whatever their age.
	KeptMax int
}

// Client is the part of the agent that runs tasks: the node agent.
type Client struct {
	Enabled bool

	// Servers are host:port of servers to register with. Empty when the agent is
	// a server itself and none were named: it then uses its own.
	Servers []string

	StateDir string // absolute; empty only with Dev: below the temporary directory
	AllocDir string // absolute; empty only with Dev: below the temporary directory

	NodeClass string
	NodePool  string
	// Ineligible has a new node get nothing to run until an operator wants it to.
	Ineligible bool
	Meta       map[string]string
	Options    map[string]string
	Access     Access
	ChrootEnv  map[string]string // directories that tasks of exec and java see, and where; nil = the usual ones

	NetworkInterface string // empty = the one with the default route
	NetworkSpeedMbit int    // of that interface; 0 = as found

	HostNetworks map[string]HostNetwork // names for addresses of the machine, for the ports of jobs

	// Overrides of what the fingerprint finds; 0 = as found.
	CPUTotalComputeMHz int
	MemoryTotalMB      int
	DiskTotalMB        int

	Reserved Reserved

	NodeMaxAllocs  int           // most allocations on the node at a time; 0 = as many as fit
	MaxKillTimeout time.Duration // upper bound of a task's kill_timeout
	MinDynamicPort int
	MaxDynamicPort int // inclusive

	HostVolumes map[string]HostVolume // directories that tasks may mount, by name

	Collection Collection
	Artifacts  Artifacts
}

// Telemetry says what the metrics of an agent tell.
type Telemetry struct {
	Node        bool   // what the machine uses
	Allocations bool   // what each task uses
	Host        string // what their label "host" says; "" for none
}

// Access is what client.options keep from tasks; nil lists are the usual ones.
type Access struct {
	DriversAllowed, DriversDenied []string
	UsersDenied, CheckedDrivers   []string
	EnvDenied                     []string

	FingerprintsAllowed, FingerprintsDenied []string
}

// HostVolume is a directory of the machine that tasks may mount.
type HostVolume struct {
	Path     string // absolute; it exists
	ReadOnly bool
}

// HostNetwork names those addresses of the machine that are within CIDR and of Interface; an empty one is no condition.
type HostNetwork struct {
	CIDR          string
	Interface     string
	ReservedPorts string // that tasks may not have; empty = none
}

// Collection says when a node removes ended allocations.
type Collection struct {
	Interval       time.Duration
	Parallel       int
	DiskPercent    float64 // how full the disk of the allocations may be
	InodePercent   float64
	AllocationsMax int
}

// Artifacts bounds what tasks download.
type Artifacts struct {
	HTTPTimeout, GitTimeout time.Duration
	HTTPBytesMax            int64
	UnpackedBytesMax        int64
	UnpackedFilesMax        int
}

// Reserved is what is kept back from tasks.
type Reserved struct {
	CPUMHz   int
	MemoryMB int
	DiskMB   int
	Ports    string // "22,80,8500-8600"; empty = none
}

// Live is what of a configuration a running agent takes on when its files are read again, beside the level of its log.
type Live struct {
	mu   sync.Mutex
	take func(Config) error
}

// OnReload says what is done then.
func (l *Live) OnReload(take func(Config) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take = take
}

// Take has the agent take on a configuration.
func (l *Live) Take(cfg Config) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.take == nil {
		return nil
	}
	return l.take(cfg)
}
