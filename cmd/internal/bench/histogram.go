package bench

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets of at most 1.6% width (64 to each power
// of two of a microsecond), so that a million samples from many goroutines take
// no lock and little memory. Its percentiles are the upper ends of buckets.
type histogram struct {
	buckets [64 * bucketsPerOctave]atomic.Uint64
	count   atomic.Uint64
	max     atomic.Int64 // nanoseconds
}

const bucketsPerOctave = 64

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < bucketsPerOctave {
		return int(us)
	}
	octave := bits.Len64(us) - bits.Len64(bucketsPerOctave) + 1 // 1 for the first one that is split
	return octave*bucketsPerOctave/2 + int(us>>octave)
}

// topOf is the upper end of a bucket.
func topOf(bucket int) time.Duration {
	if bucket < bucketsPerOctave {
		return time.Duration(bucket+1) * time.Microsecond
	}
	octave := bucket/(bucketsPerOctave/2) - 1
	within := bucket - octave*bucketsPerOctave/2
	return time.Duration(uint64(within+1)<<octave) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	h.count.Add(1)
	for {
		was := h.max.Load()
		if int64(d) <= was || h.max.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}

// reset forgets all samples.
func (h *histogram) reset() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
	h.count.Store(0)
	h.max.Store(0)
}

// at is the duration that the share p of the samples does not exceed.
func (h *histogram) at(p float64) time.Duration {
	total := h.count.Load()
	if total == 0 {
		return 0
	}
	rank, seen := uint64(p*float64(total-1))+1, uint64(0)
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= rank {
			return min(topOf(i), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// Latency is a distribution of durations, in milliseconds.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

func (h *histogram) latency() *Latency {
	if h.count.Load() == 0 {
		return nil
	}
	return &Latency{h.count.Load(), milliseconds(h.at(0.5)), milliseconds(h.at(0.99)), milliseconds(time.Duration(h.max.Load()))}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (l *Latency) String() string {
	if l == nil {
		return "-"
	}
	return fmt.Sprintf("p50 %s, p99 %s, max %s", ms(l.P50), ms(l.P99), ms(l.Max))
}

// ms shows milliseconds with as many digits as count.
func ms(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.1f s", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f ms", v)
}
