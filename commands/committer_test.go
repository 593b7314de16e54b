package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/eventlog/memlog"
)

// committed demands that a command was answered with success.
func committed(t *testing.T, c <-chan reply) reply {
	t.Helper()
	synctest.Wait()
	r, ok := answered(c)
	if !ok {
		t.Fatal("no answer")
	}
	if r.err != nil {
		t.Fatalf("answered: %v", r.err)
	}
	if r.State.Index() < r.Index {
		t.Fatalf("answered with index %d and a state at %d", r.Index, r.State.Index())
	}
	return r
}

func notYet(t *testing.T, c <-chan reply) {
	t.Helper()
	synctest.Wait()
	if r, ok := answered(c); ok {
		t.Fatalf("answered too soon: %s", describeReply(r))
	}
}

func failed(t *testing.T, c <-chan reply, want error) {
	t.Helper()
	synctest.Wait()
	r, ok := answered(c)
	if !ok {
		t.Fatal("no answer")
	}
	if !errors.Is(r.err, want) {
		t.Fatalf("answered %s, want %v", describeReply(r), want)
	}
}

// once demands that the log holds each command exactly once, and that all
// published states equal a fold from zero.
func once(t *testing.T, servers []*server, words ...string) []*event.Record {
	t.Helper()
	synctest.Wait()
	records, state, err := history(servers[0].log)
	if err != nil {
		t.Fatal(err)
	}
	times := effects(records)
	for _, w := range words {
		if n := times[named("command "+w)]; n != 1 {
			t.Errorf("command %s took effect %d times", w, n)
		}
	}
	for _, s := range servers {
		if got := s.store.Snapshot(); got.Index() != state.Index() || got.Checksum() != state.Checksum() {
			t.Errorf("a server published a state at %d that is not the fold of the %d records", got.Index(), state.Index())
		}
	}
	return records
}

// one runs a test with a single server.
func one(t *testing.T, test func(t *testing.T, s *server, faults *memlog.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		s := newServer(log, "s1", quiet()).start()
		test(t, s, log.Cluster())
		s.stop(t)
	})
}

// two runs a test with two servers, of which the first leads.
func two(t *testing.T, test func(t *testing.T, first, second *server, faults *memlog.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		cluster := memlog.NewCluster(2)
		first, second := newServer(cluster.Log(1), "s1", quiet()).start(), newServer(cluster.Log(2), "s2", quiet()).start()
		synctest.Wait()
		test(t, first, second, cluster)
		first.stop(t)
		second.stop(t)
	})
}

func TestCommitterOpensAnEpoch(t *testing.T) {
	one(t, func(t *testing.T, s *server, _ *memlog.Cluster) {
		r := committed(t, s.send(noteCommand("a")))
		if r.Index != 4 || len(r.Records) != 1 {
			t.Errorf("%s", describeReply(r))
		}
		records := once(t, []*server{s}, "a")
		var kinds []string
		for _, r := range records {
			kinds = append(kinds, r.Kind.String())
		}
		if got := strings.Join(kinds, " "); got != "ClusterCreated SchedulerConfigured CommitterStarted BlobStored" {
			t.Error(got)
		}
		if records[2].Epoch != 1 || records[3].Epoch != 1 || !records[2].Last || records[1].Last {
			t.Errorf("headers %+v, %+v", records[2].Header, records[3].Header)
		}
	})
}

// Hole: an append is delayed; others go through; then it arrives.
func TestLateAppendAfterOthersWentThrough(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		synctest.Wait()
		faults.Inject(memlog.Late)
		a := s.send(noteCommand("a"))
		b := s.send(noteCommand("b"))
		committed(t, a)
		committed(t, b)
		for _, err := range faults.DeliverLate() {
			if err == nil {
				t.Error("the late append came in")
			}
		}
		once(t, []*server{s}, "a", "b")
	})
}

