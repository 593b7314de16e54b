package apiclient

import (
	"time"

	"drover/eventlog/event"
	"drover/projections/jobdiff"
)

// The views below hold what the commands show of each object. Statuses are
// plain words here: an agent of a later version may know words that this one
// does not, and a command line should print them.

// JobStub is one row of the list of jobs.
type JobStub struct {
	ID               string
	ParentID         string
	Name             string
	Namespace        string
	Type             string
	Priority         int
	Periodic         bool
	ParameterizedJob bool
	Stop             bool
	Status           string
	JobSummary       *JobSummary
	SubmitTime       int64 // Unix nanoseconds
	ModifyIndex      uint64
}

// JobNamespace is the namespace of the stub, which some servers tell only in
// the summary.
func (j *JobStub) JobNamespace() string {
	if j.Namespace == "" && j.JobSummary != nil {
		return j.JobSummary.Namespace
	}
	return j.Namespace
}

// JobSummary counts a job's allocations by group and status.
type JobSummary struct {
	JobID     string
	Namespace string
	Summary   map[string]GroupSummary
}

// GroupSummary counts one group's allocations.
type GroupSummary struct {
	Queued, Complete, Failed, Running, Starting, Lost, Unknown int
}

// AllocStub is one row of a list of allocations.
type AllocStub struct {
	ID                 string
	EvalID             string
	Name               string
	Namespace          string
	NodeID             string
	NodeName           string
	JobID              string
	JobType            string
	JobVersion         uint64
	TaskGroup          string
	DesiredStatus      string
	DesiredDescription string
	ClientStatus       string
	ClientDescription  string
	TaskStates         map[string]*TaskState
	CreateIndex        uint64
	ModifyIndex        uint64
	CreateTime         int64 // Unix nanoseconds
	ModifyTime         int64 // Unix nanoseconds
}

// Allocation is one allocation in full.
type Allocation struct {
	AllocStub
	Job                *event.Job
	AllocatedResources *AllocatedResources
	Metrics            *event.AllocMetric
	DeploymentID       string
	DeploymentStatus   *struct {
		Healthy *bool
		Canary  bool
	}
	PreviousAllocation string
	NextAllocation     string
	FollowupEvalID     string
}

// AllocatedResources is what an allocation holds of its node.
type AllocatedResources struct {
	Tasks map[string]struct {
		Cpu struct {
			CpuShares     int64
			ReservedCores []uint16
		}
		Memory struct {
			MemoryMB    int64
			MemoryMaxMB int64
		}
		Networks []event.NetworkResource
	}
	Shared struct {
		DiskMB   int64
		Networks []event.NetworkResource
		Ports    []struct {
			Label  string
			Value  int
			To     int
			HostIP string
		}
	}
}

// TaskState is what is known of one task.
type TaskState struct {
	State       string
	Failed      bool
	Restarts    uint64
	LastRestart time.Time
	StartedAt   time.Time
	FinishedAt  time.Time
	Events      []TaskEvent // oldest first
}

// TaskEvent is one thing that happened to a task.
type TaskEvent struct {
	Type           string
	Time           int64 // Unix nanoseconds
	DisplayMessage string
	Message        string
	Details        map[string]string
}

// Text is the sentence for people.
func (e *TaskEvent) Text() string {
	if e.DisplayMessage != "" {
		return e.DisplayMessage
	}
	return e.Message
}

// Evaluation is one evaluation.
type Evaluation struct {
	ID                string
	Namespace         string
	JobID             string
	Type              string
	Priority          int
	TriggeredBy       string
	Status            string
	StatusDescription string
	NodeID            string
	DeploymentID      string
	Wait              time.Duration
	WaitUntil         time.Time
	NextEval          string
	PreviousEval      string
	BlockedEval       string
	QuotaLimitReached string
	FailedTGAllocs    map[string]*event.AllocMetric
	QueuedAllocations map[string]int
	RelatedEvals      []*Evaluation
	CreateIndex       uint64
	ModifyIndex       uint64
	CreateTime        int64 // Unix nanoseconds
	ModifyTime        int64 // Unix nanoseconds
}

// Terminal reports whether the evaluation will not run again.
func (e *Evaluation) Terminal() bool {
	return e.Status == "complete" || e.Status == "failed" || e.Status == "canceled"
}

// NodeStub is one row of the list of nodes.
type NodeStub struct {
	ID                    string
	Address               string
	Attributes            map[string]string
	Datacenter            string
	Name                  string
	NodePool              string
	NodeClass             string
	Version               string
	Drain                 bool
	SchedulingEligibility string
	Status                string
}

// Node is one node in full.
type Node struct {
	ID                    string
	Name                  string
	NodePool              string
	NodeClass             string
	Datacenter            string
	HTTPAddr              string
	TLSEnabled            bool
	Drain                 bool
	DrainStrategy         *event.DrainStrategy
	SchedulingEligibility string
	Status                string
	StatusDescription     string
	Attributes            map[string]string
	Meta                  map[string]string
	Drivers               map[string]*event.DriverInfo
	HostVolumes           map[string]*event.HostVolume
	HostNetworks          map[string]*event.HostNetwork
	CSIControllerPlugins  map[string]any
	CSINodePlugins        map[string]any
	NodeResources         *event.NodeResources
	ReservedResources     *event.NodeReservedResources
	NodeMaxAllocs         int
	Events                []event.NodeEvent // oldest first
}

// JobRegisterRequest submits a job.
type JobRegisterRequest struct {
	Job              *event.Job
	EnforceIndex     bool                 `json:",omitempty"`
	JobModifyIndex   uint64               `json:",omitempty"` // 0 with EnforceIndex: the job must not exist
	PreserveCounts   bool                 `json:",omitempty"`
	PreserveResource bool                 `json:"PreserveResources,omitempty"`
	EvalPriority     int                  `json:",omitempty"` // 1 to 100; 0 = the job's
	Submission       *event.JobSubmission `json:",omitempty"`
}

// JobRegisterResponse is the answer to a submitted job.
type JobRegisterResponse struct {
	EvalID          string // empty for jobs that only launch others
	EvalCreateIndex uint64
	JobModifyIndex  uint64
	Warnings        string
}

// JobDeregisterResponse is the answer to a stopped job.
type JobDeregisterResponse struct {
	EvalID          string // empty when there was nothing to stop
	EvalCreateIndex uint64
	JobModifyIndex  uint64
}

// JobValidateResponse is the answer to a job sent for validation.
type JobValidateResponse struct {
	DriverConfigValidated bool
	ValidationErrors      []string
	Error                 string
	Warnings              string
}

// JobPlanResponse is what registering a job would lead to.
type JobPlanResponse struct {
	JobModifyIndex     uint64
	Diff               *jobdiff.Job
	Annotations        *PlanAnnotations
	FailedTGAllocs     map[string]*event.AllocMetric
	NextPeriodicLaunch time.Time
	Warnings           string
}

// PlanAnnotations says what would be done to allocations, by group.
type PlanAnnotations struct {
	DesiredTGUpdates map[string]*jobdiff.DesiredUpdates
	PreemptedAllocs  []*AllocStub
}

// JobVersions is the kept versions of a job, newest first. Diffs tells each from
// the one before it, or from the one that was asked for.
type JobVersions struct {
	Versions []*event.Job
	Diffs    []*jobdiff.Job
}
