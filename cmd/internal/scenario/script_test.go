package scenario

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"drover/commands"
	"drover/commands/jobspec"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/checker"
)

const (
	scripts      = "../../../testdata/scenarios"
	architecture = "../../../ARCHITECTURE.md"
)

// TestScenarios runs the stories of testdata/scenarios. -rewrite makes their
// expected lines anew: commit only changes that you understand and want.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, scripts, func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				c = newCluster()
			}
			seen := len(c.records)
			if out, err := c.verb(d); err != nil {
				return "refused: " + err.Error() + "\n"
			} else if out != "" {
				return out
			}
			if err := c.settle(); err != nil {
				d.Fatalf(t, "%v", err)
			}
			return c.trace(c.records[seen:])
		})
		c.check(t)
		c.record(t, path)
	})
}

// check is the end of every story: a fold from zero gives the same state, and
// no node holds more than it has, recomputed by other code.
func (c *cluster) check(t *testing.T) {
	t.Helper()
	draft := projections.NewDraft(projections.New())
	for _, r := range c.records {
		draft.Apply(r)
	}
	if again := draft.Seal(); again.Checksum() != c.state.Checksum() {
		t.Errorf("folding from zero gives another state")
	}
	w := checker.New()
	for _, r := range c.records {
		if err := w.Apply(r); err != nil {
			t.Errorf("record %d: %v", r.Index, err)
		}
	}
}

func (c *cluster) verb(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "cluster":
		for _, arg := range d.CmdArgs {
			if arg.Key == "nodes" {
				for _, name := range arg.Vals {
					if err := c.addNode(name, d); err != nil {
						return "", err
					}
				}
			}
		}
	case "node":
		return "", c.addNode(d.CmdArgs[0].Key, d)
	case "change":
		n := c.nodes[d.CmdArgs[0].Key]
		info := *c.state.Node(n.id).Info
		resources := *info.NodeResources
		resources.Cpu.CpuShares = int64(intArg(d, "cpu", int(resources.Cpu.CpuShares)))
		info.NodeResources = &resources
		return "", c.join(n, &info)
	case "submit":
		return "", c.submit(d)
	case "stop":
		c.do(event.CallerAnonymous, "", commands.StopJob{
			Key: event.JobKey{Namespace: textArg(d, "namespace", event.DefaultNamespace), ID: d.CmdArgs[0].Key}, Purge: d.HasArg("purge"),
		})
	case "configure":
		config := event.SchedulerConfigured{Algorithm: textArg(d, "algorithm", ""), PauseEvaluations: d.HasArg("pause"), RejectJobs: d.HasArg("reject")}
		if r := c.do(event.CallerAnonymous, "", commands.ConfigureScheduler{Config: config}); r != nil {
			return "", r
		}
	case "pool":
		pool := event.NodePool{Name: d.CmdArgs[0].Key, Description: textArg(d, "description", "")}
		if algorithm := textArg(d, "algorithm", ""); algorithm != "" {
			pool.SchedulerConfiguration = &event.NodePoolScheduler{SchedulerAlgorithm: algorithm}
		}
		return "", c.ask(commands.SetNodePool{Pool: pool})
	case "namespace":
		return "", c.ask(commands.SetNamespace{Namespace: event.Namespace{Name: d.CmdArgs[0].Key, Description: textArg(d, "description", "")}})
	case "delete-pool":
		return "", c.ask(commands.DeleteNodePool{Name: d.CmdArgs[0].Key})
	case "delete-namespace":
		return "", c.ask(commands.DeleteNamespace{Name: d.CmdArgs[0].Key})
	case "scale":
		count := int64(intArg(d, "to", 0))
		r := c.do(event.CallerAnonymous, "", commands.ScaleJob{
			Key: event.JobKey{Namespace: event.DefaultNamespace, ID: d.CmdArgs[0].Key}, Group: textArg(d, "group", "g"), Count: &count, Message: textArg(d, "message", ""),
		})
		if r != nil {
			return "", r
		}
	case "tag":
		return "", c.ask(commands.TagVersion{
			Key: event.JobKey{Namespace: event.DefaultNamespace, ID: d.CmdArgs[0].Key}, Name: textArg(d, "as", ""), Description: textArg(d, "description", ""),
		})
	case "untag":
		return "", c.ask(commands.UntagVersion{Key: event.JobKey{Namespace: event.DefaultNamespace, ID: d.CmdArgs[0].Key}, Name: textArg(d, "as", "")})
	case "silence":
		n := c.nodes[d.CmdArgs[0].Key]
		n.silent = true
		length, err := time.ParseDuration(textArg(d, "for", ""))
		if err != nil {
			return "", err
		}
		c.pass(length)
	case "return":
		n := c.nodes[d.CmdArgs[0].Key]
		return "", c.join(n, c.state.Node(n.id).Info)
	case "eligible", "ineligible":
		if r := c.do(event.CallerAnonymous, "", commands.SetEligibility{NodeID: c.nodes[d.CmdArgs[0].Key].id, Eligible: d.Cmd == "eligible"}); r != nil {
			return "", r
		}
	case "end", "fail":
		status, what := event.ClientComplete, event.TaskEvent{Type: event.TaskTerminated, Details: map[string]string{event.DetailExitCode: "0"}}
		if d.Cmd == "fail" {
			status, what.Details[event.DetailExitCode] = event.ClientFailed, "1"
		}
		return "", c.endNamed(d.CmdArgs[0].Key, status, what)
	case "migrate":
		for a := range c.state.Allocations() {
			if a.Name() != d.CmdArgs[0].Key || !a.Live() || textArg(d, "node", "") != "" && a.NodeID != c.nodes[textArg(d, "node", "")].id {
				continue
			}
			if r := c.do(event.CallerAnonymous, "", commands.StopAllocation{ID: a.ID, NoShutdownDelay: d.HasArg("no-delay")}); r != nil {
				return "", r
			}
			return "", nil
		}
		return "", fmt.Errorf("%s does not run", d.CmdArgs[0].Key)
	case "wait":
		length, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			return "", err
		}
		c.pass(length)
	case "collect":
		return "", c.collect(d.HasArg("force"))
	case "as-of":
		return c.asOf(uint64(intArg(d, "index", 0)), textArg(d, "job", "")), nil
	case "explain":
		return c.explain(d.CmdArgs[0].Key), nil
	case "allocations":
		return c.allocations(d.CmdArgs[0].Key), nil
	default:
		return "", fmt.Errorf("there is no verb %q", d.Cmd)
	}
	return "", nil
}

