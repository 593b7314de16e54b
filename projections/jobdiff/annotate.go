package jobdiff

import (
	"strconv"

	"drover/eventlog/event"
)

// What a difference means for allocations that run, and the words by which a
// group's updates are counted.
const (
	ForcesCreate            = "forces create"
	ForcesDestroy           = "forces destroy"
	ForcesInPlaceUpdate     = "forces in-place update"
	ForcesDestructiveUpdate = "forces create/destroy update"
	UpdateIgnore            = "ignore"
	UpdateCreate            = "create"
	UpdateDestroy           = "destroy"
	UpdateMigrate           = "migrate"
	UpdateCanary            = "canary"
	UpdateInPlace           = "in-place update"
	UpdateCreateAndDestroy  = "create/destroy update"
	UpdateDisconnect        = "disconnect"
	UpdateReconnect         = "reconnect"
	UpdateRescheduleNow     = "reschedule now"
	UpdateRescheduleLater   = "reschedule later"
)

// DesiredUpdates counts what a decision would do to the allocations of a group.
type DesiredUpdates struct {
	Ignore            uint64
	Place             uint64
	Migrate           uint64
	Stop              uint64
	InPlaceUpdate     uint64
	DestructiveUpdate uint64
	Canary            uint64
	Preemptions       uint64
	Disconnect        uint64
	Reconnect         uint64
	RescheduleNow     uint64
	RescheduleLater   uint64
}

// Annotate writes into the difference of two versions what it means for
// allocations: by task after the same table as the scheduler's, by group as the
// decision says. Either version may be nil.
func (d *Job) Annotate(old, new *event.Job, updates map[string]DesiredUpdates) {
	for _, g := range d.TaskGroups {
		if u, ok := updates[g.Name]; ok {
			g.Updates = u.words()
		}
		for _, f := range g.Fields {
			if f.Name == "Count" {
				f.annotateCount()
			}
		}
		for _, t := range g.Tasks {
			if note := noteOf(old, new, g, t); note != "" {
				t.Annotations = []string{note}
			}
		}
	}
}

func (u DesiredUpdates) words() map[string]uint64 {
	m := make(map[string]uint64)
	for word, n := range map[string]uint64{
		UpdateIgnore: u.Ignore, UpdateCreate: u.Place, UpdateMigrate: u.Migrate, UpdateDestroy: u.Stop, UpdateInPlace: u.InPlaceUpdate,
		UpdateCreateAndDestroy: u.DestructiveUpdate, UpdateCanary: u.Canary, UpdateDisconnect: u.Disconnect,
		UpdateReconnect: u.Reconnect, UpdateRescheduleNow: u.RescheduleNow, UpdateRescheduleLater: u.RescheduleLater,
	} {
		if n > 0 {
			m[word] = n
		}
	}
	return m
}

func (f *Field) annotateCount() {
	was, _ := strconv.Atoi(f.Old) // none is 0
	is, _ := strconv.Atoi(f.New)
	switch {
	case is > was:
		f.Annotations = []string{ForcesCreate}
	case is < was:
		f.Annotations = []string{ForcesDestroy}
	}
}

func noteOf(old, new *event.Job, g *TaskGroup, t *Task) string {
	switch {
	case g.Type == Added:
		return ForcesCreate
	case g.Type == Deleted:
		return ForcesDestroy
	}
	// A task that is the same by itself may see other meta of its job or group.
	switch replace, update := event.TaskChange(old, new, g.Name, t.Name); {
	case replace:
		return ForcesDestructiveUpdate
	case update:
		return ForcesInPlaceUpdate
	}
	return ""
}
