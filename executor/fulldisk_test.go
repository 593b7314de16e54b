package executor

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drover/eventlog/event"
)

// TestFullDisk has allocations on a disk that is full. What needs room fails in plain words; a task that only talks too
// much goes on, and its exit status is kept.
func TestFullDisk(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	if err := os.MkdirAll(cfg.AllocDir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", cfg.AllocDir, "tmpfs", 0, "size=512k,nr_inodes=200"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(cfg.AllocDir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	big := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) }))
	t.Cleanup(big.Close)
	startAgent(t, cfg)

	talks := s.place(shellJob("head -c 2000000 /dev/zero; exit 7", batch))
	s.untilStatus(talks, event.ClientFailed)
	if got, want := s.history(talks, "main"), "Received, Task Setup, Started, Terminated, Not Restarting"; got != want {
		t.Errorf("a task that fills the disk: %s, want %s", got, want)
	}
	expect := func(what string, id event.ID, want event.TaskEventType) {
		t.Helper()
		s.untilStatus(id, event.ClientFailed)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.tasks[id]["main"].Events {
			if e.Type == want && strings.Contains(e.Message(), "no space left on device") {
				return
			}
		}
		t.Errorf("%s: it is not said that the disk is full: %+v", what, s.tasks[id]["main"].Events)
	}
	job := shellJob("exit 0", batch)
	job.TaskGroups[0].Tasks[0].Artifacts = []event.TaskArtifact{{GetterSource: big.URL + "/big"}}
	expect("artifact", s.place(job), event.TaskFailedArtifactDownload)
	job = shellJob("exit 0", batch)
	job.TaskGroups[0].Tasks[0].Templates = []event.Template{{EmbeddedTmpl: strings.Repeat("x", 1<<20), DestPath: "local/x"}}
	expect("template", s.place(job), event.TaskKilling)

	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(cfg.AllocDir, fmt.Sprint("filler-", i)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("directories", s.place(shellJob("exit 0", batch)), event.TaskSetupFailure)
}
