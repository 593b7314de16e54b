package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/posener/complete"

	"drover/cmd/internal/agentconfig"
)

// stopPatience is how long an agent may take to end after a signal before the
// process ends without it.
const stopPatience = 15 * time.Second

func agentSpec() spec {
	return spec{
		name: "agent", args: "",
		synopsis: "Runs a Drover agent",
		about: "Run an agent: a server, a node agent, or both in one process, until it is interrupted.\n" +
			"Configuration comes from files (HCL or JSON) and flags; flags win.",
		predict: complete.PredictNothing,
		setup: func(fs *flag.FlagSet) runFunc {
			line := &agentconfig.CommandLine{}
			line.Register(fs)
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments: got %q", strings.Join(args, " "))
				}
				return in.agent(line)
			}
		},
	}
}

func (in *invocation) agent(line *agentconfig.CommandLine) int {
	cfg, err := agentconfig.Load(line, agentconfig.ThisHost())
	if err != nil {
		return in.fail("==> %s", err)
	}
	cfg.Version = in.p.Version
	fmt.Fprint(in.ui.out, agentconfig.Preamble(cfg))

	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	load := func() (agentconfig.Config, error) { return agentconfig.Load(line, agentconfig.ThisHost()) }
	cfg.Live = new(agentconfig.Live)
	cfg.Reload = func() (string, error) { return reloaded(cfg, load) }
	return in.runAgent(cfg, signals, load)
}

// runAgent runs the agent until it ends by itself or a signal ends it.
func (in *invocation) runAgent(cfg agentconfig.Config, signals <-chan os.Signal, reload func() (agentconfig.Config, error)) int {
	ctx, cancel := context.WithCancel(in.ctx)
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- in.p.RunAgent(ctx, cfg, in.ui) }()
	for {
		select {
		case code := <-ended:
			return code
		case s := <-signals:
			in.ui.Output("==> Caught signal: " + s.String())
			if s == syscall.SIGHUP {
				in.reload(cfg, reload)
				continue
			}
			graceful := s == syscall.SIGINT && cfg.LeaveOnInterrupt || s == syscall.SIGTERM && cfg.LeaveOnTerminate
			if graceful {
				in.ui.Output("==> Gracefully shutting down agent...")
			}
			cancel()
			return in.awaitEnd(ended, signals, graceful)
		}
	}
}

// awaitEnd waits for the agent to end. Only an end that was asked to be
// graceful, and was, counts as success.
func (in *invocation) awaitEnd(ended <-chan int, signals <-chan os.Signal, graceful bool) int {
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	for {
		select {
		case code := <-ended:
			if !graceful {
				return 1
			}
			return code
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			in.ui.Error("==> Caught a second signal: ending at once")
			return 1
		case <-timer.C:
			in.ui.Error(fmt.Sprintf("==> The agent did not end within %s", stopPatience))
			return 1
		}
	}
}

// reload reads the configuration again. Only the log level and the scheduler's
// workers take effect while the agent runs.
func (in *invocation) reload(cfg agentconfig.Config, load func() (agentconfig.Config, error)) {
	in.ui.Output("==> Reloading configuration...")
	said, err := reloaded(cfg, load)
	if err != nil {
		in.ui.Error("==> " + err.Error())
		return
	}
	in.ui.Output("==> " + said)
}

func reloaded(cfg agentconfig.Config, load func() (agentconfig.Config, error)) (string, error) {
	fresh, err := load()
	if err != nil {
		return "", fmt.Errorf("The configuration stays as it was: %w", err)
	}
	cfg.Log.Level.Set(fresh.Log.Level.Level())
	if cfg.Live != nil {
		if err := cfg.Live.Take(fresh); err != nil {
			return "", fmt.Errorf("The scheduler stays as it was: %w", err)
		}
	}
	return fmt.Sprintf("Log level is now %s, and the scheduler as configured; other changes take effect at the next start", agentconfig.LevelWord(fresh.Log.Level.Level())), nil
}
