package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"golang.org/x/sys/unix"
)

// fifo is a named pipe by which a test tells a task what to do.
type fifo struct {
	*os.File
	path string
}

func newFifo(t *testing.T) fifo {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open at both ends, so that neither opening nor writing waits for the task.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return fifo{f, path}
}

func (f fifo) say(t *testing.T, line string) {
	t.Helper()
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// obedient is a task that repeats what the pipe says, until that is "exit N".
func (f fifo) obedient() string {
	return `echo "pid $$"; while read -r x; do case $x in exit*) set -- $x; exit $2;; *) echo "got $x";; esac; done < ` + f.path
}

// awaitLog follows a task's output until it contains a text, and returns all up
// to there.
func awaitLog(t *testing.T, c *api.Client, alloc, task, text string) string {
	t.Helper()
	cancel := make(chan struct{})
	defer close(cancel)
	frames, errs := c.AllocFS().Logs(&api.Allocation{ID: alloc}, true, task, "stdout", "start", 0, cancel, nil)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var b strings.Builder
	for {
		select {
		case f, open := <-frames:
			if !open {
				t.Fatalf("the log ended before %q:\n%s", text, &b)
			}
			b.Write(f.Data)
			if strings.Contains(b.String(), text) {
				return b.String()
			}
		case err := <-errs:
			t.Fatalf("logs of %s: %v", alloc, err)
		case <-timeout.C:
			t.Fatalf("never logged %q:\n%s", text, &b)
		}
	}
}

// pidOf finds the process ID in the last "pid N" line.
func pidOf(t *testing.T, log string) int {
	t.Helper()
	_, after, found := strings.Cut(log[strings.LastIndex(log, "pid "):], "pid ")
	line, _, _ := strings.Cut(after, "\n")
	pid, err := strconv.Atoi(line)
	if !found || err != nil {
		t.Fatalf("no process ID in %q", log)
	}
	return pid
}

// awaitGone waits for the end of a process that is not a child of this one.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			t.Fatalf("process %d still runs (%v)", pid, err)
		default:
			return
		}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// newPair starts a server and a node agent as processes of their own.
func newPair(t *testing.T, serverKeys string) (server, node *agent, c *api.Client) {
	t.Helper()
	server = newAgent(t, agentConfig{name: "server", server: true, serverKeys: serverKeys})
	node = newAgent(t, agentConfig{name: "node", client: true, servers: []string{server.rpc()}})
	c = server.client(t)
	awaitNodes(t, c, 1)
	return server, node, c
}

// TestKilledNodeAgentReattaches kills the node agent: the task does not notice,
// and the next agent misses neither a line of its output nor its exit status.
func TestKilledNodeAgentReattaches(t *testing.T) {
	t.Parallel()
	_, node, c := newPair(t, "")
	pipe := newFifo(t)
	job := shell("obedient", "service", 1, pipe.obedient())
	job.TaskGroups[0].RestartPolicy = &api.RestartPolicy{Attempts: ptr(1), Interval: ptr(time.Hour), Delay: ptr(10 * time.Millisecond), Mode: ptr("fail")}
	register(t, c, job)
	id := awaitCount(t, c, "obedient", "running", 1)[0].ID
	pipe.say(t, "1")
	pid := pidOf(t, awaitLog(t, c, id, "task", "got 1\n"))

	node.kill()
	if !alive(pid) {
		t.Fatal("the task ended with the agent")
	}
	pipe.say(t, "2") // nobody is there to take the line but the shim
	node.start(t)
	pipe.say(t, "3")
	if got, want := awaitLog(t, c, id, "task", "got 3\n"), fmt.Sprintf("pid %d\ngot 1\ngot 2\ngot 3\n", pid); got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if !alive(pid) {
		t.Error("the task was replaced")
	}

	// The task ends while no agent is there: the next one knows how, and counts
	// the restart that follows.
	node.kill()
	pipe.say(t, "exit 7")
	awaitGone(t, pid)
	node.start(t)
	a := awaitAlloc(t, c, id, func(a *api.Allocation) bool {
		s := a.TaskStates["task"]
		return s.Restarts == 1 && s.State == "running"
	})
	wantTypes(t, a, "Received", "Task Setup", "Started", "Terminated", "Restarting", "Started")
	if code := ended(a); code != 7 {
		t.Errorf("exit code %d", code)
	}

	// The one restart is used up, also for the agent after the next.
	node.kill()
	node.start(t)
	pipe.say(t, "4")
	if again := pidOf(t, awaitLog(t, c, id, "task", "got 4\n")); again == pid {
		t.Error("the same process again")
	}
	pipe.say(t, "exit 8")
	a = awaitAlloc(t, c, id, func(a *api.Allocation) bool { return a.ClientStatus == "failed" })
	if code := ended(a); code != 8 || a.TaskStates["task"].Restarts != 1 {
		t.Errorf("exit code %d, %d restarts", code, a.TaskStates["task"].Restarts)
	}
}