// ask has a command of an operator decided.
func (c *cluster) ask(body commands.Body) error {
	if r := c.do(event.CallerAnonymous, "", body); r != nil {
		return r
	}
	return nil
}

func intArg(d *datadriven.TestData, key string, otherwise int) int {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			if n, err := strconv.Atoi(arg.Vals[0]); err == nil {
				return n
			}
		}
	}
	return otherwise
}

func textArg(d *datadriven.TestData, key, otherwise string) string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			return arg.Vals[0]
		}
	}
	return otherwise
}

func (c *cluster) addNode(name string, d *datadriven.TestData) error {
	id := event.DeriveID("node "+name, event.ID{})
	n := &node{name: name, id: id, told: make(map[event.ID]event.ClientStatus)}
	c.nodes[name] = n
	kernel := textArg(d, "kernel", "linux")
	return c.join(n, &event.Node{
		ID: id, Name: name, Datacenter: textArg(d, "dc", "dc1"), NodePool: textArg(d, "pool", "default"), ComputedClass: "class-" + kernel,
		Attributes: map[string]string{"kernel.name": kernel},
		Drivers:    map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: int64(intArg(d, "cpu", 4000))}, Memory: event.NodeMemory{MemoryMB: int64(intArg(d, "memory", 4096))},
			Disk: event.NodeDisk{DiskMB: 100_000}, MinDynamicPort: 20000, MaxDynamicPort: 32000,
		},
	})
}

