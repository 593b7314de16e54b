package figures_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drover/executor/docker/dockertest"
)

// BenchmarkDockerTask compares, in turns, a task in a container from the
// received allocation to the running task, by the times that its node reports,
// with `docker run -d` of the same image and command, by the clock. The ratio of
// the medians is the figure. What the daemon alone takes, asked over its API, is
// part of both.
func BenchmarkDockerTask(b *testing.B) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		b.Fatalf("the command of Docker is what the task is compared with: %v", err)
	}
	engine, err := dockertest.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := engine.Remove(); err != nil {
			b.Error(err)
		}
	})
	config := filepath.Join(b.TempDir(), "docker.hcl")
	if err := os.WriteFile(config, []byte(fmt.Sprintf("plugin \"docker\" {\n config {\n  endpoint = %q\n }\n}\n", engine.Endpoint())), 0o600); err != nil {
		b.Fatal(err)
	}
	a := startAgent(b, "-dev", "-config", config, "-alloc-dir", filepath.Join(b.TempDir(), "alloc"))
	a.until(b, "ready", a.nodeReady)
	ctx := context.Background()
	remove := func(id string) {
		if _, err := engine.API.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true}); err != nil {
			b.Fatal(err)
		}
	}
	var task, run, daemon samples
	const rounds = 15
	for b.Loop() {
		for i := range rounds {
			took := startInDocker(b, a, fmt.Sprintf("sleep-%d", i))

			began := time.Now()
			out, err := exec.Command(docker, "--host", engine.Endpoint(), "run", "-d", "--network", "host", dockertest.Image, "sleep", "1000").Output()
			ran := time.Since(began)
			if err != nil {
				b.Fatalf("docker run: %v", err)
			}
			remove(string(out[:64]))

			began = time.Now()
			made, err := engine.API.ContainerCreate(ctx, client.ContainerCreateOptions{
				Config:     &container.Config{Image: dockertest.Image, Cmd: []string{"sleep", "1000"}},
				HostConfig: &container.HostConfig{NetworkMode: "host"},
			})
			if err == nil {
				_, err = engine.API.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
			}
			alone := time.Since(began)
			if err != nil {
				b.Fatal(err)
			}
			remove(made.ID)
			if i > 0 { // the first of each finds nothing in memory
				task.add(took)
				run.add(ran)
				daemon.add(alone)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(task.at(0.5))/float64(run.at(0.5)), "of-docker-run")
	task.report(b, "task")
	run.report(b, "docker-run")
	daemon.report(b, "daemon-alone")
}

// startInDocker runs a job in a container, stops it once it runs, and returns
// how long its node took from the received allocation to the running task.
func startInDocker(b *testing.B, a *program, id string) time.Duration {
	b.Helper()
	task := api.NewTask("sleep", "docker").SetConfig("image", dockertest.Image).SetConfig("network_mode", "host").
		SetConfig("command", "sleep").SetConfig("args", []string{"1000"})
	none := time.Duration(0)
	task.KillTimeout = &none
	job := api.NewServiceJob(id, id, "global", 50).AddDatacenter("dc1").AddTaskGroup(api.NewTaskGroup("g", 1).AddTask(task))
	if _, _, err := a.client.Jobs().Register(job, nil); err != nil {
		b.Fatalf("register %s: %v", id, err)
	}
	status := func(index uint64) (*api.AllocationListStub, uint64) {
		allocs, meta, err := a.client.Jobs().Allocations(id, true, &api.QueryOptions{WaitIndex: index, WaitTime: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		if len(allocs) == 0 {
			return &api.AllocationListStub{}, meta.LastIndex
		}
		return allocs[0], meta.LastIndex
	}
	var stub *api.AllocationListStub
	for index := uint64(1); ; {
		if stub, index = status(index); stub.ClientStatus == api.AllocClientStatusRunning {
			break
		}
		if stub.ClientStatus == api.AllocClientStatusFailed {
			b.Fatalf("%s: %+v", id, stub.TaskStates["sleep"].Events)
		}
	}
	var received, started time.Time
	for _, e := range stub.TaskStates["sleep"].Events {
		switch e.Type {
		case api.TaskReceived:
			received = time.Unix(0, e.Time)
		case api.TaskStarted:
			started = time.Unix(0, e.Time)
		}
	}
	if received.IsZero() || started.IsZero() {
		b.Fatalf("%s runs, and its node does not say since when", id)
	}
	if _, _, err := a.client.Jobs().Deregister(id, true, nil); err != nil {
		b.Fatal(err)
	}
	for index := uint64(1); stub.ClientStatus == api.AllocClientStatusRunning; {
		stub, index = status(index)
	}
	return started.Sub(received)
}
