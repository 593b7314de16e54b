package figures_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// BenchmarkDriverStart runs 30 tasks of each driver, one after the other, and reports the time from the moment that the
// node received the allocation to the moment that the task runs, by the task's own history.
func BenchmarkDriverStart(b *testing.B) {
	a := startAgent(b, "-dev", "-alloc-dir", filepath.Join(b.TempDir(), "alloc"))
	a.until(b, "ready", a.nodeReady)
	took := map[string]*samples{"raw_exec": {}, "exec": {}}
	for b.Loop() {
		for i := range 30 {
			for driver, s := range took {
				task := api.NewTask("true", driver).SetConfig("command", "/bin/true")
				s.add(receivedToStarted(b, a, fmt.Sprintf("%s-%d", driver, i), task))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for driver, s := range took {
		s.report(b, driver)
	}
}

// receivedToStarted runs a task to its end.
func receivedToStarted(b *testing.B, a *program, id string, task *api.Task) time.Duration {
	b.Helper()
	job := api.NewBatchJob(id, id, "global", 50).AddDatacenter("dc1").AddTaskGroup(api.NewTaskGroup("g", 1).AddTask(task))
	if _, _, err := a.client.Jobs().Register(job, nil); err != nil {
		b.Fatalf("register %s: %v", id, err)
	}
	for index := uint64(1); ; {
		allocs, meta, err := a.client.Jobs().Allocations(id, true, &api.QueryOptions{WaitIndex: index, WaitTime: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		if index = meta.LastIndex; len(allocs) != 1 || allocs[0].ClientStatus != api.AllocClientStatusComplete && allocs[0].ClientStatus != api.AllocClientStatusFailed {
			continue
		}
		times := map[string]int64{}
		for _, e := range allocs[0].TaskStates[task.Name].Events {
			times[e.Type] = e.Time
		}
		if allocs[0].ClientStatus == api.AllocClientStatusFailed || times["Started"] == 0 {
			b.Fatalf("job %s: %+v", id, allocs[0].TaskStates[task.Name])
		}
		return time.Duration(times["Started"] - times["Received"])
	}
}

// BenchmarkManyTasks has one node run 200 raw_exec tasks that do nothing, and reports the processor time that the agent
// takes meanwhile and what memory each task costs beyond what it uses itself: its shim's own, and its part of what
// the agent has grown by.
func BenchmarkManyTasks(b *testing.B) {
	const tasks, watch = 200, 10 * time.Second
	a := startAgent(b, "-dev", "-alloc-dir", filepath.Join(b.TempDir(), "alloc"))
	a.until(b, "ready", a.nodeReady)
	empty, _, err := residentBytes(a.cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	self, err := a.client.Agent().Self()
	if err != nil {
		b.Fatal(err)
	}
	state := self.Stats["client"]["state_directory"]
	cpu, memory := 1, 10
	task := api.NewTask("sleep", "raw_exec").SetConfig("command", "/bin/sleep").SetConfig("args", []string{"3600"}).Require(&api.Resources{CPU: &cpu, MemoryMB: &memory})
	disk, files, size := 10, 1, 1
	task.LogConfig = &api.LogConfig{MaxFiles: &files, MaxFileSizeMB: &size}
	group := api.NewTaskGroup("g", tasks).AddTask(task)
	group.EphemeralDisk = &api.EphemeralDisk{SizeMB: &disk}
	if _, _, err := a.client.Jobs().Register(api.NewServiceJob("many", "many", "global", 50).AddDatacenter("dc1").AddTaskGroup(group), nil); err != nil {
		b.Fatal(err)
	}
	a.until(b, "running all tasks", func() bool {
		summary, _, err := a.client.Jobs().Summary("many", nil)
		return err == nil && summary.Summary["g"].Running == tasks
	})
	var used time.Duration
	var grown, shims uint64
	found := 0
	for b.Loop() {
		before, err := cpuTime(a.cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		<-time.After(watch)
		after, err := cpuTime(a.cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		used = after - before
		full, _, err := residentBytes(a.cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		grown = max(full, empty) - empty
		if shims, found = shimsOf(b, state); found != tasks {
			b.Fatalf("%d shims run for %d tasks", found, tasks)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*float64(used)/float64(watch), "%-of-a-core")
	b.ReportMetric(float64(shims)/tasks/(1<<20), "shim-private-MiB")
	b.ReportMetric(float64(grown)/tasks/(1<<20), "agent-MiB-per-task")
}

// shimsOf is what the shims of the agent with this state directory hold in memory that nobody shares, and their number.
func shimsOf(b *testing.B, state string) (private uint64, n int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		words := strings.Split(string(line), "\x00")
		if err != nil || len(words) < 2 || !strings.HasPrefix(filepath.Base(words[0]), "drover-shim") || !strings.HasPrefix(words[1], state) {
			continue
		}
		_, own, err := residentBytes(pid)
		if err != nil {
			continue // it has ended
		}
		private, n = private+own, n+1
	}
	return private, n
}
