package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// job is one job of a run, and what became of it. Times are nanoseconds since
// the fleet's start; 0 means "not yet".
type job struct {
	id     string
	body   []byte // of the request that registers it
	want   int    // allocations
	sent   atomic.Int64
	placed atomic.Int32 // orders that reached their nodes
	ran    atomic.Int32 // allocations recorded as running
	ready  atomic.Int64 // when the last of them had reached its node
	waits  bool         // it may be left without what it wants
}

// jobSpec says what a job is like, in the words of the API.
type jobSpec struct {
	ID          string
	Name        string
	Type        string
	Priority    int
	Datacenters []string
	Constraints []constraint `json:",omitempty"`
	Affinities  []affinity   `json:",omitempty"`
	Spreads     []spread     `json:",omitempty"`
	TaskGroups  []groupSpec
}

type constraint struct{ LTarget, RTarget, Operand string }

type affinity struct {
	LTarget, RTarget, Operand string
	Weight                    int
}

type spread struct {
	Attribute    string
	Weight       int
	SpreadTarget []struct{} `json:",omitempty"`
}

type groupSpec struct {
	Name          string
	Count         int
	EphemeralDisk struct{ SizeMB int }
	Networks      []networkSpec `json:",omitempty"`
	RestartPolicy *restartSpec  `json:",omitempty"`
	Tasks         []taskSpec
}

type restartSpec struct {
	Attempts int
	Interval time.Duration
	Delay    time.Duration
	Mode     string
}

type networkSpec struct{ DynamicPorts []portSpec }

type portSpec struct{ Label string }

type taskSpec struct {
	Name      string
	Driver    string
	Config    map[string]any
	Resources struct{ CPU, MemoryMB int }
	LogConfig struct{ MaxFiles, MaxFileSizeMB int }
}

// newGroup is a group of one small task.
func newGroup(name string, count, ports int) groupSpec {
	g := groupSpec{Name: name, Count: count}
	g.EphemeralDisk.SizeMB = taskDiskMB
	if ports > 0 {
		var n networkSpec
		for i := range ports {
			n.DynamicPorts = append(n.DynamicPorts, portSpec{fmt.Sprintf("port%d", i)})
		}
		g.Networks = []networkSpec{n}
	}
	t := taskSpec{Name: task, Driver: "raw_exec", Config: map[string]any{"command": "/bin/sleep", "args": []string{"1000000"}}}
	t.Resources.CPU, t.Resources.MemoryMB = taskMHz, taskMB
	t.LogConfig.MaxFiles, t.LogConfig.MaxFileSizeMB = 2, 1
	g.Tasks = []taskSpec{t}
	return g
}

// newJob is a job of one kind of small task, for machines with Linux.
func newJob(id, kind string, count, ports int) jobSpec {
	return jobSpec{
		ID: id, Name: id, Type: kind, Priority: 50, Datacenters: []string{"*"},
		Constraints: []constraint{{"${attr.kernel.name}", "linux", "="}},
		TaskGroups:  []groupSpec{newGroup("group", count, ports)},
	}
}

// job makes the request that registers it.
func (s jobSpec) job() *job {
	body, err := json.Marshal(struct{ Job jobSpec }{s})
	if err != nil {
		panic("encode a job: " + err.Error()) // strings and numbers
	}
	j := &job{id: s.ID, body: body}
	for _, g := range s.TaskGroups {
		j.want += g.Count
	}
	return j
}

// clients are users of the API: each sends one request at a time.
type clients struct {
	base    string
	http    *http.Client
	refused atomic.Int64 // requests that were answered "busy" and sent again
	last    atomic.Pointer[string]
}

func newClients(base string, count int) *clients {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &clients{base: base, http: &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: count, MaxIdleConns: count, DisableCompression: true,
	}}}
}

// statusError is an answer that is no success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.text) }

// send makes one request and returns the body of its answer.
func (c *clients) send(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &statusError{res.StatusCode, string(bytes.TrimSpace(text))}
	}
	return text, err
}

// register submits a job, again while the server is too busy to take it.
func (c *clients) register(ctx context.Context, body []byte) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		_, err := c.send(ctx, http.MethodPut, "/v1/jobs", body)
		var status *statusError
		if !errors.As(err, &status) || status.code != http.StatusServiceUnavailable {
			return err
		}
		c.refused.Add(1)
		c.last.Store(&status.text)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// each runs do for every item, so many at a time, in order; the first error ends
// it.
func each[T any](ctx context.Context, parallel int, items []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	var next atomic.Int64
	for range min(parallel, len(items)) {
		work.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				if err := do(ctx, items[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	work.Wait()
	return context.Cause(ctx)
}

// drain reads an answer to its end, so that its connection can be used again.
func drain(res *http.Response) error {
	_, err := io.Copy(io.Discard, res.Body)
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode != http.StatusOK {
		err = &statusError{res.StatusCode, res.Status}
	}
	return err
}

func jobPath(id string) string { return "/v1/job/" + url.PathEscape(id) }
