package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// VerifyResult is what a walk over the whole chain found.
type VerifyResult struct {
	Entries uint64   // entries that are good, from the first
	Bytes   uint64   // their data
	Head    Position // after the last good one
	// Bad is the first damage, or nil if there is none. What follows it was not looked at: nothing vouches for it.
	Bad *CorruptionError
}

// Verify reads every entry up to the present head and recomputes the chain. The error is nil when the walk came to an
// end, be it at the head or at damage, which the result names. Progress, if not nil, is called now and then.
func (l *Log) Verify(ctx context.Context, progress func(done, total uint64)) (VerifyResult, error) {
	if err := l.usable(); err != nil {
		return VerifyResult{}, err
	}
	// Straight from the store: the copies in memory are not what is verified.
	return VerifySource(ctx, storedSource{logSource{l}}, l.Head(), progress)
}

type storedSource struct{ logSource }

func (s storedSource) Read(from, last uint64) ([]Entry, error) { return s.l.store.read(from, last) }

// VerifySource walks any source up to a head, with its own arithmetic rather than the Reader's.
func VerifySource(ctx context.Context, src Source, head Position, progress func(done, total uint64)) (VerifyResult, error) {
	return walkSource(ctx, src, head, progress, func(Entry) error { return nil })
}

// walkSource is VerifySource; it shows each good entry to visit, whose error ends the walk.
func walkSource(ctx context.Context, src Source, head Position, progress func(done, total uint64), visit func(Entry) error) (VerifyResult, error) {
	var res VerifyResult
	for res.Head.Index < head.Index {
		if err := ctx.Err(); err != nil {
			return res, fmt.Errorf("verify: stopped after entry %d: %w", res.Head.Index, err)
		}
		entries, err := src.Read(res.Head.Index+1, head.Index)
		for _, e := range entries {
			index := res.Head.Index + 1
			hash := Chain(res.Head.Hash, index, e.Data)
			if e.Index != index || e.Hash != hash {
				res.Bad = &CorruptionError{Path: src.Name(), Index: index, Reason: reasonChain}
				return res, nil
			}
			res.Head = Position{Index: index, Hash: hash}
			res.Entries++
			res.Bytes += uint64(len(e.Data))
			if err := visit(e); err != nil {
				return res, err
			}
		}
		if err != nil {
			if errors.As(err, &res.Bad) {
				return res, nil
			}
			return res, err
		}
		if progress != nil {
			progress(res.Head.Index, head.Index)
		}
	}
	if res.Head != head {
		res.Bad = &CorruptionError{Path: src.Name(), Index: head.Index,
			Reason: fmt.Sprintf("the chain leads to %v, the head is stored as %v", res.Head, head)}
	}
	return res, nil
}

// VerifyDir walks the chain in the data directory of a server that is stopped, and changes nothing in it.
func VerifyDir(ctx context.Context, dir string, progress func(done, total uint64)) (VerifyResult, error) {
	return verifyDir(ctx, vfs.Default, dir, progress)
}

// WalkDir is VerifyDir that also shows every good entry to visit, in order; an error of visit ends the walk.
func WalkDir(ctx context.Context, dir string, visit func(Entry) error) (VerifyResult, error) {
	return walkDir(ctx, vfs.Default, dir, nil, visit)
}

func verifyDir(ctx context.Context, fs vfs.FS, dir string, progress func(done, total uint64)) (VerifyResult, error) {
	return walkDir(ctx, fs, dir, progress, func(Entry) error { return nil })
}

func walkDir(ctx context.Context, fs vfs.FS, dir string, progress func(done, total uint64), visit func(Entry) error) (VerifyResult, error) {
	if _, err := readIdentity(fs, dir); err != nil {
		return VerifyResult{}, fmt.Errorf("verify %s: not the data directory of a log: %w", dir, err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, lockFile))
	if err != nil {
		return VerifyResult{}, fmt.Errorf("verify %s: in use by a running server, ask that one: %w", dir, err)
	}
	defer lock.Close()
	s, err := openStore(fs, fs.PathJoin(dir, storeDir), false, true, discardLogger)
	var bad *CorruptionError
	if errors.As(err, &bad) {
		return VerifyResult{Bad: bad}, nil
	}
	if err != nil {
		return VerifyResult{}, fmt.Errorf("verify: %w", err)
	}
	defer s.close()
	m, err := s.meta()
	if errors.As(err, &bad) {
		return VerifyResult{Bad: bad}, nil
	}
	if err != nil {
		return VerifyResult{}, fmt.Errorf("verify: %w", err)
	}
	return walkSource(ctx, offlineSource{s}, m.head, progress, visit)
}

// offlineSource is a store that nobody writes.
type offlineSource struct{ s *store }

func (o offlineSource) Newest() (Position, <-chan struct{})     { return Position{}, nil }
func (o offlineSource) Read(from, last uint64) ([]Entry, error) { return o.s.read(from, last) }
func (o offlineSource) HashAt(index uint64) (Hash, error)       { return o.s.hashAt(index) }
func (o offlineSource) Ended() <-chan struct{}                  { return nil }
func (o offlineSource) EndErr() error                           { return nil }
func (o offlineSource) Name() string                            { return o.s.path }
