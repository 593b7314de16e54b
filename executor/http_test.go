package executor

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

// served is an agent with one running allocation behind its HTTP handlers.
type served struct {
	t     *testing.T
	s     *fakeServer
	agent *Agent
	url   string
	alloc event.ID
	dir   string
	api   *api.Client
}

func serve(t *testing.T, job *event.Job) *served {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	web := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	client, err := api.NewClient(&api.Config{Address: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	id := s.place(job)
	s.untilStatus(id, event.ClientRunning)
	t.Cleanup(func() {
		s.stop(id)
		s.until("end of the test's allocation", func() bool { return s.status[id].Terminal() })
	})
	return &served{t: t, s: s, agent: a, url: web.URL, alloc: id, dir: filepath.Join(a.cfg.AllocDir, id.String()), api: client}
}

func (v *served) get(path string, args ...any) (int, string) {
	v.t.Helper()
	res, err := http.Get(v.url + fmt.Sprintf(path, args...))
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (v *served) write(name, content string) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), []byte(content), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	v.write("main/local/hello.txt", "hello, world\n")
	v.write("main/secrets/key", "secret")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"main/local/out": outside, "main/local/up": "../../../../../../../../../../etc/passwd", "main/local/key": "../secrets/key",
		"main/local/fine": "hello.txt",
	} {
		if err := os.Symlink(target, filepath.Join(v.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	id := v.alloc.String()
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/v1/client/fs/cat/" + id + "?path=main/local/hello.txt", 200, "hello, world\n"},
		{"/v1/client/fs/cat/" + id + "?path=/main/local/fine", 200, "hello, world\n"},
		{"/v1/client/fs/readat/" + id + "?path=main/local/hello.txt&offset=7&limit=5", 200, "world"},
		{"/v1/client/fs/readat/" + id + "?path=main/local/hello.txt&offset=7&limit=0", 200, "world\n"},
		{"/v1/client/fs/readat/" + id + "?path=main/local/hello.txt&offset=x", 400, "offset"},
		{"/v1/client/fs/cat/" + id + "?path=main/local/none", 404, "does not exist"},
		{"/v1/client/fs/cat/" + id + "?path=main/local", 400, "not a regular file"},
		{"/v1/client/fs/cat/" + id, 400, "must provide a file name"},
		{"/v1/client/fs/cat/" + id + "?path=../../etc/passwd", 400, "escapes"},
		{"/v1/client/fs/cat/" + id + "?path=main/local/out", 400, "escapes"},
		{"/v1/client/fs/cat/" + id + "?path=main/local/up", 400, "escapes"},
		{"/v1/client/fs/cat/" + id + "?path=main/secrets/key", 403, "prohibited"},
		{"/v1/client/fs/cat/" + id + "?path=main/local/key", 403, "prohibited"},
		{"/v1/client/fs/ls/" + id + "?path=main/secrets", 403, "prohibited"},
		{"/v1/client/fs/cat/00000000-0000-0000-0000-000000000001?path=x", 404, `Unknown allocation "00000000-0000-0000-0000-000000000001"`},
		{"/v1/client/fs/logs/" + id + "?type=stdout", 400, "task name"},
		{"/v1/client/fs/logs/" + id + "?task=main&type=both", 400, "stdout"},
		{"/v1/client/fs/logs/" + id + "?task=other&type=stdout", 400, "unknown task name"},
		{"/v1/client/fs/logs/" + id + "?task=main&type=stdout&origin=middle", 400, "origin"},
		{"/v1/client/fs/none/" + id, 404, ""},
	} {
		if code, body := v.get("%s", c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.path, code, body, c.code, c.want)
		}
	}
	if res, err := http.Post(v.url+"/v1/client/stats", "", nil); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", res, err)
	}

	// The field's own client reads the same.
	alloc := &api.Allocation{ID: id, NodeID: v.agent.NodeID().String()}
	list, _, err := v.api.AllocFS().List(alloc, "/main", nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name+" "+f.FileMode)
	}
	if got, want := strings.Join(names, ", "), "local drwxrwxrwx, private drwx------, secrets drwx------, tmp dtrwxrwxrwx"; got != want {
		t.Errorf("list %s, want %s", got, want)
	}
	info, _, err := v.api.AllocFS().Stat(alloc, "/main/local/hello.txt", nil)
	if err != nil || info.Size != 13 || info.IsDir || info.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("stat %+v, %v", info, err)
	}
}

