package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/checker"
)

// story is a log that is written fact by fact, folded, and held against the checker.
type story struct {
	t       testing.TB
	now     time.Time
	state   *projections.State
	records []*event.Record
	data    [][]byte
	check   *checker.Checker
}

func newStory(t testing.TB) *story {
	s := &story{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), state: projections.New(), check: checker.New()}
	s.tell(&event.ClusterCreated{ClusterID: named("cluster"), Region: "global"}, &event.CommitterStarted{Epoch: 1})
	return s
}

func named(word string) event.ID { return event.DeriveID(word, event.ID{}) }

// encode makes the next record of a log that ends at s.
func encode(s *projections.State, at time.Time, last bool, e event.Event) (*event.Record, []byte, error) {
	r := &event.Record{Header: event.Header{
		Index: s.Index() + 1, Time: max(at.UnixNano(), s.Time()), Kind: e.Kind(), Last: last, Remember: true,
		CommandID: event.DeriveID("command", event.ID{}, s.Index()), Previous: s.Hash(),
	}, Event: e}
	data, err := event.AppendRecord(nil, r)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := event.DecodeRecord(data)
	if err != nil {
		return nil, nil, err
	}
	decoded.Hash = event.HashOf(append(r.Previous[:], data...))
	return decoded, data, nil
}

