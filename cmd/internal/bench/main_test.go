package bench_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	hcli "github.com/hashicorp/cli"

	"drover/cmd/internal/agent"
	"drover/cmd/internal/agentconfig"
	"drover/cmd/internal/bench"
	"drover/cmd/internal/cli"
)

// TestMain is the server, too: the bench starts its own executable as `agent`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "agent" || os.Args[1] == "bench") {
		program := cli.Program{
			Version: "0.0.0-test", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Now: time.Now, Zone: time.UTC,
			RunAgent: func(ctx context.Context, cfg agentconfig.Config, ui hcli.Ui) int { return agent.Run(ctx, cfg, ui) },
		}
		os.Exit(program.Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// config is that of a small run.
func config(t *testing.T, shape string) bench.Config {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return bench.Config{Shape: shape, Program: program, DataDir: t.TempDir(), Version: "0.0.0-test", Stdout: io.Discard, Stderr: testLog{t}}
}

// testLog shows the progress with the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
