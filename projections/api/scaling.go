package api

import (
	"iter"
	"slices"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// JobScaleStatus is how many allocations of each group there are and should be, and
// what has been asked and said about that.
type JobScaleStatus struct {
	JobID          string
	Namespace      string
	JobCreateIndex uint64
	JobModifyIndex uint64
	JobStopped     bool
	TaskGroups     map[string]*GroupScaleStatus
}

// GroupScaleStatus is one group of it. Nothing tells of health: that is for
// deployments to know.
type GroupScaleStatus struct {
	Desired   int
	Placed    int // neither stopped nor ended
	Running   int
	Healthy   int
	Unhealthy int
	Events    []ScalingEvent // newest first
}

// ScalingEvent is what was asked, or said, about the count of a group once.
type ScalingEvent struct {
	Time          int64 // Unix nanoseconds
	Count         *int64
	PreviousCount int64
	Message       string
	Error         bool
	Meta          map[string]any
	EvalID        *event.ID
	CreateIndex   uint64
}

// NewJobScaleStatus shows how a job stands.
func NewJobScaleStatus(s *projections.State, j *projections.Job) *JobScaleStatus {
	shown := &JobScaleStatus{
		JobID: j.Key.ID, Namespace: j.Key.Namespace, JobCreateIndex: j.CreateIndex, JobModifyIndex: j.JobModifyIndex,
		JobStopped: j.Stopped, TaskGroups: make(map[string]*GroupScaleStatus),
	}
	for _, g := range j.Spec.Job.TaskGroups {
		group := &GroupScaleStatus{Desired: g.Count, Events: []ScalingEvent{}}
		for _, e := range j.Scaling[g.Name] {
			said := ScalingEvent{
				Time: e.Time, Count: e.Count, PreviousCount: e.PreviousCount, Message: e.Message, Error: e.Error,
				Meta: e.Meta, CreateIndex: e.CreateIndex,
			}
			if !e.EvalID.IsZero() {
				said.EvalID = &e.EvalID
			}
			group.Events = append(group.Events, said)
		}
		shown.TaskGroups[g.Name] = group
	}
	for a := range s.AllocationsOf(j.Key) {
		if group := shown.TaskGroups[a.Group]; group != nil && a.Live() {
			group.Placed++
			if a.Client == event.ClientRunning {
				group.Running++
			}
		}
	}
	return shown
}

var jobScaleView = view{
	index: func(k *ask) uint64 {
		if j := k.job(); j != nil {
			return max(j.ModifyIndex, j.SummaryIndex, j.ScalingIndex)
		}
		return jobsIndex(k)
	},
	matter: jobMatter,
	show: func(k *ask) (any, error) {
		if j := k.job(); j != nil {
			return NewJobScaleStatus(k.state, j), nil
		}
		return nil, notFound("job")
	},
}

// scalingPolicy is the policy of one group.
type scalingPolicy struct {
	id     event.ID
	job    *projections.Job
	group  string
	policy *event.ScalingPolicy
}

// ScalingPolicyStub is one row of the list of scaling policies.
type ScalingPolicyStub struct {
	ID          event.ID
	Enabled     bool
	Type        string
	Target      map[string]string
	CreateIndex uint64
	ModifyIndex uint64
}

// ScalingPolicy is what an autoscaler reads about one group.
type ScalingPolicy struct {
	ScalingPolicyStub
	Namespace string
	Min, Max  int64
	Policy    map[string]any
}

func (p *scalingPolicy) stub() *ScalingPolicyStub {
	return &ScalingPolicyStub{
		ID: p.id, Enabled: p.policy.Enabled, Type: p.policy.Type,
		Target:      map[string]string{"Namespace": p.job.Key.Namespace, "Job": p.job.Key.ID, "Group": p.group},
		CreateIndex: p.job.CreateIndex, ModifyIndex: p.job.JobModifyIndex,
	}
}

// scalingPolicyID names the policy of a group, whatever version its job has.
func scalingPolicyID(job event.JobKey, group string) event.ID {
	return event.DeriveID("scaling policy\x00"+job.Namespace+"\x00"+job.ID+"\x00"+group, event.ID{})
}

// policiesOf visits the scaling policies of a job's groups.
func policiesOf(j *projections.Job) iter.Seq[*scalingPolicy] {
	return func(yield func(*scalingPolicy) bool) {
		for _, g := range j.Spec.Job.TaskGroups {
			if g.Scaling != nil && !yield(&scalingPolicy{scalingPolicyID(j.Key, g.Name), j, g.Name, g.Scaling}) {
				return
			}
		}
	}
}

// findPolicy is the scaling policy of that ID; nil when there is none.
func (k *ask) findPolicy() *scalingPolicy {
	id := k.object()
	for j := range k.state.ScaledJobs() {
		for p := range policiesOf(j) {
			if p.id == id {
				return p
			}
		}
	}
	return nil
}

// policies are the scaling policies of the namespaces asked for, of one job and of one type where these are named, by ID.
func (k *ask) policies(job, kind string) (found []*scalingPolicy) {
	for j := range k.state.ScaledJobs() {
		if !k.InNamespace(j.Key.Namespace) || job != "" && job != j.Key.ID {
			continue
		}
		for p := range policiesOf(j) {
			if kind == "" || p.policy.Type == kind {
				found = append(found, p)
			}
		}
	}
	slices.SortFunc(found, func(a, b *scalingPolicy) int { return a.id.Compare(b.id) })
	return found
}

var (
	scalingPoliciesIndex  = tableIndex(projections.TableScalingPolicies)
	scalingPoliciesMatter = table(scalingPoliciesTable)
)

var scalingPoliciesView = view{
	index: scalingPoliciesIndex, matter: scalingPoliciesMatter,
	show: func(k *ask) (any, error) {
		found := k.policies(k.Get("job"), k.Get("type"))
		found = slices.DeleteFunc(found, func(p *scalingPolicy) bool { return !strings.HasPrefix(p.id.String(), k.Prefix) })
		return list(k, rest.KeyID, turned(k, slices.Values(found)),
			func(p *scalingPolicy) rest.Key { return byID(p.id) },
			func(p *scalingPolicy) any { return p.stub() },
			(*scalingPolicy).stub)
	},
}

var scalingPolicyView = view{
	object: "scaling policy",
	index: func(k *ask) uint64 {
		if p := k.findPolicy(); p != nil {
			return p.job.JobModifyIndex
		}
		return scalingPoliciesIndex(k)
	},
	matter: scalingPoliciesMatter,
	show: func(k *ask) (any, error) {
		p := k.findPolicy()
		if p == nil {
			return nil, notFound("scaling policy")
		}
		return &ScalingPolicy{*p.stub(), p.job.Key.Namespace, p.policy.Min, p.policy.Max, p.policy.Policy}, nil
	},
}
