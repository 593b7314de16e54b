package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// Position is a head of the log: an index and the chained hash up to it.
type Position struct {
	Index uint64
	Hash  event.Hash
}

// Outcome is what became of an append.
type Outcome int

const (
	// Committed: it is in the log, durably.
	Committed Outcome = iota + 1
	// Refused: it is not in the log and never will be.
	Refused
	// Unknown: it may be in the log, or come into it later.
	Unknown
)

// Log is what the committer needs of the replicated log.
type Log interface {
	// Append puts entries behind the head, if the head is still this one.
	Append(ctx context.Context, after Position, entries [][]byte) (Outcome, error)
	// Barrier is a head at least as new as every append acknowledged before the
	// call, confirmed by a majority.
	Barrier(ctx context.Context) (Position, error)
	// Tail reads entries from an index on.
	Tail(from uint64) projections.Tail
	// Leads reports whether this server leads the log, and a channel that is
	// closed when that may have changed.
	Leads() (bool, <-chan struct{})
	// Chain is the chained hash after one more entry.
	Chain(previous event.Hash, index uint64, entry []byte) event.Hash
}

// Errors of Committer.Do, apart from *Rejection.
var (
	// ErrNoLeader: the command was not begun, since this server does not lead.
	ErrNoLeader = errors.New("No cluster leader") //nolint:staticcheck // the wording that the field's tools look for
	// ErrBusy: the command was not begun, since too many wait already.
	ErrBusy = errors.New("the server is busy: too many commands wait; try again")
	// ErrUnknownOutcome: the caller stopped waiting after the command was begun.
	ErrUnknownOutcome = errors.New("the outcome of the command is unknown: it may still take effect")
	// ErrDeadline: the command's deadline passed before it was begun.
	ErrDeadline = errors.New("the command waited past its deadline and was not begun")
)

// CommitterConfig is what a Committer is made of. All fields are required but
// Hooks.
type CommitterConfig struct {
	Log   Log
	Store *projections.Store
	Now   func() time.Time
	// ServerName and Version stand in CommitterStarted; ReplicaID too.
	ServerName string
	Version    string
	ReplicaID  uint64
	// Region and ClusterID go into the first record of a new log.
	Region    string
	ClusterID func() event.ID
	// Scheduler goes into the second one. Without an algorithm it is AlgorithmBinpack.
	Scheduler event.SchedulerConfigured
	Logger    *slog.Logger
	Hooks     CommitterHooks
}

// CommitterHooks are optional callbacks; metrics and tests hang on them.
type CommitterHooks struct {
	// Leading is called when an epoch opens, and Resting when it ends.
	Leading func(epoch uint64)
	Resting func(epoch uint64)
	// Appended is called after each committed append.
	Appended func(AppendInfo)
}

// AppendInfo describes one committed append.
type AppendInfo struct {
	Commands, Records, Bytes int
	Decide, Append           time.Duration
}

func (i AppendInfo) String() string {
	return fmt.Sprintf("%d commands, %d records, %d bytes: decided in %v, appended in %v", i.Commands, i.Records, i.Bytes, i.Decide, i.Append)
}

// Result is where in the log a command took effect.
type Result struct {
	// Index is the index of its last record; when it led to no record, the head
	// that it was decided on.
	Index uint64
	// Records are the command's records; none when what it asked for was so
	// already.
	Records []*event.Record
	// State is the published state at or after Index.
	State *projections.State
}

// Committer is the one writer of the log: a goroutine that decides, appends,
// folds, publishes and answers. It has one append in flight; what arrives
// meanwhile is decided on the state that the append leads to and makes the next
// batch.
type Committer struct {
	cfg   CommitterConfig
	tip   *Tip
	queue chan *waiting
	plans chan *waiting // apart from queue, so that nobody has to wait for many of them; see pick
	jobs  chan *waiting // of those who ask for evaluations, apart so that they can be held back; see jobsNow
	ended chan struct{} // closed when Run has answered everything and returned

	// The rest belongs to the goroutine of Run.
	state      *projections.State // the committed head, while leading
	carried    *waiting           // taken off a queue, but it did not fit into the last append
	passed     int                // commands taken off queue while plans waited
	holding    bool               // jobs are held back
	lastTaken  time.Time          // when the last plan or job was taken off its queue
	shown      uint64             // index of the newest state that the tip has
	owed       bool               // somebody waits for a newer one
	complained time.Time          // when it was last said why nothing can be committed; zero in an epoch that opened since
	settling   sync.WaitGroup     // goroutines that find out what became of an append
}