// Hole: the answer of an append is lost. It is read from the log, and answered
// with what it did.
func TestUnknownOutcomeThatWasApplied(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		synctest.Wait()
		before := s.log.Head().Index
		faults.Inject(memlog.LoseAnswer)
		r := committed(t, s.send(noteCommand("a")))
		if r.Index != before+1 || len(r.Records) != 1 || r.Records[0].CommandID != named("command a") {
			t.Errorf("%s", describeReply(r))
		}
		once(t, []*server{s}, "a")
		if len(s.epochs) != 2 {
			t.Errorf("epochs %v: the outcome was not settled behind a new epoch", s.epochs)
		}
	})
}

func TestUnknownOutcomeThatWasNotApplied(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		synctest.Wait()
		faults.Inject(memlog.Lose)
		refused := s.send(command("r", refusal{}))
		committed(t, s.send(noteCommand("a")))
		synctest.Wait()
		var rejection *Rejection
		if r, ok := answered(refused); !ok || !errors.As(r.err, &rejection) {
			t.Errorf("a refusal of the same batch: %v %v", r.err, ok)
		}
		once(t, []*server{s}, "a")
	})
}

// Hole: the delayed append arrives before anything else, after the committer has
// given up waiting.
func TestUnknownOutcomeThatIsAppliedLate(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		synctest.Wait()
		before := s.log.Head().Index
		faults.Inject(memlog.Late, memlog.Refuse)
		a := s.send(noteCommand("a"))
		notYet(t, a) // the epoch cannot be opened at once
		if errs := faults.DeliverLate(); len(errs) != 1 || errs[0] != nil {
			t.Fatalf("late appends: %v", errs)
		}
		time.Sleep(time.Second)
		if r := committed(t, a); r.Index != before+1 {
			t.Errorf("%s", describeReply(r))
		}
		once(t, []*server{s}, "a")
	})
}

// Nobody learns whether it was applied until a majority can be asked again:
// "failed" is never answered for it.
func TestUnknownOutcomeWithoutLeader(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		synctest.Wait()
		faults.Inject(memlog.LoseAnswer, memlog.Refuse, memlog.Refuse)
		a := s.send(noteCommand("a"))
		notYet(t, a)
		faults.Depose()
		time.Sleep(time.Minute)
		notYet(t, a)
		faults.Elect(1)
		time.Sleep(time.Second)
		committed(t, a)
		once(t, []*server{s}, "a")
	})
}

// Hole: a rejection decided on a head that is not the head any more. A server
// that was deposed and does not know it answers nothing.
func TestRejectionOnAStaleHead(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		job := submission(testJob("web", testGroup{name: "g", count: 1}))
		faults.ElectUnnoticed(2)
		committed(t, second.send(command("submit", job)))
		// On the first server's head the job is not there.
		stale := first.send(command("evaluate", EvaluateJob{Key: event.JobKey{Namespace: "default", ID: "web"}}))
		notYet(t, stale)
		time.Sleep(time.Minute)
		failed(t, stale, ErrNoLeader)
		faults.Notice()
		once(t, []*server{first, second}, "submit")

		// The same when leadership comes back in time: decided anew on the new head.
		faults.Elect(1)
		synctest.Wait()
		faults.ElectUnnoticed(2)
		committed(t, second.send(command("submit db", submission(testJob("db", testGroup{name: "g", count: 1})))))
		stale = first.send(command("evaluate db", EvaluateJob{Key: event.JobKey{Namespace: "default", ID: "db"}}))
		notYet(t, stale)
		faults.Elect(1)
		time.Sleep(time.Second)
		committed(t, stale)
		once(t, []*server{first, second}, "submit db", "evaluate db")
	})
}

// So is the answer "it is so already": it stands on a head too.
func TestNothingToDoOnAStaleHead(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		faults.ElectUnnoticed(2)
		committed(t, second.send(command("submit", submission(testJob("web", testGroup{name: "g", count: 1})))))
		stop := first.send(command("stop", StopJob{Key: event.JobKey{Namespace: "default", ID: "web"}}))
		notYet(t, stop)
		faults.Elect(1)
		if r := committed(t, stop); len(r.Records) != 2 {
			t.Errorf("stopped on a head that was gone: %s", describeReply(r))
		}
		once(t, []*server{first, second}, "submit", "stop")
	})
}

