package agent

import (
	"context"
	"errors"
	"time"

	"drover/commands"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
)

// logBridge shows the replicated log, which knows bytes, to the committer and
// the fold, which know records.
type logBridge struct{ log *eventlog.Log }

// appendPatience is how long the committer waits for one append before it takes
// its outcome as unknown. Elections end sooner.
const appendPatience = 10 * time.Second

func (b logBridge) Append(ctx context.Context, after commands.Position, entries [][]byte) (commands.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	_, err := b.log.Append(ctx, eventlog.Position{Index: after.Index, Hash: eventlog.Hash(after.Hash)}, entries)
	switch {
	case err == nil:
		return commands.Committed, nil
	case errors.Is(err, eventlog.ErrUnknownOutcome):
		return commands.Unknown, err
	}
	return commands.Refused, err
}

func (b logBridge) Barrier(ctx context.Context) (commands.Position, error) {
	head, err := b.log.Barrier(ctx)
	return commands.Position{Index: head.Index, Hash: event.Hash(head.Hash)}, err
}

func (b logBridge) Leads() (bool, <-chan struct{}) {
	changed := b.log.LeadershipChanged()
	return b.log.Leadership().Leader, changed
}

func (b logBridge) Chain(previous event.Hash, index uint64, entry []byte) event.Hash {
	return event.Hash(eventlog.Chain(eventlog.Hash(previous), index, entry))
}

func (b logBridge) Tail(from uint64) projections.Tail { return &tailBridge{b.log.Tail(from)} }

type tailBridge struct{ reader *eventlog.Reader }

func (t *tailBridge) Next(ctx context.Context) ([]projections.Entry, error) {
	entries, err := t.reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]projections.Entry, len(entries))
	for i, e := range entries {
		out[i] = projections.Entry{Index: e.Index, Hash: event.Hash(e.Hash), Data: e.Data}
	}
	return out, nil
}

func (t *tailBridge) Close() { t.reader.Close() }

// CommitterLog shows the replicated log to a committer exactly as a server of
// this program does, so that benchmarks measure what is shipped.
func CommitterLog(log *eventlog.Log) commands.Log { return logBridge{log} }
