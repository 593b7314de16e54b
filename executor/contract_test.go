package executor

import (
	"fmt"
	"strconv"
	"testing"

	"drover/executor/driver"
	"drover/executor/driver/drivertest"
	"drover/executor/fakedriver"
	"drover/executor/rawexec"
	"drover/executor/shim/proctree"
)

func TestRawExecContract(t *testing.T) {
	sh := func(script string) map[string]any {
		return map[string]any{"command": "/bin/sh", "args": []any{"-c", script}}
	}
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return &rawexec.Driver{Shim: shimBinary} },
		Forever:  sh("echo ready; exec sleep 1000"),
		Stubborn: sh("trap '' TERM; echo ready; exec sleep 1000"),
		Ends:     func(code int) map[string]any { return sh("exit " + strconv.Itoa(code)) },
		Says: func(stdout, stderr string) map[string]any {
			return map[string]any{"command": "/bin/sh", "args": []any{"-c", `printf "$0"; printf "$1" >&2`, stdout, stderr}}
		},
		Invalid: map[string]any{"command": "sleep", "no_such_option": true},
		Missing: map[string]any{"command": "no-such-program"},
		Shell:   "/bin/sh",
		Left: func(t *driver.Task) []string {
			var left []string
			for _, p := range proctree.All() {
				if !p.Zombie && proctree.HasEnv(p.PID, "NOMAD_ALLOC_ID="+t.AllocID.String()) {
					left = append(left, fmt.Sprintf("process %d", p.PID))
				}
			}
			return left
		},
	})
}

func TestFakeDriverContract(t *testing.T) {
	var machine fakedriver.Machine
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return fakedriver.Driver{Machine: &machine} },
		Forever:  map[string]any{"stdout_string": "ready"},
		Stubborn: map[string]any{"ignore_kill": true, "stdout_string": "ready"},
		Ends:     func(code int) map[string]any { return map[string]any{"run_for": "0s", "exit_code": code} },
		Says: func(stdout, stderr string) map[string]any {
			return map[string]any{"run_for": "0s", "stdout_string": stdout, "stderr_string": stderr}
		},
		Invalid: map[string]any{"no_such_option": true},
		Missing: map[string]any{"start_error": "no such program"},
	})
}
