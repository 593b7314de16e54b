package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// Handler serves what only this node knows: files and logs of its allocations, and what they use. It is mounted on the
// agent's HTTP API at /v1/client/.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	allow := func(methods, pattern string, f func(http.ResponseWriter, *http.Request) error) {
		allowed := strings.Fields(methods)
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains(allowed, r.Method) {
				http.Error(w, "Invalid method", http.StatusMethodNotAllowed)
				return
			}
			if err := f(w, r); err != nil {
				fail(w, err)
			}
		})
	}
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request) error) { allow("GET HEAD", pattern, f) }
	handle("/v1/client/stats", a.serveHostStats)
	handle("/v1/client/allocation/{alloc}/stats", a.serveAllocStats)
	allow("PUT POST", "/v1/client/allocation/{alloc}/restart", a.serveRestart)
	allow("PUT POST", "/v1/client/allocation/{alloc}/signal", a.serveSignal)
	mux.HandleFunc("/v1/client/allocation/{alloc}/exec", a.serveExec)
	allow("GET HEAD POST", "/v1/client/metadata", a.serveMetadata)
	allow("GET HEAD PUT POST", "/v1/client/gc", a.serveCollect)
	allow("GET HEAD PUT POST", "/v1/client/allocation/{alloc}/gc", a.serveCollectOne)
	handle("/v1/client/fs/ls/{alloc}", a.serveList)
	handle("/v1/client/fs/stat/{alloc}", a.serveStat)
	handle("/v1/client/fs/cat/{alloc}", a.serveCat)
	handle("/v1/client/fs/readat/{alloc}", a.serveReadAt)
	handle("/v1/client/fs/stream/{alloc}", a.serveStream)
	handle("/v1/client/fs/logs/{alloc}", a.serveLogs)
	return mux
}

// httpError is an answer other than success, with the text that users see.
type httpError struct {
	code int
	text string
}

func (e *httpError) Error() string { return e.text }

func fail(w http.ResponseWriter, err error) { http.Error(w, err.Error(), statusOf(err)) }

// statusOf is the status code that an error is answered with.
func statusOf(err error) int {
	var coded *httpError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func answerJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b)
	return nil
}

// find is the allocation that the path names.
func (a *Agent) find(r *http.Request) (*runner, error) {
	text := r.PathValue("alloc")
	if id, err := event.ParseID(text); err == nil && !id.IsZero() {
		if found, ok := a.runner(id); ok {
			return found, nil
		}
	}
	return nil, &httpError{http.StatusNotFound, fmt.Sprintf("Unknown allocation %q", text)}
}

func (a *Agent) serveHostStats(w http.ResponseWriter, r *http.Request) error {
	usage, err := a.host.sample(r.Context(), a.node.Load())
	if err != nil {
		return err
	}
	return answerJSON(w, usage)
}

// AllocUsage is the answer of /v1/client/allocation/:id/stats. Its JSON names are the public API's.
type AllocUsage struct {
	ResourceUsage ResourceUsage
	Tasks         map[string]*TaskUsage
	Timestamp     int64 // Unix nanoseconds
}

// TaskUsage is what one task uses.
type TaskUsage struct {
	ResourceUsage ResourceUsage
	Timestamp     int64                     // Unix nanoseconds
	Pids          map[string]*ResourceUsage // by process ID, as text
}

// ResourceUsage is a sample of memory and processor.
type ResourceUsage struct {
	MemoryStats driver.MemoryUsage
	CpuStats    CPUUsage
	DeviceStats []any
}

// CPUUsage is in percent of one core, TotalTicks in MHz, ThrottledTime in nanoseconds since the start of the task.
// Measured names the fields that were measured.
type CPUUsage struct {
	SystemMode, UserMode, TotalTicks, Percent float64
	ThrottledPeriods, ThrottledTime           uint64
	Measured                                  []string
}

func (c *CPUUsage) add(o *CPUUsage) {
	c.SystemMode, c.UserMode, c.Percent, c.TotalTicks = c.SystemMode+o.SystemMode, c.UserMode+o.UserMode, c.Percent+o.Percent, c.TotalTicks+o.TotalTicks
	c.ThrottledPeriods, c.ThrottledTime = c.ThrottledPeriods+o.ThrottledPeriods, c.ThrottledTime+o.ThrottledTime
	for _, name := range o.Measured {
		if !slices.Contains(c.Measured, name) {
			c.Measured = append(c.Measured, name)
		}
	}
}

