package scheduler

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"drover/eventlog/event"
)

func newHeartbeats(t *testing.T, l *ledger, now func() time.Time) *Heartbeats {
	h, err := NewHeartbeats(HeartbeatConfig{
		Source: l, Marker: l, Epoch: 3, Now: now,
		Jitter: func(max time.Duration) time.Duration { return max / 2 },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestASilentNodeIsDeclaredDown(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) { c.addNodes(2, "n", 1000, 1000) })
		h := newHeartbeats(t, l, time.Now)
		running(t, h.Run)
		// Both are silent at first, for less than the full grace after a start.
		pass(25 * time.Second)
		if ttl := h.Beat(nodeID("n0"), time.Now()); ttl != 15*time.Second {
			t.Fatalf("TTL %v, want 10 s and half of it as jitter", ttl)
		}
		if len(l.downNodes()) != 0 {
			t.Fatalf("declared down within the grace: %v", l.downNodes())
		}
		// n1 was never heard of: 2 x 10 s and 10 s.
		pass(7 * time.Second)
		if !slices.Equal(l.downNodes(), []event.ID{nodeID("n1")}) {
			t.Fatalf("down: %v, want n1", l.downNodes())
		}
		// n0 goes on as long as it sends.
		for range 20 {
			h.Beat(nodeID("n0"), time.Now())
			pass(20 * time.Second)
		}
		if len(l.downNodes()) != 1 {
			t.Fatalf("down: %v", l.downNodes())
		}
		pass(7 * time.Second) // 15 s and the grace of 10 s, since the last
		if !slices.Equal(l.downNodes(), []event.ID{nodeID("n1"), nodeID("n0")}) {
			t.Fatalf("down: %v, want both", l.downNodes())
		}
		if l.cluster.state.Node(nodeID("n0")).StatusDescription != reasonHeartbeat || l.epochs[0] != 3 {
			t.Error("the command lacks its reason or epoch")
		}
		// Down is down: it is not declared again.
		pass(time.Hour)
		if len(l.downNodes()) != 2 {
			t.Fatalf("down: %v", l.downNodes())
		}
	})
}

// TestAReportTakesNoTimeAway: every report is a sign of life and draws a time of
// its own. A node goes by the time that its last heartbeat was answered with, so
// one drawn since may give it more, and never less.
func TestAReportTakesNoTimeAway(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) { c.addNodes(1, "n", 1000, 1000) })
		h := newHeartbeats(t, l, time.Now)
		running(t, h.Run)
		longest := func(max time.Duration) time.Duration { return max }
		shortest := func(time.Duration) time.Duration { return 0 }
		for range 20 {
			h.config.Jitter = longest
			ttl := h.Beat(nodeID("n0"), time.Now())
			h.config.Jitter = shortest
			pass(time.Millisecond)
			h.Beat(nodeID("n0"), time.Now()) // a report
			// As late as it may be: its time, and the grace of 10 s.
			pass(ttl + 9*time.Second)
			if len(l.downNodes()) > 0 {
				t.Fatalf("down: %v", l.downNodes())
			}
		}
	})
}

func TestAServerThatStoodStillDeclaresNobodyDown(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) { c.addNodes(2, "n", 1000, 1000) })
		// The clock jumps: all goroutines of this server stood still for a minute.
		var mu sync.Mutex
		var stood time.Duration
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(stood)
		}
		h := newHeartbeats(t, l, now)
		running(t, h.Run)
		h.Beat(nodeID("n0"), now())
		h.Beat(nodeID("n1"), now())
		pass(5 * time.Second)
		mu.Lock()
		stood = time.Minute
		mu.Unlock()
		pass(28 * time.Second)
		if len(l.downNodes()) != 0 {
			t.Fatalf("down after a pause of the server: %v", l.downNodes())
		}
		h.Beat(nodeID("n0"), now())
		pass(5 * time.Second) // past the full grace of 30 s
		if !slices.Equal(l.downNodes(), []event.ID{nodeID("n1")}) {
			t.Fatalf("down: %v, want n1", l.downNodes())
		}
	})
}

func TestMarkingDownIsTriedAgainUnlessTheNodeSpeaks(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) { c.addNodes(2, "n", 1000, 1000) })
		l.refuse = errors.New("no leader")
		h := newHeartbeats(t, l, time.Now)
		running(t, h.Run)
		pass(35 * time.Second)
		l.mu.Lock()
		if len(l.epochs) < 3 {
			t.Errorf("%d tries", len(l.epochs))
		}
		l.refuse = nil
		h.Beat(nodeID("n0"), time.Now())
		l.mu.Unlock()
		pass(2 * time.Second)
		if !slices.Equal(l.downNodes(), []event.ID{nodeID("n1")}) {
			t.Fatalf("down: %v, want n1", l.downNodes())
		}
	})
}

func TestTTLGrowsWithTheFleet(t *testing.T) {
	h := &Heartbeats{config: HeartbeatConfig{TTLMin: heartbeatTTLMin}}
	for nodes, want := range map[int]time.Duration{0: 10 * time.Second, 500: 10 * time.Second, 5000: 100 * time.Second} {
		if got := h.ttl(nodes); got != want {
			t.Errorf("TTL of %d nodes is %v, want %v", nodes, got, want)
		}
	}
}
