// Package audit shows records to people: one line each, and one sentence of
// what happened.
//
// The promise: any record has a line. One of a kind that this version does not
// know is shown with its index, time and kind, and its payload as it came.
package audit

import (
	"encoding/json"
	"fmt"
	"time"

	"drover/eventlog/event"
)

// Entry is one line of the record stream, decoded.
type Entry struct {
	Index uint64
	Time  time.Time
	Kind  string
	// Record is nil when the kind is not known to this version; Raw then holds
	// the event as it came.
	Record *event.Record
	Raw    json.RawMessage
}

// line is the JSON form of a record on the wire.
type line struct {
	Index     uint64
	Time      time.Time
	Kind      string
	Epoch     uint64
	CommandID event.ID
	Caller    json.RawMessage // an event.Caller; of a later version perhaps another
	Cause     uint64
	EvalID    event.ID
	Previous  event.Hash
	Hash      event.Hash
	Last      bool
	Event     json.RawMessage
}

// Decode reads one line of the record stream.
func Decode(data []byte) (*Entry, error) {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("decode a record: %w", err)
	}
	if l.Kind == "" {
		return nil, fmt.Errorf("decode a record: it has no kind")
	}
	entry := &Entry{Index: l.Index, Time: l.Time, Kind: l.Kind, Raw: l.Event}
	kind, err := event.ParseKind(l.Kind)
	if err != nil {
		return entry, nil // of a later version, and still a line
	}
	fact := event.New(kind)
	if len(l.Event) > 0 {
		if err := json.Unmarshal(l.Event, fact); err != nil {
			return nil, fmt.Errorf("decode record %d (%s): %w", l.Index, l.Kind, err)
		}
	}
	var caller event.Caller
	if len(l.Caller) > 0 {
		if err := json.Unmarshal(l.Caller, &caller); err != nil {
			return nil, fmt.Errorf("decode record %d (%s): %w", l.Index, l.Kind, err)
		}
	}
	entry.Record = &event.Record{
		Header: event.Header{
			Index: l.Index, Time: l.Time.UnixNano(), Kind: kind, Last: l.Last, Epoch: l.Epoch,
			CommandID: l.CommandID, Caller: caller, Cause: l.Cause, EvalID: l.EvalID, Previous: l.Previous,
		},
		Event: fact,
		Hash:  l.Hash,
	}
	return entry, nil
}

// Encode is the inverse of Decode: a record as one line of JSON, without the
// line's end.
func Encode(r *event.Record) ([]byte, error) {
	payload, err := json.Marshal(r.Event)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Index, err)
	}
	caller, err := json.Marshal(r.Caller)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Index, err)
	}
	return json.Marshal(line{
		Index: r.Index, Time: r.At(), Kind: r.Kind.String(), Epoch: r.Epoch, CommandID: r.CommandID, Caller: caller,
		Cause: r.Cause, EvalID: r.EvalID, Previous: r.Previous, Hash: r.Hash, Last: r.Last, Event: payload,
	})
}

// timeLayout has milliseconds: records of one command are that close.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Line is the entry for people: index, time in the zone, kind and summary.
func (e *Entry) Line(zone *time.Location) string {
	summary := string(e.Raw)
	if e.Record != nil {
		summary = Summary(e.Record)
	}
	return fmt.Sprintf("%6d  %s  %-20s  %s", e.Index, e.Time.In(zone).Format(timeLayout), e.Kind, summary)
}
