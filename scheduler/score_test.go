package scheduler

import (
	"encoding/binary"
	"math"
	"testing"

	"drover/eventlog/event"
)

func TestPowerTableAgreesWithFloatingPoint(t *testing.T) {
	for i, got := range pow10 {
		want := math.Pow(10, float64(i)/powSteps) * powScale
		if math.Abs(float64(got)-want) > 1 {
			t.Fatalf("10^(%d/%d) is %d, want %.2f", i, powSteps, got, want)
		}
	}
	if pow10[0] != powScale || pow10[powSteps] != 10*powScale {
		t.Fatalf("the ends are %d and %d", pow10[0], pow10[powSteps])
	}
}

func TestBinpackAgreesWithFloatingPoint(t *testing.T) {
	worst := 0.0
	for cpu := int64(0); cpu <= 4000; cpu += 37 {
		for memory := int64(0); memory <= 8192; memory += 61 {
			f := 20 - math.Pow(10, float64(cpu)/4000) - math.Pow(10, float64(memory)/8192)
			want := min(max(f, 0), 18) / 18
			got := float64(binpack.score(cpu, 4000, memory, 8192)) / event.ScoreScale
			worst = max(worst, math.Abs(got-want))
		}
	}
	if worst > 2e-6 {
		t.Fatalf("binpack is off by %g", worst)
	}
}

func TestScoresAtTheirBounds(t *testing.T) {
	tests := []struct {
		name      string
		got, want event.Score
	}{
		{"an empty node", binpack.score(4000, 4000, 8192, 8192), 0},
		{"a full node", binpack.score(0, 4000, 0, 8192), event.ScoreScale},
		{"a node without compute", binpack.score(0, 0, 8192, 8192), 500_000},
		{"more taken than there is", binpack.score(-10, 4000, -10, 8192), event.ScoreScale},
		{"more free than there is", binpack.score(9000, 4000, 9000, 8192), 0},
		{"very large node", binpack.score(0, 1<<40, 1<<40, 1<<40), 500_000},
		{"one neighbour of three", antiAffinity(1, 3), -666_667},
		{"two neighbours of three", antiAffinity(2, 3), -event.ScoreScale},
		{"no count", antiAffinity(1, 0), -2 * event.ScoreScale},
		{"mean below zero", meanOf(-3, 2), -2},
		{"mean above zero", meanOf(3, 2), 2},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: %d, want %d", test.name, test.got, test.want)
		}
	}
}

// The two algorithms want the opposite: what one gives a node the other takes.
func TestEvenlyIsTheOppositeOfBinpack(t *testing.T) {
	for cpu := int64(0); cpu <= 4000; cpu += 37 {
		for memory := int64(0); memory <= 8192; memory += 61 {
			sum := binpack.score(cpu, 4000, memory, 8192) + evenly.score(cpu, 4000, memory, 8192)
			if sum < event.ScoreScale-1 || sum > event.ScoreScale+1 {
				t.Fatalf("with %d and %d free the scores add up to %d", cpu, memory, sum)
			}
		}
	}
	if full, empty := evenly.score(0, 4000, 0, 8192), evenly.score(4000, 4000, 8192, 8192); full != 0 || empty != event.ScoreScale {
		t.Errorf("a full node scores %d, an empty one %d", full, empty)
	}
	if fitOf(event.AlgorithmSpread) != evenly || fitOf(event.AlgorithmBinpack) != binpack || fitOf("") != binpack {
		t.Error("the names mean other algorithms")
	}
}

func TestLessRoomNeverScoresLower(t *testing.T) {
	last := event.Score(-1)
	for free := int64(100_000); free >= 0; free -= 7 {
		score := binpack.score(free, 100_000, free, 100_000)
		if score < last {
			t.Fatalf("with %d free the score falls from %d to %d", free, last, score)
		}
		last = score
	}
}

func TestTiesAreSpreadOverNodes(t *testing.T) {
	// The lowest of ten nodes is another one for other seeds.
	wins := make(map[int]int)
	for s := range uint64(1000) {
		best := 0
		for n := 1; n < 10; n++ {
			if tieOf(s, numbered(n)) < tieOf(s, numbered(best)) {
				best = n
			}
		}
		wins[best]++
	}
	for n := range 10 {
		if wins[n] < 60 || wins[n] > 140 {
			t.Errorf("node %d wins %d of 1000 ties", n, wins[n])
		}
	}
}

func numbered(n int) event.ID {
	var id event.ID
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}
