package apiclient

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"drover/eventlog/event"
)

// Jobs lists jobs.
func (c *Client) Jobs(ctx context.Context, q Query) (list []*JobStub, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/jobs", q, &list)
	return list, a, err
}

// Job reads one job.
func (c *Client) Job(ctx context.Context, id string, q Query) (job *event.Job, a Answer, err error) {
	a, err = c.Get(ctx, jobPath(id), q, &job)
	return job, a, err
}

// JobSummary reads the counts of one job.
func (c *Client) JobSummary(ctx context.Context, id string) (s *JobSummary, a Answer, err error) {
	a, err = c.Get(ctx, jobPath(id)+"/summary", Query{}, &s)
	return s, a, err
}

// JobAllocations lists the allocations of one job; all includes those of
// earlier jobs of that name.
func (c *Client) JobAllocations(ctx context.Context, id string, all bool) (list []*AllocStub, a Answer, err error) {
	q := Query{}
	if all {
		q.Values = url.Values{"all": {"true"}}
	}
	a, err = c.Get(ctx, jobPath(id)+"/allocations", q, &list)
	return list, a, err
}

// JobEvaluations lists the evaluations of one job.
func (c *Client) JobEvaluations(ctx context.Context, id string) (list []*Evaluation, a Answer, err error) {
	a, err = c.Get(ctx, jobPath(id)+"/evaluations", Query{}, &list)
	return list, a, err
}

// RegisterJob submits a job.
func (c *Client) RegisterJob(ctx context.Context, req *JobRegisterRequest) (*JobRegisterResponse, error) {
	var resp JobRegisterResponse
	_, err := c.Put(ctx, "/v1/jobs", Query{}, req, &resp)
	return &resp, err
}

// ValidateJob asks the servers what they would say of a job.
func (c *Client) ValidateJob(ctx context.Context, job *event.Job) (*JobValidateResponse, error) {
	var resp JobValidateResponse
	_, err := c.Put(ctx, "/v1/validate/job", Query{}, struct{ Job *event.Job }{job}, &resp)
	return &resp, err
}

// PlanJob asks what registering a job would lead to.
func (c *Client) PlanJob(ctx context.Context, job *event.Job, diff, policyOverride bool) (*JobPlanResponse, json.RawMessage, error) {
	var body json.RawMessage
	req := struct {
		Job                  *event.Job
		Diff, PolicyOverride bool
	}{job, diff, policyOverride}
	if _, err := c.Put(ctx, jobPath(job.ID)+"/plan", Query{}, req, &body); err != nil {
		return nil, nil, err
	}
	var resp JobPlanResponse
	return &resp, body, json.Unmarshal(body, &resp)
}

// JobVersions reads the kept versions of a job, newest first, and with diffs what
// each changed in the one before it. q may name the version that all are compared
// with.
func (c *Client) JobVersions(ctx context.Context, id string, diffs bool, q Query) (*JobVersions, json.RawMessage, error) {
	if q.Values == nil {
		q.Values = url.Values{}
	}
	q.Values.Set("diffs", strconv.FormatBool(diffs))
	var body json.RawMessage
	if _, err := c.Get(ctx, jobPath(id)+"/versions", q, &body); err != nil {
		return nil, nil, err
	}
	var versions JobVersions
	return &versions, body, json.Unmarshal(body, &versions)
}

// RevertJob makes an older version of a job its newest one; prior, if not nil, is
// the version that it must have now.
func (c *Client) RevertJob(ctx context.Context, id string, version uint64, prior *uint64) (*JobRegisterResponse, error) {
	var resp JobRegisterResponse
	req := struct {
		JobID               string
		JobVersion          uint64
		EnforcePriorVersion *uint64
	}{id, version, prior}
	_, err := c.Put(ctx, jobPath(id)+"/revert", Query{}, req, &resp)
	return &resp, err
}

// EvaluateJob has the scheduler look at a job again.
func (c *Client) EvaluateJob(ctx context.Context, id string, forceReschedule bool) (*JobRegisterResponse, error) {
	var resp JobRegisterResponse
	var req struct {
		JobID       string
		EvalOptions struct{ ForceReschedule bool }
	}
	req.JobID, req.EvalOptions.ForceReschedule = id, forceReschedule
	_, err := c.Put(ctx, jobPath(id)+"/evaluate", Query{}, req, &resp)
	return &resp, err
}

// JobSubmission reads the text that a version of a job was made from.
func (c *Client) JobSubmission(ctx context.Context, id string, version uint64) (s *event.JobSubmission, err error) {
	_, err = c.Get(ctx, jobPath(id)+"/submission", Query{Values: url.Values{"version": {strconv.FormatUint(version, 10)}}}, &s)
	return s, err
}