// submit reads a job file: the one that is named, or the input below the verb.
func (c *cluster) submit(d *datadriven.TestData) error {
	body, path := []byte(d.Input), "scenario.nomad.hcl"
	if name := textArg(d, "file", ""); name != "" {
		path = name
		var err error
		if body, err = os.ReadFile(filepath.Join("../../../testdata/jobs", name)); err != nil {
			return err
		}
	}
	parsed, err := jobspec.Parse(jobspec.ParseConfig{Path: path, Body: body, Strict: true})
	if err != nil {
		return err
	}
	if _, err := jobspec.Validate(parsed.Job); err != nil {
		return err
	}
	commands.Complete(c.state, parsed.Job)
	spec, err := commands.NewBlob(parsed.Job)
	if err != nil {
		return err
	}
	cmd := commands.SubmitJob{Job: parsed.Job, Spec: spec}
	if d.HasArg("check-index") {
		cmd.EnforceIndex, cmd.JobModifyIndex = true, uint64(intArg(d, "check-index", 0))
	}
	if r := c.do(event.CallerAnonymous, "", cmd); r != nil {
		return r
	}
	return nil
}

// asOf folds the log up to an index and shows what a job had then.
func (c *cluster) asOf(index uint64, job string) string {
	draft := projections.NewDraft(projections.New())
	for _, r := range c.records[:index] {
		draft.Apply(r)
	}
	then := &cluster{state: draft.Seal(), nodes: c.nodes}
	return then.allocations(job)
}

// endNamed has the tasks of "job.group[n]" end.
func (c *cluster) endNamed(name string, status event.ClientStatus, what event.TaskEvent) error {
	for a := range c.state.Allocations() {
		if a.Name() == name && a.Live() {
			for _, n := range c.nodes {
				if n.id == a.NodeID {
					return c.report(n, []event.AllocDelta{c.say(n, a, status, what)})
				}
			}
		}
	}
	return fmt.Errorf("%s does not run", name)
}

// explain shows why the placements that a job waits for have failed.
func (c *cluster) explain(job string) string {
	blocked := c.state.BlockedEvaluation(event.JobKey{Namespace: event.DefaultNamespace, ID: job})
	if blocked == nil {
		return "nothing waits\n"
	}
	var b strings.Builder
	for _, group := range slices.Sorted(maps.Keys(blocked.FailedTGAllocs)) {
		m := blocked.FailedTGAllocs[group]
		fmt.Fprintf(&b, "group %s, %d not placed: %d nodes evaluated\n", group, m.CoalescedFailures+1, m.NodesEvaluated)
		for _, text := range slices.Sorted(maps.Keys(m.ConstraintFiltered)) {
			fmt.Fprintf(&b, "  %s: %d nodes excluded by filter\n", text, m.ConstraintFiltered[text])
		}
		for _, text := range slices.Sorted(maps.Keys(m.DimensionExhausted)) {
			fmt.Fprintf(&b, "  %s exhausted on %d nodes\n", text, m.DimensionExhausted[text])
		}
	}
	return b.String()
}

func (c *cluster) allocations(job string) string {
	var b strings.Builder
	for a := range c.state.AllocationsOf(event.JobKey{Namespace: event.DefaultNamespace, ID: job}) {
		for name, n := range c.nodes {
			if n.id == a.NodeID {
				fmt.Fprintf(&b, "%s v%d on %s: %v, %v\n", a.Name(), a.JobVersion, name, a.Desired, a.Client)
			}
		}
	}
	if b.Len() == 0 {
		return "none\n"
	}
	return b.String()
}

// TestArchitectureTellsTheTruth compares the trace in ARCHITECTURE.md with the
// scenario that it is taken from.
func TestArchitectureTellsTheTruth(t *testing.T) {
	document, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(scripts, "first_job.txt"))
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for block := range strings.SplitSeq(string(script), "----\n") {
		trace, _, _ := strings.Cut(block, "\n\n")
		for line := range strings.SplitSeq(trace, "\n") {
			line = strings.TrimSpace(line)
			if _, err := strconv.Atoi(strings.SplitN(line, " ", 2)[0]); err != nil {
				continue
			}
			told++
			if !strings.Contains(string(document), line) {
				t.Errorf("ARCHITECTURE.md does not have this line of the life of one job:\n%s", line)
			}
		}
	}
	if told == 0 {
		t.Error("the scenario tells nothing")
	}
}