type waiting struct {
	cmd    *Command
	early  bool // answered as soon as it is decided
	answer chan answer
}

type answer struct {
	result  Result
	err     error
	repeats projections.Remembered // set when the command took effect before
}

// NewCommitter makes a committer; Run sets it going.
func NewCommitter(cfg CommitterConfig) *Committer {
	return &Committer{
		cfg: cfg, tip: newTip(cfg.Store), ended: make(chan struct{}),
		queue: make(chan *waiting, queueCommandsMax), plans: make(chan *waiting, queueCommandsMax),
		jobs: make(chan *waiting, queueCommandsMax),
	}
}

// Tip is the newest state that this committer has decided.
func (c *Committer) Tip() *Tip { return c.tip }

// Do has a command decided and committed, and waits for the answer: a Result
// once its events are durable, a *Rejection when it was refused. When ctx ends
// first, the outcome is unknown to the caller.
func (c *Committer) Do(ctx context.Context, cmd Command) (Result, error) {
	if cmd.ID.IsZero() {
		panic("command without an ID")
	}
	a, err := c.await(ctx, c.queueOf(&cmd), &waiting{cmd: &cmd, answer: make(chan answer, 1)})
	if err != nil {
		return Result{}, err
	}
	if a.err == nil && a.repeats.Last != 0 {
		records, err := c.records(ctx, a.repeats.First, a.repeats.Last)
		if err != nil {
			return Result{}, fmt.Errorf("%w: read what command %v did the first time: %w", ErrUnknownOutcome, cmd.ID, err)
		}
		a.result.Records = records
	}
	return a.result, a.err
}

// Propose has a command decided, and returns what was decided before it is
// durable: it may still be lost, with everything that was decided after it. It is
// for the scheduler's workers, who go on with the next evaluation on Tip and need
// not be told of a loss: a state that was lost is not the tip any more, and
// nothing that was decided on it (Command.Epoch names the epoch of the state that
// a plan was decided on) is taken.
func (c *Committer) Propose(ctx context.Context, cmd Command) (Result, error) {
	if cmd.ID.IsZero() || cmd.Remember {
		panic("proposal without an ID, or one to be remembered")
	}
	a, err := c.await(ctx, c.plans, &waiting{cmd: &cmd, early: true, answer: make(chan answer, 1)})
	if err != nil {
		return Result{}, err
	}
	return a.result, a.err
}

// queueOf is where a command waits to be decided, unless it is a proposal.
func (c *Committer) queueOf(cmd *Command) chan *waiting {
	switch cmd.Body.(type) {
	case SubmitJob, ScaleJob, EvaluateJob:
		return c.jobs
	}
	return c.queue
}

// await puts a command into a queue and waits for its answer.
func (c *Committer) await(ctx context.Context, queue chan<- *waiting, w *waiting) (answer, error) {
	select {
	case queue <- w:
	default:
		return answer{}, ErrBusy
	}
	select {
	case a := <-w.answer:
		return a, nil
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%w (%w)", ErrUnknownOutcome, ctx.Err())
	case <-c.ended:
		// All that was begun has been answered.
		select {
		case a := <-w.answer:
			return a, nil
		default:
			return answer{}, ErrNoLeader
		}
	}
}

func (w *waiting) reply(result Result, err error) { w.answer <- answer{result: result, err: err} }

// Run commits while this server leads, and refuses while it does not, until ctx
// ends. It returns an error only when the log or the fold cannot go on. It runs
// once: afterwards every command is told that there is no leader here.
func (c *Committer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		c.settling.Wait()
		c.drain(ErrNoLeader)
		close(c.ended)
	}()
	idle := time.Now() // since when no epoch has been open here
	for ctx.Err() == nil {
		if time.Since(idle) >= noLeaderWait {
			c.drain(ErrNoLeader)
			idle = time.Now()
		}
		leads, changed := c.cfg.Log.Leads()
		if !leads {
			c.rest(ctx, changed, noLeaderWait-time.Since(idle))
			continue
		}
		served, err := c.lead(ctx)
		if err != nil {
			return err
		}
		if served {
			idle = time.Now()
		}
	}
	return nil
}