// tell writes the facts of one command.
func (s *story) tell(facts ...event.Event) {
	s.t.Helper()
	id := event.DeriveID("command", event.ID{}, s.state.Index())
	for i, e := range facts {
		r, _, err := encode(s.state, s.now, i == len(facts)-1, e)
		if err != nil {
			s.t.Fatal(err)
		}
		r.CommandID = id
		data, err := event.AppendRecord(nil, r)
		if err != nil {
			s.t.Fatal(err)
		}
		s.state = projections.Evolve(s.state, r)
		s.records, s.data = append(s.records, r), append(s.data, data)
		if err := s.check.Apply(r); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.check.Compare(s.state); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) fold(records []*event.Record) *projections.State {
	draft := projections.NewDraft(projections.New())
	for _, r := range records {
		draft.Apply(r)
	}
	return draft.Seal()
}

func node(name string) *event.Node {
	return &event.Node{
		ID: named(name), Name: name, Datacenter: "dc1", NodePool: "default", ComputedClass: "class", Attributes: map[string]string{"os": "linux"},
		NodeResources: &event.NodeResources{Cpu: event.NodeCpu{CpuShares: 4000}, Memory: event.NodeMemory{MemoryMB: 8000}, Disk: event.NodeDisk{DiskMB: 9000}},
	}
}

func (s *story) ready(name string) {
	s.tell(&event.NodeRegistered{NodeID: named(name), Incarnation: 1, Node: node(name)}, &event.NodeStatusChanged{NodeID: named(name), Status: event.NodeReady})
}

func jobSpec(id string, count, cpu int) *event.Job {
	return &event.Job{
		Namespace: "default", ID: id, Name: id, Type: event.JobTypeService, Priority: 50,
		TaskGroups: []*event.TaskGroup{{
			Name: "g", Count: count,
			Networks: []event.NetworkResource{{DynamicPorts: []event.Port{{Label: "http", To: -1}}}},
			Tasks:    []*event.Task{{Name: "main", Resources: event.Resources{CPU: cpu, MemoryMB: 100}}},
		}},
	}
}

func key(id string) event.JobKey { return event.JobKey{Namespace: "default", ID: id} }

// submit writes a job's next version and an evaluation of it, whose ID it returns.
func (s *story) submit(id string, count, cpu int) event.ID {
	spec, err := event.Marshal(jobSpec(id, count, cpu))
	if err != nil {
		s.t.Fatal(err)
	}
	submitted := &event.JobSubmitted{Namespace: "default", JobID: id, Spec: event.HashOf(spec), SubmitTime: s.now.UnixNano()}
	if j := s.state.Job(key(id)); j != nil {
		submitted.Version = j.Version + 1
	}
	eval := s.newEval(id)
	s.tell(&event.BlobStored{Blob: submitted.Spec, Of: 1, Data: spec}, submitted, eval)
	return eval.Evaluation.ID
}

func (s *story) newEval(id string) *event.EvaluationCreated {
	return &event.EvaluationCreated{Evaluation: event.Evaluation{
		ID: event.DeriveID("eval", event.ID{}, s.state.Index()), Namespace: "default", JobID: id, Type: event.JobTypeService, Priority: 50,
		TriggeredBy: event.TriggerJobRegister, Status: event.EvalPending,
	}}
}

// place writes a plan that puts names 0 to n-1 of a job on a node.
func (s *story) place(eval event.ID, id, on string, n int) []event.ID {
	p := &event.PlanCommitted{
		EvalID: eval, Namespace: "default", JobID: id, JobVersion: s.state.Job(key(id)).Version, Basis: s.state.Index(),
		Nodes: []event.ID{named(on)}, Groups: []event.PlannedGroup{{Name: "g"}}, Outcome: event.EvalComplete,
	}
	var ids []event.ID
	for i := range n {
		p.Groups[0].Placements = append(p.Groups[0].Placements, event.Placement{Ordinal: uint32(i), Name: uint32(i), Ports: []uint16{uint16(20000 + i)}})
		ids = append(ids, event.AllocationID(eval, p.Basis, uint32(i)))
	}
	s.tell(p)
	return ids
}

func (s *story) report(on string, client event.ClientStatus, ids ...event.ID) {
	e := &event.AllocationsReported{NodeID: named(on), Incarnation: 1, Sequence: s.state.Node(named(on)).LastReport + 1}
	for _, id := range ids {
		e.Deltas = append(e.Deltas, event.AllocDelta{ID: id, Client: client, Tasks: map[string]*event.TaskState{
			"main": {State: event.TaskRunning, Events: []event.TaskEvent{{Type: event.TaskStarted, Time: s.now.UnixNano()}}},
		}})
	}
	s.tell(e)
}

// life is a story in which most kinds of record occur.
func life(t testing.TB) *story {
	s := newStory(t)
	s.ready("n1")
	s.ready("n2")
	web := s.submit("web", 3, 500)
	ids := s.place(web, "web", "n1", 3)
	s.report("n1", event.ClientRunning, ids...)
	s.now = s.now.Add(time.Minute)
	s.report("n1", event.ClientFailed, ids[0])
	db := s.submit("db", 2, 700)
	dbs := s.place(db, "db", "n2", 2)
	s.tell(&event.NodeChanged{NodeID: named("n2"), AttributesSet: map[string]string{"cpu": "amd64"}, AttributesRemoved: []string{"os"}, ComputedClass: "other"})
	s.tell(&event.NodeStatusChanged{NodeID: named("n2"), Status: event.NodeDown, Description: "heartbeat missed"}, s.newEval("db"))
	s.tell(&event.NodeEligibilitySet{NodeID: named("n2"), Ineligible: true})
	s.tell(&event.NodePoolSet{Pool: event.NodePool{Name: "gpu", Description: "cards"}}, &event.NodePoolSet{Pool: event.NodePool{Name: "cold"}}, &event.NodePoolDeleted{Name: "cold"})
	s.tell(&event.NamespaceSet{Namespace: event.Namespace{Name: "ops"}}, &event.NamespaceSet{Namespace: event.Namespace{Name: "gone"}}, &event.NamespaceDeleted{Name: "gone"})
	s.submit("web", 4, 600)
	s.tell(&event.JobScaled{Namespace: "default", JobID: "web", Group: "g", PreviousCount: 4, Message: "as it is"})
	s.tell(&event.JobVersionTagged{Namespace: "default", JobID: "web", Name: "first"}, &event.JobVersionTagged{Namespace: "default", JobID: "web", Name: "golden", Description: "good"})
	s.tell(&event.JobVersionTagged{Namespace: "default", JobID: "db", Name: "x"}, &event.JobVersionUntagged{Namespace: "default", JobID: "db", Name: "x"})
	blocked := s.newEval("web")
	blocked.Evaluation.Status = event.EvalBlocked
	s.tell(blocked)
	s.tell(&event.JobStopped{Namespace: "default", JobID: "db", Version: 1})
	s.tell(&event.NodeRegistered{NodeID: named("n2"), Incarnation: 2}, &event.SchedulerConfigured{Algorithm: "binpack"}, &event.CheckpointTaken{At: 5})
	_ = dbs
	return s
}

// The same records give the same state, one by one, all at once, and again.
func TestFoldIsDeterministic(t *testing.T) {
	s := life(t)
	want := encoding(t, s.state)
	for range 3 {
		if got := encoding(t, s.fold(s.records)); !bytes.Equal(got, want) {
			t.Fatal("a second fold has another encoding")
		}
	}
	if s.fold(s.records).Checksum() != s.state.Checksum() {
		t.Error("checksums differ")
	}
}

func encoding(t testing.TB, s *projections.State) []byte {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A snapshot stays what it was, while the fold goes on above it and readers read.
func TestSnapshotsAreImmutable(t *testing.T) {
	s := newStory(t)
	s.ready("n1")
	ids := s.place(s.submit("web", 3, 500), "web", "n1", 3)
	old, want := s.state, encoding(t, s.state)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := encoding(t, old); !bytes.Equal(got, want) {
					t.Error("a snapshot changed under its reader")
					return
				}
				count := 0
				for range old.AllocationsOn(named("n1")) {
					count++
				}
				if n := old.Node(named("n1")); count != 3 || n.Used.CPU != 1500 || len(n.UsedPorts) != 3 || old.Job(key("web")).LiveAllocs != 3 {
					t.Error("a snapshot answers otherwise than before")
					return
				}
			}
		})
	}
	for i := range 100 {
		s.report("n1", event.ClientRunning, ids...)
		s.submit("web", 3, 500+i+1)
		s.submit(fmt.Sprintf("job%d", i), 1, 1)
	}
	s.report("n1", event.ClientComplete, ids...)
	close(stop)
	wg.Wait()
	if s.state.Node(named("n1")).Used.CPU != 0 {
		t.Error("room was not given back")
	}
}