// Hole: a deposed leader appends. Its command is decided by nobody or by the
// next leader, never by both.
func TestDeposedLeader(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		faults.ElectUnnoticed(2)
		a := first.send(noteCommand("a"))
		b := second.send(noteCommand("b"))
		committed(t, b)
		notYet(t, a)
		faults.Notice()
		time.Sleep(time.Minute)
		failed(t, a, ErrNoLeader)
		records := once(t, []*server{first, second}, "b")
		if n := effects(records)[named("command a")]; n != 0 {
			t.Errorf("the deposed leader's command took effect %d times", n)
		}
		// Its caller asks the new leader.
		committed(t, second.send(noteCommand("a")))
		once(t, []*server{first, second}, "a", "b")
	})
}

// Hole: a reactor that was born under a leader before acts.
func TestCommandOfAnOldReactor(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		epoch := first.store.Snapshot().Epoch()
		old := noteCommand("old")
		old.Epoch = epoch
		committed(t, first.send(old))
		faults.Elect(2)
		older := noteCommand("older")
		older.Epoch = epoch
		answer := second.send(older)
		synctest.Wait()
		var rejection *Rejection
		if r, ok := answered(answer); !ok || !errors.As(r.err, &rejection) || rejection.Reason != ReasonSuperseded {
			t.Errorf("%v %v", r.err, ok)
		}
		now := noteCommand("now")
		now.Epoch = epoch + 1
		committed(t, second.send(now))
		once(t, []*server{first, second}, "old", "now")
	})
}

// A command that comes again takes effect once and gets its first answer, here,
// in the same batch, and from the next leader.
func TestRepeatedCommand(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		submit := command("submit", submission(testJob("web", testGroup{name: "g", count: 1})))
		want := committed(t, first.send(submit))
		same := func(got reply) {
			t.Helper()
			if got.Index != want.Index || len(got.Records) != len(want.Records) {
				t.Fatalf("%s, the first time %s", describeReply(got), describeReply(want))
			}
			for i, r := range got.Records {
				a, _ := event.AppendRecord(nil, r)
				b, _ := event.AppendRecord(nil, want.Records[i])
				if !bytes.Equal(a, b) || r.Hash != want.Records[i].Hash {
					t.Errorf("record %d differs from the first answer", r.Index)
				}
			}
		}
		same(committed(t, first.send(submit)))
		committed(t, first.send(noteCommand("a")))
		faults.Elect(2)
		same(committed(t, second.send(submit)))
		once(t, []*server{first, second}, "submit", "a")

		// After a while it is forgotten, and then refused, since it was derived from the same ID.
		time.Sleep(time.Hour)
		committed(t, second.send(noteCommand("b")))
		answer := second.send(submit)
		synctest.Wait()
		var rejection *Rejection
		if r, ok := answered(answer); !ok || !errors.As(r.err, &rejection) || rejection.Reason != ReasonSuperseded {
			t.Errorf("%v %v", r.err, ok)
		}
		once(t, []*server{first, second}, "submit", "a", "b")
	})
}

func TestRepeatedCommandInOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(memlog.New(), "s1", quiet())
		a, again := s.send(noteCommand("a")), s.send(noteCommand("a"))
		s.start()
		x, y := committed(t, a), committed(t, again)
		if x.Index != y.Index || len(x.Records) != 1 || len(y.Records) != 1 {
			t.Errorf("%s, %s", describeReply(x), describeReply(y))
		}
		once(t, []*server{s}, "a")
		s.stop(t)
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(memlog.New(), "s1", quiet())
		late := noteCommand("late")
		late.Deadline = time.Now().Add(time.Second)
		early := noteCommand("early")
		early.Deadline = time.Now().Add(time.Hour)
		a, b := s.send(late), s.send(early)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		s.start()
		failed(t, a, ErrDeadline)
		committed(t, b)
		records := once(t, []*server{s}, "early")
		if effects(records)[late.ID] != 0 {
			t.Error("a command took effect after its deadline")
		}
		s.stop(t)
	})
}

