package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/cmd/internal/apiclient"
)

// askFirst is what -batch-wait and -on-error say for asking a person.
const askFirst = "ask"

type restartOptions struct {
	batchSize    string // a number, or one with %
	batchWait    string // a duration, or askFirst
	onError      string // askFirst or "fail"
	groups       []string
	tasks        []string
	allTasks     bool
	reschedule   bool
	hasty        bool
	yes, verbose bool

	wait time.Duration // of batchWait
}

func jobRestartSpec() spec {
	return spec{
		name: "job restart", args: "<job>", general: true,
		synopsis: "Restart the tasks of a job, or replace its allocations",
		about: "Restart the tasks of a job that run, allocation by allocation, where they are.\n" +
			"With -reschedule the allocations are stopped instead and others take their places; each batch\n" +
			"waits until its replacements run.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o restartOptions
			list := func(to *[]string) func(string) error {
				return func(s string) error { *to = append(*to, s); return nil }
			}
			fs.BoolVar(&o.allTasks, "all-tasks", false, "Restart all tasks of an allocation, also those that have ended.")
			fs.StringVar(&o.batchSize, "batch-size", "1", "How many allocations at a time: a `number`, or a share as in 50%. Default = 1")
			fs.StringVar(&o.batchWait, "batch-wait", "0s", "How long to wait between batches: a `duration`, or \"ask\". Default = 0s")
			fs.Func("group", "Only allocations of this `group`. May be given several times.", list(&o.groups))
			fs.BoolVar(&o.hasty, "no-shutdown-delay", false, "With -reschedule: ignore the shutdown_delay of groups and tasks.")
			fs.StringVar(&o.onError, "on-error", askFirst, "What to do when a restart fails: \"ask\" or \"fail\". Default = ask")
			fs.BoolVar(&o.reschedule, "reschedule", false, "Stop the allocations and have others take their places.")
			fs.Func("task", "Only this `task`. May be given several times.", list(&o.tasks))
			fs.BoolVar(&o.yes, "yes", false, "Ask nothing; go on after errors.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				if problem := o.check(); problem != "" {
					return in.usage("%s", problem)
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.restartJob(c, args[0], o)
			}
		},
	}
}

// check says what is wrong with the options, if anything is, and reads them.
func (o *restartOptions) check() string {
	switch {
	case o.allTasks && len(o.tasks) > 0:
		return "The -all-tasks option cannot be used with -task"
	case o.reschedule && (o.allTasks || len(o.tasks) > 0):
		return "The -reschedule option cannot be used with -task or -all-tasks"
	case o.onError != askFirst && o.onError != "fail":
		return fmt.Sprintf("Invalid -on-error value %q: it is ask or fail", o.onError)
	case o.yes && o.batchWait == askFirst:
		return "The -batch-wait option cannot be \"ask\" with -yes"
	}
	if _, err := o.size(1); err != nil {
		return err.Error()
	}
	if o.batchWait != askFirst {
		var err error
		if o.wait, err = time.ParseDuration(o.batchWait); err != nil || o.wait < 0 {
			return fmt.Sprintf("Invalid -batch-wait value %q: it is a duration or ask", o.batchWait)
		}
	}
	return ""
}

// size is how many of all allocations make a batch.
func (o *restartOptions) size(all int) (int, error) {
	text, share := strings.CutSuffix(o.batchSize, "%")
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || share && n > 100 {
		return 0, fmt.Errorf("Invalid -batch-size value %q: it is a number above zero, or a share from 1%% to 100%%", o.batchSize)
	}
	if share {
		n = max(1, all*n/100)
	}
	return n, nil
}