// rest waits for a change of leadership, for at most so long.
func (c *Committer) rest(ctx context.Context, changed <-chan struct{}, atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-changed:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// drain answers everything that waits.
func (c *Committer) drain(err error) {
	if c.carried != nil {
		c.carried.reply(Result{}, err)
		c.carried = nil
	}
	for {
		select {
		case w := <-c.queue:
			w.reply(Result{}, err)
		case w := <-c.plans:
			w.reply(Result{}, err)
		case w := <-c.jobs:
			w.reply(Result{}, err)
		default:
			return
		}
	}
}

// lead is one epoch: take over the store, fold to the confirmed head, open the
// epoch in the log, and commit until leadership is lost or an append's outcome
// is unknown. It reports whether the epoch was opened, and returns an error only
// when the fold cannot go on.
func (c *Committer) lead(ctx context.Context) (served bool, err error) {
	state, giveUp, err := c.cfg.Store.Own(ctx)
	if err != nil {
		return false, nil
	}
	defer giveUp()
	head, err := c.confirm(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.complain(slog.LevelWarn, "cannot confirm the head of the log", "error", err)
			c.pause(ctx)
		}
		return false, nil
	}
	if c.state, err = c.foldTo(ctx, state, head.Index); err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		return false, err
	}
	epoch := c.state.Epoch() + 1
	if opened := c.openEpoch(ctx, epoch); !opened {
		c.pause(ctx)
		return false, nil
	}
	c.complained = time.Time{}
	c.cfg.Logger.Info("committing", "epoch", epoch, "index", c.state.Index())
	if h := c.cfg.Hooks.Leading; h != nil {
		h(epoch)
	}
	if h := c.cfg.Hooks.Resting; h != nil {
		defer h(epoch)
	}
	// What was decided and is not durable when the epoch ends is lost, or comes
	// back as a part of the log: nobody goes on with it.
	defer c.tip.forget()
	c.shown = 0
	c.show(c.state)
	c.work(ctx)
	return true, nil
}

// confirm is a barrier that gives up after a while: a server that cannot reach a
// majority must tell so to those who wait.
func (c *Committer) confirm(ctx context.Context) (Position, error) {
	ctx, cancel := context.WithTimeout(ctx, noLeaderWait)
	defer cancel()
	return c.cfg.Log.Barrier(ctx)
}

// pause keeps a failing start of an epoch from spinning.
func (c *Committer) pause(ctx context.Context) {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
	}
}

// complain says why no epoch opens. It is tried many times a second, so a lasting
// reason, such as a full disk, is said again only now and then.
func (c *Committer) complain(level slog.Level, message string, args ...any) {
	if !c.complained.IsZero() && time.Since(c.complained) < complainEvery {
		return
	}
	c.complained = time.Now()
	c.cfg.Logger.Log(context.Background(), level, message, args...)
}

// foldTo folds the log up to an index that is known to be in it.
func (c *Committer) foldTo(ctx context.Context, state *projections.State, index uint64) (*projections.State, error) {
	if state.Index() >= index {
		return state, nil
	}
	tail := c.cfg.Log.Tail(state.Index() + 1)
	defer tail.Close()
	var records []*event.Record
	for state.Index() < index {
		entries, err := tail.Next(ctx)
		if err != nil {
			return state, fmt.Errorf("fold the log from %d: %w", state.Index()+1, err)
		}
		draft := projections.NewDraft(state)
		for _, entry := range entries {
			r, err := projections.DecodeEntry(entry)
			if err != nil {
				return state, err
			}
			draft.Apply(r)
			records = append(records, r)
		}
		state = draft.Seal()
		if len(records) > 0 && records[len(records)-1].Last {
			c.cfg.Store.Publish(records, state)
			records = nil
		}
	}
	return state, nil
}

