package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/cmd/internal/apiclient"
	"drover/eventlog"
	"drover/eventlog/event"
)

// judged is a run of the job web of three tasks, after it was placed whole.
func judged(t *testing.T) (*run, *books, map[string]jobCount) {
	b := newBooks(t)
	b.place(0, b.nodes[0], 20000)
	b.place(1, b.nodes[0], 20001)
	b.place(2, b.nodes[1], 20000)
	j := &job{id: "web", want: 3}
	j.sent.Store(1)
	j.placed.Store(3)
	r := &run{list: []*job{j}, result: &Result{}, expectDown: make(map[event.ID]bool), fleet: &fleet{}}
	for i := range b.nodes {
		r.infos = append(r.infos, newNodeInfo(i, nodeSize{}))
	}
	return r, b, map[string]jobCount{"web": {live: 3}}
}

// TestJudge plants what a run must not end with, and expects it to be found.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name string
		plot func(*run, *books, map[string]jobCount)
		want string // "" = nothing is wrong
	}{
		{"all is well", func(*run, *books, map[string]jobCount) {}, ""},
		{"the API counts less", func(_ *run, _ *books, c map[string]jobCount) { c["web"] = jobCount{live: 2} },
			"the log has 3 live allocations, the API says 2"},
		{"the API does not know the job", func(_ *run, _ *books, c map[string]jobCount) { delete(c, "web") }, "the API does not know it"},
		{"the log does not know the job", func(_ *run, b *books, _ map[string]jobCount) { clear(b.jobs) }, "is not in the log"},
		{"an order did not reach its node", func(r *run, _ *books, _ map[string]jobCount) { r.list[0].placed.Store(2) },
			"the log places 3 allocations, 2 orders reached their nodes"},
		{"one ended and was not replaced", func(_ *run, b *books, c map[string]jobCount) {
			b.report(b.nodes[1], event.AllocationID(b.eval, 1, 2), event.ClientComplete)
			c["web"] = jobCount{live: 2, ended: 1}
		}, "wants 3 allocations: 2 live, 3 placed in all"},
		{"one too many", func(r *run, _ *books, _ map[string]jobCount) { r.list[0].want = 2 }, "wants 2 allocations: 3 live"},
		{"some wait", func(r *run, _ *books, c map[string]jobCount) {
			r.list[0].want, r.list[0].waits = 5, true
			c["web"] = jobCount{live: 3, queued: 2}
		}, ""},
		{"a living node was declared down", func(_ *run, b *books, _ map[string]jobCount) {
			b.add(&event.NodeStatusChanged{NodeID: b.nodes[0], Status: event.NodeDown})
		}, "was declared down 1 times while it lived"},
		{"a silent node was declared down", func(r *run, b *books, _ map[string]jobCount) {
			r.expectDown[b.nodes[0]] = true
			b.add(&event.NodeStatusChanged{NodeID: b.nodes[0], Status: event.NodeDown})
		}, ""},
		{"the restart changed it", func(r *run, _ *books, _ map[string]jobCount) {
			r.result.Restart = &Restart{counts: map[string]jobCount{"web": {live: 2}}}
		}, "before the restart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, b, counts := judged(t)
			r.expectDown = make(map[event.ID]bool)
			for i, info := range r.infos {
				info.ID = b.nodes[i]
			}
			test.plot(r, b, counts)
			check := r.judge(b.ledger, counts)
			found := strings.Join(check.Findings, "\n")
			if check.OK != (found == "") || test.want == "" && found != "" || !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
			if err := check.err(); (err == nil) != check.OK {
				t.Errorf("the error of the run: %v", err)
			}
		})
	}
}

// TestOutOfOrder: of jobs that wait, the one with the higher priority is first,
// then the one that was registered first.
func TestOutOfOrder(t *testing.T) {
	waiting := func(placed ...int) (queue []*job, l *ledger) {
		l = newLedger()
		for i, n := range placed {
			id := string(rune('a' + i))
			queue = append(queue, &job{id: id})
			l.jobs[event.JobKey{Namespace: event.DefaultNamespace, ID: id}] = &ledgerJob{
				index: uint64(i), priority: []int{50, 70, 50}[i], wanted: 10, placed: n,
			}
		}
		return queue, l
	}
	for _, test := range []struct{ a, b, c, early int }{{0, 10, 0, 0}, {3, 10, 0, 0}, {10, 10, 4, 0}, {1, 9, 0, 1}, {9, 10, 5, 5}} {
		queue, l := waiting(test.a, test.b, test.c)
		if early, placed := outOfOrder(queue, l); early != test.early || placed != test.a+test.b+test.c {
			t.Errorf("%+v: %d of %d out of order", test, early, placed)
		}
	}
}

// TestBrokenChain damages the files of a log, and expects the walk to name the
// place.
func TestBrokenChain(t *testing.T) {
	dir := t.TempDir()
	log, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "data", "server"), ClusterName: "test", ReplicaID: 1, RaftAddress: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	head, err := log.Barrier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// More than the store keeps in memory, and nothing that it could compress: it
	// stands in the files as it is.
	const mark = "found again in the files"
	noise := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 400<<10)
	for i := range 50 {
		for at := 0; at < len(data); at += 8 {
			binary.LittleEndian.PutUint64(data[at:], noise.Uint64())
		}
		copy(data[1000:], mark)
		record, err := event.AppendRecord(nil, &event.Record{
			Header: event.Header{Index: uint64(i + 1), Time: 1, Kind: event.KindBlobStored, Last: true},
			Event:  &event.BlobStored{Blob: event.HashOf(data), Of: 1, Data: data},
		})
		if err != nil {
			t.Fatal(err)
		}
		if head, err = log.Append(t.Context(), head, [][]byte{record}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	walk := func() (*ledger, error) {
		b := newLedger()
		s := &server{dir: dir, program: "none"}
		return b, readLog(t.Context(), s.logDir(), b)
	}
	b, err := walk()
	if err != nil || len(b.wrong) > 0 || b.facts.records != 50 {
		t.Fatalf("a whole log: %v, %v, %d records", b.wrong, err, b.facts.records)
	}
	damaged := 0
	err = filepath.Walk(filepath.Join(dir, "data", "server"), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if at := strings.Index(string(text), mark); err == nil && at >= 0 && strings.HasSuffix(path, ".sst") {
			damaged++
			text[at] ^= 1
			err = os.WriteFile(path, text, info.Mode())
		}
		return err
	})
	if err != nil || damaged == 0 {
		t.Fatalf("%d files damaged: %v", damaged, err)
	}
	if b, err = walk(); err == nil && len(b.wrong) == 0 {
		t.Error("a damaged log passes")
	}
}

// TestBrokenChainOfAnotherServer: what a running server says of its own log is
// believed.
func TestBrokenChainOfAnotherServer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/event/verify" {
			_, _ = w.Write([]byte(`{"OK":false,"Index":7,"Reason":"the chain does not fit"}` + "\n"))
		}
	}))
	defer s.Close()
	api, err := apiclient.New(apiclient.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{server: &server{api: api}}
	b := newLedger()
	if err := r.walkAPI(t.Context(), b); err != nil || strings.Join(b.wrong, "") != "record 7: the chain is broken: the chain does not fit" {
		t.Errorf("found %q, %v", b.wrong, err)
	}
}
