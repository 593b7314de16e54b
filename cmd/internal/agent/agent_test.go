package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/cmd/internal/agentconfig"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
)

func TestLogLinesReadAsTheFieldsDo(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	handler := newLogger(&out, agentconfig.Log{Level: level}).Handler().WithAttrs([]slog.Attr{slog.String(partKey, "committer")})
	at := time.Date(2026, 1, 2, 15, 4, 5, 6e6, time.UTC)
	r := slog.NewRecord(at, slog.LevelWarn, "append refused", 0)
	r.Add("after", 7, "error", "the head is 8", "since", at)
	if err := handler.Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	const want = "    2026-01-02T15:04:05.006Z [WARN]  committer: append refused: after=7 error=\"the head is 8\" since=2026-01-02T15:04:05Z\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	if handler.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("a line below the level is enabled")
	}
	level.Set(slog.LevelDebug)
	if !handler.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("a level that was set by a reload has no effect")
	}
}

func TestLogIsHeldBackUntilTheBannerIsOut(t *testing.T) {
	var out bytes.Buffer
	held := &heldBack{out: &out}
	_, _ = io.WriteString(held, "early\n")
	if out.Len() != 0 {
		t.Errorf("written before the release: %q", out.String())
	}
	held.release()
	_, _ = io.WriteString(held, "late\n")
	if out.String() != "early\nlate\n" {
		t.Errorf("got %q", out.String())
	}
}

// What a start waits for without end, such as room on the disk, stands in the log.
func TestLogIsNotHeldBackForeverByAStartThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		held := &heldBack{out: &out}
		defer held.atMost(startPatience)()
		_, _ = io.WriteString(held, "why\n")
		time.Sleep(startPatience)
		synctest.Wait()
		if out.String() != "why\n" {
			t.Errorf("got %q", out.String())
		}
	})
}

func TestGroupEndsWithItsFirstFailure(t *testing.T) {
	g := newGroup(context.Background())
	broken := errors.New("broken")
	g.run("a", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.run("b", func(context.Context) error { return broken })
	if err := g.wait(); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "b: ") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g = newGroup(ctx)
	g.run("a", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	cancel()
	if err := g.wait(); err != nil {
		t.Errorf("told to end: got %v", err)
	}
}

// TestLatestCheckpointThatIsWhole damages the newest checkpoint: the one before
// it is taken, and with both gone the fold begins at zero.
func TestLatestCheckpointThatIsWhole(t *testing.T) {
	dir := t.TempDir()
	files, err := eventlog.OpenCheckpoints(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	state := projections.New()
	for range 2 {
		draft := projections.NewDraft(state)
		draft.Apply(&event.Record{
			Header: event.Header{Index: state.Index() + 1, Kind: event.KindCommitterStarted, Previous: state.Hash(), Last: true},
			Event:  &event.CommitterStarted{Epoch: state.Index() + 1},
			Hash:   event.HashOf([]byte{byte(state.Index())}),
		})
		state = draft.Seal()
		var body bytes.Buffer
		if err := state.Encode(&body); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Save(eventlog.CheckpointMeta{
			Index: state.Index(), Hash: eventlog.Hash(state.Hash()), FoldVersion: projections.FoldVersion,
		}, &body); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.checkpoint"))
	if err != nil || len(names) != 2 {
		t.Fatalf("checkpoints: %v %v", names, err)
	}
	logger := slog.New(slog.DiscardHandler)
	for want := uint64(2); ; want-- {
		got, err := latestCheckpoint(files, logger)
		if err != nil {
			t.Fatal(err)
		}
		if got.Index() != want {
			t.Fatalf("checkpoint at %d, want %d", got.Index(), want)
		}
		if want == 0 {
			break
		}
		data, err := os.ReadFile(names[want-1])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(names[want-1], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
