package event

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestGroupsOfAPlanAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := make(PlannedGroups, rapid.IntRange(1, 6).Draw(t, "groups"))
		metric := func() *AllocMetric {
			if rapid.IntRange(0, 3).Draw(t, "none") == 0 {
				return nil
			}
			m := &AllocMetric{NodesEvaluated: rapid.IntRange(0, 2).Draw(t, "evaluated"), NodePool: "default", CoalescedFailures: rapid.IntRange(0, 2).Draw(t, "coalesced")}
			if rapid.Bool().Draw(t, "exhausted") {
				m.DimensionExhausted = map[string]int{"cpu": 1 + rapid.IntRange(0, 1).Draw(t, "cpu"), "memory": 1}
			}
			for range rapid.IntRange(0, 3).Draw(t, "scores") {
				score := NodeScore{NodeID: HashedID("node"), NormScore: Score(rapid.Int64().Draw(t, "mean"))}
				for _, name := range append([]string{"", "another", "scorer"}, scorers[1:]...) {
					if rapid.Bool().Draw(t, "scored") {
						if score.Scores == nil {
							score.Scores = make(map[string]Score)
						}
						score.Scores[name+"x"[:rapid.IntRange(0, 1).Draw(t, "other")]] = Score(rapid.Int64().Draw(t, "score"))
					}
				}
				delete(score.Scores, "")
				if len(score.Scores) == 0 {
					score.Scores = nil
				}
				m.ScoreMetaData = append(m.ScoreMetaData, score)
			}
			return m
		}
		for i := range groups {
			groups[i] = PlannedGroup{Name: fmt.Sprint("g", i), Metric: metric(), Failed: metric()}
		}
		data, err := Marshal(groups)
		if err != nil {
			t.Fatal(err)
		}
		var read PlannedGroups
		if err := Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(groups, read) {
			t.Fatalf("%+v was read as %+v", groups, read)
		}
		if again, err := Marshal(read); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x was written again as %x, %v", data, again, err)
		}
		// What is cut off or changed is refused or means something else; it never
		// reads as the same.
		broken := bytes.Clone(data)
		at := rapid.IntRange(0, len(broken)-1).Draw(t, "at")
		broken[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		var other PlannedGroups
		if err := Unmarshal(broken, &other); err == nil && reflect.DeepEqual(other, groups) {
			t.Fatalf("%x reads as %x does", broken, data)
		}
	})
}

func TestWalksThatAreAlikeAreWrittenOnce(t *testing.T) {
	size := func(n int, change func(i int, m *AllocMetric)) int {
		groups := make(PlannedGroups, n)
		for i := range groups {
			m := &AllocMetric{NodesEvaluated: 5000, NodesExhausted: 4999, NodePool: "default", NodesAvailable: map[string]int{"dc1": 5000}, DimensionExhausted: map[string]int{"cpu": 4999}}
			change(i, m)
			groups[i] = PlannedGroup{Name: "group", Failed: m}
		}
		data, err := Marshal(groups)
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	alike := size(1000, func(i int, m *AllocMetric) { m.CoalescedFailures = i % 20 })
	apart := size(1000, func(i int, m *AllocMetric) { m.NodesExhausted = i })
	if alike > 14_000 || apart < 40_000 {
		t.Fatalf("1,000 groups take %d bytes with one walk, %d with as many walks", alike, apart)
	}
}