func TestJobLife(t *testing.T) {
	s := newStory(t)
	s.ready("n1")
	status := func(want string, summary projections.GroupSummary) {
		t.Helper()
		j := s.state.Job(key("web"))
		if j.Status() != want || j.Summary["g"] != summary {
			t.Errorf("at %d the job is %s, %+v; want %s, %+v", s.state.Index(), j.Status(), j.Summary["g"], want, summary)
		}
	}
	eval := s.submit("web", 2, 500)
	status("pending", projections.GroupSummary{})
	ids := s.place(eval, "web", "n1", 2)
	status("running", projections.GroupSummary{Starting: 2})
	changed := s.state.Job(key("web")).ChangeIndex
	s.report("n1", event.ClientRunning, ids...)
	status("running", projections.GroupSummary{Running: 2})
	if got := s.state.Job(key("web")).ChangeIndex; got != changed {
		t.Error("a start made plans of the job stale")
	}
	s.report("n1", event.ClientFailed, ids[0])
	status("running", projections.GroupSummary{Running: 1, Failed: 1})
	if got := s.state.Job(key("web")).ChangeIndex; got != s.state.Index() {
		t.Error("a failure did not make plans of the job stale")
	}
	s.tell(&event.JobStopped{Namespace: "default", JobID: "web", Version: 1})
	status("running", projections.GroupSummary{Running: 1, Failed: 1})
	stop := s.newEval("web")
	s.tell(stop)
	s.tell(&event.PlanCommitted{EvalID: stop.Evaluation.ID, Namespace: "default", JobID: "web", Basis: s.state.Index(), Outcome: event.EvalComplete, Stops: []event.PlannedStop{{ID: ids[1]}}})
	status("dead", projections.GroupSummary{Running: 1, Failed: 1})
	s.report("n1", event.ClientComplete, ids[1])
	status("dead", projections.GroupSummary{Failed: 1, Complete: 1})
	if modified := s.state.Job(key("web")).ModifyIndex; modified == 0 || modified > s.state.Index() {
		t.Errorf("modified at %d", modified)
	}
}

