package event

import (
	"crypto/sha256"
	"slices"
	"testing"
)

// BenchmarkYardstick is work that never changes, some hashing and some sorting: what
// other benchmarks are measured against where machines differ (see make bench).
func BenchmarkYardstick(b *testing.B) {
	data := make([]byte, 1<<15)
	numbers := make([]uint32, 1<<12)
	for b.Loop() {
		sum := sha256.Sum256(data)
		seed := uint32(sum[0])
		for i := range numbers {
			seed = seed*1664525 + 1013904223
			numbers[i] = seed
		}
		slices.Sort(numbers)
	}
}