func (in *invocation) restartJob(c *apiclient.Client, typed string, o restartOptions) int {
	stub, exact, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	if !exact && !o.yes {
		if code, ok := in.confirm(fmt.Sprintf("Are you sure you want to restart job %q? [y/N]", stub.ID), "Cancelling job restart"); !ok {
			return code
		}
	}
	c = c.InNamespace(stub.JobNamespace())
	job, _, err := c.Job(in.ctx, stub.ID, apiclient.Query{})
	if err != nil {
		return in.fail("Error retrieving job: %s", err)
	}
	tasks := map[string]bool{}
	groups := map[string]bool{}
	for _, g := range job.TaskGroups {
		groups[g.Name] = true
		for _, t := range g.Tasks {
			tasks[t.Name] = tasks[t.Name] || len(o.groups) == 0 || slices.Contains(o.groups, g.Name)
		}
	}
	for _, name := range o.groups {
		if !groups[name] {
			return in.fail("Group %q not found in job %q", name, stub.ID)
		}
	}
	for _, name := range o.tasks {
		if !tasks[name] {
			return in.fail("Task %q not found in the groups of job %q", name, stub.ID)
		}
	}
	stubs, _, err := c.JobAllocations(in.ctx, stub.ID, false)
	if err != nil {
		return in.fail("Error retrieving allocations for job %q: %s", stub.ID, err)
	}
	allocs := slices.DeleteFunc(stubs, func(a *apiclient.AllocStub) bool { return !o.concerns(a) })
	if len(allocs) == 0 {
		return in.fail("No allocations to restart")
	}
	slices.SortFunc(allocs, func(a, b *apiclient.AllocStub) int {
		return cmp.Or(cmp.Compare(a.TaskGroup, b.TaskGroup), cmp.Compare(a.Name, b.Name), cmp.Compare(a.CreateIndex, b.CreateIndex))
	})
	return (&jobRestart{in: in, client: c, o: o}).run(allocs)
}

// concerns reports whether an allocation is one to restart.
func (o *restartOptions) concerns(a *apiclient.AllocStub) bool {
	if a.DesiredStatus != "run" || a.ClientStatus != "running" && a.ClientStatus != "pending" {
		return false
	}
	if len(o.groups) > 0 && !slices.Contains(o.groups, a.TaskGroup) {
		return false
	}
	return len(o.tasks) == 0 || slices.ContainsFunc(o.tasks, func(name string) bool { _, has := a.TaskStates[name]; return has })
}

// jobRestart is the restart of a job's allocations, batch by batch.
type jobRestart struct {
	in     *invocation
	client *apiclient.Client
	o      restartOptions
	mu     sync.Mutex // orders lines of output
}

func (r *jobRestart) head(format string, args ...any) {
	r.in.ui.Output(r.in.ui.bold(fmt.Sprintf("==> %s: %s", r.in.p.absolute(r.in.p.Now()), fmt.Sprintf(format, args...))))
}

func (r *jobRestart) tell(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in.ui.Output(fmt.Sprintf("    %s: %s", r.in.p.absolute(r.in.p.Now()), fmt.Sprintf(format, args...)))
}

func (r *jobRestart) short(id string) string { return shortID(id, r.o.verbose) }

func (r *jobRestart) run(allocs []*apiclient.AllocStub) int {
	size, err := r.o.size(len(allocs))
	if err != nil {
		return r.in.fail("%s", err)
	}
	r.head("Restarting %s", counted(len(allocs), "allocation"))
	batches := slices.Collect(slices.Chunk(allocs, size))
	var failed error
	for i, batch := range batches {
		if len(batches) > 1 {
			r.head("Restarting batch %d of %d, %s", i+1, len(batches), counted(len(batch), "allocation"))
		}
		err := r.batch(batch)
		last := i == len(batches)-1
		if err != nil {
			failed = errors.Join(failed, err)
			r.in.ui.Error(err.Error())
			switch {
			case last || r.o.yes:
			case r.o.onError == "fail" || !r.goOn():
				return r.in.fail("Job restart stopped after an error")
			}
		}
		if last {
			break
		}
		if r.o.batchWait == askFirst && (err == nil || r.o.onError != askFirst) && !r.goOn() {
			r.in.ui.Output("Job restart canceled.")
			return 1
		}
		if r.o.wait > 0 {
			r.head("Waiting %s before restarting the next batch", r.o.wait)
			if pause(r.in.ctx, r.o.wait) != nil {
				return 1
			}
		}
	}
	r.head("Job restart finished")
	if failed != nil {
		return r.in.fail("\nJob restart finished with errors")
	}
	r.in.ui.Info("\nJob restarted successfully!")
	return 0
}

// goOn asks whether to go on. A duration as the answer is the wait between the batches from then on.
func (r *jobRestart) goOn() bool {
	for {
		answer, err := r.in.ui.Ask("Proceed with the next batch? [Y/n/<wait duration>]")
		if err != nil {
			r.in.fail("Failed to parse answer: %s", err)
			return false
		}
		switch lower := strings.ToLower(strings.TrimSpace(answer)); lower {
		case "", "y", "yes":
			return true
		case "n", "no":
			return false
		default:
			if wait, err := time.ParseDuration(lower); err == nil && wait >= 0 {
				r.o.wait, r.o.batchWait = wait, lower
				return true
			}
			r.in.ui.Output(fmt.Sprintf("Invalid answer %q", answer))
		}
	}
}

