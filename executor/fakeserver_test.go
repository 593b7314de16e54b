package executor

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/eventlog/event"
)

// fakeServer is the servers' side of the agent protocol over real HTTP, as small as it can be: it keeps the orders that a
// test gives and folds the reports that come in.
type fakeServer struct {
	t    *testing.T
	http *httptest.Server

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	node     *event.Node
	creds    event.NodeCredentials
	ready    bool
	index    uint64
	orders   map[event.ID]event.Order
	jobs     map[event.Hash]*event.Job
	streams  map[chan *event.OrderBatch]bool
	status   map[event.ID]event.ClientStatus
	tasks    map[event.ID]map[string]*event.TaskState
	repeated int // events that came a second time
	sequence uint64
	reports  int
	ttl      time.Duration
	// Failures to inject, each counted down.
	loseAnswers int  // record the report, then drop the connection
	forget      bool // answer the next heartbeat with "register"
	registered  int
	opened      int // order streams
}

func newFakeServer(t *testing.T) *fakeServer {
	s := &fakeServer{
		t: t, changed: make(chan struct{}), orders: map[event.ID]event.Order{}, jobs: map[event.Hash]*event.Job{},
		streams: map[chan *event.OrderBatch]bool{}, status: map[event.ID]event.ClientStatus{},
		tasks: map[event.ID]map[string]*event.TaskState{}, index: 10, ttl: 10 * time.Second,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathRegister, func(w http.ResponseWriter, r *http.Request) {
		var m event.NodeRegistration
		if !s.read(w, r, &m) {
			return
		}
		s.update(func() {
			if s.node != nil && s.creds.Incarnation != m.Incarnation {
				s.sequence = 0
			}
			s.node, s.creds, s.ready = m.Node, m.NodeCredentials, false
			s.registered++
		})
		s.answer(w, event.NodeAnswer{HeartbeatTTL: int64(s.ttl)})
	})
	mux.HandleFunc("POST "+pathHeartbeat, func(w http.ResponseWriter, r *http.Request) {
		var m event.NodeHeartbeat
		if !s.read(w, r, &m) {
			return
		}
		answer := event.NodeAnswer{HeartbeatTTL: int64(s.ttl)}
		s.update(func() { answer.Register, s.forget = s.forget, false })
		s.answer(w, answer)
	})
	mux.HandleFunc("POST "+pathReport, s.report)
	mux.HandleFunc("GET "+pathOrders, s.stream)
	s.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

func (s *fakeServer) address() string { return strings.TrimPrefix(s.http.URL, "http://") }

// update changes the server's state and tells who waits.
func (s *fakeServer) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits for a condition that reports or registrations bring about.
func (s *fakeServer) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		good, changed := ok(), s.changed
		s.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			s.mu.Lock()
			defer s.mu.Unlock()
			for id, tasks := range s.tasks {
				for name, t := range tasks {
					s.t.Logf("%s %s %s: %v failed=%v restarts=%d", id.Short(), s.status[id], name, t.State, t.Failed, t.Restarts)
					for _, e := range t.Events {
						s.t.Logf("    %s: %s", e.Type, e.Message())
					}
				}
			}
			s.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (s *fakeServer) untilStatus(id event.ID, want event.ClientStatus) {
	s.t.Helper()
	s.until("allocation "+want.String(), func() bool { return s.status[id] == want })
}

func (s *fakeServer) read(w http.ResponseWriter, r *http.Request, v any) bool {
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = event.Unmarshal(b, v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (s *fakeServer) answer(w http.ResponseWriter, a event.NodeAnswer) {
	b, err := event.Marshal(a)
	if err != nil {
		s.t.Error(err)
	}
	w.Write(b)
}

func (s *fakeServer) report(w http.ResponseWriter, r *http.Request) {
	var m event.NodeReport
	if !s.read(w, r, &m) {
		return
	}
	old, lose := false, false
	s.update(func() {
		switch {
		case m.Incarnation < s.creds.Incarnation || m.Incarnation == s.creds.Incarnation && m.Sequence <= s.sequence:
			old = true
			return
		case m.Sequence != s.sequence+1:
			s.t.Errorf("report %d follows %d", m.Sequence, s.sequence)
		}
		s.sequence = m.Sequence
		s.reports++
		s.ready = s.ready || m.Ready
		for _, d := range m.Deltas {
			s.fold(d)
		}
		if s.loseAnswers > 0 {
			s.loseAnswers--
			lose = true
		}
	})
	switch {
	case lose:
		panic(http.ErrAbortHandler)
	case old:
		http.Error(w, "report is older than the last one", http.StatusConflict)
	default:
		s.answer(w, event.NodeAnswer{})
	}
}

func (s *fakeServer) fold(d event.AllocDelta) {
	s.status[d.ID] = d.Client
	if s.tasks[d.ID] == nil {
		s.tasks[d.ID] = map[string]*event.TaskState{}
	}
	for name, t := range d.Tasks {
		merged := *t
		merged.Events = nil
		if old := s.tasks[d.ID][name]; old != nil {
			merged.Events = old.Events
		}
		for _, e := range t.Events {
			if n := len(merged.Events); n > 0 && e.Time <= merged.Events[n-1].Time {
				s.repeated++
				continue
			}
			merged.Events = append(merged.Events, e)
		}
		s.tasks[d.ID][name] = &merged
	}
}

func (s *fakeServer) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.Header.Get(headerNodeID) != s.creds.NodeID.String() || r.Header.Get(headerNodeSecret) != s.creds.Secret.String() ||
		r.Header.Get(headerNodeIncarnation) != strconv.FormatUint(s.creds.Incarnation, 10) {
		s.mu.Unlock()
		http.Error(w, "unknown node", http.StatusNotFound)
		return
	}
	full := &event.OrderBatch{Generation: event.Generation{Index: s.index}, Full: true, Specs: s.jobs}
	for _, o := range s.orders {
		o.KnownTerminal = o.KnownTerminal || s.status[o.ID].Terminal()
		full.Orders = append(full.Orders, o)
	}
	batches := make(chan *event.OrderBatch, 64)
	batches <- full
	s.streams[batches] = true
	s.mu.Unlock()
	s.update(func() { s.opened++ })
	defer s.update(func() { delete(s.streams, batches) })
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				return
			}
			body, err := event.Marshal(b)
			if err != nil {
				s.t.Error(err)
				return
			}
			w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body))))
			w.Write(body)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// cut ends all order streams.
