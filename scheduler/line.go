package scheduler

import (
	"cmp"
	"slices"
)

// line is an order of sleepers: highest priority first, then first come. It finds
// the first one that has not seen a room yet without walking past all those that
// have.
//
// Its meaning is a sorted list that is searched from the front. It is cut into
// blocks that know the oldest snapshot among their sleepers, so that a block in
// which everybody has seen the room is passed over whole.
type line struct {
	blocks []lineBlock // none is empty
}

type lineBlock struct {
	list   []*sleeper
	oldest uint64 // the smallest sleeper.seen in the list
}

func byTurn(a, b *sleeper) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.created, b.created), a.id.Compare(b.id))
}

// find is the block that holds e, or that e belongs in.
func (l *line) find(e *sleeper) int {
	n, _ := slices.BinarySearchFunc(l.blocks, e, func(b lineBlock, e *sleeper) int { return byTurn(b.list[len(b.list)-1], e) })
	return min(n, len(l.blocks)-1)
}

func (l *line) add(e *sleeper) {
	if len(l.blocks) == 0 {
		l.blocks = []lineBlock{{[]*sleeper{e}, e.seen}}
		return
	}
	n := l.find(e)
	b := &l.blocks[n]
	at, _ := slices.BinarySearchFunc(b.list, e, byTurn)
	b.list = slices.Insert(b.list, at, e)
	b.oldest = min(b.oldest, e.seen)
	if len(b.list) > lineBlockMax {
		half := len(b.list) / 2
		rest := lineBlock{list: slices.Clone(b.list[half:])}
		b.list = slices.Delete(b.list, half, len(b.list))
		b.renew()
		rest.renew()
		l.blocks = slices.Insert(l.blocks, n+1, rest)
	}
}

// remove takes out e, which must be in the line.
func (l *line) remove(e *sleeper) {
	n := l.find(e)
	b := &l.blocks[n]
	at, _ := slices.BinarySearchFunc(b.list, e, byTurn)
	b.list = slices.Delete(b.list, at, at+1)
	if len(b.list) == 0 {
		l.blocks = slices.Delete(l.blocks, n, n+1)
		return
	}
	if e.seen == b.oldest {
		b.renew()
	}
}

func (b *lineBlock) renew() {
	b.oldest = b.list[0].seen
	for _, e := range b.list[1:] {
		b.oldest = min(b.oldest, e.seen)
	}
}

// first is the first sleeper behind after (from the front when that is nil) that
// last saw the fleet before the index; nil when there is none.
func (l *line) first(after *sleeper, index uint64) *sleeper {
	block, at := 0, 0
	if after != nil && len(l.blocks) > 0 {
		block = l.find(after)
		var found bool
		if at, found = slices.BinarySearchFunc(l.blocks[block].list, after, byTurn); found {
			at++
		}
	}
	for ; block < len(l.blocks); block, at = block+1, 0 {
		if l.blocks[block].oldest >= index {
			continue
		}
		for _, e := range l.blocks[block].list[at:] {
			if e.seen < index {
				return e
			}
		}
	}
	return nil
}

func (l *line) empty() bool { return len(l.blocks) == 0 }
