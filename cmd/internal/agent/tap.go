package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"drover/cmd/internal/agentconfig"
)

// logTap lets others listen in on the agent's log, each at a level of its own.
type logTap struct {
	lowest atomic.Int64 // level that some listener wants to hear; no line is that high when there is none

	mu        sync.Mutex
	listeners []*listening
}

// listening is one listener. Lines that it is too slow for are counted and left
// out: nobody who listens may hold up the agent.
type listening struct {
	handler slog.Handler
	lines   chan []byte
	missed  atomic.Int64
}

func newLogTap() *logTap {
	t := &logTap{}
	t.lowest.Store(math.MaxInt64)
	return t
}

// logger is base with the tap in it.
func (t *logTap) logger(base *slog.Logger) *slog.Logger {
	return slog.New(&tapHandler{base: base.Handler(), tap: t})
}

// listen begins to collect lines as cfg wants them.
func (t *logTap) listen(cfg agentconfig.Log) *listening {
	l := &listening{lines: make(chan []byte, tapLines)}
	l.handler = newLogger(l, cfg).Handler()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners = append(t.listeners, l)
	t.lowest.Store(min(t.lowest.Load(), int64(cfg.Level.Level())))
	return l
}

// leave ends what listen began.
func (t *logTap) leave(l *listening) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners = slices.DeleteFunc(t.listeners, func(other *listening) bool { return other == l })
	lowest := int64(math.MaxInt64)
	for level := slog.Level(agentconfig.LevelTrace); level < agentconfig.LevelOff; level++ {
		if slices.ContainsFunc(t.listeners, func(l *listening) bool { return l.handler.Enabled(context.Background(), level) }) {
			lowest = int64(level)
			break
		}
	}
	t.lowest.Store(lowest)
}

// Write takes one line.
func (l *listening) Write(line []byte) (int, error) {
	select {
	case l.lines <- slices.Clone(line):
	default:
		l.missed.Add(1)
	}
	return len(line), nil
}

// next waits for lines and returns all that are there; none when done is closed
// or receives first.
func (l *listening) next(done <-chan struct{}, idle <-chan struct{}) []byte {
	var text []byte
	select {
	case text = <-l.lines:
	case <-done:
		return nil
	case <-idle:
		return nil
	}
	for len(text) < tapTogether {
		select {
		case line := <-l.lines:
			text = append(text, line...)
		default:
			if n := l.missed.Swap(0); n > 0 {
				text = fmt.Appendf(text, "    ... %d lines were left out: they came faster than they were read\n", n)
			}
			return text
		}
	}
	return text
}

// tapHandler hands lines to the agent's own log and to the listeners.
type tapHandler struct {
	base  slog.Handler
	tap   *logTap
	attrs [][]slog.Attr // for listeners, who come later
}

func (h *tapHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.base.Enabled(ctx, level) || int64(level) >= h.tap.lowest.Load()
}

func (h *tapHandler) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if h.base.Enabled(ctx, r.Level) {
		err = h.base.Handle(ctx, r)
	}
	if int64(r.Level) < h.tap.lowest.Load() {
		return err
	}
	h.tap.mu.Lock()
	defer h.tap.mu.Unlock()
	for _, l := range h.tap.listeners {
		if !l.handler.Enabled(ctx, r.Level) {
			continue
		}
		to := l.handler
		for _, attrs := range h.attrs {
			to = to.WithAttrs(attrs)
		}
		_ = to.Handle(ctx, r.Clone()) //nolint:errcheck // into memory
	}
	return err
}

func (h *tapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tapHandler{h.base.WithAttrs(attrs), h.tap, append(slices.Clone(h.attrs), attrs)}
}

// WithGroup is not used in this program: the field's lines have no groups.
func (h *tapHandler) WithGroup(name string) slog.Handler {
	return &tapHandler{h.base.WithGroup(name), h.tap, h.attrs}
}

const (
	// tapLines is how many lines wait for a listener: a second of a busy log at DEBUG.
	tapLines = 1024
	// tapTogether is about how many bytes of lines make one message.
	tapTogether = 32 << 10
)
