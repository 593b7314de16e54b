package executor

import (
	"cmp"
	"slices"
	"time"

	"drover/eventlog/event"
)

// outbox gathers what changed until it may be sent, and holds what was sent until it is acknowledged. It knows no clock
// and no connection; report.go moves it.
//
// One report is on its way at a time and is repeated unchanged, under its number, until a server has it: a server that
// recorded it and whose answer was lost refuses the number or takes it as known, so nothing counts twice.
type outbox struct {
	sequence uint64                         // number of the newest report
	sent     *event.NodeReport              // on its way, or nil
	attempts int                            // to send it
	waiting  map[event.ID]*event.AllocDelta // what sent does not hold
	known    map[event.ID]event.ClientStatus
	ready    bool      // the next report is to say that the agent is ready
	due      time.Time // when waiting should be sent; zero while there is nothing
}

func newOutbox() *outbox {
	return &outbox{waiting: map[event.ID]*event.AllocDelta{}, known: map[event.ID]event.ClientStatus{}}
}

// add takes what changed of an allocation. A change of client status is due soon, anything else later.
func (b *outbox) add(d event.AllocDelta, now time.Time) {
	wait := eventWindow
	known, ok := b.known[d.ID]
	if !ok {
		known = event.ClientPending // what servers take a new allocation for: its first news can wait for a better one
	}
	if b.known[d.ID] = d.Client; known != d.Client {
		wait = urgentWindow
	}
	if due := now.Add(wait); b.due.IsZero() || due.Before(b.due) {
		b.due = due
	}
	old, ok := b.waiting[d.ID]
	if !ok {
		b.waiting[d.ID] = &d
		return
	}
	old.Client = d.Client
	for name, t := range d.Tasks {
		if before, ok := old.Tasks[name]; ok {
			merged := *t
			merged.Events = mergeEvents(before.Events, t.Events)
			t = &merged
		}
		if old.Tasks == nil {
			old.Tasks = map[string]*event.TaskState{}
		}
		old.Tasks[name] = t
	}
}

// mergeEvents is all events of both, in order. Times of one task's events strictly grow, so they tell them apart.
func mergeEvents(a, b []event.TaskEvent) []event.TaskEvent {
	merged := slices.Concat(a, b)
	slices.SortStableFunc(merged, func(x, y event.TaskEvent) int { return cmp.Compare(x.Time, y.Time) })
	return slices.CompactFunc(merged, func(x, y event.TaskEvent) bool { return x.Time == y.Time })
}

// becomeReady makes the next report, due at once, say that the agent is ready.
func (b *outbox) becomeReady(now time.Time) {
	b.ready = true
	b.due = now
}

// forget drops what is known of an allocation that is gone. What waits is still sent.
func (b *outbox) forget(id event.ID) { delete(b.known, id) }

// holds reports whether anything of an allocation is not recorded by the servers yet.
func (b *outbox) holds(id event.ID) bool {
	if _, waits := b.waiting[id]; waits {
		return true
	}
	return b.sent != nil && slices.ContainsFunc(b.sent.Deltas, func(d event.AllocDelta) bool { return d.ID == id })
}

// next is the report to send now, or nil. The one on its way comes first.
func (b *outbox) next(now time.Time, who event.NodeCredentials) *event.NodeReport {
	if b.sent != nil {
		return b.sent
	}
	if b.due.IsZero() || now.Before(b.due) {
		return nil
	}
	b.sequence++
	r := &event.NodeReport{NodeCredentials: who, Sequence: b.sequence}
	ids := make([]event.ID, 0, len(b.waiting))
	for id := range b.waiting {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, event.ID.Compare)
	if len(ids) > reportDeltasMax {
		ids = ids[:reportDeltasMax]
	}
	for _, id := range ids {
		r.Deltas = append(r.Deltas, *b.waiting[id])
		delete(b.waiting, id)
	}
	if len(b.waiting) == 0 { // only with the last of several: ready means that everything was reported
		r.Ready, b.ready = b.ready, false
		b.due = time.Time{}
	}
	b.sent, b.attempts = r, 0
	return r
}

// acknowledged takes the report off.
func (b *outbox) acknowledged() *event.NodeReport {
	r := b.sent
	b.sent = nil
	return r
}

// restart begins a new incarnation: numbers start again, and what was on its way counts as not sent.
func (b *outbox) restart(now time.Time) {
	if b.sent != nil {
		for _, d := range b.sent.Deltas {
			later, ok := b.waiting[d.ID]
			b.waiting[d.ID] = &d
			if ok {
				b.add(*later, now)
			}
		}
		b.ready = b.ready || b.sent.Ready
		b.due = now
	}
	b.sent, b.sequence = nil, 0
}
