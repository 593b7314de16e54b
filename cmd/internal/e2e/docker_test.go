package e2e_test

import (
	"context"
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
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drover/executor/docker/dockertest"
)

// helloJob is a job file of 2016 whose image comes as an archive with the job.
const helloJob = `
job "hello" {
  datacenters = ["dc1"]
  type = "service"

  update {
    stagger = "30s"
    max_parallel = 1
  }

  group "hello-group" {
    count = 1
    task "hello-task" {
      driver = "docker"
      artifact {
        source = "%s/hello.tar"
        options { archive = "false" }
      }
      config {
        image = "shop/hello:1.0.0"
        load = "hello.tar"
        network_mode = "shop"
        port_map { http = 8080 }
        command = "sh"
        args = ["-c", "trap 'exit 0' TERM; echo serving $NOMAD_PORT_http; echo hello from $NOMAD_JOB_NAME > /local/index.html; httpd -f -vv -p 8080 -h /local & wait"]
      }
      resources {
        cpu = 100
        memory = 32
        network {
          mbits = 1
          port "http" {}
        }
      }
    }
  }
}
`

// oneTask is a job of one container, which is tried again where that may help.
const oneTask = `
job "%[1]s" {
  datacenters = ["dc1"]
  type = "batch"
  group "g" {
    task "t" {
      driver = "docker"
      config {
        image = "%[2]s"
        network_mode = "host"
        command = "true"
      }
      resources {
        cpu = 20
        memory = 16
      }
    }
  }
}
`

func jobFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.nomad")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDocker runs old job files on a real Docker Engine, which is not there at first.
func TestDocker(t *testing.T) {
	t.Parallel()
	check := checker(t)
	engine, err := dockertest.New()
	check("start a Docker Engine", err)
	t.Cleanup(func() { check("remove the Docker Engine", engine.Remove()) })
	ctx, docker := t.Context(), engine.API
	_, err = docker.ImageTag(ctx, client.ImageTagOptions{Source: dockertest.Image, Target: "shop/hello:1.0.0"})
	check("name the image", err)
	archive := saveImage(t, docker, "shop/hello:1.0.0")
	_, err = docker.NetworkCreate(ctx, "shop", client.NetworkCreateOptions{Driver: "bridge"})
	check("make a network", err)
	// Nothing of what is not ours may change: this one has the same image.
	foreign, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "hello-task-of-somebody", Config: &container.Config{Image: dockertest.Image, Cmd: []string{"sleep", "100000"}, StopTimeout: ptr(0)},
		HostConfig: &container.HostConfig{NetworkMode: "none", RestartPolicy: container.RestartPolicy{Name: "always"}},
	})
	check("make a container of somebody else", err)
	_, err = docker.ContainerStart(ctx, foreign.ID, client.ContainerStartOptions{})
	check("start a container of somebody else", err)
	engine.Stop()

	a, c := newOne(t, agentConfig{clientKeys: fmt.Sprintf("options {\n \"docker.endpoint\" = %q\n}", engine.Endpoint())})
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(archive) }))
	defer files.Close()

	// Without its daemon the job waits, and says for what.
	run := a.drover(t, "run", "-detach", jobFile(t, fmt.Sprintf(helloJob, files.URL)))
	if run.code != 0 {
		t.Fatalf("run: %s", run)
	}
	await(t, "a blocked evaluation", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("hello", q)
	}, func(evals []*api.Evaluation) bool {
		return slices.ContainsFunc(evals, func(e *api.Evaluation) bool { return e.Status == "blocked" })
	})
	status := a.ok(t, "status", "hello")
	contains(t, status, "= pending")
	contains(t, status, `Constraint "missing drivers": 1 nodes excluded by filter`)
	contains(t, a.ok(t, "node-status", "-verbose", "-self"), "cannot reach the docker daemon")

	// The daemon is noticed when it comes.
	check("start the daemon again", engine.Start())
	stub := awaitCount(t, c, "hello", "running", 1)[0]
	alloc, _, err := c.Allocations().Info(stub.ID, nil)
	check("allocation", err)
	port := alloc.TaskResources["hello-task"].Networks[0].DynamicPorts[0].Value
	page := func() string {
		t.Helper()
		for until := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
			if err == nil {
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				check("read page", err)
				return string(body)
			}
			if time.Now().After(until) {
				t.Fatal(err)
			}
		}
	}
	if got := page(); got != "hello from hello\n" {
		t.Errorf("page %q", got)
	}
	awaitLog(t, c, stub.ID, "hello-task", "serving 8080\n")
	contains(t, a.ok(t, "logs", stub.ID), "serving 8080\n")
	contains(t, a.ok(t, "logs", "-stderr", stub.ID), "url:/\n")
	var out, errs strings.Builder
	code, err := c.Allocations().Exec(ctx, alloc, "hello-task", false,
		[]string{"sh", "-c", `read a; echo "$a $NOMAD_JOB_NAME $(cat /local/index.html)"; echo oops >&2; exit 9`}, strings.NewReader("hi\n"), &out, &errs, nil, nil)
	if err != nil || code != 9 || out.String() != "hi hello hello from hello\n" || errs.String() != "oops\n" {
		t.Errorf("exec: code %d, %v; %q, %q", code, err, out.String(), errs.String())
	}
	p := startAtTerminal(t, a, "alloc", "exec", stub.ID, "sh", "-c", `until [ "$(stty size)" = "41 99" ]; do sleep 0.01; done; tty; read a; echo "got $a"; exit 4`)
	p.await("/dev/pts/")
	io.WriteString(p, "word\r")
	p.await("got word\r\n")
	p.leaves(4)
	ours := func() []string {
		t.Helper()
		list, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true})
		check("list containers", err)
		var ids []string
		for _, one := range list.Items {
			if one.ID != foreign.ID {
				ids = append(ids, one.ID)
			}
		}
		return ids
	}
	before := ours()
	if len(before) != 1 {
		t.Fatalf("containers %v", before)
	}

	// The container goes on without the agent, and the next one finds it with all it said meanwhile.
	a.kill()
	said := strings.Count(a.logOf(t, stub.ID, "hello-task.stderr.0"), "url:/\n")
	if got := page(); got != "hello from hello\n" {
		t.Errorf("page without an agent: %q", got)
	}
	a.start(t)
	awaitNodes(t, c, 1)
	for until := time.Now().Add(patience); strings.Count(a.logOf(t, stub.ID, "hello-task.stderr.0"), "url:/\n") <= said; <-time.After(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("what was said without an agent is missing")
		}
	}
	if after := ours(); !slices.Equal(after, before) {
		t.Errorf("containers %v, before the agent was killed %v", after, before)
	}
	if again := awaitCount(t, c, "hello", "running", 1)[0]; again.ID != stub.ID || again.TaskStates["hello-task"].Restarts != 0 {
		t.Errorf("allocation %s with %d restarts", again.ID, again.TaskStates["hello-task"].Restarts)
	}

	// An image that nobody has.
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, http.StatusNotFound)
		}
	}))
	defer registry.Close()
	image := strings.TrimPrefix(registry.URL, "http://") + "/shop/none:2"
	a.ok(t, "run", "-detach", jobFile(t, fmt.Sprintf(oneTask, "none", image)))
	failed := awaitCount(t, c, "none", "failed", 1)[0]
	shown := a.ok(t, "alloc-status", failed.ID)
	for _, want := range []string{"Client Status       = failed", "Downloading image", "Driver Failure", "Failed to pull `" + image + "`", "manifest unknown", "Not Restarting", "Error was unrecoverable"} {
		contains(t, shown, want)
	}

	// What is stopped is gone, and nothing else.
	a.ok(t, "job", "stop", "-purge", "-detach", "hello")
	for until := time.Now().Add(patience); len(ours()) > 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("containers of a purged job: %v", ours())
		}
	}
	if theirs, err := docker.ContainerInspect(ctx, foreign.ID, client.ContainerInspectOptions{}); err != nil || !theirs.Container.State.Running {
		t.Errorf("the container of somebody else: %+v, %v", theirs.Container.State, err)
	}
}

// logOf is what a task wrote, read on the node's disk.
func (a *agent) logOf(t *testing.T, alloc, file string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(a.dataDir, "*", alloc, "alloc/logs", file))
	if err != nil || len(found) != 1 {
		t.Fatalf("log %s of %s: %v, %v", file, alloc, found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// saveImage makes an archive of an image and removes the image's name.
func saveImage(t *testing.T, docker *client.Client, name string) []byte {
	t.Helper()
	answer, err := docker.ImageSave(context.Background(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	b, err := io.ReadAll(answer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docker.ImageRemove(context.Background(), name, client.ImageRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	return b
}