// A caller that stops waiting is told that the outcome is unknown.
func TestCallerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(memlog.New(), "s1", quiet())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.Do(ctx, noteCommand("a"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		s.start()
		once(t, []*server{s}, "a")
		s.stop(t)
	})
}

func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(memlog.New(), "s1", quiet())
		var answers []<-chan reply
		for i := range queueCommandsMax {
			answers = append(answers, s.send(noteCommand(fmt.Sprint(i))))
		}
		synctest.Wait()
		failed(t, s.send(noteCommand("one more")), ErrBusy)
		s.start()
		for _, a := range answers {
			committed(t, a)
		}
		committed(t, s.send(noteCommand("one more")))
		s.stop(t)
	})
}

func TestNoLeader(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		faults.Depose()
		a := s.send(noteCommand("a"))
		notYet(t, a) // elections take less
		time.Sleep(noLeaderWait + time.Second)
		failed(t, a, ErrNoLeader)
		b := s.send(noteCommand("b"))
		notYet(t, b)
		faults.Elect(1)
		committed(t, b)
		if r := once(t, []*server{s}, "b"); effects(r)[named("command a")] != 0 {
			t.Error("a command that was told \"no leader\" took effect")
		}
	})
}

// A leader that cannot reach the others believes for a while that it leads. What
// asks nothing of the log but a confirmation is told after a while, too.
func TestLeaderThatCannotConfirm(t *testing.T) {
	two(t, func(t *testing.T, first, _ *server, faults *memlog.Cluster) {
		faults.Lag(1, true)
		faults.Lag(2, true)
		faults.ElectUnnoticed(0)
		b := first.send(noteCommand("b"))
		notYet(t, b)
		a := first.send(command("a", refusal{}))
		notYet(t, a)
		time.Sleep(3 * noLeaderWait)
		failed(t, a, ErrNoLeader)
		notYet(t, b) // it was in an append: its outcome is unknown until a leader is there
		c := first.send(noteCommand("c"))
		time.Sleep(3 * noLeaderWait)
		failed(t, c, ErrNoLeader)
		faults.Lag(1, false)
		faults.Lag(2, false)
		faults.Elect(1)
		time.Sleep(noLeaderWait)
		committed(t, b)
	})
}

func TestBatchesAreSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(memlog.New(), "s1", quiet())
		var answers []<-chan reply
		var words []string
		for i := range 16 {
			words = append(words, fmt.Sprint(i))
			answers = append(answers, s.send(command(words[i], note{words[i], 100 << 10})))
		}
		huge := s.send(command("huge", note{"huge", appendBytesMax}))
		synctest.Wait()
		s.start()
		for _, a := range answers {
			committed(t, a)
		}
		synctest.Wait()
		var rejection *Rejection
		if r, ok := answered(huge); !ok || !errors.As(r.err, &rejection) || rejection.Reason != ReasonTooLarge {
			t.Errorf("a command that is too large alone: %v %v", r.err, ok)
		}
		once(t, []*server{s}, words...)
		for _, info := range s.appends {
			if info.Bytes > appendBytesMax {
				t.Errorf("%v", info)
			}
		}
		if len(s.appends) != 4 { // five of them fit into one
			t.Errorf("%d appends: %v", len(s.appends), s.appends)
		}
		s.stop(t)
	})
}

// A bug in a rule costs the command that met it, not the server and not the
// commands beside it.
func TestBugsCostOneCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := newServer(memlog.New(), "s1", testLogger(&logged))
		before, bad, worse, after := s.send(noteCommand("before")), s.send(command("bad", impossible{})), s.send(command("worse", broken{})), s.send(noteCommand("after"))
		synctest.Wait()
		s.start()
		committed(t, before)
		committed(t, after)
		for _, c := range []<-chan reply{bad, worse} {
			r, ok := answered(c)
			var rejection *Rejection
			if !ok || r.err == nil || errors.As(r.err, &rejection) || !strings.Contains(r.err.Error(), "internal error") {
				t.Errorf("%v %v", r.err, ok)
			}
		}
		once(t, []*server{s}, "before", "after")
		if !strings.Contains(logged.String(), "cannot be folded") || !strings.Contains(logged.String(), "a bug") {
			t.Errorf("the log says:\n%s", logged.String())
		}
		s.stop(t)
	})
}

