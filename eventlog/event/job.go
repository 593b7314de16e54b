package event

import "time"

// Job types. A service runs until it is stopped, a batch job until its work is done; system and sysbatch are the same
// with one allocation on every node that fits.
const (
	JobTypeService  = "service"
	JobTypeBatch    = "batch"
	JobTypeSystem   = "system"
	JobTypeSysBatch = "sysbatch"
)

// GlobalRegion in a job means the region of the server that takes it.
const GlobalRegion = "global"

// Job is one version of what an author asked for, with every default filled in. It is immutable: whoever holds one may
// share it, nobody changes it. Field names are the public API's JSON names.
//
// Everything but the fields after the mark is the spec: it is what the content hash covers and what the log stores. The
// fields after the mark are facts about the spec that live in other records; readers fill them in when a job is shown.
type Job struct {
	Region           string                  `cbor:"1,keyasint,omitempty"` // region that runs the job; GlobalRegion means "the one it was sent to"
	Namespace        string                  `cbor:"2,keyasint,omitempty"` // part of the job's identity
	ID               string                  `cbor:"3,keyasint,omitempty"` // unique within Namespace
	Name             string                  `cbor:"4,keyasint,omitempty"` // shown to people
	Type             string                  `cbor:"5,keyasint,omitempty"` // one of the JobType constants
	Priority         int                     `cbor:"6,keyasint,omitempty"` // 1 to 100, higher is placed first
	AllAtOnce        bool                    `cbor:"7,keyasint,omitempty"` // a plan that cannot be placed whole is not placed at all
	Datacenters      []string                `cbor:"8,keyasint,omitempty"` // glob patterns of eligible data centers
	NodePool         string                  `cbor:"9,keyasint,omitempty"` // eligible node pool, "all" for every one
	Constraints      []Constraint            `cbor:"10,keyasint,omitempty"`
	Affinities       []Affinity              `cbor:"11,keyasint,omitempty"`
	TaskGroups       []*TaskGroup            `cbor:"12,keyasint,omitempty"`
	Update           *UpdateStrategy         `cbor:"13,keyasint,omitempty"` // as written for the whole job; the groups' copies count
	Multiregion      *Multiregion            `cbor:"14,keyasint,omitempty"`
	Spreads          []Spread                `cbor:"15,keyasint,omitempty"`
	Periodic         *PeriodicConfig         `cbor:"16,keyasint,omitempty"`
	ParameterizedJob *ParameterizedJobConfig `cbor:"17,keyasint,omitempty"`
	Reschedule       *ReschedulePolicy       `cbor:"18,keyasint,omitempty"` // as written for the whole job; the groups' copies count
	Migrate          *MigrateStrategy        `cbor:"19,keyasint,omitempty"` // as written for the whole job; the groups' copies count
	Meta             map[string]string       `cbor:"20,keyasint,omitempty"`
	UI               *JobUIConfig            `cbor:"21,keyasint,omitempty"`

	ParentID                 string `cbor:"22,keyasint,omitempty"` // the periodic or parameterized job this one was launched by
	DispatchIdempotencyToken string `cbor:"23,keyasint,omitempty"`
	Payload                  []byte `cbor:"24,keyasint,omitempty"` // input of a dispatched job
	ConsulNamespace          string `cbor:"25,keyasint,omitempty"`
	VaultNamespace           string `cbor:"26,keyasint,omitempty"`
	NomadTokenID             string `cbor:"27,keyasint,omitempty"`

	// The spec ends here.

	Stop              bool           `cbor:"-"` // an operator stopped the job
	Dispatched        bool           `cbor:"-"` // made by dispatching ParentID
	Status            string         `cbor:"-"` // pending, running or dead
	StatusDescription string         `cbor:"-"`
	Stable            bool           `cbor:"-"` // a deployment of this version succeeded
	Version           uint64         `cbor:"-"` // counts the specs of this job from 0
	SubmitTime        int64          `cbor:"-"` // Unix nanoseconds
	CreateIndex       uint64         `cbor:"-"` // record that made the first version
	ModifyIndex       uint64         `cbor:"-"` // record of the last change of any kind
	JobModifyIndex    uint64         `cbor:"-"` // record of the last change of the spec
	VersionTag        *JobVersionTag `cbor:"-"`
}

