package bench

import (
	"context"
	"encoding/json"
	"fmt"

	"drover/cmd/internal/apiclient"
	"drover/eventlog"
	"drover/eventlog/event"
)

// walk reads the whole log: of a server of ours once it has stopped, from its
// files; of another one through its API.
func (r *run) walk(ctx context.Context) (*ledger, error) {
	books := newLedger()
	r.show.phase("walk the log", func() string { return fmt.Sprintf("record %d", books.facts.head) })
	if !r.server.child() {
		return books, r.walkAPI(ctx, books)
	}
	if err := r.server.stop(); err != nil {
		return nil, err
	}
	return books, readLog(ctx, r.server.logDir(), books)
}

// readLog takes the log of a server that does not run into the books.
func readLog(ctx context.Context, dir string, books *ledger) error {
	outcome, err := eventlog.WalkDir(ctx, dir, func(e eventlog.Entry) error {
		record, err := event.DecodeRecord(e.Data)
		if err != nil {
			return fmt.Errorf("record %d: %w", e.Index, err)
		}
		books.apply(record, len(e.Data))
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk the log: %w", err)
	}
	if outcome.Bad != nil {
		books.find(outcome.Bad.Index, "the chain is broken: %s", outcome.Bad.Reason)
	}
	return nil
}

func (r *run) walkAPI(ctx context.Context, books *ledger) error {
	err := r.server.api.Records(ctx, apiclient.RecordRequest{Index: 1}, func(line []byte) error {
		var row struct {
			Index uint64
			Kind  string
			Time  event.Stamp
			Event json.RawMessage
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("decode a record: %w", err)
		}
		kind, err := event.ParseKind(row.Kind)
		if err != nil {
			return err
		}
		record := &event.Record{Header: event.Header{Index: row.Index, Time: int64(row.Time), Kind: kind}, Event: event.New(kind)}
		if err := json.Unmarshal(row.Event, record.Event); err != nil {
			return fmt.Errorf("decode record %d (%v): %w", row.Index, kind, err)
		}
		books.apply(record, 0)
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk the log: %w", err)
	}
	outcome, err := r.server.api.Verify(ctx, func(uint64, uint64) {})
	if err != nil {
		return fmt.Errorf("verify the log: %w", err)
	}
	if !outcome.OK {
		books.find(outcome.Index, "the chain is broken: %s", outcome.Reason)
	}
	return nil
}
