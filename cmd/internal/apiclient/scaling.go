package apiclient

import (
	"context"
	"net/url"
)

// ScalingRequest asks for another count of a group, or says something about it.
type ScalingRequest struct {
	Count          *int64 `json:",omitempty"`
	Target         map[string]string
	Message        string
	Error          bool
	JobModifyIndex uint64
}

// JobScaleStatus is how a job's groups stand against what is wanted.
type JobScaleStatus struct {
	JobID      string
	Namespace  string
	TaskGroups map[string]*GroupScaleStatus
}

// GroupScaleStatus is one group of it.
type GroupScaleStatus struct {
	Desired, Placed, Running int
	Events                   []ScalingEvent // newest first
}

// ScalingEvent is what was asked, or said, about the count of a group once.
type ScalingEvent struct {
	Time          int64 // Unix nanoseconds
	Count         *int64
	PreviousCount int64
	Message       string
	Error         bool
	EvalID        *string
	CreateIndex   uint64
}

// ScalingPolicy is what a job lets an autoscaler do with a group; lists leave the
// last part empty.
type ScalingPolicy struct {
	ID      string
	Enabled bool
	Type    string
	Target  map[string]string

	Namespace string
	Min, Max  int64
	Policy    map[string]any
}

// ScaleJob asks for another count of one of a job's groups.
func (c *Client) ScaleJob(ctx context.Context, id string, req *ScalingRequest) (*JobRegisterResponse, error) {
	var resp JobRegisterResponse
	_, err := c.Put(ctx, jobPath(id)+"/scale", Query{}, req, &resp)
	return &resp, err
}

// JobScale reads how a job's groups stand.
func (c *Client) JobScale(ctx context.Context, id string) (s *JobScaleStatus, a Answer, err error) {
	a, err = c.Get(ctx, jobPath(id)+"/scale", Query{}, &s)
	return s, a, err
}

// ScalingPolicies lists scaling policies.
func (c *Client) ScalingPolicies(ctx context.Context, q Query) (list []*ScalingPolicy, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/scaling/policies", q, &list)
	return list, a, err
}

// ScalingPolicy reads one scaling policy.
func (c *Client) ScalingPolicy(ctx context.Context, id string) (p *ScalingPolicy, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/scaling/policy/"+url.PathEscape(id), Query{}, &p)
	return p, a, err
}
