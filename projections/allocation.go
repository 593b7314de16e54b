package projections

import (
	"strconv"

	"drover/eventlog/event"
)

// Allocation is one instance of a task group on one node. There may be millions:
// what the allocations of one decision have in common stands once, in Placed, and
// what most do not have stands apart.
type Allocation struct {
	ID event.ID
	*Placed
	NodeID    event.ID
	NameIndex uint32 // the n of "job.group[n]"
	Desired   event.DesiredStatus
	Client    event.ClientStatus
	// HandedOver: stopped by the plan that placed its successor on the same
	// node; it holds no room any more, its successor waits for it there.
	HandedOver       bool
	Score            event.Score
	ModifyIndex      uint64
	AllocModifyIndex uint64 // last change by the servers: its order
	ModifyTime       int64

	ordinal uint64
	ports   []uint16   // host ports, in the order of Ask.Ports
	tasks   string     // encoded states of its tasks; empty when none was reported
	rest    *allocRest // nil when there is nothing of it
}

// Placed is what the allocations of one group that one plan placed have in common.
// It is never changed: an update in place gives its allocations another one.
type Placed struct {
	EvalID      event.ID
	Job         event.JobKey
	JobVersion  uint64
	SpecHash    event.Hash
	Group       string
	Metric      *event.AllocMetric
	CreateIndex uint64
	CreateTime  int64

	Spec *Spec
	Ask  *Ask
}

// allocRest is what few allocations have.
type allocRest struct {
	Previous    event.ID   `cbor:"1,keyasint,omitzero"`
	Next        event.ID   `cbor:"2,keyasint,omitzero"`
	WaitFor     []event.ID `cbor:"3,keyasint,omitempty"`
	Description string     `cbor:"4,keyasint,omitempty"` // of the desired status
	Migrate     bool       `cbor:"5,keyasint,omitempty"`
	NoDelay     bool       `cbor:"6,keyasint,omitempty"` // of its shutdown
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

// Previous is the allocation that this one replaces; zero for none.
func (a *Allocation) Previous() event.ID {
	if a.rest == nil {
		return event.ID{}
	}
	return a.rest.Previous
}

// Next is the allocation that replaces this one; zero for none.
func (a *Allocation) Next() event.ID {
	if a.rest == nil {
		return event.ID{}
	}
	return a.rest.Next
}

// WaitFor lists the allocations on its node whose room it takes.
func (a *Allocation) WaitFor() []event.ID {
	if a.rest == nil {
		return nil
	}
	return a.rest.WaitFor
}

// Migrates reports whether it is to be stopped and another placed in its stead.
func (a *Allocation) Migrates() bool { return a.rest != nil && a.rest.Migrate }

// NoShutdownDelay reports whether its node is to stop it without waiting out its
// shutdown delay.
func (a *Allocation) NoShutdownDelay() bool { return a.rest != nil && a.rest.NoDelay }

// DesiredDescription says why the desired status is what it is.
func (a *Allocation) DesiredDescription() string {
	if a.rest == nil {
		return ""
	}
	return a.rest.Description
}

// withRest changes what few allocations have; a is a row that nobody else has.
func (a *Allocation) withRest(change func(*allocRest)) {
	var rest allocRest
	if a.rest != nil {
		rest = *a.rest
	}
	change(&rest)
	a.rest = &rest
}

// HostPorts is the numbers of its ports on the node, in the order of Ask.Ports.
// The caller must not change it.
func (a *Allocation) HostPorts() []uint16 { return a.ports }

// Ports is the host ports that it holds.
func (a *Allocation) Ports() []event.AssignedPort {
	if len(a.ports) == 0 {
		return nil
	}
	ports := make([]event.AssignedPort, len(a.ports))
	for i, asked := range a.Ask.Ports {
		value := int(a.ports[i])
		to := asked.To
		if to == -1 {
			to = value
		}
		ports[i] = event.AssignedPort{Label: asked.Label, Value: value, To: to, HostNetwork: asked.HostNetwork}
	}
	return ports
}

// Tasks is what its node last said of its tasks, by name. The caller may keep and
// change it: it is made anew by each call.
func (a *Allocation) Tasks() map[string]*event.TaskState {
	if a.tasks == "" {
		return nil
	}
	var tasks map[string]*event.TaskState
	if err := event.Unmarshal([]byte(a.tasks), &tasks); err != nil {
		panic("states of the tasks of allocation " + a.ID.String() + ": " + err.Error())
	}
	return tasks
}

func encodeTasks(tasks map[string]*event.TaskState) string {
	if len(tasks) == 0 {
		return ""
	}
	data, err := event.Marshal(tasks)
	if err != nil {
		panic("encode the states of tasks: " + err.Error())
	}
	return string(data)
}
