package docker

import (
	"strings"
	"testing"
	"time"

	"drover/executor/driver"
	"drover/executor/driver/drivertest"
)

// Programs beside a task are its user, where it works.
func TestExecIsWhoTheTaskIs(t *testing.T) {
	made := task(t, shell("trap 'exit 0' TERM; echo ready; sleep 1000 & wait", "work_dir", "/local", "network_mode", "none"))
	made.User = "web"
	r := begin(t, shared.driver(t), made)
	e, ok := driver.ExecerOf(r)
	if !ok {
		t.Fatal("the driver runs no programs beside a task")
	}
	out := drivertest.NewScreen()
	code, err := e.Exec(t.Context(), made, &driver.Exec{
		Command: []string{"sh", "-c", `echo "$PWD $(id -u) $NOMAD_JOB_ID"`}, Stdin: strings.NewReader(""), Stdout: out, Stderr: out,
	})
	if code != 0 || err != nil || out.String() != "/local 1000 shop\n" {
		t.Errorf("code %d, %v; %q", code, err, out)
	}
	if err := r.Stop(t.Context(), time.Minute, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
}
