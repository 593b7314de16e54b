package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group runs parts that live and end together: the first that fails ends all.
type group struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

// errEnded is the cause of an end that nobody is to blame for.
var errEnded = errors.New("ended")

func (g *group) run(name string, f func(context.Context) error) {
	g.running.Go(func() {
		if err := f(g.ctx); err != nil && g.ctx.Err() == nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// wait returns when all parts have ended: nil when they were told to.
func (g *group) wait() error {
	g.running.Wait()
	cause := context.Cause(g.ctx)
	g.cancel(errEnded)
	if cause == nil || errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return nil
	}
	return cause
}