func TestLogs(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	v.write("alloc/logs/main.stdout.0", "dropped later")
	if err := os.Remove(filepath.Join(v.dir, "alloc/logs/main.stdout.0")); err != nil {
		t.Fatal(err)
	}
	v.write("alloc/logs/main.stdout.1", "one\n")
	v.write("alloc/logs/main.stdout.2", "two\n")
	v.write("alloc/logs/main.stdout.10", "ten\n")
	logs := "/v1/client/fs/logs/" + v.alloc.String() + "?task=main&type=stdout&plain=true"
	for query, want := range map[string]string{
		"":                      "one\ntwo\nten\n",
		"&offset=4":             "two\nten\n",
		"&offset=6":             "o\nten\n",
		"&offset=100":           "",
		"&origin=end&offset=6":  "o\nten\n",
		"&origin=end&offset=99": "one\ntwo\nten\n",
		"&origin=end":           "",
	} {
		if code, body := v.get("%s%s", logs, query); code != 200 || body != want {
			t.Errorf("%q: %d %q, want %q", query, code, body, want)
		}
	}
	if code, body := v.get("/v1/client/fs/logs/%s?task=main&type=stderr&plain=true", v.alloc); code != 200 || body != "" {
		t.Errorf("stderr: %d %q", code, body)
	}
	// Followed by the field's client, over a rotation.
	stop := make(chan struct{})
	frames, errs := v.api.AllocFS().Logs(&api.Allocation{ID: v.alloc.String(), NodeID: v.agent.NodeID().String()},
		true, "main", "stdout", "start", 0, stop, nil)
	var got strings.Builder
	files := map[string]bool{}
	deadline := time.After(20 * time.Second)
	appended := false
	for got.String() != "one\ntwo\nten\nmore\neleven\n" {
		select {
		case f := <-frames:
			got.Write(f.Data)
			if len(f.Data) > 0 {
				files[f.File] = true
			}
		case err := <-errs:
			t.Fatal(err)
		case <-deadline:
			t.Fatalf("followed %q", got.String())
		}
		if !appended && got.String() == "one\ntwo\nten\n" {
			appended = true
			v.write("alloc/logs/main.stdout.10", "ten\nmore\n")
			v.write("alloc/logs/main.stdout.11", "eleven\n")
		}
	}
	close(stop)
	if !files["alloc/logs/main.stdout.2"] || !files["alloc/logs/main.stdout.11"] {
		t.Errorf("files %v", files)
	}
}

func TestFollowedFile(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	v.write("main/local/f", "abc")
	res, err := http.Get(v.url + "/v1/client/fs/stream/" + v.alloc.String() + "?path=main/local/f&offset=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	next := func() frame {
		t.Helper()
		for {
			var f frame
			if err := dec.Decode(&f); err != nil {
				t.Fatal(err)
			}
			if f.File != "" { // not a heartbeat
				return f
			}
		}
	}
	if f := next(); string(f.Data) != "bc" || f.Offset != 3 || f.File != "main/local/f" {
		t.Errorf("frame %+v", f)
	}
	v.write("main/local/f", "x")
	if f := next(); f.FileEvent != "file truncated" {
		t.Errorf("frame %+v", f)
	}
	if f := next(); string(f.Data) != "x" {
		t.Errorf("frame %+v", f)
	}
	if err := os.Remove(filepath.Join(v.dir, "main/local/f")); err != nil {
		t.Fatal(err)
	}
	if f := next(); f.FileEvent != "file deleted" {
		t.Errorf("frame %+v", f)
	}
	if err := dec.Decode(new(frame)); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestStats(t *testing.T) {
	v := serve(t, shellJob("while :; do :; done"))
	host, err := v.api.Nodes().Stats("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if host.Memory.Total == 0 || len(host.CPU) == 0 || host.Uptime == 0 || host.AllocDirStats.Size == 0 {
		t.Errorf("host %+v", host)
	}
	alloc := &api.Allocation{ID: v.alloc.String(), NodeID: v.agent.NodeID().String()}
	// The first look says what is used now, and so does one long after it.
	for _, age := range []time.Duration{0, time.Hour} {
		v.agent.mu.Lock()
		meter := &v.agent.runners[v.alloc].meter
		v.agent.mu.Unlock()
		meter.mu.Lock()
		for key, sample := range meter.last {
			sample.Time = sample.Time.Add(-age)
			meter.last[key] = sample
		}
		meter.mu.Unlock()
		usage, err := v.api.Allocations().Stats(alloc, nil)
		if err != nil {
			t.Fatal(err)
		}
		task := usage.Tasks["main"]
		if task == nil || len(task.Pids) == 0 || task.ResourceUsage.MemoryStats.RSS == 0 {
			t.Fatalf("usage %+v", usage)
		}
		if whole := usage.ResourceUsage.MemoryStats; whole.RSS != task.ResourceUsage.MemoryStats.RSS || !slices.Equal(whole.Measured, []string{"RSS", "Swap"}) {
			t.Errorf("the allocation %+v, its task %+v", whole, task.ResourceUsage.MemoryStats)
		}
		if usage.ResourceUsage.CpuStats.Percent < 1 || usage.ResourceUsage.CpuStats.TotalTicks == 0 {
			t.Errorf("a busy task uses %v %%", usage.ResourceUsage.CpuStats.Percent)
		}
	}
}