// TestJobStoppedWhileTheNodeAgentIsAway stops a job whose node agent is dead: the
// next agent finds the task and ends it.
func TestJobStoppedWhileTheNodeAgentIsAway(t *testing.T) {
	t.Parallel()
	server, node, c := newPair(t, "")
	register(t, c, shell("stopped", "service", 1, "echo pid $$; exec sleep 3600"))
	id := awaitCount(t, c, "stopped", "running", 1)[0].ID
	pid := pidOf(t, awaitLog(t, c, id, "task", "\n"))
	node.kill()
	contains(t, server.ok(t, "job", "stop", "stopped"), `finished with status "complete"`)
	if !alive(pid) {
		t.Fatal("the task ended without its agent")
	}
	node.start(t)
	awaitCount(t, c, "stopped", "complete", 1)
	awaitGone(t, pid)
}

// TestKilledServerMissesNothing kills the server: its node goes on, tells the next
// one what happened meanwhile, and is never taken for dead.
func TestKilledServerMissesNothing(t *testing.T) {
	t.Parallel()
	server, node, c := newPair(t, "")
	pipe := newFifo(t)
	register(t, c, shell("obedient", "batch", 1, pipe.obedient()))
	id := awaitCount(t, c, "obedient", "running", 1)[0].ID
	pid := pidOf(t, awaitLog(t, c, id, "task", "\n"))
	server.kill()
	pipe.say(t, "exit 5")
	awaitGone(t, pid)
	server.start(t)
	a := awaitAlloc(t, c, id, func(a *api.Allocation) bool { return a.ClientStatus == "failed" })
	if code := ended(a); code != 5 {
		t.Errorf("exit code %d", code)
	}
	register(t, c, shell("next", "batch", 1, "exit 0"))
	awaitCount(t, c, "next", "complete", 1)
	if out := server.ok(t, "event", "stream", "-no-follow", "-kind", "NodeStatusChanged"); strings.Contains(out, "down") {
		t.Errorf("the node was taken for dead:\n%s", out)
	}
	contains(t, server.drover(t, "event", "verify", "-data-dir", server.dataDir).stderr, "in use by a running server")
	if code := node.interrupt(); code != 0 {
		t.Errorf("node agent: exit code %d:\n%s", code, tailOf(node.out.String(), 2000))
	}
	if code := server.interrupt(); code != 0 {
		t.Errorf("server: exit code %d:\n%s", code, tailOf(server.out.String(), 2000))
	}
	contains(t, server.drover(t, "event", "verify", "-data-dir", server.dataDir).stdout, "The event log is whole")
}

// ended is the exit code of the last end of a task.
func ended(a *api.Allocation) int {
	code := -1
	for _, e := range a.TaskStates["task"].Events {
		if e.Type == "Terminated" {
			code = e.ExitCode
		}
	}
	return code
}

