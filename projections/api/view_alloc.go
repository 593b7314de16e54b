package api

import (
	"cmp"
	"strconv"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// Allocation is an allocation in full.
type Allocation struct {
	ID                    event.ID
	Namespace             string
	EvalID                event.ID
	Name                  string
	NodeID                event.ID
	NodeName              string
	JobID                 string
	Job                   *event.Job `json:",omitempty"` // absent in the event stream
	TaskGroup             string
	Resources             *event.Resources            // old scripts read it: the sum over the tasks
	SharedResources       *event.Resources            // the same: what the tasks share
	TaskResources         map[string]*event.Resources // the same, by task
	AllocatedResources    *AllocatedResources
	Metrics               *event.AllocMetric
	DesiredStatus         event.DesiredStatus
	DesiredDescription    string
	DesiredTransition     DesiredTransition
	ClientStatus          event.ClientStatus
	ClientDescription     string
	TaskStates            map[string]*TaskState
	AllocStates           []struct{}
	DeploymentID          event.ID
	DeploymentStatus      *struct{}
	FollowupEvalID        event.ID
	PreviousAllocation    event.ID
	NextAllocation        event.ID
	RescheduleTracker     *struct{}
	NetworkStatus         *struct{}
	PreemptedAllocations  []event.ID
	PreemptedByAllocation event.ID
	CreateIndex           uint64
	ModifyIndex           uint64
	AllocModifyIndex      uint64
	CreateTime            int64 // Unix nanoseconds
	ModifyTime            int64 // Unix nanoseconds
}

// AllocationStub is one row of a list of allocations.
type AllocationStub struct {
	ID                    event.ID
	EvalID                event.ID
	Name                  string
	Namespace             string
	NodeID                event.ID
	NodeName              string
	JobID                 string
	JobType               string
	JobVersion            uint64
	TaskGroup             string
	AllocatedResources    *AllocatedResources `json:",omitempty"`
	DesiredStatus         event.DesiredStatus
	DesiredDescription    string
	DesiredTransition     DesiredTransition
	ClientStatus          event.ClientStatus
	ClientDescription     string
	TaskStates            map[string]*TaskState
	DeploymentStatus      *struct{}
	FollowupEvalID        event.ID
	NextAllocation        event.ID
	RescheduleTracker     *struct{}
	PreemptedAllocations  []event.ID
	PreemptedByAllocation event.ID
	CreateIndex           uint64
	ModifyIndex           uint64
	CreateTime            int64 // Unix nanoseconds
	ModifyTime            int64 // Unix nanoseconds
}

// DesiredTransition is what an operator or a drain asked of an allocation.
type DesiredTransition struct {
	Migrate, Reschedule, ForceReschedule, NoShutdownDelay, MigrateDisablePlacement *bool
}

// transitionOf leaves out what nobody asked for, as the field's servers do.
func transitionOf(a *projections.Allocation) (t DesiredTransition) {
	yes := true
	if a.Migrates() {
		t.Migrate = &yes
	}
	if a.NoShutdownDelay() {
		t.NoShutdownDelay = &yes
	}
	return t
}

// AllocatedResources is what an allocation holds of its node.
type AllocatedResources struct {
	Tasks          map[string]*AllocatedTask
	TaskLifecycles map[string]*event.TaskLifecycle
	Shared         AllocatedShared
}

// AllocatedTask is the part of one task.
type AllocatedTask struct {
	Cpu      AllocatedCPU
	Memory   AllocatedMemory
	Networks []event.NetworkResource
	Devices  []struct{}
}

// AllocatedCPU is compute in MHz, and the cores held whole.
type AllocatedCPU struct {
	CpuShares     int64
	ReservedCores []uint16
}

// AllocatedMemory is memory, and how far a task may go beyond it while there is room.
type AllocatedMemory struct {
	MemoryMB    int64
	MemoryMaxMB int64
}

// AllocatedShared is what the tasks of an allocation share.
type AllocatedShared struct {
	Networks []event.NetworkResource
	DiskMB   int64
	Ports    []PortMapping
}

// PortMapping is a port that an allocation holds, and where it can be reached.
type PortMapping struct {
	Label  string `json:",omitempty"`
	Value  int    `json:",omitempty"`
	To     int    `json:",omitempty"`
	HostIP string `json:",omitempty"`
}

// TaskState is what is known of one task.
type TaskState struct {
	State       event.TaskStatus
	Failed      bool
	Restarts    uint64
	LastRestart event.Stamp
	StartedAt   event.Stamp
	FinishedAt  event.Stamp
	Events      []TaskEvent // oldest first
	Paused      string
}

// TaskEvent is one thing that happened to a task. The fields after Details say
// again, for old scripts, what Details says.
type TaskEvent struct {
	Type           event.TaskEventType
	Time           int64 // Unix nanoseconds
	Message        string
	DisplayMessage string
	Details        map[string]string

	FailsTask        bool
	RestartReason    string
	SetupError       string
	DriverError      string
	DriverMessage    string
	ExitCode         int
	Signal           int
	KillReason       string
	KillTimeout      time.Duration
	KillError        string
	StartDelay       int64 // nanoseconds
	DownloadError    string
	ValidationError  string
	FailedSibling    string
	TaskSignalReason string
	TaskSignal       string
}

// NewAllocation shows an allocation as of s. Without job it leaves the job out.
func NewAllocation(s *projections.State, a *projections.Allocation, job bool) *Allocation {
	shown := &Allocation{
		ID: a.ID, Namespace: a.Job.Namespace, EvalID: a.EvalID, Name: a.Name(),
		NodeID: a.NodeID, NodeName: nodeName(s, a), JobID: a.Job.ID, TaskGroup: a.Group,
		Metrics:       a.Metric,
		DesiredStatus: a.Desired, DesiredDescription: a.DesiredDescription(), DesiredTransition: transitionOf(a),
		ClientStatus: a.Client, ClientDescription: event.ClientDescription(a.Client),
		TaskStates:         taskStates(a),
		PreviousAllocation: a.Previous(), NextAllocation: a.Next(),
		CreateIndex: a.CreateIndex, ModifyIndex: a.ModifyIndex, AllocModifyIndex: a.AllocModifyIndex,
		CreateTime: a.CreateTime, ModifyTime: a.ModifyTime,
	}
	if shown.Metrics == nil {
		shown.Metrics = new(event.AllocMetric)
	}
	if job {
		shown.Job = jobOf(s, a)
	}
	shown.AllocatedResources = allocated(s, a)
	shown.addOldResources(a.Spec.Job.LookupGroup(a.Group))
	return shown
}

// NewAllocationStub shows an allocation in a list.
func NewAllocationStub(s *projections.State, a *projections.Allocation, resources, states bool) *AllocationStub {
	stub := &AllocationStub{
		ID: a.ID, EvalID: a.EvalID, Name: a.Name(), Namespace: a.Job.Namespace,
		NodeID: a.NodeID, NodeName: nodeName(s, a), JobID: a.Job.ID, JobType: a.Spec.Job.Type,
		JobVersion: a.JobVersion, TaskGroup: a.Group,
		DesiredStatus: a.Desired, DesiredDescription: a.DesiredDescription(), DesiredTransition: transitionOf(a),
		ClientStatus: a.Client, ClientDescription: event.ClientDescription(a.Client),
		NextAllocation: a.Next(),
		CreateIndex:    a.CreateIndex, ModifyIndex: a.ModifyIndex,
		CreateTime: a.CreateTime, ModifyTime: a.ModifyTime,
	}
	if resources {
		stub.AllocatedResources = allocated(s, a)
	}
	if states {
		stub.TaskStates = taskStates(a)
	}
	return stub
}

func nodeName(s *projections.State, a *projections.Allocation) string {
	if n := s.Node(a.NodeID); n != nil {
		return n.Info.Name
	}
	return ""
}

func taskStates(a *projections.Allocation) map[string]*TaskState {
	tasks := a.Tasks()
	states := make(map[string]*TaskState, len(tasks))
	for name, t := range tasks {
		state := &TaskState{
			State: t.State, Failed: t.Failed, Restarts: t.Restarts,
			LastRestart: t.LastRestart, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt,
			Events: make([]TaskEvent, 0, len(t.Events)),
		}
		if state.State == 0 {
			state.State = event.TaskPending
		}
		for i := range t.Events {
			state.Events = append(state.Events, newTaskEvent(&t.Events[i]))
		}
		states[name] = state
	}
	return states
}

func newTaskEvent(e *event.TaskEvent) TaskEvent {
	detail := func(key string) string { return e.Details[key] }
	number := func(key string) int {
		n, _ := strconv.Atoi(detail(key)) // signals may be names: no number then
		return n
	}
	message := e.Message()
	shown := TaskEvent{
		Type: e.Type, Time: e.Time, Message: message, DisplayMessage: message, Details: detailsOf(e),
		FailsTask:     detail(event.DetailFailsTask) == "true",
		FailedSibling: detail(event.DetailFailedTask),
	}
	switch e.Type {
	case event.TaskTerminated:
		shown.ExitCode, shown.Signal = number(event.DetailExitCode), number(event.DetailSignal)
	case event.TaskRestarting, event.TaskNotRestarting, event.TaskRestartSignaled:
		shown.RestartReason = detail(event.DetailReason)
		shown.StartDelay = int64(number(event.DetailStartDelay))
	case event.TaskSetupFailure:
		shown.SetupError = detail(event.DetailError)
	case event.TaskDriverFailure:
		shown.DriverError = detail(event.DetailError)
	case event.TaskDriverMessage:
		shown.DriverMessage = detail(event.DetailMessage)
	case event.TaskFailedValidation:
		shown.ValidationError = detail(event.DetailError)
	case event.TaskFailedArtifactDownload:
		shown.DownloadError = detail(event.DetailError)
	case event.TaskKilling:
		shown.KillReason = detail(event.DetailReason)
		shown.KillTimeout, _ = time.ParseDuration(detail(event.DetailKillTimeout)) // zero when the agent did not say
	case event.TaskKilled:
		shown.KillError = detail(event.DetailError)
	case event.TaskSignaling:
		shown.TaskSignalReason, shown.TaskSignal = detail(event.DetailReason), detail(event.DetailSignal)
	}
	return shown
}

// detailNames are the names that people's scripts know some details by. They depend on the type of the event.
var detailNames = map[event.TaskEventType]map[string]string{
	event.TaskTerminated:             {event.DetailMessage: "exit_message"},
	event.TaskRestarting:             {event.DetailReason: "restart_reason"},
	event.TaskNotRestarting:          {event.DetailReason: "restart_reason"},
	event.TaskRestartSignaled:        {event.DetailReason: "restart_reason"},
	event.TaskSetupFailure:           {event.DetailError: "setup_error"},
	event.TaskDriverFailure:          {event.DetailError: "driver_error"},
	event.TaskDriverMessage:          {event.DetailMessage: "driver_message"},
	event.TaskFailedValidation:       {event.DetailError: "validation_error"},
	event.TaskFailedArtifactDownload: {event.DetailError: "download_error"},
	event.TaskKilling:                {event.DetailReason: "kill_reason"},
	event.TaskKilled:                 {event.DetailError: "kill_error"},
	event.TaskSignaling:              {event.DetailReason: "task_signal_reason", event.DetailSignal: "task_signal"},
}

func detailsOf(e *event.TaskEvent) map[string]string {
	names := detailNames[e.Type]
	shown := make(map[string]string, len(e.Details))
	for key, value := range e.Details {
		shown[cmp.Or(names[key], key)] = value
	}
	return shown
}

// allocated shows what an allocation holds: each task's part as its spec says,
// and the ports that the plan chose.
func allocated(s *projections.State, a *projections.Allocation) *AllocatedResources {
	group := a.Spec.Job.LookupGroup(a.Group)
	held := &AllocatedResources{
		Tasks:          make(map[string]*AllocatedTask, len(group.Tasks)),
		TaskLifecycles: make(map[string]*event.TaskLifecycle, len(group.Tasks)),
		Shared:         AllocatedShared{DiskMB: int64(group.EphemeralDisk.SizeMB)},
	}
	oversubscribed := a.Spec.AsksMemoryMax() && s.MemoryOversubscribed(a.Spec.Job.NodePool)
	for _, t := range group.Tasks {
		held.Tasks[t.Name] = &AllocatedTask{
			Cpu:    AllocatedCPU{CpuShares: int64(t.Resources.CPU)},
			Memory: AllocatedMemory{MemoryMB: int64(t.Resources.MemoryMB)},
		}
		if oversubscribed {
			held.Tasks[t.Name].Memory.MemoryMaxMB = int64(t.Resources.MemoryMaxMB)
		}
		held.TaskLifecycles[t.Name] = t.Lifecycle
	}
	if len(group.Networks) == 0 {
		return held
	}
	node := s.Node(a.NodeID)
	asked := &group.Networks[0]
	given := *asked
	given.IP = hostIP(node, "")
	given.Device = hostDevice(node)
	given.ReservedPorts, given.DynamicPorts = nil, nil
	for i, p := range a.Ports() {
		port := event.Port{Label: p.Label, Value: p.Value, To: p.To, HostNetwork: p.HostNetwork}
		if node != nil {
			port.HostNetwork = node.Info.HostNetworkOn(p.HostNetwork)
		}
		if port.HostNetwork == "" {
			port.HostNetwork = "default"
		}
		if i < len(asked.ReservedPorts) {
			given.ReservedPorts = append(given.ReservedPorts, port)
		} else {
			given.DynamicPorts = append(given.DynamicPorts, port)
		}
		held.Shared.Ports = append(held.Shared.Ports, PortMapping{
			Label: p.Label, Value: p.Value, To: p.To, HostIP: hostIP(node, p.HostNetwork),
		})
	}
	held.Shared.Networks = []event.NetworkResource{given}
	return held
}

// hostIP is the node's address in a host network.
func hostIP(node *projections.Node, network string) string {
	if node == nil {
		return ""
	}
	return node.Info.HostAddress(network)
}

func hostDevice(node *projections.Node) string {
	if node == nil || node.Info.NodeResources == nil {
		return ""
	}
	for _, n := range node.Info.NodeResources.NodeNetworks {
		for _, address := range n.Addresses {
			if address.Alias == "default" {
				return n.Device
			}
		}
	}
	return ""
}

// addOldResources says again what AllocatedResources says, in the shape that
// scripts older than it read.
func (a *Allocation) addOldResources(group *event.TaskGroup) {
	shared := &a.AllocatedResources.Shared
	a.SharedResources = &event.Resources{DiskMB: int(shared.DiskMB), Networks: shared.Networks}
	a.Resources = &event.Resources{DiskMB: int(shared.DiskMB), Networks: shared.Networks}
	a.TaskResources = make(map[string]*event.Resources, len(a.AllocatedResources.Tasks))
	for name, t := range a.AllocatedResources.Tasks {
		task := &event.Resources{
			CPU: int(t.Cpu.CpuShares), MemoryMB: int(t.Memory.MemoryMB), MemoryMaxMB: int(t.Memory.MemoryMaxMB),
			Networks: networksOf(group, name, shared.Networks),
		}
		a.TaskResources[name] = task
		a.Resources.CPU += task.CPU
		a.Resources.MemoryMB += task.MemoryMB
		a.Resources.MemoryMaxMB += task.MemoryMaxMB
	}
}

// networksOf is a task's part of what its group was given. Job files whose tasks had
// ports of their own name them by labels of the task; the rest is everybody's.
func networksOf(group *event.TaskGroup, name string, given []event.NetworkResource) []event.NetworkResource {
	if len(given) == 0 {
		return given
	}
	held := portsByLabel(given[0].ReservedPorts, given[0].DynamicPorts)
	var own []event.NetworkResource
	owned := false
	for _, t := range group.Tasks {
		for i := range t.Resources.Networks {
			asked := &t.Resources.Networks[i]
			network := given[0]
			network.MBits = asked.MBits
			network.ReservedPorts = takePorts(held, t.Name, asked.ReservedPorts)
			network.DynamicPorts = takePorts(held, t.Name, asked.DynamicPorts)
			if owned = true; t.Name == name {
				own = append(own, network)
			}
		}
	}
	if !owned {
		return given
	}
	if own != nil || len(held) == 0 {
		return own
	}
	rest := given[0]
	unclaimed := func(ports []event.Port) (list []event.Port) {
		for _, p := range ports {
			if _, free := held[p.Label]; free {
				list = append(list, p)
			}
		}
		return list
	}
	rest.ReservedPorts, rest.DynamicPorts = unclaimed(rest.ReservedPorts), unclaimed(rest.DynamicPorts)
	return []event.NetworkResource{rest}
}

func portsByLabel(lists ...[]event.Port) map[string]event.Port {
	held := map[string]event.Port{}
	for _, list := range lists {
		for _, p := range list {
			held[p.Label] = p
		}
	}
	return held
}

// takePorts takes a task's ports out of those that are held. The group calls a port
// by the task's name too where another task has one of that label.
func takePorts(held map[string]event.Port, task string, asked []event.Port) (ports []event.Port) {
	for _, p := range asked {
		label := task + "_" + p.Label
		given, there := held[label]
		if !there {
			label = p.Label
			if given, there = held[label]; !there {
				continue
			}
		}
		delete(held, label)
		given.Label = p.Label
		ports = append(ports, given)
	}
	return ports
}