// openEpoch appends CommitterStarted, behind the records that begin a new log.
// Once it is committed, no append that an earlier committer left behind can
// come into the log any more.
func (c *Committer) openEpoch(ctx context.Context, epoch uint64) bool {
	now := c.cfg.Now()
	if c.clockIsAhead(now) {
		return false
	}
	var facts []Decided
	if c.state.Index() == 0 {
		configured := c.cfg.Scheduler
		configured.Algorithm = cmp.Or(configured.Algorithm, event.AlgorithmBinpack)
		facts = append(facts,
			Decided{Event: &event.ClusterCreated{ClusterID: c.cfg.ClusterID(), Region: c.cfg.Region, Version: c.cfg.Version}},
			Decided{Event: &configured})
	}
	facts = append(facts, Decided{Event: &event.CommitterStarted{
		Epoch: epoch, ReplicaID: c.cfg.ReplicaID, Server: c.cfg.ServerName, Version: c.cfg.Version,
	}})
	b := c.newBatch(c.state, now)
	b.epoch = epoch
	cmd := &Command{ID: event.DeriveID("committer", event.ID{}, epoch, c.cfg.ReplicaID, uint64(now.UnixNano())), Caller: event.Caller{Kind: event.CallerServer, Name: c.cfg.ServerName}}
	records, entries, err := b.encode(cmd, facts)
	if err != nil {
		panic(fmt.Sprintf("open epoch %d: %v", epoch, err))
	}
	if err := b.apply(records, entries); err != nil {
		panic(fmt.Sprintf("open epoch %d: %v", epoch, err))
	}
	opening, cancel := context.WithTimeout(ctx, noLeaderWait)
	defer cancel()
	outcome, err := c.cfg.Log.Append(opening, b.after, b.entries)
	if outcome != Committed {
		c.complain(slog.LevelWarn, "cannot open the epoch", "epoch", epoch, "error", err)
		return false
	}
	c.state = b.seal()
	c.cfg.Store.Publish(b.records, c.state)
	return true
}

// clockIsAhead reports, and says in the server's own log, that the clock is so
// far ahead that a record stamped with it would spoil the time of all later ones.
func (c *Committer) clockIsAhead(now time.Time) bool {
	last := c.state.Time()
	if last == 0 || now.Sub(time.Unix(0, last)) <= clockAheadMax {
		return false
	}
	c.complain(slog.LevelError, "this server's clock is far ahead of the log's last record; set it right",
		"clock", now.UTC(), "last_record", time.Unix(0, last).UTC())
	return true
}

// flight is an append on its way.
type flight struct {
	batch   *batch
	state   *projections.State // what it leads to, not committed yet
	began   time.Time
	done    chan struct{} // closed when the rest is valid
	took    time.Duration
	outcome Outcome
	err     error
}

// send makes an append out of a batch that has entries.
func (c *Committer) send(ctx context.Context, b *batch) *flight {
	f := &flight{batch: b, state: b.seal(), began: time.Now(), done: make(chan struct{})}
	go func() {
		f.outcome, f.err = c.cfg.Log.Append(ctx, b.after, b.entries)
		f.took = time.Since(f.began)
		close(f.done)
	}()
	return f
}

// work commits until the epoch is over. One append is on its way at a time;
// meanwhile the next batch is decided on the state that the append leads to, and
// goes out as soon as that state is committed. Should it not come to be, the
// batch was decided on nothing and is decided anew: none of it was sent or
// answered.
func (c *Committer) work(ctx context.Context) {
	var flying *flight
	for {
		next := c.gather(ctx, flying)
		landed := flying
		if flying = nil; landed != nil {
			if landed.outcome != Committed {
				c.failed(ctx, landed)
				c.requeue(next)
				return
			}
			c.state = landed.state
		}
		leads, _ := c.cfg.Log.Leads()
		goOn := leads && ctx.Err() == nil
		if goOn && len(next.entries) > 0 {
			flying = c.send(ctx, next)
		}
		if landed != nil {
			c.tell(landed)
		}
		switch {
		case !goOn:
			c.requeue(next)
			return
		case flying == nil && !c.answer(ctx, next):
			return
		case flying == nil && c.clockIsAhead(c.cfg.Now()):
			return
		}
	}
}