func TestOldVersionsAreKept(t *testing.T) {
	s := newStory(t)
	for i := range 9 {
		s.submit("web", 1, 100+i)
	}
	j := s.state.Job(key("web"))
	if j.Version != 8 || len(j.Older) != 5 || j.Older[0].Version != 7 || j.Older[4].Version != 3 {
		t.Errorf("version %d, older %+v", j.Version, j.Older)
	}
}

// A command's ID is remembered for ten minutes of record time, then forgotten.
func TestRememberedCommands(t *testing.T) {
	s := newStory(t)
	s.tell(&event.SchedulerConfigured{}, &event.SchedulerConfigured{})
	last := s.records[len(s.records)-1]
	got, ok := s.state.Command(last.CommandID)
	if !ok || got.First != last.Index-1 || got.Last != last.Index {
		t.Errorf("%+v %v", got, ok)
	}
	before := s.state
	s.now = s.now.Add(10*time.Minute - time.Nanosecond)
	s.tell(&event.SchedulerConfigured{})
	if _, ok := s.state.Command(last.CommandID); !ok {
		t.Error("forgotten too soon")
	}
	s.now = s.now.Add(time.Nanosecond)
	s.tell(&event.SchedulerConfigured{})
	if _, ok := s.state.Command(last.CommandID); ok {
		t.Error("not forgotten")
	}
	if _, ok := before.Command(last.CommandID); !ok {
		t.Error("an old snapshot has forgotten too")
	}
}

func TestTaskEventsAreMerged(t *testing.T) {
	s := newStory(t)
	s.ready("n1")
	ids := s.place(s.submit("web", 1, 500), "web", "n1", 1)
	for range event.TaskEventsKept + 3 {
		s.now = s.now.Add(time.Second)
		s.report("n1", event.ClientRunning, ids[0])
	}
	events := s.state.Allocation(ids[0]).Tasks()["main"].Events
	if len(events) != event.TaskEventsKept || events[len(events)-1].Time != s.now.UnixNano() {
		t.Errorf("%d events, the newest of %v", len(events), events[len(events)-1].Time)
	}
}

