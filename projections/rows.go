package projections

import (
	"maps"
	"slices"

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

	scaled    bool // a group has a scaling policy
	memoryMax bool // a task asks for more memory than it is sure of
}

func newSpec(hash event.Hash, job *event.Job) *Spec {
	s := &Spec{Hash: hash, Job: job, asks: make(map[string]*Ask, len(job.TaskGroups))}
	for _, g := range job.TaskGroups {
		ask := GroupAsk(g)
		s.asks[g.Name] = &ask
		s.scaled = s.scaled || g.Scaling != nil
		for _, t := range g.Tasks {
			s.memoryMax = s.memoryMax || t.Resources.MemoryMaxMB != 0
		}
	}
	return s
}

// AsksMemoryMax reports whether a task of it asks for more memory than it is sure of.
func (s *Spec) AsksMemoryMax() bool { return s.memoryMax }

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
	Older          []JobVersion            `cbor:"10,keyasint,omitempty"` // newest first; see forgetOlder
	Summary        map[string]GroupSummary `cbor:"11,keyasint,omitempty"` // by group, groups of older versions included
	SummaryIndex   uint64                  `cbor:"12,keyasint,omitempty"`
	LiveAllocs     int                     `cbor:"13,keyasint,omitempty"` // wanted and not ended
	OpenEvals      int                     `cbor:"14,keyasint,omitempty"` // not terminal
	Evaluated      bool                    `cbor:"15,keyasint,omitempty"` // it ever had an evaluation
	// ChangeIndex is the last record that concerns what the scheduler decides
	// about this job: its spec, its plans, a status change of its allocations.
	// A plan with an older basis was decided on a state that is gone.
	ChangeIndex uint64 `cbor:"16,keyasint,omitempty"`
	ModifyTime  int64  `cbor:"17,keyasint,omitempty"` // Unix nanoseconds, of the record at ModifyIndex

	// Scaling is what was asked and said about each group's count, newest first, at
	// most scalingEventsKept; groups that the job has no more are not in it.
	Scaling      map[string][]ScalingEvent `cbor:"18,keyasint,omitempty"`
	ScalingIndex uint64                    `cbor:"19,keyasint,omitempty"` // last change of Scaling

	Tag *event.JobVersionTag `cbor:"20,keyasint,omitempty"` // of its newest version; nil = none. Never changed in place

	Spec *Spec `cbor:"-"`

	deadSince uint64 // its place among the dead jobs; 0 = it is not dead

	listedScaled bool // it stands among the jobs with scaling policies

	owner      *owner // the draft that may change this row in place
	ownSummary *owner // likewise for Summary
}

// JobVersion is an older version of a job.
type JobVersion struct {
	Version        uint64     `cbor:"1,keyasint,omitempty"`
	SpecHash       event.Hash `cbor:"2,keyasint"`
	Source         event.Hash `cbor:"3,keyasint,omitzero"`
	SubmitTime     int64      `cbor:"4,keyasint,omitempty"`
	Stopped        bool       `cbor:"5,keyasint,omitempty"`
	JobModifyIndex uint64     `cbor:"6,keyasint,omitempty"`

	Tag *event.JobVersionTag `cbor:"7,keyasint,omitempty"` // nil = none. Never changed in place

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
	case !j.Stopped && j.Spec != nil && (j.Spec.Job.Type == event.JobTypeSystem || j.Spec.Job.Template()):
		return "running" // also while there is no node for it, or nothing that was launched
	case j.OpenEvals > 0:
		return "pending"
	case j.Stopped || j.Evaluated:
		return "dead"
	}
	return "pending"
}

// summary is the job's counts, to be changed by the draft o.
func (j *Job) summary(o *owner) map[string]GroupSummary {
	if j.ownSummary != o || j.Summary == nil {
		counts := make(map[string]GroupSummary, len(j.Summary))
		maps.Copy(counts, j.Summary)
		j.Summary, j.ownSummary = counts, o
	}
	return j.Summary
}

// count moves by allocations of the group from one status to another; a zero
// status is none.
func (j *Job) count(o *owner, group string, from, to event.ClientStatus, by int, index uint64) {
	summary := j.summary(o)
	summary[group] = summary[group].count(from, -by).count(to, by)
	j.SummaryIndex = index
}

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
	// RoomIndex is the last record that brought room here: the node became ready
	// or changed, or an allocation ended. A decision on an older state has not
	// seen that room.
	RoomIndex uint64 `cbor:"13,keyasint,omitempty"`

	Available Resources   `cbor:"-"` // total less what is kept back
	Used      Resources   `cbor:"-"` // by allocations that hold room
	UsedPorts []uint16    `cbor:"-"` // host ports held, ascending; twice when two hold one (ignore_collision)
	reserved  []portRange `cbor:"-"`

	slot     uint32   // position in the fleet
	class    uint32   // feasibility class in the fleet
	allocs   ordinals // allocations on it
	owner    *owner   // the draft that may change this row in place
	ownPorts *owner   // likewise for UsedPorts
	dirty    bool     // its row in the fleet is to be brought up to date
}

// Slot is the node's position in the fleet's rows. It says nothing about the
// node, and a state that was read from a checkpoint may give it another one.
func (n *Node) Slot() uint32 { return n.slot }

// Class is the node's feasibility class; see FleetRow.
func (n *Node) Class() uint32 { return n.class }

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
func (n *Node) Address() string { return n.Info.HostAddress("") }

// derive computes what follows from Info.
func (n *Node) derive() {
	n.Available, n.reserved = AvailableOn(n.Info), nil
	if r := n.Info.NodeResources; r != nil {
		for _, network := range r.NodeNetworks {
			for _, a := range network.Addresses {
				n.keepBack(a.ReservedPorts)
			}
		}
	}
	if r := n.Info.ReservedResources; r != nil {
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

// hold takes up the room of an allocation; the draft o owns the row.
func (n *Node) hold(o *owner, a *Allocation) {
	n.Used = n.Used.Plus(a.Ask.Resources)
	for _, port := range a.ports {
		ports := n.usedPorts(o)
		at, _ := slices.BinarySearch(ports, port)
		n.UsedPorts = slices.Insert(ports, at, port)
	}
}

func (n *Node) release(o *owner, a *Allocation) {
	n.Used = n.Used.Minus(a.Ask.Resources)
	for _, port := range a.ports {
		ports := n.usedPorts(o)
		if at, held := slices.BinarySearch(ports, port); held {
			n.UsedPorts = slices.Delete(ports, at, at+1)
		}
	}
}

// usedPorts is the node's ports, to be changed by the draft o.
func (n *Node) usedPorts(o *owner) []uint16 {
	if n.ownPorts != o {
		n.UsedPorts, n.ownPorts = append(make([]uint16, 0, len(n.UsedPorts)+8), n.UsedPorts...), o
	}
	return n.UsedPorts
}

func (n *Node) note(index uint64, at int64, subsystem, message string) {
	e := event.NodeEvent{Message: message, Subsystem: subsystem, Timestamp: event.Stamp(at), CreateIndex: index}
	kept := n.Events
	if len(kept) >= nodeEventsKept {
		kept = kept[len(kept)-nodeEventsKept+1:]
	}
	n.Events = append(slices.Clone(kept), e)
}