// Template reports whether the job runs nothing itself: others are to be launched from it, by the clock or when somebody
// dispatches them.
func (j *Job) Template() bool {
	return j.Periodic != nil || j.ParameterizedJob != nil && !j.Dispatched
}

// LookupGroup returns the task group of that name, or nil.
func (j *Job) LookupGroup(name string) *TaskGroup {
	for _, g := range j.TaskGroups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// TaskGroup is the unit of placement: its tasks always run together on one node.
type TaskGroup struct {
	Name             string                   `cbor:"1,keyasint,omitempty"` // unique in the job
	Count            int                      `cbor:"2,keyasint,omitempty"` // allocations wanted
	Constraints      []Constraint             `cbor:"3,keyasint,omitempty"`
	Affinities       []Affinity               `cbor:"4,keyasint,omitempty"`
	Tasks            []*Task                  `cbor:"5,keyasint,omitempty"`
	Spreads          []Spread                 `cbor:"6,keyasint,omitempty"`
	Volumes          map[string]VolumeRequest `cbor:"7,keyasint,omitempty"`
	RestartPolicy    RestartPolicy            `cbor:"8,keyasint,omitempty"` // for tasks that have no own values; theirs are complete
	Disconnect       *DisconnectStrategy      `cbor:"9,keyasint,omitempty"`
	ReschedulePolicy *ReschedulePolicy        `cbor:"10,keyasint,omitempty"` // nil where the job's type has none
	EphemeralDisk    EphemeralDisk            `cbor:"11,keyasint,omitempty"`
	Update           *UpdateStrategy          `cbor:"12,keyasint,omitempty"` // nil where the job's type has none
	Migrate          *MigrateStrategy         `cbor:"13,keyasint,omitempty"` // nil where the job's type has none
	Networks         []NetworkResource        `cbor:"14,keyasint,omitempty"` // only the first is used
	Meta             map[string]string        `cbor:"15,keyasint,omitempty"`
	Services         []Service                `cbor:"16,keyasint,omitempty"`
	ShutdownDelay    time.Duration            `cbor:"17,keyasint,omitempty"` // between leaving service discovery and the kill
	MaxRunDuration   time.Duration            `cbor:"18,keyasint,omitempty"` // 0 is no limit
	Scaling          *ScalingPolicy           `cbor:"19,keyasint,omitempty"`
	Consul           *Consul                  `cbor:"20,keyasint,omitempty"`

	// Three settings that Disconnect replaced; kept so that old clients see what they wrote.

	StopAfterClientDisconnect *time.Duration `cbor:"21,keyasint,omitempty"`
	MaxClientDisconnect       *time.Duration `cbor:"22,keyasint,omitempty"`
	PreventRescheduleOnLost   *bool          `cbor:"23,keyasint,omitempty"`
}

// LookupTask returns the task of that name, or nil.
func (g *TaskGroup) LookupTask(name string) *Task {
	for _, t := range g.Tasks {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Constraint is a condition that a node must meet.
type Constraint struct {
	LTarget string `cbor:"1,keyasint,omitempty"` // a literal or a ${…} target
	RTarget string `cbor:"2,keyasint,omitempty"` // the same
	Operand string `cbor:"3,keyasint,omitempty"` // =, !=, <, version, regexp, distinct_hosts …
}

// Affinity is a condition that makes a node more welcome, or less with a negative weight.
type Affinity struct {
	LTarget string `cbor:"1,keyasint,omitempty"`
	RTarget string `cbor:"2,keyasint,omitempty"`
	Operand string `cbor:"3,keyasint,omitempty"`
	Weight  int8   `cbor:"4,keyasint,omitempty"` // -100 to 100, never 0
}

// Spread asks for allocations to be spread over the values of an attribute.
type Spread struct {
	Attribute    string         `cbor:"1,keyasint,omitempty"`
	Weight       int8           `cbor:"2,keyasint,omitempty"` // 1 to 100
	SpreadTarget []SpreadTarget `cbor:"3,keyasint,omitempty"`
}

// SpreadTarget is the share of one value in a Spread.
type SpreadTarget struct {
	Value   string `cbor:"1,keyasint,omitempty"`
	Percent uint8  `cbor:"2,keyasint,omitempty"` // 0 to 100
}

// RestartPolicy says how often a task is started again on its node before its allocation fails.
type RestartPolicy struct {
	Attempts        int           `cbor:"1,keyasint,omitempty"` // starts again within Interval
	Interval        time.Duration `cbor:"2,keyasint,omitempty"` // window in which Attempts are counted
	Delay           time.Duration `cbor:"3,keyasint,omitempty"` // wait before each start
	Mode            string        `cbor:"4,keyasint,omitempty"` // after Attempts: "fail" the allocation, or "delay" until the interval ends
	RenderTemplates bool          `cbor:"5,keyasint,omitempty"`
}

// ReschedulePolicy says how often a failed allocation is replaced, perhaps on another node.
type ReschedulePolicy struct {
	Attempts      int           `cbor:"1,keyasint,omitempty"` // replacements within Interval, when not Unlimited
	Interval      time.Duration `cbor:"2,keyasint,omitempty"` // window in which Attempts are counted
	Delay         time.Duration `cbor:"3,keyasint,omitempty"` // wait before the first replacement
	DelayFunction string        `cbor:"4,keyasint,omitempty"` // constant, exponential or fibonacci
	MaxDelay      time.Duration `cbor:"5,keyasint,omitempty"` // upper bound of the growing delay
	Unlimited     bool          `cbor:"6,keyasint,omitempty"`
}

// UpdateStrategy paces the change from one job version to the next.
type UpdateStrategy struct {
	Stagger          time.Duration `cbor:"1,keyasint,omitempty"` // of old job files; paces nothing
	MaxParallel      int           `cbor:"2,keyasint,omitempty"` // allocations replaced at a time; 0 is no pacing
	HealthCheck      string        `cbor:"3,keyasint,omitempty"` // checks, task_states or manual
	MinHealthyTime   time.Duration `cbor:"4,keyasint,omitempty"`
	HealthyDeadline  time.Duration `cbor:"5,keyasint,omitempty"`
	ProgressDeadline time.Duration `cbor:"6,keyasint,omitempty"` // 0 fails the deployment at the first unhealthy allocation
	Canary           int           `cbor:"7,keyasint,omitempty"` // allocations tried beside the old ones
	AutoRevert       bool          `cbor:"8,keyasint,omitempty"`
	AutoPromote      bool          `cbor:"9,keyasint,omitempty"`
}

// MigrateStrategy paces the move of allocations off a draining node.
type MigrateStrategy struct {
	MaxParallel     int           `cbor:"1,keyasint,omitempty"`
	HealthCheck     string        `cbor:"2,keyasint,omitempty"` // checks or task_states
	MinHealthyTime  time.Duration `cbor:"3,keyasint,omitempty"`
	HealthyDeadline time.Duration `cbor:"4,keyasint,omitempty"`
}

// DisconnectStrategy says what becomes of allocations on a node that cannot be reached.
type DisconnectStrategy struct {
	LostAfter         time.Duration  `cbor:"1,keyasint,omitempty"` // how long they stay unknown; 0 is off
	StopOnClientAfter *time.Duration `cbor:"2,keyasint,omitempty"` // the node stops them itself after this long
	Replace           bool           `cbor:"3,keyasint,omitempty"` // place stand-ins at once
	Reconcile         string         `cbor:"4,keyasint,omitempty"` // which one stays when the node comes back
}

// EphemeralDisk is the disk shared by the tasks of an allocation.
type EphemeralDisk struct {
	Sticky  bool `cbor:"1,keyasint,omitempty"` // prefer the node of the predecessor
	Migrate bool `cbor:"2,keyasint,omitempty"` // copy the predecessor's data
	SizeMB  int  `cbor:"3,keyasint,omitempty"`
}

// VolumeRequest asks for storage that outlives the allocation.
type VolumeRequest struct {
	Name           string           `cbor:"1,keyasint,omitempty"`
	Type           string           `cbor:"2,keyasint,omitempty"` // host or csi
	Source         string           `cbor:"3,keyasint,omitempty"`
	ReadOnly       bool             `cbor:"4,keyasint,omitempty"`
	Sticky         bool             `cbor:"5,keyasint,omitempty"`
	AccessMode     string           `cbor:"6,keyasint,omitempty"`
	AttachmentMode string           `cbor:"7,keyasint,omitempty"`
	MountOptions   *CSIMountOptions `cbor:"8,keyasint,omitempty"`
	PerAlloc       bool             `cbor:"9,keyasint,omitempty"` // Source gets the allocation's index appended
}

// CSIMountOptions say how a CSI volume's file system is mounted.
type CSIMountOptions struct {
	FSType     string   `cbor:"1,keyasint,omitempty"`
	MountFlags []string `cbor:"2,keyasint,omitempty"`
}

// NetworkResource is a network asked for by a group, or one given to an allocation.
type NetworkResource struct {
	Mode          string     `json:",omitempty" cbor:"1,keyasint,omitempty"` // "" and host share the node's network; none, bridge, cni/<name>
	Device        string     `json:",omitempty" cbor:"2,keyasint,omitempty"` // interface, once given
	CIDR          string     `json:",omitempty" cbor:"3,keyasint,omitempty"`
	IP            string     `json:",omitempty" cbor:"4,keyasint,omitempty"` // address on the node, once given
	DNS           *DNSConfig `json:",omitempty" cbor:"5,keyasint,omitempty"`
	ReservedPorts []Port     `json:",omitempty" cbor:"6,keyasint,omitempty"` // asked for by number
	DynamicPorts  []Port     `json:",omitempty" cbor:"7,keyasint,omitempty"` // chosen by the scheduler
	Hostname      string     `json:",omitempty" cbor:"8,keyasint,omitempty"`
	MBits         int        `json:",omitempty" cbor:"9,keyasint,omitempty"` // of old job files; accounted nowhere
	CNI           *CNIConfig `json:",omitempty" cbor:"10,keyasint,omitempty"`
}

// DNSConfig replaces the resolver settings inside the allocation's network.
type DNSConfig struct {
	Servers  []string `cbor:"1,keyasint,omitempty"`
	Searches []string `cbor:"2,keyasint,omitempty"`
	Options  []string `cbor:"3,keyasint,omitempty"`
}

// CNIConfig is passed to the CNI plugins.
type CNIConfig struct {
	Args map[string]string `cbor:"1,keyasint,omitempty"`
}

// Port is a labelled port of a network.
type Port struct {
	Label           string `json:",omitempty" cbor:"1,keyasint,omitempty"`
	Value           int    `json:",omitempty" cbor:"2,keyasint,omitempty"` // on the node; 0 until one is chosen
	To              int    `json:",omitempty" cbor:"3,keyasint,omitempty"` // inside the allocation's network; 0 is the same as Value, -1 the chosen one
	HostNetwork     string `json:",omitempty" cbor:"4,keyasint,omitempty"` // which of the node's networks
	IgnoreCollision bool   `json:",omitempty" cbor:"5,keyasint,omitempty"` // a static port that may be taken already
}

// ScalingPolicy bounds what an autoscaler may do with a count.
type ScalingPolicy struct {
	Min         int64             `cbor:"1,keyasint,omitempty"`
	Max         int64             `cbor:"2,keyasint,omitempty"`
	Policy      map[string]any    `cbor:"3,keyasint,omitempty"` // for the autoscaler alone
	Enabled     bool              `cbor:"4,keyasint,omitempty"`
	Type        string            `cbor:"5,keyasint,omitempty"`
	ID          string            `cbor:"6,keyasint,omitempty"`
	Namespace   string            `cbor:"7,keyasint,omitempty"`
	Target      map[string]string `cbor:"8,keyasint,omitempty"`
	CreateIndex uint64            `cbor:"9,keyasint,omitempty"`
	ModifyIndex uint64            `cbor:"10,keyasint,omitempty"`
}

// PeriodicConfig launches a job at the times of a cron expression.
type PeriodicConfig struct {
	Enabled         bool     `cbor:"1,keyasint,omitempty"`
	Spec            string   `cbor:"2,keyasint,omitempty"`
	Specs           []string `cbor:"3,keyasint,omitempty"`
	SpecType        string   `cbor:"4,keyasint,omitempty"` // cron
	ProhibitOverlap bool     `cbor:"5,keyasint,omitempty"`
	TimeZone        string   `cbor:"6,keyasint,omitempty"` // IANA name
}

// ParameterizedJobConfig makes a job a template that is dispatched with meta and payload.
type ParameterizedJobConfig struct {
	Payload      string   `cbor:"1,keyasint,omitempty"` // optional, required or forbidden
	MetaRequired []string `cbor:"2,keyasint,omitempty"`
	MetaOptional []string `cbor:"3,keyasint,omitempty"`
}

// Multiregion names the regions a job is deployed to.
type Multiregion struct {
	Strategy *MultiregionStrategy `cbor:"1,keyasint,omitempty"`
	Regions  []MultiregionRegion  `cbor:"2,keyasint,omitempty"`
}

// MultiregionStrategy paces a deployment over regions.
type MultiregionStrategy struct {
	MaxParallel int    `cbor:"1,keyasint,omitempty"`
	OnFailure   string `cbor:"2,keyasint,omitempty"`
}

// MultiregionRegion is one region of a Multiregion, with what differs there.
type MultiregionRegion struct {
	Name        string            `cbor:"1,keyasint,omitempty"`
	Count       int               `cbor:"2,keyasint,omitempty"`
	Datacenters []string          `cbor:"3,keyasint,omitempty"`
	NodePool    string            `cbor:"4,keyasint,omitempty"`
	Meta        map[string]string `cbor:"5,keyasint,omitempty"`
}

// JobUIConfig is shown by user interfaces.
type JobUIConfig struct {
	Description string      `cbor:"1,keyasint,omitempty"`
	Links       []JobUILink `cbor:"2,keyasint,omitempty"`
}

// JobUILink is one link of a JobUIConfig.
type JobUILink struct {
	Label string `cbor:"1,keyasint,omitempty"`
	URL   string `cbor:"2,keyasint,omitempty"`
}

// JobVersionTag is a name that an operator gave to one version.
type JobVersionTag struct {
	Name        string `cbor:"1,keyasint,omitempty"`
	Description string `cbor:"2,keyasint,omitempty"`
	TaggedTime  int64  `cbor:"3,keyasint,omitempty"` // Unix nanoseconds
}

// JobSubmission is the text a job was made from, kept so that people can read and edit it again.
type JobSubmission struct {
	Source        string            `cbor:"1,keyasint,omitempty"`
	Format        string            `cbor:"2,keyasint,omitempty"` // hcl2, hcl1 or json
	VariableFlags map[string]string `cbor:"3,keyasint,omitempty"` // given one by one
	Variables     string            `cbor:"4,keyasint,omitempty"` // text of the variable files
}