func (s *fakeServer) cut() {
	s.update(func() {
		for c := range s.streams {
			close(c)
			delete(s.streams, c)
		}
	})
}

// push sends a batch to the nodes that listen.
func (s *fakeServer) push(b *event.OrderBatch) {
	for c := range s.streams {
		c <- b
	}
}

// place orders an allocation of the job's first group.
func (s *fakeServer) place(job *event.Job, change ...func(*event.Order)) event.ID {
	s.t.Helper()
	b, err := event.Marshal(job)
	if err != nil {
		s.t.Fatal(err)
	}
	spec := event.HashOf(b)
	var id event.ID
	s.update(func() {
		s.index++
		id = event.DeriveID("test", event.ID{1}, s.index)
		o := event.Order{
			ID: id, Job: event.JobKey{Namespace: "default", ID: job.ID}, Spec: spec, Group: job.TaskGroups[0].Name,
			Desired: event.DesiredRun, ModifyIndex: s.index,
		}
		for _, f := range change {
			f(&o)
		}
		s.orders[id], s.jobs[spec] = o, job
		s.push(&event.OrderBatch{
			Generation: event.Generation{Index: s.index}, Specs: map[event.Hash]*event.Job{spec: job}, Orders: []event.Order{o},
		})
	})
	return id
}

// stop orders an allocation to stop.
func (s *fakeServer) stop(id event.ID) {
	s.update(func() {
		s.index++
		o := s.orders[id]
		o.Desired, o.ModifyIndex = event.DesiredStop, s.index
		s.orders[id] = o
		s.push(&event.OrderBatch{Generation: event.Generation{Index: s.index}, Orders: []event.Order{o}})
	})
}

// collect makes the servers forget an allocation.
func (s *fakeServer) collect(id event.ID) {
	s.update(func() {
		s.index++
		delete(s.orders, id)
		s.push(&event.OrderBatch{Generation: event.Generation{Index: s.index}, Gone: []event.ID{id}})
	})
}

// history is the types of a task's events in order.
func (s *fakeServer) history(id event.ID, task string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var types []string
	if t := s.tasks[id][task]; t != nil {
		for _, e := range t.Events {
			types = append(types, e.Type.String())
		}
	}
	return strings.Join(types, ", ")
}
