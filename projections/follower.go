package projections

import (
	"context"
	"errors"
	"fmt"

	"drover/eventlog/event"
)

// Entry is one entry of the log as the follower reads it.
type Entry struct {
	Index uint64
	Hash  event.Hash // chained hash after this entry
	Data  []byte
}

// Tail reads the log in order, from a first index on, and waits at its end.
type Tail interface {
	Next(ctx context.Context) ([]Entry, error)
	Close()
}

// Follow folds the log into the store until ctx ends or the log cannot be read.
// While somebody else owns the store (the committer of a leading server), it
// rests and then goes on from where the store is.
func Follow(ctx context.Context, store *Store, open func(from uint64) Tail) error {
	for {
		tail := open(store.Snapshot().Index() + 1)
		err := follow(ctx, store, tail)
		tail.Close()
		if !errors.Is(err, errOvertaken) {
			return err
		}
	}
}

// errOvertaken says that somebody else has moved the store on meanwhile.
var errOvertaken = errors.New("the store is ahead of the tail")

func follow(ctx context.Context, store *Store, tail Tail) error {
	var part []*event.Record // of a command whose last record has not come yet
	for {
		entries, err := tail.Next(ctx)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			continue
		}
		current, giveUp, err := store.Own(ctx)
		if err != nil {
			return err
		}
		first := entries[0].Index
		if len(part) > 0 {
			first = part[0].Index
		}
		if first != current.Index()+1 {
			giveUp()
			return errOvertaken
		}
		part, err = foldEntries(store, current, part, entries)
		giveUp()
		if err != nil {
			return err
		}
	}
}

// foldEntries publishes the state after the last whole command, and returns the
// records of a command that is not whole yet.
func foldEntries(store *Store, current *State, part []*event.Record, entries []Entry) ([]*event.Record, error) {
	for _, entry := range entries {
		r, err := DecodeEntry(entry)
		if err != nil {
			return part, err
		}
		part = append(part, r)
	}
	whole := len(part)
	for whole > 0 && !part[whole-1].Last {
		whole--
	}
	if whole == 0 {
		return part, nil
	}
	draft := NewDraft(current)
	for _, r := range part[:whole] {
		draft.Apply(r)
	}
	store.Publish(part[:whole:whole], draft.Seal())
	return append([]*event.Record(nil), part[whole:]...), nil
}

// DecodeEntry reads a record out of an entry and checks that it says of itself
// what the log says of it.
func DecodeEntry(entry Entry) (*event.Record, error) {
	r, err := event.DecodeRecord(entry.Data)
	if err != nil {
		return nil, fmt.Errorf("entry %d of the log: %w", entry.Index, err)
	}
	if r.Index != entry.Index {
		return nil, fmt.Errorf("entry %d of the log: %w: it says that it is record %d", entry.Index, event.ErrMalformed, r.Index)
	}
	r.Hash, r.Size = entry.Hash, len(entry.Data)
	return r, nil
}
