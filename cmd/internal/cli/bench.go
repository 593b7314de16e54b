package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"drover/cmd/internal/bench"
)

func benchSpec() spec {
	return spec{
		name: "bench", args: "<shape>",
		synopsis: "Load a cluster and measure it",
		about:    benchAbout(),
		setup: func(fs *flag.FlagSet) runFunc {
			var cfg bench.Config
			fs.IntVar(&cfg.Nodes, "nodes", 0, "Simulate `n` nodes.")
			fs.IntVar(&cfg.Jobs, "jobs", 0, "Register `n` jobs.")
			fs.IntVar(&cfg.Count, "count", 0, "Ask for `n` allocations in each job; in shape wide, for n groups.")
			fs.IntVar(&cfg.Clients, "clients", 0, "Register jobs from `n` clients at a time.")
			fs.BoolVar(&cfg.Running, "running", false, "Nodes report every task as running, and the run waits until that is recorded.")
			fs.IntVar(&cfg.Ports, "ports", 0, "Ask for `n` dynamic ports in each group.")
			fs.Float64Var(&cfg.Rate, "rate", 0, "Keep up `n` tasks per second, in shape batch-churn.")
			fs.DurationVar(&cfg.Duration, "duration", 0, "Go on for this `time`, in shapes batch-churn and watch.")
			fs.StringVar(&cfg.API.Address, "address", "", "Load the servers at this `addr` instead of starting one. The jobs are purged at the end; the simulated\nnodes go silent and are declared down. CPU, memory, disk and restarts are not measured.")
			fs.StringVar(&cfg.API.Token, "token", "", "The secret `id` of an ACL token for -address.")
			fs.IntVar(&cfg.Schedulers, "schedulers", 0, "Run `n` scheduler workers in the server. Default = the server's own choice.")
			fs.StringVar(&cfg.DataDir, "data-dir", "", "Keep the server's data below this `directory`, whose disk is measured along. Default = the system's\ndirectory for temporary files.")
			fs.BoolVar(&cfg.Keep, "keep", false, "Do not remove the server's data at the end.")
			fs.BoolVar(&cfg.NoRestart, "no-restart", false, "Do not kill and restart the loaded server.")
			fs.BoolVar(&cfg.JSON, "json", false, "Print the result as JSON.")
			fs.StringVar(&cfg.Out, "out", "", "Write the result as JSON to this `file`, too.")
			fs.StringVar(&cfg.CPUProfile, "cpuprofile", "", "Write a CPU profile of the bench itself to this `file`.")
			fs.StringVar(&cfg.ServerCPUProfile, "server-cpuprofile", "", "Write a CPU profile of the server under load to this `file`, as served by\n/v1/agent/pprof/profile. Servers at -address need enable_debug.")
			fs.IntVar(&cfg.ProfileSeconds, "profile-seconds", 0, "Let that profile last `n` seconds from the beginning of the load. Default = 20")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) == 0:
					return in.usage("This command takes the name of a shape")
				case len(args) > 1:
					return in.usage("This command takes one argument, the name of a shape: got %q. Flags go before it", strings.Join(args, " "))
				}
				var wrong error
				fs.VisitAll(func(f *flag.Flag) {
					if f.Value.String() == "0" && in.given(f.Name) {
						wrong = errors.Join(wrong, fmt.Errorf("-%s must not be 0", f.Name))
					}
				})
				if wrong != nil {
					return in.usage("%s", wrong)
				}
				if args[0] == bench.ReaderShape {
					if err := bench.Read(in.p.Stdin, in.p.Stdout); err != nil {
						return in.fail("Error reading the API: %s", err)
					}
					return 0
				}
				cfg.Shape = args[0]
				return in.bench(cfg)
			}
		},
	}
}

// given reports whether a flag was typed.
func (in *invocation) given(name string) bool {
	for _, word := range in.raw {
		if flagName, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "="); strings.HasPrefix(word, "-") && flagName == name {
			return true
		}
	}
	return false
}

func (in *invocation) bench(cfg bench.Config) int {
	ctx, stop := in.untilInterrupted()
	defer stop()
	program, err := os.Executable()
	if err != nil {
		return in.fail("Error starting the bench: find this program: %s", err)
	}
	cfg.Program, cfg.Version = program, in.p.Version
	cfg.Stdout, cfg.Stderr, cfg.Terminal = in.p.Stdout, in.p.Stderr, in.p.Terminal
	switch err := bench.Run(ctx, cfg); {
	case err != nil && ctx.Err() != nil:
		return in.fail("Interrupted: what the bench had started is removed")
	case err != nil:
		return in.fail("Error running the bench: %s", err)
	}
	return 0
}

func benchAbout() string {
	var b strings.Builder
	b.WriteString(`Load a cluster with simulated nodes and real jobs, check the outcome, and print
what it took. Use it to size servers for a fleet, and to compare machines, disks
and versions: by ratio, on one machine, in one sitting.

A server is started as a process of its own, with the real log on disk and every
commit fsynced. Simulated nodes register and go on through the interface of node
agents; jobs are submitted through the public API. At the end the allocations of
every job are counted through the API, and the whole log is walked: its hash chain
must be whole, no node may hold more than it has, no port may be held twice.

Shapes:
`)
	for _, s := range bench.Shapes() {
		d := s.Default
		fmt.Fprintf(&b, "\n  %s (-nodes %d -jobs %d -count %d -clients %d)\n%s\n%s\n", s.Name, d.Nodes, d.Jobs, d.Count, d.Clients, indent(s.About, "    "), indent(s.Detail, "    "))
	}
	b.WriteString(`
The table:

  placements/s        orders that reached their nodes, from the first registration
                      sent to the last order taken in (with -running: to the last
                      report acknowledged); the first and last 10,000 by the times
                      of the plans' records
  submit to accepted  a registration sent to its answer: the job is durable
  submit to planned   the job's record to that of the plan that places it, by the
                      log's times, per allocation
  submit to placed    a registration sent to the order's arrival at its node, per
                      allocation
  submit to running   the same to the acknowledged report that it runs
  server CPU          of the server's process alone, user and system
  server memory       resident, at most; per allocation above what it was before
                      the first job
  plans ... cut down  plans of which nodes were left out because they had filled
                      up meanwhile
  restart             kill -9 of the loaded server to its first answer

The exit code is 0 when the run came to its end and the check passed, else 1.

Examples:

  $ drover bench c1m
  $ drover bench -nodes 500 -jobs 100 -count 100 -running c1m
  $ drover bench -data-dir /mnt/ssd -json -out result.json small-jobs`)
	return b.String()
}