// A record that cannot follow stops the fold, which says which and of what kind.
func TestImpossibleRecords(t *testing.T) {
	s := life(t)
	alloc := event.ID{}
	for a := range s.state.AllocationsOf(key("web")) {
		if a.Client == event.ClientFailed {
			alloc = a.ID
		}
	}
	var pending, done event.ID
	for e := range s.state.EvaluationsOf(key("web")) {
		switch e.Status {
		case event.EvalPending:
			pending = e.ID
		case event.EvalComplete:
			done = e.ID
		}
	}
	plan := func(change func(*event.PlanCommitted)) *event.PlanCommitted {
		p := &event.PlanCommitted{EvalID: pending, Namespace: "default", JobID: "web", JobVersion: 1, Outcome: event.EvalComplete}
		change(p)
		return p
	}
	blocked := s.newEval("web")
	blocked.Evaluation.Status = event.EvalBlocked
	for _, c := range []struct {
		name string
		e    event.Event
		want string
	}{
		{"unknown node changes", &event.NodeChanged{NodeID: named("x")}, "there is no node"},
		{"unknown node is down", &event.NodeStatusChanged{NodeID: named("x"), Status: event.NodeDown}, "there is no node"},
		{"unknown node reports", &event.AllocationsReported{NodeID: named("x")}, "there is no node"},
		{"new node without fingerprint", &event.NodeRegistered{NodeID: named("x")}, "no fingerprint"},
		{"unknown allocation", &event.AllocationsReported{NodeID: named("n1"), Deltas: []event.AllocDelta{{ID: named("x")}}}, "there is no allocation"},
		{"unknown job stops", &event.JobStopped{Namespace: "default", JobID: "x"}, "there is no job"},
		{"unknown job as before", &event.JobSubmitted{Namespace: "default", JobID: "x", SameSpec: true}, "no spec to keep"},
		{"unknown spec", &event.JobSubmitted{Namespace: "default", JobID: "x", Spec: event.HashOf([]byte("x"))}, "is not in the log"},
		{"evaluation twice", &event.EvaluationCreated{Evaluation: event.Evaluation{ID: pending}}, "exists"},
		{"second blocked evaluation", blocked, "has the blocked evaluation"},
		{"unknown evaluation ends", &event.EvaluationEnded{EvalID: named("x"), Status: event.EvalFailed}, "there is no evaluation"},
		{"evaluation ends twice", &event.EvaluationEnded{EvalID: done, Status: event.EvalFailed}, "already complete"},
		{"pending evaluation wakes", &event.EvaluationUnblocked{EvalID: pending}, "not blocked"},
		{"other chunks", &event.BlobStored{Blob: s.state.Job(key("web")).SpecHash, Chunk: 1, Of: 2}, "chunk 1 of 2"},
		{"the ended is lost", plan(func(p *event.PlanCommitted) {
			p.Stops = []event.PlannedStop{{ID: alloc, Client: event.ClientLost}}
		}), "already failed and cannot become lost"},
		{"another version", plan(func(p *event.PlanCommitted) {
			p.JobVersion = 7
			p.InPlace = []event.ID{alloc}
		}), "not its version"},
		{"no such group", plan(func(p *event.PlanCommitted) {
			p.Groups = []event.PlannedGroup{{Name: "x", Placements: []event.Placement{{}}}}
		}), "no group"},
		{"no such node", plan(func(p *event.PlanCommitted) {
			p.Groups = []event.PlannedGroup{{Name: "g", Placements: []event.Placement{{Node: 3, Ports: []uint16{1}}}}}
		}), "points to no node"},
		{"no ports", plan(func(p *event.PlanCommitted) {
			p.Nodes = []event.ID{named("n1")}
			p.Groups = []event.PlannedGroup{{Name: "g", Placements: []event.Placement{{}}}}
		}), "has 0 ports"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _, err := encode(s.state, s.now, true, c.e)
			if err != nil {
				t.Fatal(err)
			}
			stops(t, s.state, r, fmt.Sprintf("fold record %d (%v)", r.Index, r.Kind), c.want)
		})
	}
	good, _, err := encode(s.state, s.now, true, &event.SchedulerConfigured{})
	if err != nil {
		t.Fatal(err)
	}
	gap, fork, past := *good, *good, *good
	gap.Index++
	fork.Previous = event.HashOf([]byte("x"))
	past.Time = 1
	stops(t, s.state, &gap, fmt.Sprintf("fold record %d (SchedulerConfigured)", gap.Index), "onto the state at")
	stops(t, s.state, &fork, fmt.Sprintf("fold record %d (SchedulerConfigured)", fork.Index), "it follows hash")
	stops(t, s.state, &past, fmt.Sprintf("fold record %d (SchedulerConfigured)", past.Index), "its time is before")
	if got := encoding(t, s.state); !bytes.Equal(got, encoding(t, s.fold(s.records))) {
		t.Error("a record that stopped the fold has left its traces in the state before it")
	}
}