// The time of records never decreases, whatever the clock does.
func TestClockJumpsBack(t *testing.T) {
	one(t, func(t *testing.T, s *server, _ *memlog.Cluster) {
		first := committed(t, s.send(noteCommand("a")))
		s.clock.set(-time.Hour)
		second := committed(t, s.send(noteCommand("b")))
		if second.Records[0].Time != first.Records[0].Time {
			t.Errorf("time went from %d to %d", first.Records[0].Time, second.Records[0].Time)
		}
		s.clock.set(time.Hour)
		third := committed(t, s.send(noteCommand("c")))
		if got := third.Records[0].Time - first.Records[0].Time; got != int64(time.Hour) {
			t.Errorf("time went on by %v", time.Duration(got))
		}
		once(t, []*server{s}, "a", "b", "c")
	})
}

// A clock that is years ahead would push the time of all later records with it.
func TestClockFarAhead(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		before := committed(t, s.send(noteCommand("a")))
		s.clock.set(clockAheadMax + time.Hour)
		b := s.send(noteCommand("b"))
		notYet(t, b)
		time.Sleep(noLeaderWait + time.Second)
		failed(t, b, ErrNoLeader)
		faults.Elect(1) // nor does a new epoch open
		c := s.send(noteCommand("c"))
		notYet(t, c)
		s.clock.set(0)
		time.Sleep(time.Second)
		after := committed(t, c)
		if by := time.Duration(after.Records[0].Time - before.Records[0].Time); by > time.Minute {
			t.Errorf("time went on by %v", by)
		}
		once(t, []*server{s}, "a", "c")
	})
}

// While nothing can be appended, as on a full disk, the reason is logged at once
// and then rarely: the log is on the same disk.
func TestALastingFailureIsLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		for range 1000 {
			log.Cluster().Inject(memlog.Refuse)
		}
		var out bytes.Buffer
		s := newServer(log, "s1", slog.New(slog.NewTextHandler(&out, nil))).start()
		time.Sleep(2*complainEvery + time.Second)
		synctest.Wait()
		if got := strings.Count(out.String(), "cannot open the epoch"); got != 3 {
			t.Errorf("said %d times in %v:\n%s", got, 2*complainEvery+time.Second, out.String())
		}
		s.stop(t)
	})
}

// When the server stops, everybody is answered: what was never begun so, and
// what was in an append as unknown.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		s := newServer(log, "s1", quiet()).start()
		synctest.Wait()
		log.Cluster().Inject(memlog.Lose, memlog.Refuse, memlog.Refuse, memlog.Refuse)
		a := s.send(noteCommand("a"))
		notYet(t, a)
		b := s.send(noteCommand("b"))
		notYet(t, b)
		s.stop(t)
		failed(t, a, ErrUnknownOutcome)
		failed(t, b, ErrNoLeader)
		failed(t, s.send(noteCommand("c")), ErrNoLeader)
	})
}

// Commands that were queued when leadership went over wait for the next epoch
// here, in their order.
func TestQueueSurvivesAnEpoch(t *testing.T) {
	one(t, func(t *testing.T, s *server, faults *memlog.Cluster) {
		faults.Depose()
		synctest.Wait()
		var answers []<-chan reply
		var words []string
		for i := range 10 {
			words = append(words, fmt.Sprint(i))
			answers = append(answers, s.send(noteCommand(words[i])))
			synctest.Wait()
		}
		faults.Elect(1)
		last := uint64(0)
		for _, a := range answers {
			r := committed(t, a)
			if r.Index <= last {
				t.Errorf("index %d after %d", r.Index, last)
			}
			last = r.Index
		}
		once(t, []*server{s}, words...)
	})
}
