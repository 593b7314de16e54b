package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
