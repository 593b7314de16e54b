package projections

import (
	"maps"

	"drover/eventlog/event"
)

// ScalingEvent is what was asked, or said, about the count of a group once.
type ScalingEvent struct {
	Count         *int64         `cbor:"1,keyasint,omitempty"` // asked for; nil = only something was said
	PreviousCount int64          `cbor:"2,keyasint,omitempty"`
	Message       string         `cbor:"3,keyasint,omitempty"`
	Error         bool           `cbor:"4,keyasint,omitempty"`
	Meta          map[string]any `cbor:"5,keyasint,omitempty"`
	EvalID        event.ID       `cbor:"6,keyasint,omitzero"`
	Time          int64          `cbor:"7,keyasint,omitempty"` // Unix nanoseconds
	CreateIndex   uint64         `cbor:"8,keyasint"`
}

func (s *State) jobScaled(r *event.Record, e *event.JobScaled) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := s.ownJob(key)
	if j == nil || j.Spec.Job.LookupGroup(e.Group) == nil {
		s.impossible(r, "there is no job %v with a group %q", key, e.Group)
	}
	events := append([]ScalingEvent{{
		Count: e.Count, PreviousCount: e.PreviousCount, Message: e.Message, Error: e.Error, Meta: e.Meta,
		EvalID: e.EvalID, Time: r.Time, CreateIndex: r.Index,
	}}, j.Scaling[e.Group]...)
	scaling := maps.Clone(j.Scaling)
	if scaling == nil {
		scaling = make(map[string][]ScalingEvent)
	}
	scaling[e.Group] = events[:min(len(events), scalingEventsKept)]
	j.Scaling, j.ScalingIndex = scaling, r.Index
}

// keepScaling forgets the scaling events of groups that the job has no more.
func (j *Job) keepScaling() {
	for group := range j.Scaling {
		if j.Spec.Job.LookupGroup(group) != nil {
			continue
		}
		kept := maps.Clone(j.Scaling)
		maps.DeleteFunc(kept, func(group string, _ []ScalingEvent) bool { return j.Spec.Job.LookupGroup(group) == nil })
		j.Scaling = kept
		return
	}
}

// noteScaled is called when a job changed, with the row that the draft owns.
func (s *State) noteScaled(j *Job) {
	listed := j.Spec.scaled && !j.Stopped
	if !listed && !j.listedScaled {
		return
	}
	if listed {
		s.scaled.put(j.Key, struct{}{})
	} else {
		s.scaled.remove(j.Key)
	}
	j.listedScaled = listed
	if j.JobModifyIndex == s.index {
		s.indexes[TableScalingPolicies] = s.index
	}
}

// forgetScaled takes a job that leaves out of those with scaling policies.
func (s *State) forgetScaled(j *Job) {
	if j.listedScaled {
		s.scaled.remove(j.Key)
		s.indexes[TableScalingPolicies] = s.index
	}
}
