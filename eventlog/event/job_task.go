package event

import "time"

// Task is one process, container or virtual machine of a group.
type Task struct {
	Name            string                 `cbor:"1,keyasint,omitempty"` // unique in the group
	Driver          string                 `cbor:"2,keyasint,omitempty"` // how it is run: raw_exec, exec, docker …
	User            string                 `cbor:"3,keyasint,omitempty"`
	Lifecycle       *TaskLifecycle         `cbor:"4,keyasint,omitempty"` // nil is a main task
	Config          map[string]any         `cbor:"5,keyasint,omitempty"` // for the driver alone; JSON values
	Constraints     []Constraint           `cbor:"6,keyasint,omitempty"`
	Affinities      []Affinity             `cbor:"7,keyasint,omitempty"`
	Env             map[string]string      `cbor:"8,keyasint,omitempty"`
	Services        []Service              `cbor:"9,keyasint,omitempty"`
	Resources       Resources              `cbor:"10,keyasint,omitempty"`
	RestartPolicy   RestartPolicy          `cbor:"11,keyasint,omitempty"` // complete: the group's values where the task has none
	Meta            map[string]string      `cbor:"12,keyasint,omitempty"`
	KillTimeout     time.Duration          `cbor:"13,keyasint,omitempty"` // between the kill signal and the end by force
	LogConfig       LogConfig              `cbor:"14,keyasint,omitempty"`
	Artifacts       []TaskArtifact         `cbor:"15,keyasint,omitempty"`
	Vault           *Vault                 `cbor:"16,keyasint,omitempty"`
	Consul          *Consul                `cbor:"17,keyasint,omitempty"`
	Templates       []Template             `cbor:"18,keyasint,omitempty"`
	DispatchPayload *DispatchPayloadConfig `cbor:"19,keyasint,omitempty"`
	VolumeMounts    []VolumeMount          `cbor:"20,keyasint,omitempty"`
	CSIPluginConfig *TaskCSIPluginConfig   `json:",omitempty" cbor:"21,keyasint,omitempty"`
	Leader          bool                   `cbor:"22,keyasint,omitempty"` // its end stops the other tasks
	ShutdownDelay   time.Duration          `cbor:"23,keyasint,omitempty"`
	KillSignal      string                 `cbor:"24,keyasint,omitempty"` // "" is the driver's default
	Kind            string                 `cbor:"25,keyasint,omitempty"`
	ScalingPolicies []ScalingPolicy        `cbor:"26,keyasint,omitempty"`
	Secrets         []Secret               `cbor:"27,keyasint,omitempty"`
	Identity        *WorkloadIdentity      `cbor:"28,keyasint,omitempty"`
	Identities      []WorkloadIdentity     `cbor:"29,keyasint,omitempty"`
	Actions         []Action               `cbor:"30,keyasint,omitempty"`
	Schedule        *TaskSchedule          `cbor:"31,keyasint,omitempty"`
}

// TaskLifecycle places a task before, beside or after the main tasks.
type TaskLifecycle struct {
	Hook    string `cbor:"1,keyasint,omitempty"` // prestart, poststart or poststop
	Sidecar bool   `cbor:"2,keyasint,omitempty"`
}

// Resources are what a task needs of its node.
type Resources struct {
	CPU         int               `cbor:"1,keyasint,omitempty"` // MHz
	Cores       int               `cbor:"2,keyasint,omitempty"` // whole cores, instead of CPU
	MemoryMB    int               `cbor:"3,keyasint,omitempty"`
	MemoryMaxMB int               `cbor:"4,keyasint,omitempty"` // 0 is MemoryMB, -1 no limit
	DiskMB      int               `cbor:"5,keyasint,omitempty"`
	Networks    []NetworkResource `cbor:"6,keyasint,omitempty"` // of old job files
	Devices     []RequestedDevice `cbor:"7,keyasint,omitempty"`
	NUMA        *NUMAResource     `cbor:"8,keyasint,omitempty"`
	SecretsMB   int               `cbor:"9,keyasint,omitempty"`
	IOPS        *int              `cbor:"10,keyasint,omitempty"` // of old job files; accounted nowhere
}

