package executor

import (
	"strconv"
	"testing"

	"drover/executor/driver"
	"drover/executor/driver/drivertest"
	"drover/executor/fakedriver"
	"drover/executor/rawexec"
)

func TestRawExecContract(t *testing.T) {
	sh := func(script string) map[string]any {
		return map[string]any{"command": "/bin/sh", "args": []any{"-c", script}}
	}
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return &rawexec.Driver{Shim: shimBinary} },
		Forever:  map[string]any{"command": "sleep", "args": []any{"1000"}},
		Stubborn: sh("trap '' TERM; echo ready; exec sleep 1000"),
		Ends:     func(code int) map[string]any { return sh("exit " + strconv.Itoa(code)) },
		Invalid:  map[string]any{"command": "sleep", "no_such_option": true},
	})
}

func TestFakeDriverContract(t *testing.T) {
	var machine fakedriver.Machine
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return fakedriver.Driver{Machine: &machine} },
		Forever:  map[string]any{},
		Stubborn: map[string]any{"ignore_kill": true, "stdout_string": "ready"},
		Ends:     func(code int) map[string]any { return map[string]any{"run_for": "0s", "exit_code": code} },
		Invalid:  map[string]any{"no_such_option": true},
	})
}
