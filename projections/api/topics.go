package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// topicLine is one line of the event stream: what one command did.
type topicLine struct {
	Index  uint64
	Events []topicEvent
}

// topicEvent is one object that changed, as it was after the commit.
type topicEvent struct {
	Topic      string
	Type       string // the operation that changed it
	Key        string
	Namespace  string
	FilterKeys []string
	Index      uint64
	Payload    any
}

// Topics of the event stream that this version has objects for.
const (
	topicJob        = "Job"
	topicEvaluation = "Evaluation"
	topicAllocation = "Allocation"
	topicNode       = "Node"
)

// topicFilter is which events a subscriber wants: by topic the keys, where "*"
// is every key. An empty filter wants everything.
type topicFilter struct {
	topics    map[string][]string
	namespace string
}

func parseTopics(k *ask) (topicFilter, error) {
	f := topicFilter{namespace: k.Namespace}
	for _, text := range k.All("topic") {
		topic, key, keyed := strings.Cut(text, ":")
		if strings.Contains(key, ":") || topic == "" || keyed && key == "" {
			return f, rest.Errorf(http.StatusBadRequest, "Invalid key value pair for topic: %s", text)
		}
		if !keyed {
			key = rest.AllNamespaces
		}
		if f.topics == nil {
			f.topics = make(map[string][]string)
		}
		f.topics[topic] = append(f.topics[topic], key)
	}
	return f, nil
}

// matters are what touches something that the filter may want.
func (f *topicFilter) matters() (list []matter) {
	for topic, s := range map[string]sort{
		topicJob: jobEvents, topicEvaluation: evaluationEvents, topicAllocation: allocationEvents, topicNode: nodeEvents,
	} {
		if f.wantsTopic(topic, "") {
			list = append(list, matter{sort: s})
		}
	}
	if list == nil {
		list = append(list, matter{sort: never})
	}
	return list
}

// wantsTopic reports whether some event of a topic and namespace may be wanted.
func (f *topicFilter) wantsTopic(topic, namespace string) bool {
	if namespace != "" && f.namespace != rest.AllNamespaces && namespace != f.namespace {
		return false
	}
	return f.topics == nil || f.topics[topic] != nil || f.topics["*"] != nil
}

// wantsJob reports whether some event of a job's evaluations or allocations may
// be wanted.
func (f *topicFilter) wantsJob(topic string, job event.JobKey) bool {
	if !f.wantsTopic(topic, job.Namespace) {
		return false
	}
	if f.topics == nil {
		return true
	}
	for _, keys := range [][]string{f.topics[topic], f.topics["*"]} {
		for _, key := range keys {
			if _, err := event.ParseID(key); key == "*" || key == job.ID || err == nil {
				return true
			}
		}
	}
	return false
}

func (f *topicFilter) wants(e *topicEvent) bool {
	if !f.wantsTopic(e.Topic, e.Namespace) {
		return false
	}
	return f.topics == nil || f.has(f.topics[e.Topic], e) || f.has(f.topics["*"], e)
}

func (f *topicFilter) has(keys []string, e *topicEvent) bool {
	for _, key := range keys {
		if key == "*" || key == e.Key || slices.Contains(e.FilterKeys, key) {
			return true
		}
	}
	return false
}

