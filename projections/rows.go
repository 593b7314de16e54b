package projections

import (
	"maps"
	"slices"
	"strconv"

	"drover/eventlog/event"
)

// The types below are rows of the state. A row that can be reached from a
// published state is never changed: the fold replaces it by a changed copy.
// Fields tagged "-" are derived from the others when a checkpoint is read.

// Spec is one version of a job's spec, shared by everything that runs it.
type Spec struct {
	Hash event.Hash
	Job  *event.Job
	asks map[string]*Ask // by group
}

func newSpec(hash event.Hash, job *event.Job) *Spec {
	s := &Spec{Hash: hash, Job: job, asks: make(map[string]*Ask, len(job.TaskGroups))}
	for _, g := range job.TaskGroups {
		ask := GroupAsk(g)
		s.asks[g.Name] = &ask
	}
	return s
}

// Ask is what one allocation of the group needs; nil when there is no such group.
func (s *Spec) Ask(group string) *Ask { return s.asks[group] }

// Job is a job and its recent versions.
type Job struct {
	Key            event.JobKey            `cbor:"1,keyasint"`
	SpecHash       event.Hash              `cbor:"2,keyasint"`
	Version        uint64                  `cbor:"3,keyasint,omitempty"`
	Stopped        bool                    `cbor:"4,keyasint,omitempty"`
	Source         event.Hash              `cbor:"5,keyasint,omitzero"` // blob of the source as submitted
	SubmitTime     int64                   `cbor:"6,keyasint,omitempty"`
	CreateIndex    uint64                  `cbor:"7,keyasint"`
	ModifyIndex    uint64                  `cbor:"8,keyasint"`
	JobModifyIndex uint64                  `cbor:"9,keyasint"`            // last change of the spec, stopping included
	Older          []JobVersion            `cbor:"10,keyasint,omitempty"` // newest first, at most jobVersionsKept-1
	Summary        map[string]GroupSummary `cbor:"11,keyasint,omitempty"` // by group, groups of older versions included
	SummaryIndex   uint64                  `cbor:"12,keyasint,omitempty"`
	LiveAllocs     int                     `cbor:"13,keyasint,omitempty"` // wanted and not ended
	OpenEvals      int                     `cbor:"14,keyasint,omitempty"` // not terminal
	Evaluated      bool                    `cbor:"15,keyasint,omitempty"` // it ever had an evaluation
	// ChangeIndex is the last record that concerns what the scheduler decides
	// about this job: its spec, its plans, a status change of its allocations.
	// A plan with an older basis was decided on a state that is gone.
	ChangeIndex uint64 `cbor:"16,keyasint,omitempty"`

	Spec *Spec `cbor:"-"`
}

// JobVersion is an older version of a job.
type JobVersion struct {
	Version        uint64     `cbor:"1,keyasint,omitempty"`
	SpecHash       event.Hash `cbor:"2,keyasint"`
	Source         event.Hash `cbor:"3,keyasint,omitzero"`
	SubmitTime     int64      `cbor:"4,keyasint,omitempty"`
	Stopped        bool       `cbor:"5,keyasint,omitempty"`
	JobModifyIndex uint64     `cbor:"6,keyasint,omitempty"`

	Spec *Spec `cbor:"-"`
}

// GroupSummary counts a group's allocations. Failed, Complete and Lost only grow.
type GroupSummary struct {
	Queued   int `cbor:"1,keyasint,omitempty"`
	Complete int `cbor:"2,keyasint,omitempty"`
	Failed   int `cbor:"3,keyasint,omitempty"`
	Running  int `cbor:"4,keyasint,omitempty"`
	Starting int `cbor:"5,keyasint,omitempty"`
	Lost     int `cbor:"6,keyasint,omitempty"`
	Unknown  int `cbor:"7,keyasint,omitempty"`
}

func (g GroupSummary) count(s event.ClientStatus, by int) GroupSummary {
	switch s {
	case event.ClientPending:
		g.Starting += by
	case event.ClientRunning:
		g.Running += by
	case event.ClientUnknown:
		g.Unknown += by
	case event.ClientComplete:
		g.Complete += max(by, 0)
	case event.ClientFailed:
		g.Failed += max(by, 0)
	case event.ClientLost:
		g.Lost += max(by, 0)
	}
	return g
}

// Status derives where the job stands.
func (j *Job) Status() string {
	switch {
	case j.LiveAllocs > 0:
		return "running"
	case j.OpenEvals > 0:
		return "pending"
	case j.Stopped || j.Evaluated:
		return "dead"
	}
	return "pending"
}

