package executor

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
)

// mountsBelow lists what is mounted below a directory, as the kernel has it.
func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir+"/") {
			all = append(all, at)
		}
	}
	return all
}

// What is secret is in memory: templates, artifacts and what the task itself puts there. It is there over restarts of the
// task, it is as large as the job says, and it goes with the allocation.
func TestSecretsInMemory(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("fetched\n")) }))
	defer server.Close()
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	job := shellJob(`cd $NOMAD_SECRETS_DIR; stat -f -c %T .; stat -f -c %T ../private; df -m --output=size . | tail -1 | tr -d ' '
		stat -c %a .; cat env sub/file own 2>/dev/null; echo own > own; ls -A . sub; exit 1`, batch)
	task := job.TaskGroups[0].Tasks[0]
	task.Resources.SecretsMB = 3
	task.RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	task.Templates = []event.Template{{EmbeddedTmpl: "rendered\n", DestPath: "secrets/env"}}
	task.Artifacts = []event.TaskArtifact{{GetterSource: server.URL + "/file", RelativeDest: "secrets/sub"}}
	id := s.place(job)
	s.untilStatus(id, event.ClientFailed)
	const once = "tmpfs\n%s\n3\n700\nrendered\nfetched\n"
	disk := "" // whatever the tests run on
	if got := logOf(t, a, id, "main.stdout.0"); strings.Count(got, "\n") > 1 {
		disk = strings.Split(got, "\n")[1]
	}
	first := strings.ReplaceAll(once, "%s", disk)
	want := first + ".:\nenv\nown\nsub\n\nsub:\nfile\n" + first + "own\n.:\nenv\nown\nsub\n\nsub:\nfile\n"
	if got := logOf(t, a, id, "main.stdout.0"); got != want {
		t.Errorf("output\n%swant\n%s%s", got, want, logOf(t, a, id, "main.stderr.0"))
	}
	if got, want := mountsBelow(t, a.cfg.AllocDir), filepath.Join(a.cfg.AllocDir, id.String(), "main/secrets"); len(got) != 1 || got[0] != want {
		t.Errorf("mounts %q, want %s", got, want)
	}
	r, _ := a.runner(id)
	s.collect(id)
	<-r.gone
	if got := mountsBelow(t, a.cfg.AllocDir); len(got) != 0 {
		t.Errorf("mounts are left: %q", got)
	}
	if _, err := os.Stat(filepath.Join(a.cfg.AllocDir, id.String())); !os.IsNotExist(err) {
		t.Errorf("directory is left: %v", err)
	}
}

// Secrets that find no room fail their task, and it is said what gives them more.
func TestSecretsFull(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }))
	defer server.Close()
	s := newFakeServer(t)
	startAgent(t, testConfig(t, s))
	for what, c := range map[string]struct {
		change func(*event.Task)
		kind   event.TaskEventType
	}{
		"template": {func(task *event.Task) {
			task.Templates = []event.Template{{EmbeddedTmpl: strings.Repeat("x", 1<<20+1), DestPath: "${NOMAD_SECRETS_DIR}/x"}}
		}, event.TaskKilling},
		"artifact": {func(task *event.Task) {
			task.Artifacts = []event.TaskArtifact{{GetterSource: server.URL + "/file", RelativeDest: "secrets"}}
		}, event.TaskFailedArtifactDownload},
	} {
		job := shellJob("exit 0", batch)
		c.change(job.TaskGroups[0].Tasks[0])
		id := s.place(job)
		s.untilStatus(id, event.ClientFailed)
		const want = "no space left on device: the task's directory of secrets holds 1 MB; secrets in its resources block is its size"
		said := ""
		s.mu.Lock()
		for _, e := range s.tasks[id]["main"].Events {
			if e.Type == c.kind {
				said = e.Message()
			}
		}
		s.mu.Unlock()
		if !strings.Contains(said, want) {
			t.Errorf("%s: it is not said what is full: %q", what, said)
		}
	}
}

// A task that puts something else into the place of its secrets does not make the agent mount over that.
func TestSecretsReplaced(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	other := t.TempDir()
	id := s.place(shellJob(`umount "$NOMAD_SECRETS_DIR" && rmdir "$NOMAD_SECRETS_DIR" && ln -s `+other+` "$NOMAD_SECRETS_DIR"; exit 1`, batch, func(j *event.Job) {
		j.TaskGroups[0].Tasks[0].RestartPolicy = event.RestartPolicy{Attempts: 3, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	}))
	s.untilStatus(id, event.ClientFailed)
	if got, want := s.history(id, "main"), "Received, Task Setup, Started, Terminated, Restarting, Setup Failure, Not Restarting"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	if got := append(mountsBelow(t, other), mountsBelow(t, a.cfg.AllocDir)...); len(got) != 0 {
		t.Errorf("mounts %q", got)
	}
}

// The agent is killed, and killed again: the secrets are there, once, and the last agent lets go of them.
func TestSecretsOfKilledAgent(t *testing.T) {
	s := newFakeServer(t)
	c := newChild(t, s)
	c.start()
	dir := t.TempDir()
	id := s.place(shellJob("cd $NOMAD_SECRETS_DIR; echo mine > own; while [ ! -e "+dir+"/go ]; do sleep 0.01; done; cat own; touch "+dir+"/read; exec sleep 1000",
		func(j *event.Job) {
			j.TaskGroups[0].Tasks[0].RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
		}))
	s.untilStatus(id, event.ClientRunning)
	at := filepath.Join(c.cfg.AllocDir, id.String(), "main/secrets")
	once := func(when string) {
		t.Helper()
		if got := mountsBelow(t, c.cfg.AllocDir); len(got) != 1 || got[0] != at {
			t.Errorf("%s: mounts %q, want %s", when, got, at)
		}
	}
	once("task runs")
	c.kill()
	once("no agent runs")
	c.start()
	once("another agent runs")
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	untilExists(t, filepath.Join(dir, "read"))
	if got := c.logOf(id, "main"); got != "mine\n" {
		t.Errorf("output %q", got)
	}
	c.kill()
	c.start()
	c.endAll()
	s.collect(id)
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(2 * time.Millisecond) {
		_, err := os.Stat(filepath.Dir(filepath.Dir(at)))
		if os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the allocation is not removed: %v", err)
		}
	}
	if got := mountsBelow(t, c.cfg.AllocDir); len(got) != 0 {
		t.Errorf("mounts are left: %q", got)
	}
}
