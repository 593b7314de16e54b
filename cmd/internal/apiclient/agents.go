package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// AgentSelf is what an agent says of itself.
type AgentSelf struct {
	Stats map[string]map[string]string `json:"stats"`
}

// AgentSelf asks the agent about itself.
func (c *Client) AgentSelf(ctx context.Context) (self *AgentSelf, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/agent/self", Query{}, &self)
	return self, a, err
}

// Member is one server, as the servers know one another.
type Member struct {
	Name        string
	Addr        string
	Port        uint16
	Tags        map[string]string
	Status      string
	ProtocolCur uint8
}

// Members lists the servers.
func (c *Client) Members(ctx context.Context) ([]*Member, Answer, error) {
	var list struct{ Members []*Member }
	a, err := c.Get(ctx, "/v1/agent/members", Query{}, &list)
	return list.Members, a, err
}

// Leader is the address of the leading server, host:port; "" when there is none.
func (c *Client) Leader(ctx context.Context) (leader string, err error) {
	_, err = c.Get(ctx, "/v1/status/leader", Query{}, &leader)
	return leader, err
}

// RaftServer is one server of the replicated log.
type RaftServer struct {
	ID           string
	Node         string
	Address      string
	Leader       bool
	Voter        bool
	RaftProtocol string
}

// RaftServers lists them; stale: any server may answer.
func (c *Client) RaftServers(ctx context.Context, stale bool) ([]*RaftServer, error) {
	var q Query
	if stale {
		q.Values = url.Values{"stale": {""}}
	}
	var list struct{ Servers []*RaftServer }
	_, err := c.Get(ctx, "/v1/operator/raft/configuration", q, &list)
	return list.Servers, err
}

// ReconcileSummaries has the servers check their counts of allocations.
func (c *Client) ReconcileSummaries(ctx context.Context) error {
	_, err := c.Put(ctx, "/v1/system/reconcile/summaries", Query{}, nil, nil)
	return err
}

// Search finds identifiers that begin with a prefix, by context.
func (c *Client) Search(ctx context.Context, prefix, searched string) (map[string][]string, error) {
	var found struct{ Matches map[string][]string }
	_, err := c.Put(ctx, "/v1/search", Query{}, map[string]string{"Prefix": prefix, "Context": searched}, &found)
	return found.Matches, err
}

// MonitorRequest says which of an agent's log is wanted.
type MonitorRequest struct {
	Level    string
	JSON     bool
	Location bool
	NodeID   string // of another agent
	ServerID string
}

// Monitor opens an agent's log as it is written.
func (c *Client) Monitor(ctx context.Context, r MonitorRequest) (*FrameStream, error) {
	q := url.Values{"log_level": {r.Level}, "log_json": {strconv.FormatBool(r.JSON)}, "log_include_location": {strconv.FormatBool(r.Location)}}
	if r.NodeID != "" {
		q.Set("node_id", r.NodeID)
	}
	if r.ServerID != "" {
		q.Set("server_id", r.ServerID)
	}
	body, err := c.stream(ctx, "/v1/agent/monitor", q)
	if err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: body}
	return &FrameStream{body: body, decoder: json.NewDecoder(limit), limit: limit}, nil
}

// RawRequest makes a request of what a person typed: a path, with or without
// "/v1", and perhaps with a query.
func (c *Client) RawRequest(ctx context.Context, method, path, filter string, header http.Header, body []byte) (*http.Request, error) {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" {
		return nil, fmt.Errorf("invalid path %q", path)
	}
	escaped := "/" + strings.TrimPrefix(u.EscapedPath(), "/")
	if !strings.HasPrefix(escaped, "/v1/") {
		escaped = "/v1" + escaped
	}
	q := u.Query()
	if filter != "" {
		q.Set("filter", filter)
	}
	req, err := c.request(ctx, method, escaped, q, body)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		req.Header[key] = values
	}
	return req, nil
}

// Raw sends such a request and returns the answer's body as it comes.
func (c *Client) Raw(req *http.Request) (io.ReadCloser, error) {
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// JoinServers has the server join others, and returns how many it joined.
func (c *Client) JoinServers(ctx context.Context, addresses []string) (joined int, err error) {
	var answer struct {
		NumJoined int    `json:"num_joined"`
		Error     string `json:"error"`
	}
	_, err = c.Put(ctx, "/v1/agent/join", Query{Values: url.Values{"address": addresses}}, nil, &answer)
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	return answer.NumJoined, err
}

// ForceLeave has the servers forget one that failed.
func (c *Client) ForceLeave(ctx context.Context, name string, prune bool) error {
	v := url.Values{"node": {name}}
	if prune {
		v.Set("prune", "1")
	}
	_, err := c.Put(ctx, "/v1/agent/force-leave", Query{Values: v}, nil, nil)
	return err
}

// DeleteEvaluations deletes evaluations, named or by a filter, and returns how many.
func (c *Client) DeleteEvaluations(ctx context.Context, ids []string, filter string) (int, error) {
	var answer struct{ Count int }
	_, err := c.write(ctx, http.MethodDelete, "/v1/evaluations", Query{}, map[string]any{"EvalIDs": ids, "Filter": filter}, &answer)
	return answer.Count, err
}

// Health is how an agent fares, part by part: "server", "client".
type Health map[string]struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// Health asks the agent how it fares. An agent that is not well answers with an error that holds the same.
func (c *Client) Health(ctx context.Context) (health Health, err error) {
	_, err = c.Get(ctx, "/v1/agent/health", Query{}, &health)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusInternalServerError && json.Unmarshal([]byte(status.Message), &health) == nil {
		return health, nil
	}
	return health, err
}
