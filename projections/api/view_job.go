package api

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/jobdiff"
)

// JobStub is one row of the list of jobs.
type JobStub struct {
	ID                string
	ParentID          string
	Name              string
	Namespace         string
	Datacenters       []string
	NodePool          string
	Multiregion       *event.Multiregion
	Type              string
	Priority          int
	Periodic          bool
	ParameterizedJob  bool
	Stop              bool
	Status            string
	StatusDescription string
	JobSummary        *JobSummary
	CreateIndex       uint64
	ModifyIndex       uint64
	JobModifyIndex    uint64
	SubmitTime        int64             // Unix nanoseconds
	Meta              map[string]string `json:",omitempty"`
}

// JobSummary counts a job's allocations.
type JobSummary struct {
	JobID       string
	Namespace   string
	Summary     map[string]projections.GroupSummary
	Children    *JobChildren
	CreateIndex uint64
	ModifyIndex uint64
}

// JobChildren counts the jobs that a periodic or parameterized job launched.
type JobChildren struct{ Pending, Running, Dead int64 }

// JobVersions is what /v1/job/:id/versions answers.
type JobVersions struct {
	Versions []*event.Job
	Diffs    []*jobdiff.Job
}

// JobSubmission is the text that a version of a job was made from.
type JobSubmission struct {
	event.JobSubmission
	Namespace      string
	JobID          string
	Version        uint64
	JobModifyIndex uint64
}

// JobStatus is one row of the list that user interfaces poll.
type JobStatus struct {
	ID               string
	Namespace        string
	Name             string
	Type             string
	NodePool         string
	Datacenters      []string
	Priority         int
	Version          uint64
	SubmitTime       int64 // Unix nanoseconds
	ModifyIndex      uint64
	Allocs           []JobStatusAlloc
	GroupCountSum    int
	ChildStatuses    []string
	ParentID         string
	LatestDeployment *struct{}
	Stop             bool
	IsPack           bool
	Status           string
}

// JobStatusAlloc is one allocation in a JobStatus.
type JobStatusAlloc struct {
	ID               event.ID
	Group            string
	ClientStatus     event.ClientStatus
	NodeID           event.ID
	DeploymentStatus JobStatusHealth
	JobVersion       uint64
	FollowupEvalID   event.ID
	HasPausedTask    bool
}

// JobStatusHealth is the health of an allocation in a deployment.
type JobStatusHealth struct {
	Canary  bool
	Healthy *bool
}

// NewJob shows the newest version of a job.
func NewJob(j *projections.Job) *event.Job {
	job := *j.Spec.Job
	job.Stop, job.Status = j.Stopped, j.Status()
	job.Version, job.SubmitTime = j.Version, j.SubmitTime
	job.CreateIndex, job.ModifyIndex, job.JobModifyIndex = j.CreateIndex, j.ModifyIndex, j.JobModifyIndex
	job.VersionTag = j.Tag
	return &job
}

func oldJob(j *projections.Job, v *projections.JobVersion) *event.Job {
	job := *v.Spec.Job
	job.Stop, job.Status = v.Stopped, j.Status()
	job.Version, job.SubmitTime = v.Version, v.SubmitTime
	job.CreateIndex, job.ModifyIndex, job.JobModifyIndex = j.CreateIndex, v.JobModifyIndex, v.JobModifyIndex
	job.VersionTag = v.Tag
	return &job
}

// jobOf shows the version of its job that an allocation runs.
func jobOf(s *projections.State, a *projections.Allocation) *event.Job {
	if j := s.Job(a.Job); j != nil {
		if j.Version == a.JobVersion && j.SpecHash == a.SpecHash {
			return NewJob(j)
		}
		for i := range j.Older {
			if v := &j.Older[i]; v.Version == a.JobVersion && v.SpecHash == a.SpecHash {
				return oldJob(j, v)
			}
		}
	}
	// The job was purged, or this version is older than those that are kept.
	job := *a.Spec.Job
	job.Version, job.Status, job.Stop = a.JobVersion, "dead", s.Job(a.Job) == nil
	if j := s.Job(a.Job); j != nil {
		job.Status, job.CreateIndex = j.Status(), j.CreateIndex
	}
	return &job
}

