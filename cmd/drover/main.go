// Drover drives a herd of machines: this is its one program, agent and command
// line alike. It only connects the parts; see cmd/internal/cli for the commands.
package main

import (
	"os"
	"time"

	"github.com/mattn/go-isatty"

	"drover/cmd/internal/agent"
	"drover/cmd/internal/cli"
)

// version is set by the build.
var version = "0.1.0-dev"

func main() {
	agent.Version = version
	program := cli.Program{
		Version:     version,
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		Terminal:    isatty.IsTerminal(os.Stdout.Fd()),
		Environ:     os.Environ(),
		Now:         time.Now,
		Zone:        time.Local,
		ParseJob:    parseJob,
		ValidateJob: validateJob,
		VerifyDir:   verifyDir,
		RunAgent:    agent.Run,
	}
	os.Exit(program.Run(os.Args[1:]))
}