func wantTypes(t *testing.T, a *api.Allocation, want ...string) {
	t.Helper()
	var got []string
	for _, e := range a.TaskStates["task"].Events {
		got = append(got, e.Type)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("task events %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// TestKilledServerAndNodeLoseNothing kills one process that is server and node
// again and again while jobs are submitted: every job that was acknowledged is
// there and ran, nothing was started twice, and the log is whole.
func TestKilledServerAndNodeLoseNothing(t *testing.T) {
	t.Parallel()
	const rounds, submitters, perRound = 3, 6, 15
	a, c := newOne(t, agentConfig{})
	starts := filepath.Join(t.TempDir(), "starts")
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	// Services that nobody touches: they go on through every end.
	register(t, c, shell("steady", "service", 3, "echo $NOMAD_ALLOC_ID >> "+starts+"; echo pid $$; exec sleep 3600"))
	steady := map[string]int{}
	for _, alloc := range awaitCount(t, c, "steady", "running", 3) {
		steady[alloc.ID] = pidOf(t, awaitLog(t, c, alloc.ID, "task", "\n"))
	}
	for round := range rounds {
		enough, stop := make(chan struct{}), make(chan struct{})
		var once sync.Once
		var wait sync.WaitGroup
		before := len(acknowledged)
		for s := range submitters {
			wait.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					id := fmt.Sprintf("job-%d-%d-%d", round, s, n)
					_, _, err := c.Jobs().Register(shell(id, "batch", 1, "echo $NOMAD_ALLOC_ID >> "+starts), nil)
					if err != nil {
						continue // not acknowledged: it may be there or not
					}
					mu.Lock()
					acknowledged[id] = true
					if len(acknowledged)-before >= perRound {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(patience):
			t.Error("too few jobs are acknowledged")
		}
		a.kill()
		close(stop)
		wait.Wait()
		a.start(t)
	}
	awaitNodes(t, c, 1)
	jobs := await(t, "jobs", c.Jobs().List, func(jobs []*api.JobListStub) bool {
		for _, j := range jobs {
			if j.Status != "dead" && j.ID != "steady" {
				return false
			}
		}
		return true
	})
	awaitCount(t, c, "steady", "running", 3)
	for id, pid := range steady {
		if !alive(pid) {
			t.Errorf("process %d of service allocation %s is gone", pid, id)
		}
	}
	for _, j := range jobs {
		delete(acknowledged, j.ID)
	}
	if len(acknowledged) > 0 {
		t.Errorf("lost although acknowledged: %v", acknowledged)
	}
	b, err := os.ReadFile(starts)
	if err != nil {
		t.Fatal(err)
	}
	started := map[string]int{}
	for line := range strings.Lines(string(b)) {
		started[strings.TrimSpace(line)]++
	}
	allocs, _, err := c.Allocations().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]int{}
	for _, alloc := range allocs {
		of[alloc.JobID]++
		want := "complete"
		if _, ok := steady[alloc.ID]; ok {
			want = "running"
		}
		if alloc.ClientStatus != want || started[alloc.ID] != 1 {
			t.Errorf("allocation %s of %s is %s and was started %d times", alloc.ID, alloc.JobID, alloc.ClientStatus, started[alloc.ID])
		}
		delete(started, alloc.ID)
	}
	if len(started) > 0 {
		t.Errorf("started and unknown: %v", started)
	}
	for _, j := range jobs {
		if of[j.ID] != 1 && j.ID != "steady" || j.ID == "steady" && of[j.ID] != 3 {
			t.Errorf("job %s has %d allocations", j.ID, of[j.ID])
		}
	}
	t.Logf("%d jobs over %d ends", len(jobs), rounds)
	contains(t, a.ok(t, "event", "verify"), "The event log is whole")

	// A fold from the log alone gives the same state.
	live := stateOf(t, a)
	if code := a.interrupt(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, a.drover(t, "event", "verify", "-data-dir", a.dataDir).stdout, "The event log is whole")
	a.start(t)
	sameState(t, live, stateOf(t, a))
}

// stateOf reads everything that the API lists about jobs, as it stands there.
func stateOf(t *testing.T, a *agent) map[string]string {
	t.Helper()
	state := map[string]string{}
	c := a.client(t)
	jobs, _, err := c.Jobs().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/v1/jobs", "/v1/allocations", "/v1/evaluations"}
	for _, j := range jobs {
		for _, below := range []string{"", "/versions", "/summary", "/submission?version=0"} {
			paths = append(paths, "/v1/job/"+j.ID+below)
		}
	}
	for _, path := range paths {
		code, body := request(t, "GET", a.url()+path, "")
		state[path] = strconv.Itoa(code) + " " + body
	}
	return state
}

func sameState(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, was := range before {
		if after[path] != was {
			t.Errorf("GET %s differs:\n%s\n%s", path, tailOf(was, 2000), tailOf(after[path], 2000))
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d answers, then %d", len(before), len(after))
	}
}

// TestRestartFoldsOnlyTheTail fills a log until a checkpoint is taken, goes on,
// and kills: the next start begins at the checkpoint and ends in the same state.
func TestRestartFoldsOnlyTheTail(t *testing.T) {
	t.Parallel()
	a := newAgent(t, agentConfig{server: true})
	c := a.client(t)
	events := start(t, []string{"DROVER_ADDR=" + a.url()}, "event", "stream", "-kind", "CheckpointTaken")
	big := func(n int) *api.Job {
		job := shell(fmt.Sprintf("big-%d", n), "service", 1, "exec sleep 3600")
		job.SetMeta("filler", strings.Repeat(strconv.Itoa(n%10), 1<<20))
		return job
	}
	// Twenty jobs of a megabyte are more than what folds between two checkpoints.
	for n := range 20 {
		register(t, c, big(n))
	}
	if !events.out.await(t, "CheckpointTaken", events.ended) {
		t.Fatalf("the stream ended:\n%s", events.out)
	}
	var wait sync.WaitGroup
	for s := range 8 {
		wait.Go(func() {
			for n := range 40 {
				if _, _, err := c.Jobs().Register(shell(fmt.Sprintf("tail-%d-%d", s, n), "batch", 1, "exit 0"), nil); err != nil {
					t.Errorf("register: %v", err)
				}
			}
		})
	}
	wait.Wait()
	// Wait for the scheduler: without a node every job's evaluation ends with one that is blocked.
	await(t, "evaluations", c.Evaluations().List, func(evals []*api.Evaluation) bool {
		blocked := 0
		for _, e := range evals {
			if e.Status == "blocked" {
				blocked++
			}
		}
		return blocked == 340
	})
	live := stateOf(t, a)
	a.kill()
	a.start(t)
	sameState(t, live, stateOf(t, a))
	contains(t, a.ok(t, "event", "verify"), "The event log is whole")
	contains(t, a.out.String(), "the fold begins at a checkpoint: index=")
}

// TestNodeIsLostAndComesBack takes a node away: it is declared down, its
// allocation lost and replaced on the other one. When the node returns, what it
// still runs is stopped.
func TestNodeIsLostAndComesBack(t *testing.T) {
	t.Parallel()
	server, first, c := newPair(t, "  heartbeat_grace = \"300ms\"\n  min_heartbeat_ttl = \"500ms\"")
	pipe := newFifo(t)
	register(t, c, shell("wanderer", "service", 1, pipe.obedient()))
	old := awaitCount(t, c, "wanderer", "running", 1)[0]
	pid := pidOf(t, awaitLog(t, c, old.ID, "task", "\n"))

	newAgent(t, agentConfig{name: "second", client: true, servers: []string{server.rpc()}})
	awaitNodes(t, c, 2)
	first.kill()
	allocs := awaitAllocs(t, c, "wanderer", func(allocs []*api.AllocationListStub) bool {
		running := with(allocs, "running")
		return len(running) == 1 && running[0].ID != old.ID
	})
	lost := with(allocs, "lost")
	if len(lost) != 1 || lost[0].ID != old.ID || lost[0].DesiredStatus != "stop" {
		b, _ := json.Marshal(allocs)
		t.Fatalf("not lost and stopped: %s", b)
	}
	replacement := with(allocs, "running")[0]
	if replacement.NodeID == old.NodeID {
		t.Error("replaced on the node that is down")
	}
	node, _, err := c.Nodes().Info(old.NodeID, nil)
	if err != nil || node.Status != "down" {
		t.Errorf("the node is %v, %v", node.Status, err)
	}
	if !alive(pid) {
		t.Fatal("the task ended with its agent")
	}

	first.start(t)
	awaitNodes(t, c, 2)
	awaitGone(t, pid)
	if kept := awaitCount(t, c, "wanderer", "running", 1); kept[0].ID != replacement.ID {
		t.Errorf("%s runs, not %s", kept[0].ID, replacement.ID)
	}
	contains(t, server.ok(t, "event", "verify"), "The event log is whole")
}

// TestRelayedRequests shows that every agent answers: one without a server part
// passes on what it does not know, and logs are found on whichever node they are.
func TestRelayedRequests(t *testing.T) {
	t.Parallel()
	server, node, c := newPair(t, "")
	other := newAgent(t, agentConfig{name: "other", client: true, servers: []string{server.rpc()}, clientKeys: "  meta {\n    \"where\" = \"other\"\n  }"})
	awaitNodes(t, c, 2)
	job := shell("there", "service", 1, "echo here I am; exec sleep 3600")
	job.Constrain(api.NewConstraint("${meta.where}", "=", "other"))
	path := filepath.Join(t.TempDir(), "job.json")
	b, err := json.Marshal(map[string]any{"Job": job})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	contains(t, node.ok(t, "job", "run", "-json", path), `finished with status "complete"`)
	id := awaitCount(t, node.client(t), "there", "running", 1)[0].ID
	awaitLog(t, c, id, "task", "here I am\n")
	for _, a := range []*agent{server, node, other} {
		if got := a.ok(t, "alloc", "logs", id[:8]); got != "here I am\n" {
			t.Errorf("logs through %s: %q", a.name, got)
		}
		// The route itself, at an agent that is not the one it is about.
		code, body := request(t, "GET", a.url()+"/v1/client/fs/logs/"+id+"?task=task&type=stdout&plain=true", "")
		if code != 200 || body != "here I am\n" {
			t.Errorf("GET logs through %s: %d %q", a.name, code, body)
		}
		contains(t, a.ok(t, "job", "status", "there"), "Status        = running")
		contains(t, a.ok(t, "node", "status"), "other")
		contains(t, a.ok(t, "event", "verify"), "The event log is whole")
	}
	// Without its server an agent says so.
	server.kill()
	r := node.drover(t, "job", "status")
	if r.code != 1 || !strings.Contains(r.stderr, "No server answers") {
		t.Errorf("without a server: %s", r)
	}
	// Its own tasks it still knows.
	if got := readAll(t, other, id); got != "here I am\n" {
		t.Errorf("logs without a server: %q", got)
	}
}

func readAll(t *testing.T, a *agent, id string) string {
	t.Helper()
	rc, err := a.client(t).Raw().Response("/v1/client/fs/logs/"+id+"?task=task&type=stdout&plain=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
