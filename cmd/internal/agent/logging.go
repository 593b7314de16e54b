package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	hcli "github.com/hashicorp/cli"

	"drover/cmd/internal/agentconfig"
)

// newLogger writes the agent's own log the way the field's operators read it:
//
//	2026-01-02T15:04:05.000Z [INFO]  committer: committing: epoch=1 index=3
//
// or one JSON object per line.
func newLogger(w io.Writer, cfg agentconfig.Log) *slog.Logger {
	if cfg.JSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.Level, AddSource: cfg.Location}))
	}
	return slog.New(&lineHandler{level: cfg.Level, location: cfg.Location, out: &lockedWriter{w: w}})
}

// named is a logger for one part of the agent.
func named(l *slog.Logger, part string) *slog.Logger { return l.With(partKey, part) }

const partKey = "part"

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

type lineHandler struct {
	level    slog.Leveler
	location bool // say where in the code a line comes from
	out      *lockedWriter
	part     string
	attrs    []string
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *lineHandler) WithGroup(string) slog.Handler { return h }

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		if a.Key == partKey {
			c.part = a.Value.String()
			continue
		}
		c.attrs = append(c.attrs, formatAttr(a))
	}
	return &c
}

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "    %s %-7s ", r.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "["+agentconfig.LevelWord(r.Level)+"]")
	if h.part != "" {
		b.WriteString(h.part + ": ")
	}
	if source := r.Source(); h.location && source != nil {
		fmt.Fprintf(&b, "%s:%d: ", filepath.Base(source.File), source.Line)
	}
	b.WriteString(r.Message)
	parts := slices.Clone(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		parts = append(parts, formatAttr(a))
		return true
	})
	if len(parts) > 0 {
		b.WriteString(": " + strings.Join(parts, " "))
	}
	b.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(h.out.w, b.String())
	return err
}

func formatAttr(a slog.Attr) string {
	value := a.Value.Resolve()
	text := value.String()
	if value.Kind() == slog.KindTime {
		text = value.Time().UTC().Format(time.RFC3339)
	}
	if strings.ContainsAny(text, " \t\n\"=") {
		text = fmt.Sprintf("%q", text)
	}
	return a.Key + "=" + text
}

// heldBack keeps the log until the banner is out, then lets it through.
type heldBack struct {
	mu       sync.Mutex
	out      io.Writer
	held     []byte
	released bool
}

func (h *heldBack) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return h.out.Write(p)
	}
	h.held = append(h.held, p...)
	return len(p), nil
}

func (h *heldBack) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.released && len(h.held) > 0 {
		_, _ = h.out.Write(h.held) //nolint:errcheck // nowhere to say it
	}
	h.released, h.held = true, nil
}

// atMost lets the log through after d, banner or not, unless stop is called.
func (h *heldBack) atMost(d time.Duration) (stop func()) {
	timer := time.AfterFunc(d, h.release)
	return func() { timer.Stop() }
}

// uiWriter writes lines to the command line's standard output.
type uiWriter struct{ ui hcli.Ui }

func (w uiWriter) Write(p []byte) (int, error) {
	w.ui.Output(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