// topics is the field's event stream: JSON lines of what changed, from the
// commits that the store keeps. A subscriber that asks for older ones, or cannot
// keep up, misses them without being told, as the field's clients expect; the
// audit log is the stream without gaps.
func (a *API) topics(w http.ResponseWriter, r *http.Request) error {
	k, err := a.ask(r)
	if err != nil {
		return err
	}
	filter, err := parseTopics(k)
	if err != nil {
		return err
	}
	out := newLines(w)
	if err := out.begin(); err != nil {
		return nil
	}
	heartbeat := time.NewTicker(topicHeartbeat)
	defer heartbeat.Stop()

	after := uint64(0)
	if k.Index > 0 {
		// An index beyond the newest commit asks for the newest.
		after = min(k.Index-1, max(a.cfg.Store.Snapshot().Index(), 1)-1)
	}
	bell, silence := a.bell.listen(filter.matters()...)
	defer silence()
	for {
		commits, _ := a.cfg.Store.CommitsAfter(after)
		for _, c := range commits {
			for _, line := range topicLines(c, &filter, k.Index) {
				if out.write(line) != nil {
					return nil // the subscriber is gone
				}
			}
			after = c.Last()
		}
		select {
		case <-bell.rung:
		case <-heartbeat.C:
			if out.beat() != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// topicLines makes the lines of one commit: one for each command that changed
// something the filter wants, from the index first on.
func topicLines(c projections.Commit, filter *topicFilter, first uint64) []topicLine {
	var lines []topicLine
	for records := c.Records; len(records) > 0; {
		n := 1
		for n < len(records) && !records[n-1].Last {
			n++
		}
		command := records[:n]
		records = records[n:]
		line := topicLine{Index: command[n-1].Index}
		if line.Index < first && line.Index != c.Last() {
			continue
		}
		line.Events = topicEvents(c.State, command, filter)
		for i := range line.Events {
			line.Events[i].Index = line.Index
		}
		if len(line.Events) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// topicEvents shows what one command changed, as far as the filter wants it.
func topicEvents(s *projections.State, command []*event.Record, filter *topicFilter) []topicEvent {
	var list []topicEvent
	operation := operationOf(command)
	// Most events are not wanted, and payloads are large: they are made last.
	add := func(e topicEvent, payload func() map[string]any) {
		if e.FilterKeys == nil {
			e.FilterKeys = []string{}
		}
		if filter.wants(&e) {
			e.Payload = payload()
			list = append(list, e)
		}
	}
	evaluation := func(id event.ID) {
		if e := s.Evaluation(id); e != nil && filter.wantsJob(topicEvaluation, e.Job()) {
			add(topicEvent{Topic: topicEvaluation, Type: operation, Key: id.String(), Namespace: e.Namespace, FilterKeys: []string{e.JobID}},
				func() map[string]any { return map[string]any{"Evaluation": NewEvaluation(s, e, false)} })
		}
	}
	allocation := func(id event.ID, operation string) {
		if a := s.Allocation(id); a != nil && filter.wantsJob(topicAllocation, a.Job) {
			add(topicEvent{Topic: topicAllocation, Type: operation, Key: id.String(), Namespace: a.Job.Namespace, FilterKeys: []string{a.Job.ID}},
				func() map[string]any { return map[string]any{"Allocation": NewAllocation(s, a, false)} })
		}
	}
	node := func(id event.ID, operation string) {
		if n := s.Node(id); n != nil && filter.wantsTopic(topicNode, "") {
			add(topicEvent{Topic: topicNode, Type: operation, Key: id.String()},
				func() map[string]any { return map[string]any{"Node": NewNode(n)} })
		}
	}
	job := func(key event.JobKey, payload func() map[string]any) {
		add(topicEvent{Topic: topicJob, Type: operation, Key: key.ID, Namespace: key.Namespace}, payload)
	}
	for _, r := range command {
		switch e := r.Event.(type) {
		case *event.JobSubmitted:
			job(event.JobKey{Namespace: e.Namespace, ID: e.JobID}, func() map[string]any {
				return map[string]any{"Job": submittedJob(s, e)}
			})
		case *event.JobStopped:
			key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
			job(key, func() map[string]any {
				shown := &event.Job{ID: e.JobID, Namespace: e.Namespace, Stop: true, Status: "dead", Version: e.Version, SubmitTime: e.SubmitTime, ModifyIndex: r.Index}
				if j := s.Job(key); j != nil {
					shown = NewJob(j)
				}
				return map[string]any{"Deleted": e.Purge, "Job": shown}
			})
		case *event.EvaluationCreated:
			evaluation(e.Evaluation.ID)
		case *event.EvaluationUnblocked:
			evaluation(e.EvalID)
		case *event.EvaluationEnded:
			evaluation(e.EvalID)
		case *event.PlanCommitted:
			if filter.wantsJob(topicAllocation, event.JobKey{Namespace: e.Namespace, ID: e.JobID}) {
				for _, stop := range e.Stops {
					allocation(stop.ID, operation)
				}
				for _, id := range e.InPlace {
					allocation(id, operation)
				}
				for _, g := range e.Groups {
					for _, p := range g.Placements {
						allocation(event.AllocationID(e.EvalID, e.Basis, p.Ordinal), operation)
					}
				}
			}
			evaluation(e.EvalID)
		case *event.NodeRegistered:
			node(e.NodeID, "NodeRegistration")
		case *event.NodeChanged:
			if command[0] == r { // else its registration shows it already
				node(e.NodeID, "NodeRegistration")
			}
		case *event.NodeStatusChanged:
			node(e.NodeID, "NodeStreamEvent")
		case *event.AllocationsReported:
			if filter.wantsTopic(topicAllocation, "") {
				for i := range e.Deltas {
					allocation(e.Deltas[i].ID, "AllocationUpdated")
				}
			}
		}
	}
	return list
}

// submittedJob shows the version that was submitted, even when the commit holds
// a later one already.
func submittedJob(s *projections.State, e *event.JobSubmitted) *event.Job {
	if j := s.Job(event.JobKey{Namespace: e.Namespace, ID: e.JobID}); j != nil {
		if j.Version == e.Version {
			return NewJob(j)
		}
		for i := range j.Older {
			if j.Older[i].Version == e.Version {
				return oldJob(j, &j.Older[i])
			}
		}
	}
	job := &event.Job{ID: e.JobID, Namespace: e.Namespace}
	if spec := s.Spec(e.Spec); spec != nil {
		copied := *spec.Job
		job = &copied
	}
	job.Version, job.SubmitTime, job.Status = e.Version, e.SubmitTime, "dead"
	return job
}

// operationOf names what a command did, for the objects that it changed on the
// way: registering a job creates an evaluation "by JobRegistered".
func operationOf(command []*event.Record) string {
	for _, r := range command {
		switch r.Event.(type) {
		case *event.JobSubmitted:
			return "JobRegistered"
		case *event.JobStopped:
			return "JobDeregistered"
		case *event.PlanCommitted:
			return "PlanResult"
		}
	}
	return "EvaluationUpdated"
}

// lines writes a stream of JSON lines.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
	encoder *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	l := &lines{w: w, control: http.NewResponseController(w)}
	l.encoder = json.NewEncoder(&l.buf)
	l.encoder.SetEscapeHTML(false)
	return l
}

// begin sends the head, and a first sign of life so that the peer knows that
// the stream stands.
func (l *lines) begin() error {
	h := l.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	l.w.WriteHeader(http.StatusOK)
	return l.beat()
}

func (l *lines) beat() error { return l.write(struct{}{}) }

// write sends one line. An error means that the peer is gone or does not read;
// a value that cannot be encoded is a bug.
func (l *lines) write(value any) error {
	l.buf.Reset()
	if err := l.encoder.Encode(value); err != nil {
		panic("encode a line of a stream: " + err.Error())
	}
	return sendAll(l.w, l.control, l.buf.Bytes())
}

// sendAll writes and flushes within writeTimeout.
func sendAll(w http.ResponseWriter, control *http.ResponseController, data []byte) error {
	// A writer without deadlines is one without a network behind it. The deadline
	// is taken back afterwards: HTTP/2 would end an idle stream at it.
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	defer control.SetWriteDeadline(time.Time{})
	if _, err := w.Write(data); err != nil {
		return err
	}
	return control.Flush()
}

// indexFrom reads the index that a stream begins at; 1 when there is none.
func indexFrom(k *ask) (uint64, error) {
	text := k.Get("index")
	if text == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, rest.Errorf(http.StatusBadRequest, "Invalid index")
	}
	return max(n, 1), nil
}
