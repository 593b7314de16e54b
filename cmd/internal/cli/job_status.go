package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// placementGroupsShown bounds how many groups a job's status explains; the
// evaluation's status has them all.
const placementGroupsShown = 5

func jobStatusSpec() spec {
	return spec{
		name: "job status", args: "[job]", general: true, console: true,
		synopsis: "Display status information about a job",
		about: "Display status information about a job. Without an argument, list all jobs.\n" +
			"The argument may be a prefix of the job's ID that fits only one job.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			short := fs.Bool("short", false, "Only the header.")
			evals := fs.Bool("evals", false, "Show the job's evaluations, too.")
			all := fs.Bool("all-allocs", false, "Include allocations of earlier jobs of the same ID.")
			verbose := fs.Bool("verbose", false, "Show full IDs and absolute times.")
			return func(in *invocation, args []string) int {
				if len(args) > 1 {
					return in.usage("This command takes either no arguments or one: <job>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if len(args) == 0 {
					return in.jobList(c, s)
				}
				return in.jobStatus(c, args[0], jobStatusOptions{s, *short, *evals || *verbose, *all, *verbose})
			}
		},
	}
}

func (in *invocation) jobList(c *apiclient.Client, s shaped) int {
	list, answer, err := c.Jobs(in.ctx, apiclient.Query{})
	switch {
	case err != nil:
		return in.fail("Error querying jobs: %s", err)
	case s.wanted():
		return in.print(s, answer.Body)
	case len(list) == 0:
		in.ui.Output("No running jobs")
	default:
		in.ui.Output(in.jobTable(list, c.Namespace() == apiclient.AllNamespaces))
	}
	return 0
}

type jobStatusOptions struct {
	shaped
	short   bool
	evals   bool
	all     bool // allocations of earlier jobs, too
	verbose bool
}

func (in *invocation) jobStatus(c *apiclient.Client, typed string, o jobStatusOptions) int {
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	c = c.InNamespace(stub.JobNamespace())
	if o.wanted() {
		return in.jobShaped(c, stub.ID, o)
	}
	job, _, err := c.Job(in.ctx, stub.ID, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying job: %s", err)
	}
	in.ui.Output(in.jobHeader(job))
	if o.short {
		return 0
	}
	summary, _, err := c.JobSummary(in.ctx, job.ID)
	if err != nil {
		return in.fail("Error querying job summary: %s", err)
	}
	evals, _, err := c.JobEvaluations(in.ctx, job.ID)
	if err != nil {
		return in.fail("Error querying job evaluations: %s", err)
	}
	allocs, _, err := c.JobAllocations(in.ctx, job.ID, o.all)
	if err != nil {
		return in.fail("Error querying job allocations: %s", err)
	}
	in.section("Summary", groupSummary(summary))
	if o.evals {
		in.section("Evaluations", jobEvals(evals, o.verbose))
	}
	if failures := in.placementFailure(evals); failures != "" {
		in.section("Placement Failure", failures)
	}
	in.section("Allocations", in.allocTable(allocs, allocColumns{verbose: o.verbose, groups: job.TaskGroups}))
	return 0
}

// section is a titled part of a report, a blank line before it.
func (in *invocation) section(title, body string) {
	in.ui.Output("\n" + in.ui.bold(title) + "\n" + body)
}

// jobShaped prints what job status knows of a job as one object in a list.
func (in *invocation) jobShaped(c *apiclient.Client, id string, o jobStatusOptions) int {
	_, summary, err := c.JobSummary(in.ctx, id)
	if err != nil {
		return in.fail("Error querying job summary: %s", err)
	}
	_, allocs, err := c.JobAllocations(in.ctx, id, o.all)
	if err != nil {
		return in.fail("Error querying job allocations: %s", err)
	}
	_, evals, err := c.JobEvaluations(in.ctx, id)
	if err != nil {
		return in.fail("Error querying job evaluations: %s", err)
	}
	one := object(map[string]json.RawMessage{
		"Summary": summary.Body, "Allocations": allocs.Body, "Evaluations": evals.Body, "LatestDeployment": json.RawMessage("null"),
	})
	return in.print(o.shaped, append(append([]byte("["), one...), ']'))
}

func (in *invocation) jobHeader(job *event.Job) string {
	status := job.Status
	if job.Stop && status == "dead" {
		status = "dead (stopped)"
	}
	var p pairs
	p.add("ID", job.ID)
	p.add("Name", job.Name)
	p.add("Submit Date", in.p.absolute(unixNano(job.SubmitTime)))
	p.add("Type", job.Type)
	p.add("Priority", strconv.Itoa(job.Priority))
	p.add("Datacenters", strings.Join(job.Datacenters, ","))
	p.add("Namespace", job.Namespace)
	p.add("Node Pool", job.NodePool)
	p.add("Status", status)
	p.add("Periodic", strconv.FormatBool(job.Periodic != nil))
	p.add("Parameterized", strconv.FormatBool(job.ParameterizedJob != nil && !job.Dispatched))
	if job.DispatchIdempotencyToken != "" {
		p.add("Idempotency Token", job.DispatchIdempotencyToken)
	}
	return p.String()
}

func groupSummary(s *apiclient.JobSummary) string {
	rows := [][]string{{"Task Group", "Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"}}
	for _, name := range sorted(s.Summary) {
		g := s.Summary[name]
		row := []string{name}
		for _, n := range []int{g.Queued, g.Starting, g.Running, g.Failed, g.Complete, g.Lost, g.Unknown} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	return tableOf(rows...)
}

func jobEvals(evals []*apiclient.Evaluation, verbose bool) string {
	rows := [][]string{{"ID", "Priority", "Triggered By", "Status", "Placement Failures"}}
	for _, e := range evals {
		rows = append(rows, []string{shortID(e.ID, verbose), strconv.Itoa(e.Priority), e.TriggeredBy, e.Status, placementFailures(e)})
	}
	return tableOf(rows...)
}

// placementFailure explains why the job waits for capacity; "" when it does not.
func (in *invocation) placementFailure(evals []*apiclient.Evaluation) string {
	blocked := false
	var newest *apiclient.Evaluation
	for _, e := range evals {
		blocked = blocked || e.Status == "blocked"
		if len(e.FailedTGAllocs) > 0 && (newest == nil || e.CreateIndex > newest.CreateIndex) {
			newest = e
		}
	}
	if !blocked || newest == nil {
		return ""
	}
	var parts []string
	groups := sorted(newest.FailedTGAllocs)
	for i, group := range groups {
		if i == placementGroupsShown {
			parts = append(parts, fmt.Sprintf("Placement failures truncated. To see remainder run:\ndrover eval status %s", shortID(newest.ID, false)))
			break
		}
		lines := []string{fmt.Sprintf("Task Group %q:", group)}
		for _, reason := range in.ui.reasons(newest.FailedTGAllocs[group]) {
			lines = append(lines, "  "+reason)
		}
		parts = append(parts, strings.Join(lines, "\n"))
	}
	return strings.Join(parts, "\n\n")
}