// gather decides what waits into one batch. While an append is on its way it
// goes on until that has an outcome; otherwise it waits for a first command, but
// for no second one. A batch without answers and entries says that the epoch may
// be over.
func (c *Committer) gather(ctx context.Context, flying *flight) *batch {
	base := c.state
	if flying != nil {
		base = flying.state
	}
	b := c.newBatch(base, c.cfg.Now())
	for b.commands < batchCommandsMax {
		w := c.next(ctx, flying, b)
		if w == nil {
			break
		}
		if now := c.cfg.Now(); c.clockIsAhead(now) || !b.take(w, now) {
			c.carried = w
			break
		}
	}
	if flying != nil {
		c.showIfWanted(b)
		<-flying.done
	}
	return b
}

// next is the next command to decide, or nil when the batch is to go as it is.
func (c *Committer) next(ctx context.Context, flying *flight, b *batch) *waiting {
	if w := c.carried; w != nil {
		c.carried = nil
		return w
	}
	if w := c.pick(b); w != nil {
		if b.commands%showEvery == 0 {
			c.showIfWanted(b)
		}
		return w
	}
	c.showIfWanted(b)
	if flying == nil && !b.empty() {
		return nil
	}
	var landed <-chan struct{}
	if flying != nil {
		landed = flying.done
	}
	for {
		leads, changed := c.cfg.Log.Leads()
		done := ctx.Done()
		if flying != nil {
			changed, done = nil, nil // the append will tell
		} else if !leads {
			return nil
		}
		var later <-chan time.Time
		jobs, wait := c.jobsNow(b)
		if wait > 0 {
			later = time.After(wait)
		}
		select {
		case w := <-c.queue:
			return w
		case w := <-jobs:
			return c.tookJob(w)
		case w := <-c.plans:
			return c.tookPlan(w)
		case <-later:
		case <-c.tip.wanted:
			c.owed = true
			c.showIfWanted(b)
		case <-landed:
			return nil
		case <-changed:
		case <-done:
			return nil
		}
	}
}

// pick takes a command off the queues if one waits there. Plans are large: many
// of them waiting hold up nobody else, and many others hold up a plan only so far.
func (c *Committer) pick(b *batch) *waiting {
	if len(c.plans) == 0 {
		c.passed = 0
	}
	jobs, _ := c.jobsNow(b)
	if c.passed < passPlansMax {
		select {
		case w := <-c.queue:
			c.passed++
			return w
		case w := <-jobs:
			c.passed++
			return c.tookJob(w)
		default:
		}
	}
	select {
	case w := <-c.plans:
		return c.tookPlan(w)
	default:
	}
	select {
	case w := <-c.queue:
		return w
	case w := <-jobs:
		return c.tookJob(w)
	default:
		return nil
	}
}

// jobsNow is the queue of those who ask for evaluations if one may be taken off
// it, else the time to wait for that.
//
// To acknowledge a job is less work than to place it. Were all that come
// acknowledged at once, a burst would have the workers further and further
// behind, and the last job wait for seconds where now its client does. So from
// backlogMax evaluations on, jobs are held back until half of that is left; in
// turns as long as these, since many jobs in one append cost less than many
// appends. A worker that has a long decision to make keeps nobody waiting for longer than
// jobPatience.
func (c *Committer) jobsNow(b *batch) (jobs chan *waiting, wait time.Duration) {
	switch pending := b.state().PendingCount(); {
	case b.state().Scheduler().PauseEvaluations:
		c.holding = false // nothing would end it
	case pending >= backlogMax:
		c.holding = true
	case pending <= backlogMax/2:
		c.holding = false
	}
	if !c.holding {
		return c.jobs, 0
	}
	if wait = jobPatience - c.cfg.Now().Sub(c.lastTaken); wait > 0 {
		return nil, wait
	}
	return c.jobs, 0
}

func (c *Committer) tookJob(w *waiting) *waiting {
	c.lastTaken = c.cfg.Now()
	return w
}

func (c *Committer) tookPlan(w *waiting) *waiting {
	c.passed, c.lastTaken = 0, c.cfg.Now()
	return w
}

// show lets the workers go on with what is decided, whether or not somebody
// waits for it.
func (c *Committer) show(s *projections.State) {
	if s.Index() > c.shown {
		c.shown, c.owed = s.Index(), false
		c.tip.show(s)
	}
}

