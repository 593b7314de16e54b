package scheduler

import "drover/eventlog/event"

// spread is one spread block of a group, its job's included. It ranks a node
// higher the fewer allocations of the group run on nodes with the same value of
// an attribute: against a share of the group's count for each value, or, when the
// block names none, against the other values.
//
// Allocations are counted by group, also for a block of the job: the shares are
// shares of the group's count.
type spread struct {
	tally
	weight, weights int64 // of this block, of all blocks of the group

	// With shares. A share is in hundredths of an allocation.
	targets bool
	shares  []int64 // by value, for those that are named
	rest    int64   // of every other value; 0 when the shares add up to the whole
	least   bool    // some value is named with no share at all
	lowest  event.Score

	// usage says how many values have a count: of all values, or with shares of
	// those that are not named. Values without allocations are not in use.
	usage      []int32
	fewest     int32 // lowest count in use, 0 when none is
	most       int32 // highest count in use
	valuesUsed int32
}

// newSpreads prepares the spread blocks of a group.
func newSpreads(job *event.Job, group *event.TaskGroup, number func(attribute string) *values) []*spread {
	var list []*spread
	var weights int64
	for _, blocks := range [][]event.Spread{job.Spreads, group.Spreads} {
		for i := range blocks {
			weights += int64(blocks[i].Weight)
			list = append(list, newSpread(&blocks[i], group.Count, number(blocks[i].Attribute)))
		}
	}
	for _, s := range list {
		s.weights = max(weights, 1)
		s.lowest = s.findLowest()
	}
	return list
}

func newSpread(block *event.Spread, count int, values *values) *spread {
	s := &spread{tally: tally{values: values}, weight: int64(block.Weight), targets: len(block.SpreadTarget) > 0}
	if !s.targets {
		return s
	}
	left := int64(100)
	for _, t := range block.SpreadTarget {
		value := values.number(t.Value)
		for int(value) >= len(s.shares) {
			s.shares = append(s.shares, unnamed)
		}
		s.shares[value] = int64(t.Percent) * int64(count)
		s.least = s.least || t.Percent == 0
		left -= int64(t.Percent)
	}
	s.rest = max(left, 0) * int64(count)
	return s
}

// unnamed marks a value for which a spread block has no target.
const unnamed int64 = -1

func (s *spread) named(value int32) bool {
	return int(value) < len(s.shares) && s.shares[value] != unnamed
}

// boost is what the block adds to the score of a node with the value, if the next
// allocation goes there.
func (s *spread) boost(value int32) event.Score {
	switch {
	case value == noValue:
		return -event.ScoreScale
	case !s.targets:
		return s.evenBoost(s.count(value))
	case s.named(value) && s.shares[value] == 0:
		return s.lowest
	case s.named(value):
		return s.shareBoost(s.shares[value], s.count(value))
	case s.rest == 0:
		return -event.ScoreScale
	}
	return s.shareBoost(s.rest, s.count(value))
}

// mark tells values with targets of their own apart also where others are kept
// together by their counts.
func (s *spread) mark(value int32) int32 {
	if s.wide && value != noValue && s.named(value) {
		return 2*value + 1
	}
	return s.tally.mark(value)
}

// boostOf is boost by mark.
func (s *spread) boostOf(mark int32) event.Score {
	switch {
	case !s.wide || mark == noValue:
		return s.boost(mark)
	case mark%2 == 1:
		return s.boost(mark / 2)
	case !s.targets:
		return s.evenBoost(mark / 2)
	case s.rest == 0:
		return -event.ScoreScale
	}
	return s.shareBoost(s.rest, mark/2)
}

// shareBoost is the part of a share that would be missing still.
func (s *spread) shareBoost(share int64, used int32) event.Score {
	return ratio((share-100*(int64(used)+1))*s.weight, share*s.weights)
}

// evenBoost compares a value's count with the lowest and the highest of those
// values that are in use.
func (s *spread) evenBoost(count int32) event.Score {
	switch {
	case s.valuesUsed == 0:
		return 0
	case count != s.fewest:
		return ratio(int64(s.fewest-count), int64(s.fewest))
	case s.fewest == s.most:
		return -event.ScoreScale
	}
	return ratio(int64(s.most-s.fewest), int64(s.fewest))
}

// findLowest is the boost of values that are named with no share: nothing that
// has a share, however overfull, is worse.
func (s *spread) findLowest() event.Score {
	lowest := event.Score(-event.ScoreScale)
	if !s.least {
		return lowest
	}
	for value, share := range s.shares {
		if share > 0 {
			lowest = min(lowest, s.shareBoost(share, s.count(int32(value))))
		}
	}
	if s.rest > 0 {
		lowest = min(lowest, s.shareBoost(s.rest, s.most))
	}
	return lowest
}

// add counts an allocation in or out. It reports whether that changes the boosts
// of other values too.
func (s *spread) add(value, by int32) (others bool) {
	if value == noValue {
		return false
	}
	now := s.tally.add(value, by)
	if s.targets && s.named(value) {
		return s.lower()
	}
	fewest, most, used := s.fewest, s.most, s.valuesUsed
	s.use(now-by, now)
	if s.targets {
		return s.lower()
	}
	return fewest != s.fewest || most != s.most || (used == 0) != (s.valuesUsed == 0)
}

func (s *spread) lower() (changed bool) {
	if !s.least {
		return false
	}
	before := s.lowest
	s.lowest = s.findLowest()
	return s.lowest != before
}

// use follows the count of one value.
func (s *spread) use(from, to int32) {
	for int(max(from, to)) >= len(s.usage) {
		s.usage = append(s.usage, 0)
	}
	if from > 0 {
		s.usage[from]--
		s.valuesUsed--
	}
	if to > 0 {
		s.usage[to]++
		s.valuesUsed++
		s.most = max(s.most, to)
		if s.fewest == 0 || to < s.fewest {
			s.fewest = to
		}
	}
	if s.valuesUsed == 0 {
		s.fewest, s.most = 0, 0
		return
	}
	for s.usage[s.fewest] == 0 {
		s.fewest++
	}
	for s.usage[s.most] == 0 {
		s.most--
	}
}

// boostMost keeps boosts where sums of them cannot overflow. No count that a node
// can hold comes near it.
const boostMost = 1_000_000 * event.ScoreScale

// ratio is a/b as a score, rounded to the nearest, halves away from zero. b is
// positive.
func ratio(a, b int64) event.Score {
	if a < 0 {
		return -ratio(-a, b)
	}
	if a/b >= boostMost/event.ScoreScale {
		return boostMost
	}
	return event.Score(divideRounded(a*event.ScoreScale, b))
}
