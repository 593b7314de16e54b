package projections

import (
	"encoding/binary"
	"sync/atomic"

	"drover/eventlog/event"
)

// idIndex finds the ordinal of an allocation by its ID. Its meaning is a map of
// which every state has its own copy. What it does instead rests on this: an ID
// never comes to mean another ordinal. So states share one hash table; an ID that
// a state should not know leads to an ordinal beyond its end, or to a row of
// another ID, and the reader sees that (see State.Allocation).
//
// One writer, the owner of the newest state, adds; readers of any state read at
// the same time. A shard that is full is replaced by a larger one in the states
// to come, without the IDs that have left the state by then; states that were
// handed out keep the shard that they have.
type idIndex struct {
	shards *[idShards]*idShard
	// next is the ordinal that the next ID gets in the newest state that shares
	// the table. A state that is at another one is a fork, and makes a table of
	// its own. Only the owner looks at it.
	next *uint64
}

const (
	idShards      = 256 // so that growing one takes tens of microseconds, not of milliseconds
	idShardLeast  = 8
	idShardFilled = 0.75
)

type idShard struct {
	entries []idEntry // a power of two, open addressing, linear probing
	used    int       // the writer's
}

// idEntry is written once: the ID first, then place.
type idEntry struct {
	id    event.ID
	place atomic.Uint64 // ordinal + 1; 0 while the entry is free
}

func newIDIndex() idIndex {
	return idIndex{shards: new([idShards]*idShard), next: new(uint64)}
}

func newIDShard(size int) *idShard { return &idShard{entries: make([]idEntry, size)} }

// IDs are derived by hashing, so their own bytes are the hash.
func idShardOf(id event.ID) int { return int(id[0]) }

func (s *idShard) start(id event.ID) int {
	return int(binary.BigEndian.Uint64(id[8:])) & (len(s.entries) - 1)
}

// find is the ordinal that the ID was given in some state.
func (x idIndex) find(id event.ID) (at uint64, ok bool) {
	s := x.shards[idShardOf(id)]
	if s == nil {
		return 0, false
	}
	for i := s.start(id); ; i = (i + 1) & (len(s.entries) - 1) {
		place := s.entries[i].place.Load()
		if place == 0 {
			return 0, false
		}
		if s.entries[i].id == id {
			return place - 1, true
		}
	}
}

// add gives an ID its ordinal. alive says whether an ordinal is still in the
// state, for when the table has to grow.
func (x *idIndex) add(id event.ID, at uint64, alive func(uint64) bool) {
	shard := idShardOf(id)
	s := x.shards[shard]
	if s == nil || float64(s.used+1) > idShardFilled*float64(len(s.entries)) {
		s = s.grown(alive)
		shards := *x.shards
		shards[shard] = s
		x.shards = &shards
	}
	s.put(id, at)
	*x.next = at + 1
}

func (s *idShard) put(id event.ID, at uint64) {
	i := s.start(id)
	for s.entries[i].place.Load() != 0 {
		i = (i + 1) & (len(s.entries) - 1)
	}
	s.entries[i].id = id
	s.entries[i].place.Store(at + 1)
	s.used++
}

func (s *idShard) grown(alive func(uint64) bool) *idShard {
	if s == nil {
		return newIDShard(idShardLeast)
	}
	left := 0
	for i := range s.entries {
		if place := s.entries[i].place.Load(); place != 0 && alive(place-1) {
			left++
		}
	}
	size := idShardLeast
	for float64(left+1) > idShardFilled*float64(size)/2 {
		size *= 2
	}
	next := newIDShard(size)
	for i := range s.entries {
		if place := s.entries[i].place.Load(); place != 0 && alive(place-1) {
			next.put(s.entries[i].id, place-1)
		}
	}
	return next
}