// RequestedDevice asks for devices such as GPUs.
type RequestedDevice struct {
	Name        string       `cbor:"1,keyasint,omitempty"` // [vendor/]type[/name]
	Count       uint64       `cbor:"2,keyasint,omitempty"`
	Constraints []Constraint `cbor:"3,keyasint,omitempty"`
	Affinities  []Affinity   `cbor:"4,keyasint,omitempty"`
}

// NUMAResource says how close cores and devices must be to each other.
type NUMAResource struct {
	Affinity string   `cbor:"1,keyasint,omitempty"` // none, prefer or require
	Devices  []string `cbor:"2,keyasint,omitempty"`
}

// LogConfig bounds what is kept of a task's output.
type LogConfig struct {
	MaxFiles      int   `cbor:"1,keyasint,omitempty"` // for each of stdout and stderr
	MaxFileSizeMB int   `cbor:"2,keyasint,omitempty"`
	Enabled       *bool `cbor:"3,keyasint,omitempty"` // of old job files
	Disabled      bool  `cbor:"4,keyasint,omitempty"`
}

// TaskArtifact is fetched before the task starts.
type TaskArtifact struct {
	GetterSource   string            `cbor:"1,keyasint,omitempty"`
	GetterOptions  map[string]string `cbor:"2,keyasint,omitempty"`
	GetterHeaders  map[string]string `cbor:"3,keyasint,omitempty"`
	GetterMode     string            `cbor:"4,keyasint,omitempty"` // any, file or dir
	GetterInsecure bool              `cbor:"5,keyasint,omitempty"`
	RelativeDest   string            `cbor:"6,keyasint,omitempty"`
	Chown          bool              `cbor:"7,keyasint,omitempty"`
}

// Template is rendered into the task's directory.
type Template struct {
	SourcePath    string        `cbor:"1,keyasint,omitempty"`
	DestPath      string        `cbor:"2,keyasint,omitempty"`
	EmbeddedTmpl  string        `cbor:"3,keyasint,omitempty"`
	ChangeMode    string        `cbor:"4,keyasint,omitempty"` // restart, signal, noop or script
	ChangeScript  *ChangeScript `cbor:"5,keyasint,omitempty"`
	ChangeSignal  string        `cbor:"6,keyasint,omitempty"`
	Once          bool          `cbor:"7,keyasint,omitempty"`
	Splay         time.Duration `cbor:"8,keyasint,omitempty"` // upper bound of a random wait before the change takes effect
	Perms         string        `cbor:"9,keyasint,omitempty"` // octal
	Uid           *int          `cbor:"10,keyasint,omitempty"`
	Gid           *int          `cbor:"11,keyasint,omitempty"`
	LeftDelim     string        `cbor:"12,keyasint,omitempty"`
	RightDelim    string        `cbor:"13,keyasint,omitempty"`
	Envvars       bool          `cbor:"14,keyasint,omitempty"` // the file holds KEY=VALUE lines for the environment
	VaultGrace    time.Duration `cbor:"15,keyasint,omitempty"`
	Wait          *WaitConfig   `cbor:"16,keyasint,omitempty"`
	ErrMissingKey bool          `cbor:"17,keyasint,omitempty"`
}

// ChangeScript is run inside the task when a template changes.
type ChangeScript struct {
	Command          string        `cbor:"1,keyasint,omitempty"`
	Args             []string      `cbor:"2,keyasint,omitempty"`
	Timeout          time.Duration `cbor:"3,keyasint,omitempty"`
	FailOnError      bool          `cbor:"4,keyasint,omitempty"`
	RunOnFirstRender bool          `cbor:"5,keyasint,omitempty"`
}

// WaitConfig bounds how long changes of a template are gathered.
type WaitConfig struct {
	Min time.Duration `cbor:"1,keyasint,omitempty"`
	Max time.Duration `cbor:"2,keyasint,omitempty"`
}