// showIfWanted shows what is decided so far if somebody waits for it. To seal a
// draft makes what follows copy what it changes once more, so that nothing is
// sealed for nobody.
func (c *Committer) showIfWanted(b *batch) {
	select {
	case <-c.tip.wanted:
		c.owed = true
	default:
	}
	if c.owed && b.state().Index() > c.shown {
		c.show(b.seal())
	}
}

// tell publishes what an append brought and answers those who asked for it.
func (c *Committer) tell(f *flight) {
	b := f.batch
	c.cfg.Store.Publish(b.records, f.state)
	c.show(f.state)
	b.reply(f.state)
	if h := c.cfg.Hooks.Appended; h != nil {
		h(AppendInfo{Commands: len(b.answers), Records: len(b.records), Bytes: b.bytes, Decide: b.decided, Append: f.took})
	}
}

// answer answers a batch that there is nothing of to append: it must still stand
// on a head that is known committed, by a server known to lead. It returns false
// when the epoch is over.
func (c *Committer) answer(ctx context.Context, b *batch) bool {
	if len(b.answers) == 0 {
		return true
	}
	head, err := c.confirm(ctx)
	if err != nil || head != b.after {
		c.requeue(b)
		return false
	}
	b.reply(c.state)
	return true
}

// failed deals with the commands of an append that was not confirmed.
func (c *Committer) failed(ctx context.Context, f *flight) {
	b := f.batch
	if f.outcome == Refused {
		c.cfg.Logger.Warn("append refused", "after", b.after.Index, "error", f.err)
		c.requeue(b)
		return
	}
	c.cfg.Logger.Warn("outcome of append unknown; reading it from the log", "after", b.after.Index, "error", f.err)
	c.settling.Go(func() { c.settle(ctx, b) })
}

// requeue hands the commands of a batch that is certain not to be in the log
// back to the queue: the next epoch decides them anew.
func (c *Committer) requeue(b *batch) {
	for _, a := range b.answers {
		select {
		case c.queueOf(a.waiting.cmd) <- a.waiting:
		default:
			a.waiting.reply(Result{}, ErrBusy)
		}
	}
}

// settle finds out what became of an append whose outcome is unknown. It reads
// the log behind the head that the append was made on, up to the record that
// opens a later epoch: from there on, nothing of this batch can come any more.
// What is found was committed and is answered so; the rest is decided anew.
func (c *Committer) settle(ctx context.Context, b *batch) {
	found := make(map[event.ID][]*event.Record)
	tail := c.cfg.Log.Tail(b.after.Index + 1)
	defer tail.Close()
	for open := true; open; {
		entries, err := tail.Next(ctx)
		if err != nil {
			for _, a := range b.answers {
				a.waiting.reply(Result{}, fmt.Errorf("%w (%w)", ErrUnknownOutcome, err))
			}
			return
		}
		for _, entry := range entries {
			r, err := projections.DecodeEntry(entry)
			if err != nil {
				panic(fmt.Sprintf("settle commands after %d: %v", b.after.Index, err))
			}
			if started, ok := r.Event.(*event.CommitterStarted); ok && started.Epoch > b.epoch {
				open = false
				break
			}
			found[r.CommandID] = append(found[r.CommandID], r)
		}
	}
	var again []decidedAnswer
	for _, a := range b.answers {
		records := found[a.waiting.cmd.ID]
		if len(records) == 0 {
			again = append(again, a)
			continue
		}
		last := records[len(records)-1].Index
		state, err := c.cfg.Store.Await(ctx, last-1)
		if err != nil {
			a.waiting.reply(Result{}, fmt.Errorf("%w (%w)", ErrUnknownOutcome, err))
			continue
		}
		a.waiting.reply(Result{Index: last, Records: records, State: state}, nil)
	}
	b.answers = again
	c.requeue(b)
}

// records reads the records of a command that took effect before: what a caller
// that repeats a remembered command is answered from.
func (c *Committer) records(ctx context.Context, first, last uint64) ([]*event.Record, error) {
	tail := c.cfg.Log.Tail(first)
	defer tail.Close()
	var records []*event.Record
	for {
		entries, err := tail.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if entry.Index > last {
				return records, nil
			}
			r, err := projections.DecodeEntry(entry)
			if err != nil {
				return nil, err
			}
			if records = append(records, r); entry.Index == last {
				return records, nil
			}
		}
	}
}