// batch restarts some allocations at the same time.
func (r *jobRestart) batch(allocs []*apiclient.AllocStub) error {
	errs := make([]error, len(allocs))
	for _, a := range allocs {
		r.announce(a)
	}
	var wait sync.WaitGroup
	for i, a := range allocs {
		wait.Go(func() {
			do := r.restart
			if r.o.reschedule {
				do = r.replace
			}
			if err := do(a); err != nil {
				errs[i] = fmt.Errorf("Error restarting allocation %q: %w", r.short(a.ID), err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// announce says what is going to be done with an allocation.
func (r *jobRestart) announce(a *apiclient.AllocStub) {
	switch {
	case r.o.reschedule:
		r.tell("Rescheduling allocation %q in group %q", r.short(a.ID), a.TaskGroup)
	case r.o.allTasks:
		r.tell("Restarting all tasks in group %q for allocation %q", a.TaskGroup, r.short(a.ID))
	case len(r.o.tasks) == 0:
		r.tell("Restarting running tasks in group %q for allocation %q", a.TaskGroup, r.short(a.ID))
	}
	for _, task := range r.o.tasks {
		if _, has := a.TaskStates[task]; has {
			r.tell("Restarting task %q in group %q for allocation %q", task, a.TaskGroup, r.short(a.ID))
		}
	}
}

func (r *jobRestart) restart(a *apiclient.AllocStub) error {
	node, _, err := r.client.Node(r.in.ctx, a.NodeID)
	if err != nil {
		node = nil // the configured agent knows the way
	}
	if len(r.o.tasks) == 0 {
		return r.client.RestartAllocation(r.in.ctx, node, a.ID, "", r.o.allTasks)
	}
	for _, task := range r.o.tasks {
		if _, has := a.TaskStates[task]; !has {
			continue
		}
		if err := r.client.RestartAllocation(r.in.ctx, node, a.ID, task, false); err != nil {
			return err
		}
	}
	return nil
}

// replace stops an allocation and waits until another one runs in its stead.
func (r *jobRestart) replace(a *apiclient.AllocStub) error {
	evalID, err := r.client.StopAllocation(r.in.ctx, a.ID, r.o.hasty)
	if err != nil {
		return err
	}
	eval, err := await(r, func(q apiclient.Query) (*apiclient.Evaluation, apiclient.Answer, error) {
		return r.client.Evaluation(r.in.ctx, evalID, q)
	}, (*apiclient.Evaluation).Terminal)
	if err != nil {
		return err
	}
	old, _, err := r.client.Allocation(r.in.ctx, a.ID, apiclient.Query{})
	switch {
	case err != nil:
		return err
	case old.NextAllocation == "" && eval.BlockedEval != "":
		return fmt.Errorf("nothing could take its place yet: evaluation %q waits for room", r.short(eval.BlockedEval))
	case old.NextAllocation == "":
		return errors.New("nothing took its place")
	}
	next, err := await(r, func(q apiclient.Query) (*apiclient.Allocation, apiclient.Answer, error) {
		return r.client.Allocation(r.in.ctx, old.NextAllocation, q)
	}, func(a *apiclient.Allocation) bool { return a.ClientStatus != "pending" })
	if err != nil {
		return err
	}
	if next.ClientStatus == "failed" || next.ClientStatus == "lost" {
		return fmt.Errorf("its replacement %q is %s", r.short(next.ID), next.ClientStatus)
	}
	r.tell("Allocation %q replaced by %q, which is %s", r.short(a.ID), r.short(next.ID), next.ClientStatus)
	return nil
}

// await reads an object again whenever it changes, until it is as wished.
func await[T any](r *jobRestart, read func(apiclient.Query) (*T, apiclient.Answer, error), good func(*T) bool) (*T, error) {
	var index uint64
	for {
		asked := time.Now()
		v, answer, err := read(apiclient.Query{Index: index, Wait: monitorWait})
		if err != nil || good(v) {
			return v, err
		}
		if answer.Index <= index && time.Since(asked) < monitorPause {
			if err := pause(r.in.ctx, monitorPause); err != nil {
				return nil, err
			}
		}
		index = max(index, answer.Index)
	}
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
