package executor

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

// awaitGone waits until nothing of the allocations is left.
func awaitGone(t *testing.T, a *Agent, ids ...event.ID) {
	t.Helper()
	for _, id := range ids {
		if r, ok := a.runner(id); ok {
			select {
			case <-r.gone:
			case <-time.After(30 * time.Second):
				t.Fatalf("allocation %s is still there", id)
			}
		}
		for _, dir := range []string{filepath.Join(a.cfg.AllocDir, id.String()), filepath.Join(a.allocsDir(), id.String())} {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s is left, %v", dir, err)
			}
		}
	}
}

// runToEnd runs so many allocations one after the other, each recorded as ended before the next comes.
func runToEnd(t *testing.T, s *fakeServer, n int) (ids []event.ID) {
	t.Helper()
	for range n {
		id := s.place(shellJob("exit 0", batch))
		s.untilStatus(id, event.ClientComplete)
		ids = append(ids, id)
	}
	return ids
}

func TestEndedAllocationsAreCounted(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.Collection.AllocationsMax, cfg.Collection.Interval = 3, time.Hour
	a, stop := startAgent(t, cfg)
	live := s.place(shellJob("exec sleep 1000"))
	s.untilStatus(live, event.ClientRunning)
	ids := runToEnd(t, s, 2)
	if !a.Has(ids[0]) || !a.Has(ids[1]) {
		t.Fatal("three allocations may be kept, and one was removed")
	}
	ids = append(ids, runToEnd(t, s, 3)...)
	awaitGone(t, a, ids[:3]...)
	if !a.Has(live) || !a.Has(ids[3]) || !a.Has(ids[4]) {
		t.Error("more was removed than necessary, or what runs")
	}

	// The servers go on listing what has gone; that does not bring it back.
	stop()
	a, _ = startAgent(t, cfg)
	for _, id := range ids[:3] {
		if a.Has(id) {
			t.Errorf("allocation %s came back", id)
		}
	}
	if !a.Has(live) || !a.Has(ids[4]) {
		t.Error("a new agent has lost what was kept")
	}
}

func TestFullDiskTakesTheOldest(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	var percent atomic.Int64
	percent.Store(60)
	cfg.Collection = Collection{Interval: time.Hour, Parallel: 1}
	looked := make(chan struct{}, 1000)
	cfg.Host.DiskUse = func(path string) (DiskUse, error) {
		if path != cfg.AllocDir {
			t.Errorf("looked at %s", path)
		}
		// Each removal makes room.
		entries, err := os.ReadDir(path)
		if err != nil {
			return DiskUse{}, err
		}
		looked <- struct{}{}
		return DiskUse{Bytes: float64(percent.Load()) + 5*float64(len(entries))}, nil
	}
	a, _ := startAgent(t, cfg)
	live := s.place(shellJob("exec sleep 1000"))
	s.untilStatus(live, event.ClientRunning)
	ids := runToEnd(t, s, 3)
	<-looked
	if !a.Has(ids[0]) {
		t.Fatal("the disk is 80 % full, and that is allowed")
	}
	percent.Store(70)
	last := runToEnd(t, s, 1)[0]
	awaitGone(t, a, ids...)
	if !a.Has(live) || !a.Has(last) {
		t.Error("more was removed than necessary, or what runs")
	}
}

// TestUnrecordedEndIsKept follows what is known of an allocation until the servers have it.
func TestUnrecordedEndIsKept(t *testing.T) {
	b, id, now := newOutbox(), event.ID{7}, time.Now()
	holds := func(when string, want bool) {
		t.Helper()
		if b.holds(id) != want {
			t.Errorf("%s: holds %v", when, !want)
		}
	}
	holds("before anything", false)
	b.add(event.AllocDelta{ID: id, Client: event.ClientComplete}, now)
	holds("while it waits", true)
	if b.next(now.Add(time.Second), event.NodeCredentials{}) == nil {
		t.Fatal("there is no report")
	}
	holds("on its way", true)
	b.acknowledged()
	holds("once it is recorded", false)
}

func TestCollectOnDemand(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	a, live, client := v.agent, v.alloc, v.api
	ids := runToEnd(t, v.s, 3)
	if err := client.Allocations().GC(&api.Allocation{ID: ids[1].String()}, nil); err != nil {
		t.Error(err)
	}
	awaitGone(t, a, ids[1])
	if !a.Has(ids[0]) || !a.Has(ids[2]) {
		t.Error("the others went too")
	}
	err := client.Allocations().GC(&api.Allocation{ID: live.String()}, nil)
	if err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("removing what runs: %v", err)
	}
	err = client.Allocations().GC(&api.Allocation{ID: ids[1].String()}, nil)
	if err == nil || !strings.Contains(err.Error(), "Unknown allocation") {
		t.Errorf("removing what is gone: %v", err)
	}
	if err := client.Nodes().GC(a.NodeID().String(), nil); err != nil {
		t.Error(err)
	}
	awaitGone(t, a, ids...)
	if !a.Has(live) {
		t.Error("what runs was removed")
	}
}

func TestCollectionLimits(t *testing.T) {
	c := Collection{}.withDefaults()
	for _, test := range []struct {
		use         DiskUse
		allocations int
		want        string
	}{
		{DiskUse{80, 70}, 50, ""}, {DiskUse{80.1, 0}, 1, "disk usage"}, {DiskUse{0, 70.1}, 1, "inode usage"}, {DiskUse{}, 51, limitAllocations},
	} {
		if got := c.crowded(test.use, test.allocations); got != test.want {
			t.Errorf("%+v and %d allocations: %q, want %q", test.use, test.allocations, got, test.want)
		}
	}
	for _, wrong := range []Collection{{Interval: -1}, {Parallel: -1}, {AllocationsMax: -1}, {DiskPercentMax: 101}, {InodePercentMax: -1}} {
		if wrong.validate() == nil {
			t.Errorf("%+v is valid", wrong)
		}
	}
}
