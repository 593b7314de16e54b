package api

import (
	"context"
	"net/http"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// Record is one line of the audit log.
type Record struct {
	Index     uint64
	Time      time.Time
	Kind      event.Kind
	Epoch     uint64
	CommandID event.ID
	Caller    event.Caller
	Cause     uint64 // index of the record that led to this one; 0 = a caller's own wish
	EvalID    event.ID
	Previous  event.Hash
	Hash      event.Hash
	Last      bool // of its command
	Event     event.Event
}

// NewRecord shows a record.
func NewRecord(r *event.Record) Record {
	return Record{
		Index: r.Index, Time: r.At(), Kind: r.Kind, Epoch: r.Epoch, CommandID: r.CommandID, Caller: r.Caller,
		Cause: r.Cause, EvalID: r.EvalID, Previous: r.Previous, Hash: r.Hash, Last: r.Last, Event: r.Event,
	}
}

// Verified is the outcome of a verification.
type Verified struct {
	Records uint64     // that are good, from the first
	Index   uint64     // of the last good one
	Hash    event.Hash // chained hash after it
	// BadIndex and Reason tell of the first damage; Reason is "" when there is none.
	BadIndex uint64
	Reason   string
}

// recordFilter is which records a reader of the audit log wants.
type recordFilter struct {
	kinds     map[event.Kind]bool // nil = all
	job       string              // "" = all
	namespace string
}

func parseRecordFilter(k *ask) (recordFilter, error) {
	f := recordFilter{job: k.Get("job"), namespace: k.Namespace}
	for _, name := range k.All("kind") {
		kind, err := event.ParseKind(name)
		if err != nil {
			return f, rest.Errorf(http.StatusBadRequest, "%v", err)
		}
		if f.kinds == nil {
			f.kinds = make(map[event.Kind]bool)
		}
		f.kinds[kind] = true
	}
	return f, nil
}

// wants reports whether a record is asked for. Evaluations and allocations are
// traced to their job by the newest state; what was collected from it is not.
func (f *recordFilter) wants(s *projections.State, r *event.Record) bool {
	if f.kinds != nil && !f.kinds[r.Kind] {
		return false
	}
	if f.job == "" {
		return true
	}
	asked := func(namespace, id string) bool {
		return id == f.job && (f.namespace == rest.AllNamespaces || namespace == f.namespace)
	}
	evaluation := func(id event.ID) bool {
		e := s.Evaluation(id)
		return e != nil && asked(e.Namespace, e.JobID)
	}
	switch e := r.Event.(type) {
	case *event.JobSubmitted:
		return asked(e.Namespace, e.JobID)
	case *event.JobStopped:
		return asked(e.Namespace, e.JobID)
	case *event.EvaluationCreated:
		return asked(e.Evaluation.Namespace, e.Evaluation.JobID)
	case *event.EvaluationUnblocked:
		return evaluation(e.EvalID)
	case *event.EvaluationEnded:
		return evaluation(e.EvalID)
	case *event.PlanCommitted:
		return asked(e.Namespace, e.JobID)
	case *event.AllocationsReported:
		for i := range e.Deltas {
			if a := s.Allocation(e.Deltas[i].ID); a != nil && asked(a.Job.Namespace, a.Job.ID) {
				return true
			}
		}
	}
	return false
}

// auditLog streams the log itself, record by record: what is there, and with
// follow what comes.
func (a *API) auditLog(w http.ResponseWriter, r *http.Request) error {
	k, err := a.ask(r)
	if err != nil {
		return err
	}
	from, err := indexFrom(k)
	if err != nil {
		return err
	}
	follow, err := k.Bool("follow", false, http.StatusBadRequest)
	if err != nil {
		return err
	}
	filter, err := parseRecordFilter(k)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !k.Stale {
		if err := a.catchUp(ctx); err != nil {
			return err
		}
	}
	head := a.cfg.Store.Snapshot().Index()
	out := newLines(w)
	if !follow {
		// Without a reader that waits, signs of life would only be in the way.
		w.Header().Set("Content-Type", "application/json")
		if from > head {
			return rest.Empty(w)
		}
	} else if err := out.begin(); err != nil {
		return nil
	}

	tail := a.cfg.OpenLog(from)
	defer tail.Close()
	batches := make(chan []projections.Entry)
	failed := make(chan error, 1)
	go func() {
		for {
			entries, err := tail.Next(ctx)
			if err != nil {
				failed <- err
				return
			}
			select {
			case batches <- entries:
			case <-ctx.Done():
				return
			}
		}
	}()
	heartbeat := time.NewTicker(logHeartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case entries := <-batches:
			state := a.cfg.Store.Snapshot()
			for _, entry := range entries {
				if !follow && entry.Index > head {
					return nil
				}
				record, err := projections.DecodeEntry(entry)
				if err != nil {
					return streamFailed(out, err)
				}
				if filter.wants(state, record) {
					if out.write(NewRecord(record)) != nil {
						return nil // the reader is gone
					}
				}
			}
			if !follow && entries[len(entries)-1].Index >= head {
				return nil
			}
		case err := <-failed:
			return streamFailed(out, err)
		case <-heartbeat.C:
			if follow && out.beat() != nil {
				return nil
			}
		}
	}
}

// streamFailed ends a stream that has begun: the reader is told in a last line.
func streamFailed(out *lines, err error) error {
	_ = out.write(struct{ Error string }{err.Error()}) // the reader may be gone: then nobody needs it
	return nil
}

// verify has the log read again and streams how far it is, and the outcome.
func (a *API) verify(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.ask(r); err != nil {
		return err
	}
	out := newLines(w)
	if err := out.begin(); err != nil {
		return nil
	}
	result, err := a.cfg.Verify(r.Context(), func(done, total uint64) {
		_ = out.write(struct{ Done, Total uint64 }{done, total}) // a reader that is gone ends r's context
	})
	type position struct {
		Index uint64
		Hash  event.Hash
	}
	switch {
	case err != nil:
		// Not being able to look is not damage.
		_ = out.write(struct{ Error string }{"the log could not be verified: " + err.Error()})
	case result.Reason != "":
		_ = out.write(map[string]any{"OK": false, "Index": result.BadIndex, "Reason": result.Reason})
	default:
		_ = out.write(struct {
			Records uint64
			Head    position
			OK      bool
		}{result.Records, position{result.Index, result.Hash}, true})
	}
	return nil
}