// DispatchPayloadConfig writes the payload of a dispatched job to a file.
type DispatchPayloadConfig struct {
	File string `cbor:"1,keyasint,omitempty"` // inside the task's local directory
}

// VolumeMount shows one of the group's volumes to a task.
type VolumeMount struct {
	Volume          string `cbor:"1,keyasint,omitempty"`
	Destination     string `cbor:"2,keyasint,omitempty"`
	ReadOnly        bool   `cbor:"3,keyasint,omitempty"`
	PropagationMode string `cbor:"4,keyasint,omitempty"`
	SELinuxLabel    string `cbor:"5,keyasint,omitempty"`
}

// TaskCSIPluginConfig makes the task a CSI plugin.
type TaskCSIPluginConfig struct {
	ID                  string        `cbor:"1,keyasint,omitempty"`
	Type                string        `cbor:"2,keyasint,omitempty"` // node, controller or monolith
	MountDir            string        `cbor:"3,keyasint,omitempty"`
	StagePublishBaseDir string        `cbor:"4,keyasint,omitempty"`
	HealthTimeout       time.Duration `cbor:"5,keyasint,omitempty"`
}

// Vault asks for a Vault token.
type Vault struct {
	Policies             []string `cbor:"1,keyasint,omitempty"` // of old job files
	Role                 string   `cbor:"2,keyasint,omitempty"`
	Namespace            string   `cbor:"3,keyasint,omitempty"`
	Cluster              string   `cbor:"4,keyasint,omitempty"`
	Env                  bool     `cbor:"5,keyasint,omitempty"`
	DisableFile          bool     `cbor:"6,keyasint,omitempty"`
	ChangeMode           string   `cbor:"7,keyasint,omitempty"`
	ChangeSignal         string   `cbor:"8,keyasint,omitempty"`
	AllowTokenExpiration bool     `cbor:"9,keyasint,omitempty"`
}

// Consul says which Consul serves a group or task.
type Consul struct {
	Namespace string `cbor:"1,keyasint,omitempty"`
	Cluster   string `cbor:"2,keyasint,omitempty"`
	Partition string `cbor:"3,keyasint,omitempty"`
}

// WorkloadIdentity is a signed identity given to a task or service.
type WorkloadIdentity struct {
	Name         string        `cbor:"1,keyasint,omitempty"`
	Audience     []string      `cbor:"2,keyasint,omitempty"`
	ChangeMode   string        `cbor:"3,keyasint,omitempty"`
	ChangeSignal string        `cbor:"4,keyasint,omitempty"`
	Env          bool          `cbor:"5,keyasint,omitempty"`
	File         bool          `cbor:"6,keyasint,omitempty"`
	Filepath     string        `cbor:"7,keyasint,omitempty"`
	ServiceName  string        `cbor:"8,keyasint,omitempty"`
	TTL          time.Duration `cbor:"9,keyasint,omitempty"`
	ExtraClaims  []string      `cbor:"10,keyasint,omitempty"`
}

// Secret is read from a provider before the task starts.
type Secret struct {
	Name     string            `cbor:"1,keyasint,omitempty"`
	Provider string            `cbor:"2,keyasint,omitempty"`
	Path     string            `cbor:"3,keyasint,omitempty"`
	Config   map[string]any    `cbor:"4,keyasint,omitempty"` // for the provider alone
	Env      map[string]string `cbor:"5,keyasint,omitempty"`
}

// Action is a command an operator may run inside the task.
type Action struct {
	Name    string   `cbor:"1,keyasint,omitempty"`
	Command string   `cbor:"2,keyasint,omitempty"`
	Args    []string `cbor:"3,keyasint,omitempty"`
}

// TaskSchedule limits when a task runs.
type TaskSchedule struct {
	Cron *TaskScheduleCron `cbor:"1,keyasint,omitempty"`
}

// TaskScheduleCron is a TaskSchedule by cron expressions.
type TaskScheduleCron struct {
	Start    string `cbor:"1,keyasint,omitempty"`
	End      string `cbor:"2,keyasint,omitempty"`
	Timezone string `cbor:"3,keyasint,omitempty"`
}
