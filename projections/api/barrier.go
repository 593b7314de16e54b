package api

import (
	"context"
	"sync"
)

// sharedBarrier asks once for all who ask at the same time. Its simple meaning is
// that everybody calls ask: what counts for a caller is that the asking began
// after it came. So whoever comes while one is under way waits for the next, and
// shares that with all who come until it begins.
type sharedBarrier struct {
	ask func(ctx context.Context) error

	mu   sync.Mutex
	now  *round // under way
	next *round // begins when now has ended
}

// round is one asking and those who wait for it.
type round struct {
	ctx     context.Context
	cancel  context.CancelFunc
	callers int           // that still wait; the last one to give up ends it
	done    chan struct{} // closed when err is valid
	err     error
}

// pass returns when an asking that began after the call has ended, with its
// error, or when ctx ends.
func (s *sharedBarrier) pass(ctx context.Context) error {
	s.mu.Lock()
	r := s.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		r.ctx, r.cancel = context.WithCancel(context.Background())
		s.next = r
	}
	r.callers++
	if s.now == nil {
		s.begin()
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.callers--; r.callers == 0 {
		r.cancel()
		if s.next == r { // nobody is to join what is given up
			s.next = nil
		}
	}
	return ctx.Err()
}

// begin makes the next round the present one, if there is a next one. It is
// called with the lock.
func (s *sharedBarrier) begin() {
	s.now, s.next = s.next, nil
	if r := s.now; r != nil {
		go s.run(r)
	}
}

func (s *sharedBarrier) run(r *round) {
	r.err = s.ask(r.ctx)
	r.cancel()
	s.mu.Lock()
	s.begin()
	s.mu.Unlock()
	close(r.done)
}