// usageMeter remembers the last sample of each start, from which shares of processor time follow.
type usageMeter struct {
	mu   sync.Mutex
	last map[driver.Running]driver.Usage
}

// begin notes a sample to begin with where there is none that is fresh, and reports whether it did: then some time has
// to pass before shares say anything.
func (m *usageMeter) begin(ctx context.Context, key driver.Running) (began bool, err error) {
	m.mu.Lock()
	before, ok := m.last[key]
	m.mu.Unlock()
	if ok && time.Since(before.Time) < usageFresh {
		return false, nil
	}
	first, err := key.Usage(ctx)
	if err != nil {
		return false, err
	}
	m.note(key, first)
	return true, nil
}

func (m *usageMeter) note(key driver.Running, sample driver.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[driver.Running]driver.Usage{}
	}
	m.last[key] = sample
}

// measure turns a sample into usage since the one before, which stays where it is while it is too near: many may ask at
// about the same time.
func (m *usageMeter) measure(key driver.Running, now driver.Usage, coreMHz float64) *TaskUsage {
	m.mu.Lock()
	before, ok := m.last[key]
	m.mu.Unlock()
	if !ok || now.Time.Sub(before.Time) >= usageWindow {
		m.note(key, now)
	}
	u := &TaskUsage{Timestamp: now.Time.UnixNano(), Pids: map[string]*ResourceUsage{}}
	u.ResourceUsage = ResourceUsage{
		MemoryStats: now.Memory,
		CpuStats:    CPUUsage{Measured: []string{"System Mode", "User Mode", "Percent"}},
		DeviceStats: []any{},
	}
	if now.CPU.Limited {
		c := &u.ResourceUsage.CpuStats
		c.ThrottledPeriods, c.ThrottledTime = now.CPU.ThrottledPeriods, uint64(now.CPU.ThrottledTime)
		c.Measured = append(c.Measured, "Throttled Periods", "Throttled Time")
	}
	if wall := now.Time.Sub(before.Time); ok && wall > 0 {
		percent := func(d time.Duration) float64 { return max(float64(d)/float64(wall)*100, 0) }
		c := &u.ResourceUsage.CpuStats
		c.UserMode, c.SystemMode = percent(now.CPU.User-before.CPU.User), percent(now.CPU.System-before.CPU.System)
		c.Percent = c.UserMode + c.SystemMode
		c.TotalTicks = c.Percent / 100 * coreMHz
	}
	for _, pid := range now.PIDs {
		u.Pids[strconv.Itoa(pid)] = &ResourceUsage{DeviceStats: []any{}}
	}
	return u
}

// keep drops samples of starts that are over.
func (m *usageMeter) keep(live map[driver.Running]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.last {
		if !live[key] {
			delete(m.last, key)
		}
	}
}

func (a *Agent) serveAllocStats(w http.ResponseWriter, r *http.Request) error {
	found, err := a.find(r)
	if err != nil {
		return err
	}
	task := r.URL.Query().Get("task")
	found.mu.Lock()
	view, group := found.view, found.group
	found.mu.Unlock()
	if task != "" && group.LookupTask(task) == nil {
		return badRequest("unknown task name %q", task)
	}
	cpu := a.node.Load().NodeResources.Cpu
	coreMHz := float64(cpu.CpuShares) / float64(max(cpu.TotalCpuCores, 1))
	usage := AllocUsage{Tasks: map[string]*TaskUsage{}, Timestamp: time.Now().UnixNano()}
	usage.ResourceUsage.DeviceStats = []any{}
	asked := map[string]driver.Running{}
	live := map[driver.Running]bool{}
	wait := false
	for name, running := range view.live {
		live[running] = true
		if task != "" && name != task {
			continue
		}
		began, err := found.meter.begin(r.Context(), running)
		if err != nil && !errors.Is(err, driver.ErrEnded) {
			return err
		}
		asked[name] = running
		wait = wait || began
	}
	if wait {
		select {
		case <-time.After(usageWindow):
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	for name, running := range asked {
		sample, err := running.Usage(r.Context())
		if errors.Is(err, driver.ErrEnded) {
			continue
		}
		if err != nil {
			return err
		}
		u := found.meter.measure(running, sample, coreMHz)
		usage.Tasks[name] = u
		usage.ResourceUsage.MemoryStats.Add(&sample.Memory)
		usage.ResourceUsage.CpuStats.add(&u.ResourceUsage.CpuStats)
	}
	found.meter.keep(live)
	return answerJSON(w, usage)
}