func (j *Job) clone() *Job {
	c := *j
	return &c
}

func (j *Job) count(group string, from, to event.ClientStatus, index uint64) {
	summary := maps.Clone(j.Summary)
	if summary == nil {
		summary = make(map[string]GroupSummary)
	}
	summary[group] = summary[group].count(from, -1).count(to, +1)
	j.Summary, j.SummaryIndex = summary, index
}

// Allocation is one instance of a task group on one node.
type Allocation struct {
	ID                 event.ID                    `cbor:"1,keyasint"`
	EvalID             event.ID                    `cbor:"2,keyasint"`
	NodeID             event.ID                    `cbor:"3,keyasint"`
	Job                event.JobKey                `cbor:"4,keyasint"`
	JobVersion         uint64                      `cbor:"5,keyasint,omitempty"`
	SpecHash           event.Hash                  `cbor:"6,keyasint"`
	Group              string                      `cbor:"7,keyasint"`
	NameIndex          uint32                      `cbor:"8,keyasint,omitempty"` // the n of "job.group[n]"
	Desired            event.DesiredStatus         `cbor:"9,keyasint"`
	DesiredDescription string                      `cbor:"10,keyasint,omitempty"`
	Client             event.ClientStatus          `cbor:"11,keyasint"`
	Tasks              map[string]*event.TaskState `cbor:"12,keyasint,omitempty"`
	Ports              []event.AssignedPort        `cbor:"13,keyasint,omitempty"`
	Previous           event.ID                    `cbor:"14,keyasint,omitzero"`
	Next               event.ID                    `cbor:"15,keyasint,omitzero"`
	WaitFor            []event.ID                  `cbor:"16,keyasint,omitempty"`
	// HandedOver: stopped by the plan that placed its successor on the same
	// node; it holds no room any more, its successor waits for it there.
	HandedOver       bool               `cbor:"17,keyasint,omitempty"`
	Metric           *event.AllocMetric `cbor:"18,keyasint,omitempty"` // shared by the allocations of one decision
	Score            event.Score        `cbor:"19,keyasint,omitempty"`
	CreateIndex      uint64             `cbor:"20,keyasint"`
	ModifyIndex      uint64             `cbor:"21,keyasint"`
	AllocModifyIndex uint64             `cbor:"22,keyasint"` // last change by the servers: its order
	CreateTime       int64              `cbor:"23,keyasint,omitempty"`
	ModifyTime       int64              `cbor:"24,keyasint,omitempty"`

	Spec *Spec `cbor:"-"`
	Ask  *Ask  `cbor:"-"`
}

// Name is "job.group[n]".
func (a *Allocation) Name() string {
	return a.Job.ID + "." + a.Group + "[" + strconv.FormatUint(uint64(a.NameIndex), 10) + "]"
}

// HoldsRoom reports whether the allocation takes up room on its node.
func (a *Allocation) HoldsRoom() bool { return !a.Client.Terminal() && !a.HandedOver }

// Live reports whether the allocation is wanted and has not ended.
func (a *Allocation) Live() bool { return a.Desired == event.DesiredRun && !a.Client.Terminal() }

// Successful reports whether every task ran to its end without failing.
func (a *Allocation) Successful() bool { return a.Client == event.ClientComplete }

// Node is a machine: what its agent said, and what is on it.
type Node struct {
	Info              *event.Node       `cbor:"1,keyasint"`
	Status            event.NodeStatus  `cbor:"2,keyasint"`
	StatusDescription string            `cbor:"3,keyasint,omitempty"`
	StatusTime        int64             `cbor:"4,keyasint,omitempty"`
	Ineligible        bool              `cbor:"5,keyasint,omitempty"`
	SecretHash        event.Hash        `cbor:"6,keyasint,omitzero"`
	Incarnation       uint64            `cbor:"7,keyasint,omitempty"`
	LastReport        uint64            `cbor:"8,keyasint,omitempty"`  // sequence of its last report in this incarnation
	Events            []event.NodeEvent `cbor:"9,keyasint,omitempty"`  // oldest first, at most nodeEventsKept
	OrdersIndex       uint64            `cbor:"10,keyasint,omitempty"` // last record that changed what it should run
	CreateIndex       uint64            `cbor:"11,keyasint"`
	ModifyIndex       uint64            `cbor:"12,keyasint"`

	Available Resources   `cbor:"-"` // total less what is kept back
	Used      Resources   `cbor:"-"` // by allocations that hold room
	UsedPorts []uint16    `cbor:"-"` // host ports held, ascending; twice when two hold one (ignore_collision)
	reserved  []portRange `cbor:"-"`
}

