package commands

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// batch is what goes into one append.
type batch struct {
	epoch    uint64
	now      time.Time
	stamp    int64
	after    Position
	sealed   *projections.State // the newest one that was handed out: the base, or one of those that were shown
	folded   int                // how many of the records are in it
	draft    *projections.Draft // on top of it; nil when nothing is
	chain    func(event.Hash, uint64, []byte) event.Hash
	entries  [][]byte
	records  []*event.Record
	bytes    int
	commands int                 // taken, whatever became of them
	decided  time.Duration       // spent on deciding, encoding and folding
	answers  []decidedAnswer     // of those who are told once the batch is committed
	early    func(decidedAnswer) // tells those who asked to be told at once
	logger   *slog.Logger
}

// decidedAnswer is what a command will be told once the batch is committed.
type decidedAnswer struct {
	waiting *waiting
	records []*event.Record
	index   uint64
	err     error
	repeats projections.Remembered
}

// newBatch begins a batch on the state that will be the head when it is sent.
func (c *Committer) newBatch(base *projections.State, now time.Time) *batch {
	b := &batch{
		epoch: base.Epoch(), now: now, stamp: max(now.UnixNano(), base.Time()),
		sealed: base, after: Position{base.Index(), base.Hash()},
		chain: c.cfg.Log.Chain, logger: c.cfg.Logger,
	}
	b.early = func(a decidedAnswer) {
		s := b.seal()
		c.show(s)
		a.reply(s)
	}
	return b
}

// empty reports whether there is nothing to append and nobody to answer.
func (b *batch) empty() bool { return len(b.answers) == 0 && len(b.entries) == 0 }

// state is the head as the batch has made it so far: look, do not keep.
func (b *batch) state() *projections.State {
	if b.draft != nil {
		return b.draft.State()
	}
	return b.sealed
}

// seal is the same to keep.
func (b *batch) seal() *projections.State {
	if b.draft != nil {
		b.sealed, b.folded, b.draft = b.draft.Seal(), len(b.records), nil
	}
	return b.sealed
}

// answer notes what a command will be told.
func (b *batch) answer(a decidedAnswer) bool {
	b.commands++
	if a.waiting.early {
		b.early(a)
	} else {
		b.answers = append(b.answers, a)
	}
	return true
}

// take decides one command on the head as the batch has made it so far. It
// returns false when the command does not fit into this append any more.
func (b *batch) take(w *waiting, now time.Time) bool {
	began := time.Now()
	defer func() { b.decided += time.Since(began) }()
	b.now, b.stamp = now, max(now.UnixNano(), b.stamp)
	cmd := w.cmd
	if !cmd.Deadline.IsZero() && b.now.After(cmd.Deadline) {
		w.reply(Result{}, ErrDeadline)
		return true
	}
	state := b.state()
	if known, ok := state.Command(cmd.ID); ok {
		return b.answer(decidedAnswer{waiting: w, index: known.Last, repeats: known})
	}
	decided, rejection, err := b.decide(state, cmd)
	if err != nil {
		return b.answer(decidedAnswer{waiting: w, err: err})
	}
	if rejection != nil {
		return b.answer(decidedAnswer{waiting: w, err: rejection})
	}
	if len(decided) == 0 {
		return b.answer(decidedAnswer{waiting: w, index: state.Index()})
	}
	records, entries, err := b.encode(cmd, decided)
	if err != nil {
		return b.answer(decidedAnswer{waiting: w, err: reject(ReasonInvalid, "%v", err)})
	}
	size := 0
	for _, entry := range entries {
		size += len(entry)
	}
	if size > appendBytesMax {
		return b.answer(decidedAnswer{waiting: w, err: reject(ReasonTooLarge, "it would take %d bytes of the log; one command may take %d", size, appendBytesMax)})
	}
	if b.bytes+size > appendBytesMax {
		return false
	}
	if err := b.apply(records, entries); err != nil {
		return b.answer(decidedAnswer{waiting: w, err: err})
	}
	return b.answer(decidedAnswer{waiting: w, records: records, index: records[len(records)-1].Index})
}

// decide is Decide, with a bug in it turned into the refusal of the one command
// that met it. Nothing has been touched by then.
func (b *batch) decide(state *projections.State, cmd *Command) (decided []Decided, rejection *Rejection, err error) {
	defer func() {
		if bug := recover(); bug != nil {
			b.logger.Error("a command cannot be decided; it is refused", "body", fmt.Sprintf("%T", cmd.Body), "bug", bug, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: the command was refused because it cannot be decided: %v", bug)
		}
	}()
	decided, rejection = Decide(state, b.stamp, cmd)
	return decided, rejection, nil
}

// encode turns decided events into records and entries that follow the draft.
// The records are those that every other server will read, decoded from the very
// bytes: whatever does not survive the encoding (what the log does not carry, nil
// or empty) is gone here too, and what could not be read is not written.
func (b *batch) encode(cmd *Command, decided []Decided) ([]*event.Record, [][]byte, error) {
	state := b.state()
	index, previous := state.Index(), state.Hash()
	records := make([]*event.Record, len(decided))
	entries := make([][]byte, len(decided))
	for i, fact := range decided {
		index++
		r := &event.Record{
			Header: event.Header{
				Index: index, Time: b.stamp, Kind: fact.Event.Kind(), Last: i == len(decided)-1, Remember: cmd.Remember,
				Epoch: b.epoch, CommandID: cmd.ID, Caller: cmd.Caller, Cause: fact.Cause, EvalID: fact.EvalID,
				Previous: previous,
			},
			Event: fact.Event,
		}
		entry, err := event.AppendRecord(nil, r)
		if err != nil {
			return nil, nil, err
		}
		if r, err = event.DecodeRecord(entry); err != nil {
			return nil, nil, err
		}
		r.Hash, r.Size = b.chain(previous, index, entry), len(entry)
		previous = r.Hash
		records[i], entries[i] = r, entry
	}
	return records, entries, nil
}

// apply folds a command's records into the draft. A bug may have made them
// impossible to fold: such a command is refused before anything of it is
// written, and the draft is made anew without it.
func (b *batch) apply(records []*event.Record, entries [][]byte) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			b.logger.Error("a decided command cannot be folded; it is refused", "bug", bug, "stack", string(debug.Stack()))
			b.draft = nil
			if again := b.records[b.folded:]; len(again) > 0 {
				b.draft = projections.NewDraft(b.sealed)
				for _, r := range again {
					b.draft.Apply(r)
				}
			}
			err = fmt.Errorf("internal error: the command was refused because it cannot be folded: %v", bug)
		}
	}()
	if b.draft == nil {
		b.draft = projections.NewDraft(b.sealed)
	}
	for _, r := range records {
		b.draft.Apply(r)
	}
	b.records = append(b.records, records...)
	b.entries = append(b.entries, entries...)
	for _, entry := range entries {
		b.bytes += len(entry)
	}
	return nil
}

// reply answers every command of a batch that is committed.
func (b *batch) reply(state *projections.State) {
	for _, a := range b.answers {
		a.reply(state)
	}
}

func (a *decidedAnswer) reply(state *projections.State) {
	if a.err != nil {
		a.waiting.reply(Result{}, a.err)
		return
	}
	a.waiting.answer <- answer{result: Result{Index: a.index, Records: a.records, State: state}, repeats: a.repeats}
}
