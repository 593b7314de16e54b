package scheduler

import (
	"testing"

	"drover/eventlog/event"
)

func spreadOver(count int, weight int8, targets ...event.SpreadTarget) *spread {
	job := &event.Job{Spreads: []event.Spread{{Attribute: "${meta.rack}", Weight: weight, SpreadTarget: targets}}}
	numbers := newValues("${meta.rack}")
	return newSpreads(job, &event.TaskGroup{Count: count}, func(string) *values { return numbers })[0]
}

func TestEvenSpreadBoosts(t *testing.T) {
	for _, test := range []struct {
		name    string
		used    []int32 // by value
		boosts  []event.Score
		missing event.Score
	}{
		{"nothing placed", []int32{0, 0}, []event.Score{0, 0}, -1_000_000},
		{"one value in use", []int32{1, 0}, []event.Score{-1_000_000, 1_000_000}, -1_000_000},
		{"level", []int32{2, 2, 0}, []event.Score{-1_000_000, -1_000_000, 1_000_000}, -1_000_000},
		{"uneven", []int32{1, 2, 4}, []event.Score{3_000_000, -1_000_000, -3_000_000}, -1_000_000},
		{"thirds", []int32{3, 4, 5}, []event.Score{666_667, -333_333, -666_667}, -1_000_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spreadOver(10, 50)
			for value, used := range test.used {
				for range used {
					s.add(int32(value), 1)
				}
			}
			for value, want := range test.boosts {
				if got := s.boost(int32(value)); got != want {
					t.Errorf("value %d used %d times has boost %d, want %d", value, test.used[value], got, want)
				}
			}
			if got := s.boost(noValue); got != test.missing {
				t.Errorf("without the attribute the boost is %d, want %d", got, test.missing)
			}
		})
	}
}

func TestSpreadBoostsByShare(t *testing.T) {
	s := spreadOver(10, 50, event.SpreadTarget{Value: "r1", Percent: 60}, event.SpreadTarget{Value: "r2", Percent: 0})
	r1, r2, r3 := s.number("r1"), s.number("r2"), s.number("r3")
	check := func(value int32, want event.Score) {
		t.Helper()
		if got := s.boost(value); got != want {
			t.Errorf("value %s used %d times has boost %d, want %d", s.names[value], s.count(value), got, want)
		}
	}
	check(r1, 833_333) // (6 - 1) / 6
	check(r3, 750_000) // (4 - 1) / 4 of the rest
	check(r2, -1_000_000)
	for range 14 {
		s.add(r1, 1)
	}
	check(r1, -1_500_000) // (6 - 15) / 6
	check(r2, -1_500_000) // no better than the worst
	for range 12 {
		s.add(r3, 1)
	}
	check(r3, -2_250_000) // (4 - 13) / 4
	check(r2, -2_250_000)
	for range 12 {
		s.add(r3, -1)
	}
	check(r2, -1_500_000)
	whole := spreadOver(10, 50, event.SpreadTarget{Value: "r1", Percent: 100})
	if got := whole.boost(whole.number("r2")); got != -1_000_000 {
		t.Errorf("a value beyond the whole has boost %d", got)
	}
}

func TestSpreadWeightsShareTheScore(t *testing.T) {
	job := &event.Job{Spreads: []event.Spread{{Attribute: "${meta.rack}", Weight: 30, SpreadTarget: []event.SpreadTarget{{Value: "r1", Percent: 100}}}}}
	group := &event.TaskGroup{Count: 2, Spreads: []event.Spread{{Attribute: "${meta.row}", Weight: 10}}}
	list := newSpreads(job, group, newValues)
	if got := list[0].boost(0); got != 375_000 { // (2 - 1) / 2 * 30 / 40
		t.Errorf("boost %d, want 375000", got)
	}
}
