package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"drover/executor/qemu/qemutest"
)

// guestJob is a virtual machine whose disk comes with the job.
const guestJob = `
job "guest" {
  datacenters = ["dc1"]
  group "g" {
    network {
      port "ssh" {}
    }
    task "vm" {
      driver = "qemu"
      artifact {
        source = "%s/disk.img"
      }
      config {
        image_path = "local/disk.img"
        accelerator = "tcg"
        graceful_shutdown = true
        port_map {
          ssh = 22
        }
      }
      kill_timeout = "1s"
      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
`

// TestQemu runs a virtual machine over the end of its agent.
func TestQemu(t *testing.T) {
	t.Parallel()
	disk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(qemutest.BootSector("a guest of 512 bytes\r\n", "", qemutest.Halt))
	}))
	defer disk.Close()
	a, c := newOne(t, agentConfig{})
	contains(t, a.ok(t, "node", "status", "-self", "-verbose"), "driver.qemu.version")
	a.ok(t, "job", "run", "-detach", jobFile(t, fmt.Sprintf(guestJob, disk.URL)))
	stub := awaitCount(t, c, "guest", "running", 1)[0]
	awaitLog(t, c, stub.ID, "vm", "a guest of 512 bytes")
	a.kill()
	a.start(t)
	awaitNodes(t, c, 1)
	again := awaitCount(t, c, "guest", "running", 1)[0]
	if again.ID != stub.ID || again.TaskStates["vm"].Restarts != 0 {
		t.Errorf("allocation %s with %d restarts", again.ID, again.TaskStates["vm"].Restarts)
	}
	// It knows no power button, so it is ended by force.
	a.ok(t, "job", "stop", "-detach", "guest")
	awaitCount(t, c, "guest", "complete", 1)
	shown := a.ok(t, "alloc", "status", stub.ID)
	for _, want := range []string{"Exit Code: 137, Signal: 9", "Sent interrupt. Waiting 1s before force killing"} {
		contains(t, shown, want)
	}
	if left := processesOf(a.dataDir); len(left) > 0 {
		t.Errorf("processes: %v", left)
	}
}