// NewJobSummary shows the counts of a job.
func NewJobSummary(j *projections.Job) *JobSummary {
	s := &JobSummary{
		JobID: j.Key.ID, Namespace: j.Key.Namespace, Summary: j.Summary,
		CreateIndex: j.CreateIndex, ModifyIndex: j.SummaryIndex,
	}
	if s.Summary == nil {
		s.Summary = map[string]projections.GroupSummary{}
	}
	if spec := j.Spec.Job; spec.Periodic != nil || spec.ParameterizedJob != nil {
		s.Children = new(JobChildren)
	}
	return s
}

// NewJobStub shows a job in a list.
func NewJobStub(j *projections.Job, meta bool) *JobStub {
	spec := j.Spec.Job
	stub := &JobStub{
		ID: j.Key.ID, ParentID: spec.ParentID, Name: spec.Name, Namespace: j.Key.Namespace,
		Datacenters: spec.Datacenters, NodePool: spec.NodePool, Multiregion: spec.Multiregion,
		Type: spec.Type, Priority: spec.Priority,
		Periodic: spec.Periodic != nil, ParameterizedJob: spec.ParameterizedJob != nil,
		Stop: j.Stopped, Status: j.Status(), JobSummary: NewJobSummary(j),
		CreateIndex: j.CreateIndex, ModifyIndex: j.ModifyIndex, JobModifyIndex: j.JobModifyIndex,
		SubmitTime: j.SubmitTime,
	}
	if meta {
		stub.Meta = spec.Meta
	}
	return stub
}

// NewJobVersions shows the kept versions of a job, newest first.
func NewJobVersions(j *projections.Job) JobVersions {
	list := []*event.Job{NewJob(j)}
	for i := range j.Older {
		list = append(list, oldJob(j, &j.Older[i]))
	}
	return JobVersions{Versions: list}
}

// diffEach tells every version from the one before it; the oldest from nothing.
func (v *JobVersions) diffEach() {
	for i := 0; i+1 < len(v.Versions); i++ {
		v.Diffs = append(v.Diffs, jobdiff.Compare(v.Versions[i+1], v.Versions[i]))
	}
}

// diffFrom tells every version from one of them; false when that one is not kept.
func (v *JobVersions) diffFrom(number uint64) bool {
	at := slices.IndexFunc(v.Versions, func(job *event.Job) bool { return job.Version == number })
	if at < 0 {
		return false
	}
	for _, job := range v.Versions {
		v.Diffs = append(v.Diffs, jobdiff.Compare(v.Versions[at], job))
	}
	return true
}

// NewJobStatus shows a job with its allocations.
func NewJobStatus(s *projections.State, j *projections.Job) *JobStatus {
	spec := j.Spec.Job
	status := &JobStatus{
		ID: j.Key.ID, Namespace: j.Key.Namespace, Name: spec.Name, Type: spec.Type,
		NodePool: spec.NodePool, Datacenters: spec.Datacenters, Priority: spec.Priority,
		Version: j.Version, SubmitTime: j.SubmitTime, ModifyIndex: j.ModifyIndex,
		Allocs: []JobStatusAlloc{}, ParentID: spec.ParentID, Stop: j.Stopped, Status: j.Status(),
	}
	if spec.Periodic != nil || spec.ParameterizedJob != nil {
		status.ChildStatuses = []string{}
	}
	for name := range spec.Meta {
		status.IsPack = status.IsPack || name == "pack.deployment_name"
	}
	for _, g := range spec.TaskGroups {
		status.GroupCountSum += g.Count
	}
	for a := range s.AllocationsOf(j.Key) {
		status.Allocs = append(status.Allocs, JobStatusAlloc{
			ID: a.ID, Group: a.Group, ClientStatus: a.Client, NodeID: a.NodeID, JobVersion: a.JobVersion,
		})
	}
	return status
}

// submissionOf finds the source of one version of a job.
func submissionOf(s *projections.State, j *projections.Job, version uint64) (*JobSubmission, error) {
	source, index := event.Hash{}, uint64(0)
	if version == j.Version {
		source, index = j.Source, j.JobModifyIndex
	} else if at := slices.IndexFunc(j.Older, func(v projections.JobVersion) bool { return v.Version == version }); at >= 0 {
		source, index = j.Older[at].Source, j.Older[at].JobModifyIndex
	}
	if source.IsZero() {
		return nil, nil
	}
	data, ok := s.Blob(source)
	if !ok {
		return nil, nil
	}
	shown := &JobSubmission{Namespace: j.Key.Namespace, JobID: j.Key.ID, Version: version, JobModifyIndex: index}
	if err := event.Unmarshal(data, &shown.JobSubmission); err != nil {
		return nil, err
	}
	return shown, nil
}