// Schedulable reports whether new allocations may be placed on the node.
func (n *Node) Schedulable() bool { return n.Status == event.NodeReady && !n.Ineligible }

// Eligibility is the word that the API uses.
func (n *Node) Eligibility() string {
	if n.Ineligible {
		return event.Ineligible
	}
	return event.Eligible
}

// Default range of the ports that the scheduler chooses, when a node names none.
const (
	DefaultMinDynamicPort = 20000
	DefaultMaxDynamicPort = 32000
)

// DynamicPorts is the inclusive range of host ports that the scheduler may
// choose from on this node.
func (n *Node) DynamicPorts() (first, last int) {
	first, last = DefaultMinDynamicPort, DefaultMaxDynamicPort
	if r := n.Info.NodeResources; r != nil {
		if r.MinDynamicPort > 0 {
			first = r.MinDynamicPort
		}
		if r.MaxDynamicPort > 0 {
			last = r.MaxDynamicPort
		}
	}
	return first, last
}

// Address is the address that ports are bound to when a job names no host network.
func (n *Node) Address() string {
	if r := n.Info.NodeResources; r != nil {
		for _, network := range r.NodeNetworks {
			for _, a := range network.Addresses {
				if a.Alias == "default" {
					return a.Address
				}
			}
		}
		if len(r.Networks) > 0 {
			return r.Networks[0].IP
		}
	}
	return ""
}

func (n *Node) clone() *Node {
	c := *n
	return &c
}

// derive computes what follows from Info.
func (n *Node) derive() {
	n.Available, n.reserved = Resources{}, nil
	if r := n.Info.NodeResources; r != nil {
		n.Available = Resources{CPU: r.Cpu.CpuShares, MemoryMB: r.Memory.MemoryMB, DiskMB: r.Disk.DiskMB}
		for _, network := range r.NodeNetworks {
			for _, a := range network.Addresses {
				n.keepBack(a.ReservedPorts)
			}
		}
	}
	if r := n.Info.ReservedResources; r != nil {
		n.Available = n.Available.Minus(Resources{CPU: r.Cpu.CpuShares, MemoryMB: r.Memory.MemoryMB, DiskMB: r.Disk.DiskMB})
		n.keepBack(r.Networks.ReservedHostPorts)
	}
}

// keepBack adds reserved ports. Decide has refused a registration whose text
// cannot be read, so what is left to read here can be.
func (n *Node) keepBack(text string) {
	ranges, err := ParsePortRanges(text)
	if err != nil {
		panic("node " + n.Info.ID.String() + " with reserved ports that were never checked: " + err.Error())
	}
	n.reserved = append(n.reserved, ranges...)
}

func (n *Node) reservedPort(port uint16) bool {
	for _, r := range n.reserved {
		if r.first <= port && port <= r.last {
			return true
		}
	}
	return false
}

func (n *Node) hold(a *Allocation) {
	n.Used = n.Used.Plus(a.Ask.Resources)
	if len(a.Ports) > 0 {
		ports := slices.Clone(n.UsedPorts)
		for _, p := range a.Ports {
			at, _ := slices.BinarySearch(ports, uint16(p.Value))
			ports = slices.Insert(ports, at, uint16(p.Value))
		}
		n.UsedPorts = ports
	}
}

func (n *Node) release(a *Allocation) {
	n.Used = n.Used.Minus(a.Ask.Resources)
	if len(a.Ports) > 0 {
		ports := slices.Clone(n.UsedPorts)
		for _, p := range a.Ports {
			if at, held := slices.BinarySearch(ports, uint16(p.Value)); held {
				ports = slices.Delete(ports, at, at+1)
			}
		}
		n.UsedPorts = ports
	}
}

func (n *Node) note(index uint64, at int64, subsystem, message string) {
	e := event.NodeEvent{Message: message, Subsystem: subsystem, Timestamp: event.Stamp(at), CreateIndex: index}
	kept := n.Events
	if len(kept) >= nodeEventsKept {
		kept = kept[len(kept)-nodeEventsKept+1:]
	}
	n.Events = append(slices.Clone(kept), e)
}
