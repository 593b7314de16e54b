package api

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"sync"

	"drover/eventlog/event"
	"drover/projections"
)

// newsDesk keeps what the last few commits tell the event stream, for all who
// read it. Its simple meaning is that each subscriber makes the lines that it
// wants of each commit: showing an object and encoding it costs a hundred times
// what sending it does, and hundreds of subscribers want the same objects.
type newsDesk struct {
	mu          sync.Mutex
	subscribers int
	kept        map[*event.Record]*news // by the first record of its commit
	order       []*news                 // kept, in the order in which they were made
	events      int                     // in kept, at most
}

// subscribe keeps news from now on, until the last subscriber has called done.
func (d *newsDesk) subscribe() (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscribers++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.subscribers--; d.subscribers == 0 {
			d.kept, d.order, d.events = nil, nil, 0 // they hold old states
		}
	}
}

// of is what a commit tells.
func (d *newsDesk) of(c projections.Commit) *news {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.kept[c.Records[0]]; n != nil {
		return n
	}
	n := newNews(c)
	for len(d.order) > 0 && d.events+n.events > newsEventsMax {
		oldest := d.order[0]
		d.order[0], d.order, d.events = nil, d.order[1:], d.events-oldest.events
		delete(d.kept, oldest.commit.Records[0])
	}
	if d.kept == nil {
		d.kept = make(map[*event.Record]*news)
	}
	d.kept[c.Records[0]] = n
	d.order, d.events = append(d.order, n), d.events+n.events
	return n
}

// news is what one commit tells: made as far as somebody wants it, and once.
type news struct {
	commit   projections.Commit
	commands []commandNews
	events   int // at most
}

// commandNews is a line of the stream: what one command did.
type commandNews struct {
	index uint64
	parts []*newsPart
}

// newsPart is what one record tells of one topic.
type newsPart struct {
	topic string
	job   event.JobKey // that it is about; zero if that is not known, or there is none
	list  func() []*topicEvent
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

	// encoded is all of it in JSON.
	encoded func() []byte
}

func newNews(c projections.Commit) *news {
	n := &news{commit: c}
	for records := c.Records; len(records) > 0; {
		size := 1
		for size < len(records) && !records[size-1].Last {
			size++
		}
		command := records[:size]
		records = records[size:]
		t := teller{state: c.State, line: commandNews{index: command[size-1].Index}}
		t.tell(command)
		n.commands, n.events = append(n.commands, t.line), n.events+t.events
	}
	return n
}

// tell writes the lines that the filter wants, from the index first on: one for
// each command that changed something.
func (n *news) tell(out *bytes.Buffer, filter *topicFilter, first uint64) {
	for i := range n.commands {
		c := &n.commands[i]
		if c.index < first && c.index != n.commit.Last() {
			continue
		}
		begun := false
		for e := range c.wanted(filter) {
			if begun {
				out.WriteByte(',')
			} else {
				out.WriteString(`{"Index":`)
				out.Write(strconv.AppendUint(out.AvailableBuffer(), c.index, 10))
				out.WriteString(`,"Events":[`)
				begun = true
			}
			out.Write(e.encoded())
		}
		if begun {
			out.WriteString("]}\n")
		}
	}
}

// wanted visits the events that the filter wants.
func (c *commandNews) wanted(filter *topicFilter) iter.Seq[*topicEvent] {
	return func(yield func(*topicEvent) bool) {
		for _, part := range c.parts {
			if !filter.wantsPart(part) {
				continue
			}
			for _, e := range part.list() {
				if filter.wants(e) && !yield(e) {
					return
				}
			}
		}
	}
}

// teller makes the news of one command.
type teller struct {
	state  *projections.State
	line   commandNews
	events int
}

// part adds what one record tells of one topic: at most so many events.
func (t *teller) part(topic string, job event.JobKey, events int, list func() []*topicEvent) {
	t.line.parts = append(t.line.parts, &newsPart{topic, job, sync.OnceValue(list)})
	t.events += events
}

// event makes one. Its payload is made when it is wanted: most are not.
func (t *teller) event(e topicEvent, payload func() map[string]any) *topicEvent {
	if e.FilterKeys == nil {
		e.FilterKeys = []string{}
	}
	e.Index = t.line.index
	e.encoded = sync.OnceValue(func() []byte {
		shown := e
		shown.Payload = payload()
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(shown); err != nil {
			panic("encode an event of the stream: " + err.Error())
		}
		return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	})
	return &e
}

func (t *teller) evaluation(id event.ID, operation string) {
	t.part(topicEvaluation, event.JobKey{}, 1, func() []*topicEvent {
		e := t.state.Evaluation(id)
		if e == nil {
			return nil
		}
		return []*topicEvent{t.event(
			topicEvent{Topic: topicEvaluation, Type: operation, Key: id.String(), Namespace: e.Namespace, FilterKeys: []string{e.JobID}},
			func() map[string]any { return map[string]any{"Evaluation": NewEvaluation(t.state, e, false)} })}
	})
}

// allocations are those of one job, or of any job when that is zero.
func (t *teller) allocations(job event.JobKey, n int, ids iter.Seq[event.ID], operation string) {
	t.part(topicAllocation, job, n, func() (list []*topicEvent) {
		for id := range ids {
			a := t.state.Allocation(id)
			if a == nil {
				continue
			}
			list = append(list, t.event(
				topicEvent{Topic: topicAllocation, Type: operation, Key: id.String(), Namespace: a.Job.Namespace, FilterKeys: []string{a.Job.ID}},
				func() map[string]any { return map[string]any{"Allocation": NewAllocation(t.state, a, false)} }))
		}
		return list
	})
}

