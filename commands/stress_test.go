package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/eventlog/memlog"
)

// Many callers, two servers, and faults by chance: appends lost, delayed, refused
// and answered to nobody, leaders that change, noticed and not. At the end the
// state that is published is the fold from zero, every acknowledged command is in
// the log, and none is in it twice. STRESS_SEED runs one seed again.
func TestStress(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if s, err := strconv.ParseUint(os.Getenv("STRESS_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stress(t, seed, 64, 8) })
		})
	}
}

func stress(t *testing.T, seed uint64, submitters, commandsEach int) {
	faults := memlog.NewCluster(2)
	servers := []*server{newServer(faults.Log(1), "s1", quiet()), newServer(faults.Log(2), "s2", quiet())}
	luck := &luck{faults: faults, chance: rand.New(rand.NewPCG(seed, 0)), on: true}
	for _, s := range servers {
		s.cfg.Log = unluckyLog{memLog{s.log}, luck}
		s.start()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()

	stopFaults, faultsDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(faultsDone)
		elections(faults, rand.New(rand.NewPCG(seed, 1000)), stopFaults)
	}()

	var mu sync.Mutex
	acknowledged := make(map[event.ID]uint64)
	refused := make(map[event.ID]bool)
	var wg sync.WaitGroup
	for i := range submitters {
		wg.Go(func() {
			chance := rand.New(rand.NewPCG(seed, uint64(i)+1))
			for n := range commandsEach {
				time.Sleep(time.Duration(chance.IntN(30)) * time.Millisecond)
				cmd := stressCommand(i, n, chance)
				index, err := insist(ctx, servers, cmd, chance)
				var rejection *Rejection
				mu.Lock()
				switch {
				case err == nil:
					acknowledged[cmd.ID] = index
				case errors.As(err, &rejection):
					refused[cmd.ID] = true
				default:
					t.Errorf("command %d of submitter %d: %v", n, i, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(stopFaults)
	<-faultsDone
	luck.end()
	faults.DeliverLate()
	faults.Elect(1)
	final, err := insist(ctx, servers, noteCommand("final"), rand.New(rand.NewPCG(seed, 999)))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		if _, err := s.store.Await(ctx, final-1); err != nil {
			t.Fatal(err)
		}
	}
	records, state, err := history(servers[0].log)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		s.stop(t)
		if got := s.store.Snapshot(); got.Index() == state.Index() && got.Checksum() != state.Checksum() {
			t.Errorf("a published state at %d is not the fold of the records", got.Index())
		} else if got.Index() < final || got.Index() > state.Index() {
			t.Errorf("a published state at %d of %d records", got.Index(), state.Index())
		}
	}
	times, last := effects(records), make(map[event.ID]uint64)
	for _, r := range records {
		last[r.CommandID] = r.Index
	}
	for id, n := range times {
		if n > 1 {
			t.Errorf("command %v took effect %d times", id, n)
		}
		if refused[id] {
			t.Errorf("command %v was refused and took effect", id)
		}
	}
	for id, index := range acknowledged {
		if times[id] != 1 || last[id] != index {
			t.Errorf("command %v was acknowledged at %d; it took effect %d times, up to %d", id, index, times[id], last[id])
		}
	}
	t.Logf("%d records, %d epochs, %d commands acknowledged, %d refused", len(records), state.Epoch(), len(acknowledged), len(refused))
}

// luck decides by chance what happens to each append.
type luck struct {
	faults *memlog.Cluster
	mu     sync.Mutex
	chance *rand.Rand
	on     bool
}

func (l *luck) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = false
}

func (l *luck) strike() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		return
	}
	switch l.chance.IntN(12) {
	case 0:
		l.faults.Inject(memlog.LoseAnswer)
	case 1:
		l.faults.Inject(memlog.Lose)
	case 2:
		l.faults.Inject(memlog.Late)
	case 3:
		l.faults.Inject(memlog.Refuse)
	case 4:
		l.faults.DeliverLate()
	}
}

// unluckyLog is the log with something happening to its appends.
type unluckyLog struct {
	memLog
	luck *luck
}

func (l unluckyLog) Append(ctx context.Context, after Position, entries [][]byte) (Outcome, error) {
	l.luck.strike()
	return l.memLog.Append(ctx, after, entries)
}

// elections change the leader, noticed or not, until they are told to stop.
func elections(faults *memlog.Cluster, chance *rand.Rand, stop <-chan struct{}) {
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		switch leader := uint64(chance.IntN(2) + 1); chance.IntN(5) {
		case 0:
			faults.Elect(leader)
		case 1:
			faults.ElectUnnoticed(leader)
		case 2, 3:
			faults.Notice()
		}
	}
}

func stressCommand(submitter, n int, chance *rand.Rand) Command {
	word := fmt.Sprintf("%d of %d", n, submitter)
	switch chance.IntN(4) {
	case 0:
		return command(word, submission(testJob(fmt.Sprintf("job%d", chance.IntN(8)), testGroup{name: "g", count: n})))
	case 1:
		c := submission(testJob(fmt.Sprintf("job%d", chance.IntN(8)), testGroup{name: "g", count: n}))
		c.EnforceIndex = true
		return command(word, c)
	}
	return noteCommand(word)
}

// insist does what a caller of our own does: it sends the command, under the same
// ID, until somebody answers it.
func insist(ctx context.Context, servers []*server, cmd Command, chance *rand.Rand) (uint64, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		result, err := servers[chance.IntN(len(servers))].Do(attempt, cmd)
		cancel()
		switch {
		case err == nil:
			return result.Index, nil
		case ctx.Err() == nil && (errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrNoLeader) || errors.Is(err, ErrBusy)):
			continue
		}
		return 0, err
	}
}
