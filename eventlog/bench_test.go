package eventlog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lni/dragonboat/v4"
)

// leading opens a single replica that leads.
func leading(b *testing.B) *Log {
	l := mustOpen(b, testConfig(b, b.TempDir()))
	if _, err := l.Barrier(context.Background()); err != nil {
		b.Fatal(err)
	}
	return l
}

func reportRecords(b *testing.B, records int) {
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAppend is the committer's way: one append in flight, of batches of 1 KiB records.
func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 50, 200, 500} {
		b.Run(fmt.Sprintf("batch=%dKiB", records), func(b *testing.B) {
			l := leading(b)
			ctx := context.Background()
			data := make([][]byte, records)
			for i := range data {
				data[i] = make([]byte, 1024)
			}
			b.SetBytes(int64(records) * 1024)
			head := l.Head()
			for b.Loop() {
				var err error
				if head, err = l.Append(ctx, head, data); err != nil {
					b.Fatal(err)
				}
			}
			reportRecords(b, b.N*records)
		})
	}
}

// BenchmarkAppendPipelined keeps 64 appends of one record in flight, each after where the one before will lead.
func BenchmarkAppendPipelined(b *testing.B) {
	for _, size := range []int{1 << 10, 50 << 10} {
		b.Run(fmt.Sprintf("record=%dKiB", size>>10), func(b *testing.B) {
			l := leading(b)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			at := l.Head()
			var flying []*dragonboat.RequestState
			settle := func() {
				r := <-flying[0].ResultC()
				if !r.Completed() || r.GetResult().Value != resultAppended {
					b.Fatalf("append failed: %+v", r)
				}
				flying[0].Release()
				flying = flying[1:]
			}
			for b.Loop() {
				if len(flying) == 64 {
					settle()
				}
				rs, err := l.host.Propose(l.session, appendCommand{after: at, data: [][]byte{data}}.encode(), 10*time.Second)
				if err != nil {
					b.Fatal(err)
				}
				flying = append(flying, rs)
				at = Position{Index: at.Index + 1, Hash: Chain(at.Hash, at.Index+1, data)}
			}
			for len(flying) > 0 {
				settle()
			}
			reportRecords(b, b.N)
		})
	}
}

// BenchmarkReopen starts a server whose log has 100,000 records of 1 KiB, up to the first barrier.
func BenchmarkReopen(b *testing.B) {
	const records = 100_000
	ctx := context.Background()
	cfg := testConfig(b, b.TempDir())
	fillLog(b, cfg, records)
	for b.Loop() {
		l, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if head, err := l.Barrier(ctx); err != nil || head.Index != records {
			b.Fatal(head, err)
		}
		b.StopTimer()
		l.Close()
		b.StartTimer()
	}
	reportRecords(b, b.N*records)
}

func fillLog(b *testing.B, cfg Config, records int) {
	l, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	head, err := l.Barrier(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	data := make([][]byte, 100)
	for i := range data {
		data[i] = make([]byte, 1024)
	}
	for int(head.Index) < records {
		if head, err = l.Append(context.Background(), head, data); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTail reads 100,000 records of 1 KiB from the store, checking the chain.
func BenchmarkTail(b *testing.B) {
	const records = 100_000
	ctx := context.Background()
	cfg := testConfig(b, b.TempDir())
	fillLog(b, cfg, records)
	l := mustOpen(b, cfg)
	b.SetBytes(records * 1024)
	for b.Loop() {
		r := l.Tail(1)
		for last := uint64(0); last < records; {
			entries, err := r.Next(ctx)
			if err != nil {
				b.Fatal(err)
			}
			last = entries[len(entries)-1].Index
		}
		r.Close()
	}
	reportRecords(b, b.N*records)
}