func stops(t *testing.T, s *projections.State, r *event.Record, wants ...string) {
	t.Helper()
	defer func() {
		text := fmt.Sprint(recover())
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("stopped with %q, want %q in it", text, want)
			}
		}
	}()
	projections.Evolve(s, r)
}

func TestPrefixes(t *testing.T) {
	s := life(t)
	for n := range s.state.Nodes() {
		for length := range 20 {
			prefix := make([]byte, length)
			copy(prefix, n.Info.ID[:])
			found := false
			for m := range s.state.NodesByPrefix(prefix) {
				found = found || m == n
				if !bytes.HasPrefix(m.Info.ID[:], prefix) {
					t.Errorf("%v found by %x", m.Info.ID, prefix)
				}
			}
			if found != (length <= 16) {
				t.Errorf("by %d bytes: found %v", length, found)
			}
		}
	}
}

// A checkpoint folds on as the state it was taken of does.
func TestCheckpointFoldsOn(t *testing.T) {
	s := life(t)
	for at := range s.records {
		state := s.fold(s.records[:at])
		data := encoding(t, state)
		decoded, err := projections.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		if again := encoding(t, decoded); !bytes.Equal(again, data) {
			t.Fatalf("at %d: the encoding is not canonical", at)
		}
		for _, r := range s.records[at:] {
			decoded = projections.Evolve(decoded, r)
		}
		if !bytes.Equal(encoding(t, decoded), encoding(t, s.state)) {
			t.Fatalf("folded on from %d, the state differs", at)
		}
		if err := s.check.Compare(decoded); err != nil {
			t.Fatalf("folded on from %d: %v", at, err)
		}
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	data := encoding(t, life(t).state)
	for n := range data {
		if _, err := projections.Decode(bytes.NewReader(data[:n])); !errors.Is(err, projections.ErrDamagedCheckpoint) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := projections.Decode(bytes.NewReader(append(bytes.Clone(data), 0))); !errors.Is(err, projections.ErrDamagedCheckpoint) {
		t.Errorf("a byte too many: %v", err)
	}
}

// FuzzDecodeCheckpoint: damaged bytes give an error, never a panic; what is taken
// can be encoded again.
func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(encoding(f, projections.New()))
	f.Add(encoding(f, life(f).state))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := projections.Decode(bytes.NewReader(data))
		if err != nil {
			if s != nil {
				t.Fatal("a state with an error")
			}
			return
		}
		if err := s.Encode(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

// fakeTail hands out batches that a test gives it.
type fakeTail struct {
	batches chan []projections.Entry
	closed  chan struct{}
	once    sync.Once
}

func (f *fakeTail) Next(ctx context.Context) ([]projections.Entry, error) {
	select {
	case b, ok := <-f.batches:
		if !ok {
			return nil, errors.New("the log is damaged")
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fakeTail) Close() { f.once.Do(func() { close(f.closed) }) }

func (s *story) entries(from, to uint64) []projections.Entry {
	var list []projections.Entry
	for i := from; i <= to; i++ {
		list = append(list, projections.Entry{Index: i, Hash: s.records[i-1].Hash, Data: s.data[i-1]})
	}
	return list
}

type followed struct {
	store  *projections.Store
	opened chan uint64
	tails  chan *fakeTail
	done   chan error
	cancel context.CancelFunc
}

func follow(s *projections.State) *followed {
	f := &followed{store: projections.NewStore(s), opened: make(chan uint64, 10), tails: make(chan *fakeTail, 10), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		f.done <- projections.Follow(ctx, f.store, func(from uint64) projections.Tail {
			tail := &fakeTail{batches: make(chan []projections.Entry, 10), closed: make(chan struct{})}
			f.opened <- from
			f.tails <- tail
			return tail
		})
	}()
	return f
}

// Only whole commands are published, however the log cuts them.
func TestFollowerPublishesWholeCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := life(t)
		whole := make(map[uint64]bool)
		for _, r := range s.records {
			whole[r.Index] = r.Last
		}
		f := follow(projections.New())
		tail := <-f.tails
		for i := range s.records {
			tail.batches <- s.entries(uint64(i)+1, uint64(i)+1)
			synctest.Wait()
			got := f.store.Snapshot().Index()
			want := uint64(i) + 1
			for want > 0 && !whole[want] {
				want--
			}
			if got != want {
				t.Fatalf("after record %d the store is at %d, want %d", i+1, got, want)
			}
		}
		if !bytes.Equal(encoding(t, f.store.Snapshot()), encoding(t, s.state)) {
			t.Error("the followed state differs")
		}
		commits, _ := f.store.CommitsAfter(0)
		next := uint64(1)
		for _, c := range commits {
			for _, r := range c.Records {
				if r.Index != next {
					t.Errorf("commit with record %d, want %d", r.Index, next)
				}
				next++
			}
			if c.State.Index() != next-1 {
				t.Errorf("commit up to %d has a state at %d", next-1, c.State.Index())
			}
		}
		f.cancel()
		if err := <-f.done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// While the committer owns the store the follower rests; then it goes on from
// where the store is.
func TestFollowerIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := life(t)
		f := follow(projections.New())
		tail := <-f.tails
		if from := <-f.opened; from != 1 {
			t.Errorf("opened from %d", from)
		}
		current, giveUp, err := f.store.Own(t.Context())
		if err != nil || current.Index() != 0 {
			t.Fatal(err)
		}
		tail.batches <- s.entries(1, 6)
		synctest.Wait()
		if f.store.Snapshot().Index() != 0 {
			t.Error("the follower published into a store that another owns")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, _, err := f.store.Own(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("two own the store: %v", err)
		}
		cancel()
		f.store.Publish(s.records[:6], s.fold(s.records[:6]))
		giveUp()
		giveUp() // once more does no harm
		synctest.Wait()
		if from := <-f.opened; from != 7 {
			t.Errorf("went on from %d", from)
		}
		<-tail.closed
		tail = <-f.tails
		tail.batches <- s.entries(7, uint64(len(s.records)))
		synctest.Wait()
		if got := f.store.Snapshot().Checksum(); got != s.state.Checksum() {
			t.Error("the followed state differs")
		}
		close(tail.batches)
		if err := <-f.done; err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Error(err)
		}
		f.cancel()
	})
}

func TestFollowerMeetsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := life(t)
		for name, damage := range map[string]func(*projections.Entry){
			"bytes": func(e *projections.Entry) { e.Data = e.Data[:10] },
			"index": func(e *projections.Entry) { e.Data = s.data[5] },
		} {
			f := follow(projections.New())
			entries := s.entries(1, 2)
			damage(&entries[1])
			(<-f.tails).batches <- entries
			if err := <-f.done; !errors.Is(err, event.ErrMalformed) || !strings.Contains(err.Error(), "entry 2") {
				t.Errorf("%s: %v", name, err)
			}
			f.cancel()
		}
	})
}

func TestStoreAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := life(t)
		store := projections.NewStore(s.fold(s.records[:2]))
		got := make(chan uint64, 2)
		go func() {
			state, err := store.Await(t.Context(), 2)
			if err == nil {
				got <- state.Index()
			}
		}()
		synctest.Wait()
		if len(got) != 0 {
			t.Error("did not wait")
		}
		store.Publish(s.records[2:6], s.fold(s.records[:6]))
		if index := <-got; index != 6 {
			t.Errorf("awoke at %d", index)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := store.Await(ctx, 6); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		commits, _ := store.CommitsAfter(6)
		if len(commits) != 0 {
			t.Error("commits after the newest")
		}
		if commits, _ = store.CommitsAfter(2); len(commits) != 1 || !reflect.DeepEqual(commits[0].Records, s.records[2:6]) {
			t.Errorf("%d commits", len(commits))
		}
	})
}
