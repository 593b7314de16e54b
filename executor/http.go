package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"drover/eventlog/event"
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
	var asked []*meteredTask
	for name, running := range view.live {
		if task == "" || name == task {
			asked = append(asked, &meteredTask{name: name, running: running, meter: &found.meter})
		}
	}
	if err := meterAll(r.Context(), asked, coreMHz(a.node.Load())); err != nil {
		return err
	}
	usage := AllocUsage{Tasks: map[string]*TaskUsage{}, Timestamp: time.Now().UnixNano()}
	usage.ResourceUsage.DeviceStats = []any{}
	for _, t := range asked {
		if t.usage == nil {
			continue // it has ended
		}
		usage.Tasks[t.name] = t.usage
		usage.ResourceUsage.MemoryStats.Add(&t.usage.ResourceUsage.MemoryStats)
		usage.ResourceUsage.CpuStats.add(&t.usage.ResourceUsage.CpuStats)
	}
	found.meter.keep(view.live)
	return answerJSON(w, usage)
}
