package cli

import (
	"context"
	"flag"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/posener/complete"

	"drover/cmd/internal/apiclient"
	"drover/cmd/internal/bench"
	"drover/eventlog/event"
)

// completionPatience is how long a person who presses Tab waits for an agent.
const completionPatience = 2 * time.Second

// AutocompleteFlags offers every flag of the command, and behind it what its value may be.
func (c *command) AutocompleteFlags() complete.Flags {
	_, all, _, _ := c.flagSet()
	flags := complete.Flags{}
	all.VisitAll(func(f *flag.Flag) { flags["-"+f.Name] = c.predictValue(f) })
	return flags
}

// flagWords are the words that flags take, by flag or by command and flag.
var flagWords = map[string][]string{
	"eval list -status":         {event.EvalBlocked.String(), event.EvalPending.String(), event.EvalComplete.String(), event.EvalFailed.String(), event.EvalCanceled.String()},
	"log-level":                 {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"},
	"preferred-address-family":  {"ipv4", "ipv6"},
	"server-id":                 {"leader"},
	"scheduler-algorithm":       {event.AlgorithmBinpack, event.AlgorithmSpread},
	"operator metrics -format":  {"prometheus"},
	"node pool init -out":       {"hcl", "json"},
	"job init -template":        Examples(),
	"event stream -kind":        kindNames(),
	"job restart -on-error":     {"ask", "fail"},
	"alloc signal -s":           {"SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"},
	"scaling policy list -type": {"horizontal"},
}

func kindNames() (names []string) {
	for _, k := range event.Kinds() {
		names = append(names, k.String())
	}
	return names
}

// flagContexts are the objects that flags name.
var flagContexts = map[string]string{"job": "jobs", "node-id": "nodes", "namespace": "namespaces", "node-pool": "node_pools"}

// predictValue offers what the value of a flag may be.
func (c *command) predictValue(f *flag.Flag) complete.Predictor {
	words, known := flagWords[c.name+" -"+f.Name]
	if !known {
		words, known = flagWords[f.Name]
	}
	searched := flagContexts[f.Name]
	switch {
	case isBool(f):
		return complete.PredictNothing
	case known:
		return complete.PredictSet(words...)
	case searched != "" && c.general:
		return c.p.predictIDs([]string{searched})
	case strings.HasSuffix(f.Usage, "`true|false`"):
		return complete.PredictSet("true", "false")
	case strings.HasSuffix(f.Name, "-dir"), f.Name == "ca-path":
		return complete.PredictDirs("*")
	case strings.HasSuffix(f.Name, "file"), slices.Contains([]string{"config", "ca-cert", "client-cert", "client-key"}, f.Name):
		return complete.PredictFiles("*")
	}
	return complete.PredictAnything
}

// AutocompleteArgs offers what the command's arguments may be.
func (c *command) AutocompleteArgs() complete.Predictor {
	switch {
	case c.predict != nil:
		return c.predict
	case c.group:
		return complete.PredictNothing
	case strings.Contains(c.args, "<file"), strings.Contains(c.args, "<path>"), strings.Contains(c.args, "[path]"), strings.Contains(c.args, "[filename]"):
		if searched := argumentContexts(c.name); len(searched) > 0 {
			return complete.PredictOr(complete.PredictFiles("*"), c.p.predictIDs(searched))
		}
		return complete.PredictFiles("*")
	case c.name == "bench":
		names := []string{bench.ReaderShape}
		for _, shape := range bench.Shapes() {
			names = append(names, shape.Name)
		}
		return complete.PredictSet(names...)
	}
	if searched := argumentContexts(c.name); len(searched) > 0 && c.general {
		return c.p.predictIDs(searched)
	}
	return complete.PredictNothing
}

// argumentContexts names the contexts that a command's argument is one of.
func argumentContexts(name string) []string {
	switch first, _, _ := strings.Cut(name, " "); {
	case name == "status":
		return []string{"jobs", "allocs", "nodes", "evals", "namespaces"}
	case name == "namespace apply":
		return []string{"namespaces"}
	case slices.Contains([]string{"job run", "job validate", "job plan", "job init", "node pool apply", "node pool init", "node meta apply", "node config", "eval list"}, name):
		return nil
	case first == "job":
		return []string{"jobs"}
	case first == "alloc":
		return []string{"allocs"}
	case strings.HasPrefix(name, "node pool"):
		return []string{"node_pools"}
	case first == "node":
		return []string{"nodes"}
	case first == "eval":
		return []string{"evals"}
	case first == "namespace":
		return []string{"namespaces"}
	case name == "scaling policy info":
		return []string{"scaling_policy"}
	}
	return nil
}

// predictIDs offers the identifiers of some contexts that begin as typed, of the agent and the namespace that the flags
// before say.
func (p *Program) predictIDs(searched []string) complete.Predictor {
	return complete.PredictFunc(func(a complete.Args) []string {
		g := newGeneral(p)
		if byJob := g.typed(a.Completed); byJob && slices.Equal(searched, []string{"allocs"}) {
			searched = []string{"jobs"}
		}
		c, err := apiclient.New(g.cfg)
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionPatience)
		defer cancel()
		in := "all"
		if len(searched) == 1 {
			in = searched[0]
		}
		found, err := c.Search(ctx, a.Last, in)
		if err != nil {
			return nil
		}
		var list []string
		for _, name := range searched {
			list = append(list, found[name]...)
		}
		return list
	})
}

// typed takes the general options from the words before the one that is completed, and reports whether -job is among
// them.
func (g *general) typed(words []string) (byJob bool) {
	for i := range words {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		g.register(fs)
		job := fs.Bool("job", false, "")
		if strings.HasPrefix(words[i], "-") {
			_ = fs.Parse(words[i:min(i+2, len(words))]) // the command's own flags are unknown here
			byJob = byJob || *job
		}
	}
	return byJob
}
