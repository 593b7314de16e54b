package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
)

// childConfigEnv holds the configuration of an agent that the test binary is to be.
const childConfigEnv = "EXECUTOR_TEST_AGENT"

// childConfig is what a test tells an agent in a process of its own.
type childConfig struct {
	StateDir, AllocDir, Server, Shim string
}

// childAgent is the process: an agent until it is killed.
func childAgent() {
	var c childConfig
	err := json.Unmarshal([]byte(os.Getenv(childConfigEnv)), &c)
	if err == nil {
		os.Unsetenv(childConfigEnv)
		var a *Agent
		a, err = New(Config{
			StateDir: c.StateDir, AllocDir: c.AllocDir, Servers: []string{c.Server}, RawExecEnabled: true, ShimPath: c.Shim,
			NetworkInterface: "lo", Collection: Collection{DiskPercentMax: 100, InodePercentMax: 100},
		})
		if err == nil {
			err = a.Run(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
