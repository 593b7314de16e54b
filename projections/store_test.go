package projections_test

import (
	"runtime"
	"testing"

	"drover/eventlog/event"
	"drover/projections"
)

// publish folds and publishes one commit of one record that is said to have so
// many bytes.
func publish(store *projections.Store, size int) *projections.State {
	s := store.Snapshot()
	r := &event.Record{Header: event.Header{Index: s.Index() + 1, Previous: s.Hash(), Last: true, Kind: event.KindSchedulerConfigured},
		Event: &event.SchedulerConfigured{Algorithm: "binpack"}, Hash: event.HashOf([]byte{byte(s.Index())}), Size: size}
	next := projections.Evolve(s, r)
	store.Publish([]*event.Record{r}, next)
	return next
}

// The store keeps the newest commits, and fewer states than commits, by count
// and by bytes; one that is larger than all bounds is kept until the next.
func TestStoreKeepsWhatIsNew(t *testing.T) {
	for _, test := range []struct {
		name                     string
		size, commits, ownStates int
	}{
		{"small", 100, 1024, 64},
		{"middling", 64 << 10, 128, 16},
		{"large", 512 << 10, 16, 2},
		{"too large", 16 << 20, 1, 1},
	} {
		store := projections.NewStore(projections.New())
		const published = 1500
		for range published {
			publish(store, test.size)
		}
		commits, _ := store.CommitsAfter(0)
		if len(commits) != test.commits {
			t.Errorf("%s: %d commits, want %d", test.name, len(commits), test.commits)
		}
		own := 0
		for i, c := range commits {
			if want := uint64(published - len(commits) + i + 1); c.Last() != want {
				t.Fatalf("%s: commit %d ends at %d, want %d", test.name, i, c.Last(), want)
			}
			if c.State.Index() == c.Last() {
				own++
			} else if want := uint64(published - test.ownStates + 1); c.State.Index() != want {
				t.Fatalf("%s: commit %d comes with the state at %d, want the oldest one, %d", test.name, i, c.State.Index(), want)
			}
		}
		if own != test.ownStates {
			t.Errorf("%s: %d commits come with their own state, want %d", test.name, own, test.ownStates)
		}
		if commits, _ := store.CommitsAfter(published - 1); len(commits) != 1 || commits[0].State != store.Snapshot() {
			t.Errorf("%s: the newest commit does not come with the newest state", test.name)
		}
		if commits, _ := store.CommitsAfter(published); len(commits) != 0 {
			t.Errorf("%s: commits after the newest", test.name)
		}
		if got := store.BytesFolded(); got != uint64(published*test.size) {
			t.Errorf("%s: %d bytes folded", test.name, got)
		}
	}
}

// A state that has left the store is garbage: nothing behind the slice of
// commits holds it.
func TestStoreLetsGoOfOldStates(t *testing.T) {
	store := projections.NewStore(projections.New())
	freed := make(chan struct{})
	runtime.AddCleanup(publish(store, 100), func(done chan struct{}) { close(done) }, freed)
	for range 65 {
		publish(store, 100)
	}
	for {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-t.Context().Done():
			t.Fatal("it is held")
		default:
		}
	}
}
