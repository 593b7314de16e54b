package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/google/uuid"

	"drover/commands"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
)

// checkpointBytesMin is how much must have been folded since the last checkpoint
// before another is written. Beyond it, the room between two grows with the
// state, so that writing checkpoints stays a small part of all writing.
const checkpointBytesMin = 16 << 20

// checkpointer saves the state from time to time, so that a restart folds only
// what came after.
type checkpointer struct {
	store  *projections.Store
	files  *eventlog.Checkpoints
	record func(context.Context, commands.Command) (commands.Result, error)
	logger *slog.Logger
	server string // of the server, as the caller of the record
}

// latestCheckpoint is the newest state that was saved whole, or the empty one.
func latestCheckpoint(files *eventlog.Checkpoints, logger *slog.Logger) (*projections.State, error) {
	below := ^uint64(0)
	for {
		meta, body, problems, err := files.LatestAtOrBefore(projections.FoldVersion, below)
		for _, p := range problems {
			logger.Warn("a checkpoint cannot be used", "problem", p)
		}
		if err != nil || body == nil {
			return projections.New(), err
		}
		state, err := projections.Decode(body)
		closeErr := body.Close()
		if err == nil && closeErr == nil && state.Index() == meta.Index && state.Hash() == event.Hash(meta.Hash) {
			logger.Info("the fold begins at a checkpoint", "index", meta.Index, "bytes", meta.Bytes)
			return state, nil
		}
		logger.Warn("a checkpoint cannot be used", "index", meta.Index, "error", errors.Join(err, closeErr))
		if meta.Index == 0 {
			return projections.New(), nil
		}
		below = meta.Index - 1
	}
}

// run saves checkpoints until ctx ends.
func (c *checkpointer) run(ctx context.Context) error {
	last, gap := c.store.BytesFolded(), uint64(checkpointBytesMin)
	for {
		changed := c.store.Changed()
		if c.store.BytesFolded()-last < gap {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		last = c.store.BytesFolded()
		size, err := c.save(ctx)
		if err != nil {
			// Checkpoints only save time at the next start: go on without.
			c.logger.Warn("cannot save a checkpoint", "error", err)
		}
		gap = max(checkpointBytesMin, 2*size)
	}
}

// save writes one checkpoint of the newest state and records its digest.
func (c *checkpointer) save(ctx context.Context) (bytes uint64, err error) {
	state := c.store.Snapshot()
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(state.Encode(writer)) }()
	meta, err := c.files.Save(eventlog.CheckpointMeta{
		Index: state.Index(), Hash: eventlog.Hash(state.Hash()), FoldVersion: projections.FoldVersion,
	}, reader)
	reader.CloseWithError(err)
	if err != nil {
		return 0, err
	}
	c.logger.Info("checkpoint saved", "index", meta.Index, "bytes", meta.Bytes)
	_, err = c.record(ctx, commands.Command{
		ID:     event.ID(uuid.New()),
		Caller: event.Caller{Kind: event.CallerServer, Name: c.server},
		Body:   commands.RecordCheckpoint{At: meta.Index, FoldVersion: projections.FoldVersion, SHA256: event.Hash(meta.SHA256)},
	})
	if errors.Is(err, commands.ErrNoLeader) || ctx.Err() != nil {
		err = nil
	}
	return meta.Bytes, err
}