// StopOptions says how a job is stopped. The zero value stops it and keeps it.
type StopOptions struct {
	Purge           bool // forget it, too
	Global          bool // in every region it runs in
	NoShutdownDelay bool
	EvalPriority    int // 1 to 100; 0 = the job's
}

// StopJob stops a job.
func (c *Client) StopJob(ctx context.Context, id string, o StopOptions) (*JobDeregisterResponse, error) {
	v := url.Values{"purge": {strconv.FormatBool(o.Purge)}}
	if o.Global {
		v.Set("global", "true")
	}
	if o.NoShutdownDelay {
		v.Set("no_shutdown_delay", "true")
	}
	if o.EvalPriority > 0 {
		v.Set("eval_priority", strconv.Itoa(o.EvalPriority))
	}
	var resp JobDeregisterResponse
	_, err := c.Delete(ctx, jobPath(id), Query{Values: v}, &resp)
	return &resp, err
}

// Allocations lists allocations.
func (c *Client) Allocations(ctx context.Context, q Query) (list []*AllocStub, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/allocations", q, &list)
	return list, a, err
}

// Allocation reads one allocation.
func (c *Client) Allocation(ctx context.Context, id string, q Query) (alloc *Allocation, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/allocation/"+url.PathEscape(id), q, &alloc)
	return alloc, a, err
}

// Nodes lists nodes.
func (c *Client) Nodes(ctx context.Context, q Query) (list []*NodeStub, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/nodes", q, &list)
	return list, a, err
}

// Node reads one node.
func (c *Client) Node(ctx context.Context, id string) (node *Node, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/node/"+url.PathEscape(id), Query{}, &node)
	return node, a, err
}

// NodeAllocations lists what stands on one node, in full.
func (c *Client) NodeAllocations(ctx context.Context, id string) (list []*Allocation, a Answer, err error) {
	a, err = c.InNamespace(AllNamespaces).Get(ctx, "/v1/node/"+url.PathEscape(id)+"/allocations", Query{}, &list)
	return list, a, err
}

// Evaluations lists evaluations.
func (c *Client) Evaluations(ctx context.Context, q Query) (list []*Evaluation, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/evaluations", q, &list)
	return list, a, err
}

// Evaluation reads one evaluation and those related to it.
func (c *Client) Evaluation(ctx context.Context, id string, q Query) (eval *Evaluation, a Answer, err error) {
	q.Values = url.Values{"related": {"true"}}
	a, err = c.Get(ctx, "/v1/evaluation/"+url.PathEscape(id), q, &eval)
	return eval, a, err
}

// EvaluationAllocations lists the allocations that an evaluation made or changed.
func (c *Client) EvaluationAllocations(ctx context.Context, id string) (list []*AllocStub, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/evaluation/"+url.PathEscape(id)+"/allocations", Query{}, &list)
	return list, a, err
}

// SelfNodeID is the ID of the node that the agent itself is, or "" when the
// agent runs no tasks.
func (c *Client) SelfNodeID(ctx context.Context) (string, error) {
	var self struct {
		Stats struct {
			Client struct {
				NodeID string `json:"node_id"`
			} `json:"client"`
		} `json:"stats"`
	}
	_, err := c.Get(ctx, "/v1/agent/self", Query{}, &self)
	return self.Stats.Client.NodeID, err
}

// SetEligibility says whether new allocations may be placed on a node.
func (c *Client) SetEligibility(ctx context.Context, node string, eligible bool) error {
	word := event.Ineligible
	if eligible {
		word = event.Eligible
	}
	_, err := c.Put(ctx, "/v1/node/"+url.PathEscape(node)+"/eligibility", Query{}, map[string]string{"NodeID": node, "Eligibility": word}, nil)
	return err
}

func jobPath(id string) string { return "/v1/job/" + url.PathEscape(id) }

// CollectGarbage has everything leave the servers' memory that has ended and that
// nothing asks for any more.
func (c *Client) CollectGarbage(ctx context.Context) error {
	_, err := c.Put(ctx, "/v1/system/gc", Query{}, nil, nil)
	return err
}

// TagVersion gives a version of a job a name.
func (c *Client) TagVersion(ctx context.Context, id, name string, version uint64, description string) error {
	_, err := c.Put(ctx, tagPath(id, name), Query{}, map[string]any{"Version": version, "Description": description}, nil)
	return err
}

// UntagVersion takes the name of a version of a job away.
func (c *Client) UntagVersion(ctx context.Context, id, name string) error {
	_, err := c.Delete(ctx, tagPath(id, name), Query{}, nil)
	return err
}

func tagPath(id, name string) string {
	return jobPath(id) + "/versions/" + url.PathEscape(name) + "/tag"
}
