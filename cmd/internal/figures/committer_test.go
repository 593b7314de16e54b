package figures_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"drover/cmd/internal/agent"
	"drover/commands"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
)

// part is the writing half of a server: the log on disk, and the committer over it.
type part struct {
	log       *eventlog.Log
	committer *commands.Committer
	stop      context.CancelFunc
	ended     chan error

	appends, committed atomic.Int64
	deciding, waiting  atomic.Int64 // nanoseconds
}

// openPart opens them in dir, which may hold an earlier one's records.
func openPart(b *testing.B, dir string) *part {
	b.Helper()
	log, err := eventlog.Open(eventlog.Config{Dir: dir, ClusterName: "global", ReplicaID: 1, RaftAddress: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	p := &part{log: log, ended: make(chan error, 1)}
	leading := make(chan struct{})
	p.committer = commands.NewCommitter(commands.CommitterConfig{
		Log: agent.CommitterLog(log), Store: projections.NewStore(projections.New()), Now: time.Now,
		ServerName: "figures.global", Version: "figures", ReplicaID: 1, Region: "global",
		ClusterID: func() event.ID { return event.ID(uuid.New()) }, Logger: slog.New(slog.DiscardHandler),
		Hooks: commands.CommitterHooks{
			Leading: func(uint64) { close(leading) },
			Appended: func(i commands.AppendInfo) {
				p.appends.Add(1)
				p.committed.Add(int64(i.Commands))
				p.deciding.Add(int64(i.Decide))
				p.waiting.Add(int64(i.Append))
			},
		},
	})
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() { p.ended <- p.committer.Run(ctx) }()
	select {
	case <-leading:
	case err := <-p.ended:
		b.Fatal("the committer ended", err)
	}
	return p
}

func (p *part) close(b *testing.B) {
	p.stop()
	if err := <-p.ended; err != nil {
		b.Error(err)
	}
	if err := p.log.Close(); err != nil {
		b.Error(err)
	}
}

// submitters has 64 callers send commands, n in all, each the next when its
// last one is answered, and returns how long each waited.
func (p *part) submitters(b *testing.B, n int, command func(i int) commands.Body) samples {
	b.Helper()
	const callers = 64
	var next atomic.Int64
	var group sync.WaitGroup
	waits := make([]samples, callers)
	for c := range callers {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				cmd := commands.Command{
					ID: event.ID(uuid.New()), Caller: event.Caller{Kind: event.CallerServer, Name: "figures"}, Body: command(i),
				}
				begin := time.Now()
				if _, err := p.committer.Do(context.Background(), cmd); err != nil {
					b.Error(err)
					return
				}
				waits[c].add(time.Since(begin))
			}
		})
	}
	group.Wait()
	var all samples
	for _, w := range waits {
		all.all = append(all.all, w.all...)
	}
	return all
}

// blobOfKiB is a command that leads to one record of 1 KiB: content that the log
// does not have yet.
func blobOfKiB(i int) commands.Body {
	data := make([]byte, 1024)
	binary.BigEndian.PutUint64(data, uint64(i))
	return commands.StoreBlob{Hash: event.HashOf(data), Of: 1, Data: data}
}

// jobOfKiB registers a job whose spec takes about 1 KiB: four events in three records.
func jobOfKiB(i int) commands.Body {
	id := fmt.Sprintf("job-%06d", i)
	job := &event.Job{
		Region: "global", Namespace: "default", ID: id, Name: id, Type: event.JobTypeService, Priority: 50,
		Datacenters: []string{"*"}, NodePool: "default", Meta: map[string]string{"note": string(make([]byte, 700))},
		TaskGroups: []*event.TaskGroup{{Name: "group", Count: 1, Tasks: []*event.Task{{
			Name: "task", Driver: "raw_exec", Config: map[string]any{"command": "/bin/date"},
			Resources: event.Resources{CPU: 100, MemoryMB: 64},
		}}}},
	}
	spec, err := commands.NewBlob(job)
	if err != nil {
		panic(err)
	}
	return commands.SubmitJob{Job: job, Spec: spec}
}

// BenchmarkDurableCommands is how many commands a second a committer makes
// durable: 64 callers, one replica, the log on disk with fsync. Beside it stands
// the log alone, fed by one goroutine with batches of the same size: the ratio
// is what deciding, encoding and folding cost.
func BenchmarkDurableCommands(b *testing.B) {
	for _, kind := range []struct {
		name    string
		n       int
		command func(int) commands.Body
	}{{"1KiB-record", 60_000, blobOfKiB}, {"1KiB-job", 20_000, jobOfKiB}} {
		b.Run(kind.name, func(b *testing.B) {
			for b.Loop() {
				p := openPart(b, filepath.Join(b.TempDir(), "server"))
				begin := time.Now()
				waits := p.submitters(b, kind.n, kind.command)
				took := time.Since(begin)
				appends, committed := p.appends.Load(), p.committed.Load()
				p.close(b)
				b.ReportMetric(float64(kind.n)/took.Seconds(), "commands/s")
				b.ReportMetric(float64(committed)/float64(appends), "commands/append")
				waits.report(b, "answered")
				b.ReportMetric(float64(p.deciding.Load())/float64(committed)/1e3, "decide-µs/command")
				b.ReportMetric(float64(p.waiting.Load())/float64(appends)/1e6, "append-ms")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("log-alone", func(b *testing.B) {
		const batch, n = 32, 60_000
		log, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(b.TempDir(), "server"), ClusterName: "global", ReplicaID: 1, RaftAddress: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		defer log.Close()
		data := make([][]byte, batch)
		for i := range data {
			data[i] = make([]byte, 1024)
		}
		ctx := context.Background()
		head, err := log.Barrier(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			begin := time.Now()
			for range n / batch {
				if head, err = log.Append(ctx, head, data); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(n/time.Since(begin).Seconds(), "commands/s")
		}
		b.ReportMetric(0, "ns/op")
	})
}