func (t *teller) node(id event.ID, operation string) {
	t.part(topicNode, event.JobKey{}, 1, func() []*topicEvent {
		n := t.state.Node(id)
		if n == nil {
			return nil
		}
		return []*topicEvent{t.event(topicEvent{Topic: topicNode, Type: operation, Key: id.String()},
			func() map[string]any { return map[string]any{"Node": NewNode(n)} })}
	})
}

// joinedPool tells of the pool that a node made by coming into it, if it did.
func (t *teller) joinedPool(n *event.Node, index uint64) {
	if n == nil {
		return
	}
	if p := t.state.NodePool(event.PoolOf(n.NodePool)); p != nil && p.CreateIndex == index {
		t.nodePool(&event.NodePool{Name: p.Name}, "NodePoolUpserted")
	}
}

// nodePool shows a pool as it is after the commit or, if it is gone, as it was set.
func (t *teller) nodePool(was *event.NodePool, operation string) {
	t.part(topicNodePool, event.JobKey{}, 1, func() []*topicEvent {
		return []*topicEvent{t.event(topicEvent{Topic: topicNodePool, Type: operation, Key: was.Name}, func() map[string]any {
			p := t.state.NodePool(was.Name)
			if p == nil {
				p = &projections.NodePool{NodePool: *was}
			}
			return map[string]any{"NodePool": NewNodePool(p)}
		})}
	})
}

func (t *teller) job(key event.JobKey, operation string, payload func() map[string]any) {
	t.part(topicJob, key, 1, func() []*topicEvent {
		return []*topicEvent{t.event(topicEvent{Topic: topicJob, Type: operation, Key: key.ID, Namespace: key.Namespace}, payload)}
	})
}

// tell is what one command changed.
func (t *teller) tell(command []*event.Record) {
	operation := operationOf(command)
	for _, r := range command {
		switch e := r.Event.(type) {
		case *event.JobSubmitted:
			t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID}, operation, func() map[string]any {
				return map[string]any{"Job": submittedJob(t.state, e)}
			})
		case *event.JobStopped:
			key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
			t.job(key, operation, func() map[string]any {
				shown := &event.Job{ID: e.JobID, Namespace: e.Namespace, Stop: true, Status: "dead", Version: e.Version, SubmitTime: e.SubmitTime, ModifyIndex: r.Index}
				if j := t.state.Job(key); j != nil {
					shown = NewJob(j)
				}
				return map[string]any{"Deleted": e.Purge, "Job": shown}
			})
		case *event.EvaluationCreated:
			t.evaluation(e.Evaluation.ID, operation)
		case *event.EvaluationUnblocked:
			t.evaluation(e.EvalID, operation)
		case *event.EvaluationEnded:
			t.evaluation(e.EvalID, operation)
		case *event.PlanCommitted:
			n := len(e.Stops) + len(e.InPlace)
			for i := range e.Groups {
				n += len(e.Groups[i].Placements)
			}
			t.allocations(event.JobKey{Namespace: e.Namespace, ID: e.JobID}, n, touchedBy(e), operation)
			t.evaluation(e.EvalID, operation)
		case *event.NodeRegistered:
			t.node(e.NodeID, "NodeRegistration")
			t.joinedPool(e.Node, r.Index)
		case *event.NodePoolSet:
			t.nodePool(&e.Pool, "NodePoolUpserted")
		case *event.NodePoolDeleted:
			t.nodePool(&event.NodePool{Name: e.Name}, "NodePoolDeleted")
		case *event.NodeChanged:
			if command[0] == r { // else its registration shows it already
				t.node(e.NodeID, "NodeRegistration")
			}
			t.joinedPool(e.Rest, r.Index)
		case *event.NodeStatusChanged:
			t.node(e.NodeID, "NodeStreamEvent")
		case *event.NodeEligibilitySet:
			t.node(e.NodeID, "NodeEligibility")
		case *event.AllocationsReported:
			t.allocations(event.JobKey{}, len(e.Deltas), reportedBy(e), "AllocationUpdated")
		case *event.AllocationsMarked:
			t.allocations(event.JobKey{}, len(e.IDs), slices.Values(e.IDs), "AllocationUpdateDesiredStatus")
		}
	}
}

// touchedBy are the allocations that a plan stops, updates in place and places.
func touchedBy(plan *event.PlanCommitted) iter.Seq[event.ID] {
	return func(yield func(event.ID) bool) {
		for i := range plan.Stops {
			if !yield(plan.Stops[i].ID) {
				return
			}
		}
		for _, id := range plan.InPlace {
			if !yield(id) {
				return
			}
		}
		for g := range plan.Groups {
			for i := range plan.Groups[g].Placements {
				if !yield(event.AllocationID(plan.EvalID, plan.Basis, plan.Groups[g].Placements[i].Ordinal)) {
					return
				}
			}
		}
	}
}

func reportedBy(report *event.AllocationsReported) iter.Seq[event.ID] {
	return func(yield func(event.ID) bool) {
		for i := range report.Deltas {
			if !yield(report.Deltas[i].ID) {
				return
			}
		}
	}
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
