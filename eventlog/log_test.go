package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// testConfig is a single replica in dir.
func testConfig(t testing.TB, dir string) Config {
	t.Helper()
	cfg := Config{Dir: dir, ClusterName: "test", ReplicaID: 1, RaftAddress: "127.0.0.1:0"}
	if os.Getenv("EVENTLOG_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func mustOpen(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSingleReplica(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	start := time.Now()
	l := mustOpen(t, testConfig(t, dir))
	opened := time.Since(start)
	head, err := l.Barrier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened after %v, first barrier after %v", opened, time.Since(start))
	if head != (Position{}) {
		t.Fatalf("new log has head %v", head)
	}
	if lead := l.Leadership(); !lead.Leader || lead.LeaderID != 1 {
		t.Fatalf("leadership %+v", lead)
	}
	reader := l.Tail(1)
	for i := range 10 {
		next, err := l.Append(ctx, head, [][]byte{fmt.Appendf(nil, "a%d", i), fmt.Appendf(nil, "b%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		head = next
	}
	if head != l.Head() || head.Index != 20 {
		t.Fatalf("head %v, log says %v", head, l.Head())
	}
	var stale *StaleError
	if _, err := l.Append(ctx, Position{}, [][]byte{{1}}); !errors.As(err, &stale) || stale.Head != head {
		t.Fatalf("stale append: %v", err)
	}
	for n := uint64(0); n < head.Index; {
		entries, err := reader.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += uint64(len(entries))
	}
	start = time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed after %v", time.Since(start))
	if _, err := l.Append(ctx, head, [][]byte{{1}}); !errors.Is(err, ErrClosed) {
		t.Fatalf("append to closed log: %v", err)
	}

	start = time.Now()
	l = mustOpen(t, testConfig(t, dir))
	opened = time.Since(start)
	again, err := l.Barrier(ctx)
	if err != nil || again != head {
		t.Fatalf("reopened: head %v, %v", again, err)
	}
	t.Logf("reopened after %v, first barrier after %v", opened, time.Since(start))
}

// TestReaders reads along while the log grows past what is kept in memory: fast readers, one that reads one batch and then waits,
// and one that comes when all is over see the same chain. The cut of Raft's log by bytes happens meanwhile.
func TestReaders(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t, t.TempDir())
	cfg.cutAfter = 4 << 20
	synced := make(chan struct{}, 100)
	cfg.Hooks.OnSync = func(_ time.Duration, err error) {
		if err != nil {
			t.Error(err)
		}
		synced <- struct{}{}
	}
	l := mustOpen(t, cfg)
	head, err := l.Barrier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const appends, each = 80, 10
	const total = appends * each
	// read reads to the end and returns the last hash; after the first batch it waits for the gate.
	read := func(r *Reader, gate <-chan struct{}) (Position, error) {
		defer r.Close()
		for {
			entries, err := r.Next(ctx)
			if err != nil {
				return Position{}, err
			}
			if last := entries[len(entries)-1]; last.Index == total {
				return last.Position(), nil
			}
			<-gate
		}
	}
	open, later := make(chan struct{}), make(chan struct{})
	close(open)
	type result struct {
		at  Position
		err error
	}
	results := make(chan result)
	for _, gate := range []chan struct{}{open, open, later} {
		r := l.Tail(1)
		go func() {
			at, err := read(r, gate)
			results <- result{at, err}
		}()
	}
	data := make([][]byte, each)
	for i := range data {
		data[i] = make([]byte, 40<<10)
	}
	for range appends {
		if head, err = l.Append(ctx, head, data); err != nil {
			t.Fatal(err)
		}
	}
	if first := l.recent.entries[0].Index; first < total/4 {
		t.Fatalf("memory still holds entry %d of %d: the test is too small to show anything", first, total)
	}
	close(later)
	for range 3 {
		if r := <-results; r.err != nil || r.at != head {
			t.Fatalf("a reader ended at %v (%v), the head is %v", r.at, r.err, head)
		}
	}
	if at, err := read(l.Tail(total/2), open); err != nil || at != head {
		t.Fatalf("a late reader ended at %v (%v)", at, err)
	}
	select {
	case <-synced:
	case <-ctx.Done():
		t.Fatal("Raft's log was never cut")
	}
}

// TestLimits: what is too large or empty is refused before anything is sent.
func TestLimits(t *testing.T) {
	ctx := testContext(t)
	l := mustOpen(t, testConfig(t, t.TempDir()))
	head, err := l.Barrier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, head, [][]byte{make([]byte, AppendBytesMax), {1}}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("too many bytes: %v", err)
	}
	if _, err := l.Append(ctx, head, make([][]byte, AppendEntriesMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("too many entries: %v", err)
	}
	if _, err := l.Append(ctx, head, nil); err == nil {
		t.Fatal("an append of nothing went through")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Append(gone, head, [][]byte{{1}}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("canceled before it began: %v", err)
	}
	if head, err = l.Append(ctx, head, [][]byte{make([]byte, AppendBytesMax)}); err != nil || head.Index != 1 {
		t.Fatalf("as large as allowed: %v, %v", head, err)
	}
	if head, err = l.Append(ctx, head, make([][]byte, AppendEntriesMax)); err != nil || head.Index != 1+AppendEntriesMax {
		t.Fatalf("as many as allowed: %v, %v", head, err)
	}
}

// TestCloseWhileBusy closes the log under appends, barriers and readers: all return, and nothing acknowledged is lost.
func TestCloseWhileBusy(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t, t.TempDir())
	l := mustOpen(t, cfg)
	if _, err := l.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan Position)
	go func() {
		var acked Position
		for i := 0; ; i++ {
			head, err := l.Append(ctx, acked, [][]byte{[]byte("x")})
			if err != nil {
				done <- acked
				return
			}
			acked = head
			if i == 5 {
				close(started)
			}
		}
	}()
	ended := make(chan error)
	go func() {
		for {
			if _, err := l.Barrier(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		r := l.Tail(1)
		for {
			if _, err := r.Next(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	<-started
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	acked := <-done
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Fatalf("ended with %v", err)
		}
	}
	l = mustOpen(t, cfg)
	head, err := l.Barrier(ctx)
	if err != nil || head.Index < acked.Index {
		t.Fatalf("acknowledged %v, reopened at %v, %v", acked, head, err)
	}
}

// TestSettingsFiles: Dragonboat's settings files in the working directory are refused, since they change what is stored.
func TestSettingsFiles(t *testing.T) {
	defer func(was []string) { settingsFiles = was }(settingsFiles)
	settingsFiles = []string{"dragonboat-hard-settings.json"}
	if _, err := Open(testConfig(t, t.TempDir())); err == nil || !strings.Contains(err.Error(), settingsFiles[0]) {
		t.Fatalf("got %v", err)
	}
}
