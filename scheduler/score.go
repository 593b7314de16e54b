package scheduler

import (
	"math/big"

	"drover/eventlog/event"
)

// Scores are integers because floating point may be fused, and so rounded,
// differently on different processors. 10^x comes from a table made by integer
// arithmetic, with linear interpolation between its entries: the error is below
// 1e-5 in 10^x and below one unit of a score (ScoreScale) in binpack.

const (
	powSteps  = 1 << 10 // entries between 10^0 and 10^1
	fracBits  = 20      // fixed point of fractions: 1.0 is 1<<fracBits
	fracOne   = 1 << fracBits
	stepBits  = fracBits - 10 // bits of a fraction below one table entry
	powScale  = 1_000_000_000 // fixed point of the table: 10^0 is powScale
	powDigits = 220           // bits of precision while the table is made
)

// pow10 holds 10^(i/powSteps) in units of 1/powScale.
var pow10 = makePow10()

func makePow10() *[powSteps + 1]int64 {
	one := new(big.Int).Lsh(big.NewInt(1), powDigits)
	// Ten square roots of 10 give 10^(1/1024).
	root := new(big.Int).Mul(big.NewInt(10), one)
	for range 10 {
		root.Sqrt(root.Lsh(root, powDigits))
	}
	var table [powSteps + 1]int64
	value, scaled := new(big.Int).Set(one), new(big.Int)
	half := new(big.Int).Rsh(one, 1)
	for i := range table {
		scaled.Mul(value, big.NewInt(powScale)).Add(scaled, half).Rsh(scaled, powDigits)
		table[i] = scaled.Int64()
		value.Mul(value, root).Rsh(value, powDigits)
	}
	return &table
}

// tenTo is 10^x in units of 1/powScale, for x between 0 and fracOne.
func tenTo(x int64) int64 {
	i, rest := x>>stepBits, x&(1<<stepBits-1)
	if rest == 0 {
		return pow10[i]
	}
	return pow10[i] + (pow10[i+1]-pow10[i])*rest>>stepBits
}

// freeShare is the part of the available room that is free, between 0 and fracOne.
func freeShare(free, available int64) int64 {
	if available <= 0 || free <= 0 {
		return 0
	}
	if free >= available {
		return fracOne
	}
	return free << fracBits / available
}

// fit is how nodes are ranked by the room that stays free on them.
type fit uint8

const (
	// binpack ranks a node higher the less stays free: 20 - (10^freeCPU + 10^freeMemory),
	// kept between 0 and 18 and scaled to 1.
	binpack fit = iota
	// evenly ranks it lower: (10^freeCPU + 10^freeMemory) - 2, likewise.
	evenly
)

// fitOf is the one that a configuration names.
func fitOf(algorithm string) fit {
	if algorithm == event.AlgorithmSpread {
		return evenly
	}
	return binpack
}

func (a fit) score(freeCPU, availableCPU, freeMemory, availableMemory int64) event.Score {
	free := tenTo(freeShare(freeCPU, availableCPU)) + tenTo(freeShare(freeMemory, availableMemory))
	f := 20*powScale - free
	if a == evenly {
		f = free - 2*powScale
	}
	f = min(max(f, 0), 18*powScale)
	return event.Score((f*event.ScoreScale/18 + powScale/2) / powScale)
}

// antiAffinity ranks a node lower the more allocations of the same group are on
// it: -(collisions+1)/count.
func antiAffinity(collisions, count int) event.Score {
	return -event.Score(divideRounded(int64(collisions+1)*event.ScoreScale, int64(max(count, 1))))
}

// meanOf is the mean of the scores that were given.
func meanOf(sum event.Score, n int) event.Score {
	if sum < 0 {
		return -event.Score(divideRounded(int64(-sum), int64(n)))
	}
	return event.Score(divideRounded(int64(sum), int64(n)))
}

func divideRounded(a, b int64) int64 { return (a + b/2) / b }
