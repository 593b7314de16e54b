package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
	"drover/projections/jobdiff"
)

// number is a flag that may be left out.
type number struct {
	value uint64
	set   bool
}

func (n *number) register(fs *flag.FlagSet, name, usage string) {
	fs.Func(name, usage, func(s string) (err error) {
		if n.value, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("%q is no whole number", s)
		}
		n.set = true
		return nil
	})
}

type historyOptions struct {
	shaped
	diffs       bool
	full        bool
	version     number
	diffVersion number
	diffTag     string
}

func jobHistorySpec() spec {
	return spec{
		name: "job history", args: "<job>", general: true,
		synopsis: "Display all tracked versions of a job",
		about: "Show the versions of a job that are kept, newest first, with -p what each changed.\n" +
			"The argument may be a prefix of the job's ID that fits only one job.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o historyOptions
			o.shaped.register(fs)
			fs.BoolVar(&o.diffs, "p", false, "Show what each version changed in the one before it.")
			fs.BoolVar(&o.full, "full", false, "Show the whole job of each version.")
			o.version.register(fs, "version", "Show this `version` only.")
			o.diffVersion.register(fs, "diff-version", "Show how each version differs from this `version`.")
			fs.StringVar(&o.diffTag, "diff-tag", "", "Show how each version differs from the one with this `tag`.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				if o.diffVersion.set && o.diffTag != "" {
					return in.usage("-diff-version and -diff-tag are exclusive")
				}
				if (o.json || o.tmpl != "") && (o.diffs || o.full) {
					return in.usage("-json and -t are exclusive with -p and -full")
				}
				return in.jobHistory(args[0], o)
			}
		},
	}
}

func (in *invocation) jobHistory(typed string, o historyOptions) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	c = c.InNamespace(stub.JobNamespace())
	q := apiclient.Query{}
	if o.diffVersion.set {
		o.diffs = true
		q.Values = url.Values{"diff_version": {strconv.FormatUint(o.diffVersion.value, 10)}}
	}
	if o.diffTag != "" {
		o.diffs = true
		q.Values = url.Values{"diff_tag": {o.diffTag}}
	}
	list, _, err := c.JobVersions(in.ctx, stub.ID, o.diffs, q)
	if err != nil {
		return in.fail("Error retrieving job versions: %s", err)
	}
	if o.wanted() {
		return in.historyShaped(list.Versions, o)
	}
	var shown []string
	for i, job := range list.Versions {
		if o.version.set && job.Version != o.version.value {
			continue
		}
		var diff *jobdiff.Job
		if i < len(list.Diffs) {
			diff = list.Diffs[i]
		}
		text, err := in.versionText(job, diff, o)
		if err != nil {
			return in.fail("Error formatting version %d: %s", job.Version, err)
		}
		shown = append(shown, text)
	}
	if len(shown) == 0 {
		return in.fail("%s", noVersion(stub.ID, o.version.value))
	}
	in.ui.Output(strings.Join(shown, "\n\n"))
	return 0
}

func noVersion(job string, version uint64) string {
	return fmt.Sprintf("Job %q has no version %d, or it is not kept any more", job, version)
}

// historyShaped prints the versions, or the one asked for, as objects.
func (in *invocation) historyShaped(versions []*event.Job, o historyOptions) int {
	var what any = versions
	if o.version.set {
		what = nil
		for _, job := range versions {
			if job.Version == o.version.value {
				what = job
			}
		}
		if what == nil {
			return in.fail("Job has no version %d, or it is not kept any more", o.version.value)
		}
	}
	body, err := json.Marshal(what)
	if err != nil {
		return in.fail("Error formatting the data: %s", err)
	}
	return in.print(o.shaped, body)
}

func (in *invocation) versionText(job *event.Job, diff *jobdiff.Job, o historyOptions) (string, error) {
	var p pairs
	p.add("Version", strconv.FormatUint(job.Version, 10))
	p.add("Stable", strconv.FormatBool(job.Stable))
	p.add("Submit Date", in.p.absolute(unixNano(job.SubmitTime)))
	if tag := job.VersionTag; tag != nil {
		p.add("Tag Name", tag.Name)
		p.add("Tag Description", tag.Description)
	}
	if diff != nil {
		p.add("Diff", "\n"+in.jobDiff(diff, false))
	}
	text := p.String()
	if o.full {
		body, err := json.MarshalIndent(job, "", "    ")
		if err != nil {
			return "", err
		}
		text += "\nFull        =\n" + string(body)
	}
	return text, nil
}

func jobRevertSpec() spec {
	return spec{
		name: "job revert", args: "<job> <version|tag>", general: true,
		synopsis: "Revert to a prior version of the job",
		about: "Make an older version of a job its newest one, and wait until the scheduler has dealt with it.\n" +
			"The version goes by its number, or by the tag that it has; what is a number is taken for one.\n" +
			"The exit code is 2 when something could not be placed.",
		setup: func(fs *flag.FlagSet) runFunc {
			detach := fs.Bool("detach", false, "Return once the version is submitted.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 2 {
					return in.usage("This command takes two arguments: <job> <version|tag>")
				}
				return in.onJob(args[0], *detach, *verbose, func(c *apiclient.Client, job string) (string, error) {
					version, err := in.versionTyped(c, job, args[1])
					if err != nil {
						return "", err
					}
					resp, err := c.RevertJob(in.ctx, job, version, nil)
					if err != nil {
						return "", fmt.Errorf("Error reverting job: %w", err)
					}
					in.jobWarnings(nil, resp.Warnings)
					return resp.EvalID, nil
				}, "Evaluation ID: %s")
			}
		},
	}
}

// onJob does something to the job that was typed, and follows the evaluation that
// comes of it. Detached, it prints the evaluation's ID in this form.
func (in *invocation) onJob(typed string, detach, verbose bool, do func(c *apiclient.Client, job string) (evalID string, err error), form string) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	c = c.InNamespace(stub.JobNamespace())
	evalID, err := do(c, stub.ID)
	switch {
	case err != nil:
		return in.fail("%s", err)
	case evalID == "":
		return 0 // a job that only launches others needs no evaluation
	case detach:
		in.ui.Output(fmt.Sprintf(form, evalID))
		return 0
	}
	return in.monitorEval(c, evalID, verbose)
}

func jobEvalSpec() spec {
	return spec{
		name: "job eval", args: "<job>", general: true,
		synopsis: "Force an evaluation for the job",
		about:    "Have the scheduler look at a job again, and wait until it has.",
		setup: func(fs *flag.FlagSet) runFunc {
			force := fs.Bool("force-reschedule", false, "Replace failed allocations now, whatever their policy says.")
			detach := fs.Bool("detach", false, "Return once the evaluation is there.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				return in.onJob(args[0], *detach, *verbose, func(c *apiclient.Client, job string) (string, error) {
					resp, err := c.EvaluateJob(in.ctx, job, *force)
					if err != nil {
						return "", fmt.Errorf("Error evaluating job: %w", err)
					}
					if *detach {
						return shortID(resp.EvalID, *verbose), nil
					}
					return resp.EvalID, nil
				}, "Created eval ID: %q ")
			}
		},
	}
}

func jobStartSpec() spec {
	return spec{
		name: "job start", args: "<job>", general: true,
		synopsis: "Start a stopped job",
		about: "Submit a stopped job again as it was, and wait until the scheduler has dealt with it.\n" +
			"The exit code is 2 when something could not be placed.",
		setup: func(fs *flag.FlagSet) runFunc {
			detach := fs.Bool("detach", false, "Return once the job is submitted.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				return in.onJob(args[0], *detach, *verbose, in.startJob, "Evaluation ID: %s")
			}
		},
	}
}

// startJob submits a stopped job as it is, and only if it is still that one.
func (in *invocation) startJob(c *apiclient.Client, id string) (evalID string, err error) {
	job, _, err := c.Job(in.ctx, id, apiclient.Query{})
	if err != nil {
		return "", fmt.Errorf("Error querying job: %w", err)
	}
	if !job.Stop {
		return "", fmt.Errorf("Job %q has not been stopped", job.ID)
	}
	// Without its text the job starts all the same.
	submission, err := c.JobSubmission(in.ctx, id, job.Version)
	if err != nil && apiclient.IsConnectError(err) {
		return "", fmt.Errorf("Error querying the job's source: %w", err)
	}
	again := *job
	again.Stop = false
	resp, err := c.RegisterJob(in.ctx, &apiclient.JobRegisterRequest{
		Job: &again, EnforceIndex: true, JobModifyIndex: job.JobModifyIndex, Submission: submission,
	})
	if err != nil {
		return "", fmt.Errorf("Error starting job: %w", err)
	}
	in.jobWarnings(nil, resp.Warnings)
	return resp.EvalID, nil
}

type inspectOptions struct {
	shaped
	version  number
	hcl      bool
	withVars bool
}

func jobInspectSpec() spec {
	return spec{
		name: "job inspect", args: "<job>", general: true,
		synopsis: "Inspect a submitted job",
		about: "Print a job as the servers have it, as JSON, or with -hcl the text that it was made from.\n" +
			"The argument may be a prefix of the job's ID that fits only one job.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o inspectOptions
			o.shaped.register(fs)
			o.version.register(fs, "version", "This `version` rather than the newest.")
			fs.BoolVar(&o.hcl, "hcl", false, "Print the text of the job file.")
			fs.BoolVar(&o.withVars, "with-vars", false, "Print the variables that were given with it, too.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) != 1:
					return in.usage("This command takes one argument: <job>")
				case o.withVars && !o.hcl:
					return in.usage("-with-vars needs -hcl")
				case o.hcl && o.wanted():
					return in.usage("-hcl is exclusive with -json and -t")
				}
				return in.jobInspect(args[0], o)
			}
		},
	}
}

func (in *invocation) jobInspect(typed string, o inspectOptions) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	c = c.InNamespace(stub.JobNamespace())
	job, code, ok := in.versionOf(c, stub.ID, o.version)
	if !ok {
		return code
	}
	if o.hcl {
		return in.jobSource(c, job, o.withVars)
	}
	if o.tmpl != "" {
		body, err := json.Marshal(job)
		if err != nil {
			return in.fail("Error formatting the data: %s", err)
		}
		return in.print(o.shaped, body)
	}
	body, err := json.MarshalIndent(struct{ Job *event.Job }{job}, "", "    ")
	if err != nil {
		return in.fail("Error formatting the data: %s", err)
	}
	in.ui.Output(string(body))
	return 0
}

// versionOf reads one version of a job, the newest if none is named.
func (in *invocation) versionOf(c *apiclient.Client, id string, version number) (job *event.Job, code int, ok bool) {
	if !version.set {
		job, _, err := c.Job(in.ctx, id, apiclient.Query{})
		if err != nil {
			return nil, in.fail("Error inspecting job: %s", err), false
		}
		return job, 0, true
	}
	list, _, err := c.JobVersions(in.ctx, id, false, apiclient.Query{})
	if err != nil {
		return nil, in.fail("Error retrieving job versions: %s", err), false
	}
	for _, job := range list.Versions {
		if job.Version == version.value {
			return job, 0, true
		}
	}
	return nil, in.fail("%s", noVersion(id, version.value)), false
}

func (in *invocation) jobSource(c *apiclient.Client, job *event.Job, withVars bool) int {
	source, err := c.JobSubmission(in.ctx, job.ID, job.Version)
	if err != nil {
		return in.fail("Error querying the job's source: %s", err)
	}
	in.ui.Output(strings.TrimRight(source.Source, "\n"))
	if !withVars {
		return 0
	}
	if source.Variables != "" {
		in.section("Variables", strings.TrimRight(source.Variables, "\n"))
	}
	if len(source.VariableFlags) > 0 {
		var lines []string
		for _, name := range sorted(source.VariableFlags) {
			lines = append(lines, fmt.Sprintf("%s = %q", name, source.VariableFlags[name]))
		}
		in.section("Variable Flags", strings.Join(lines, "\n"))
	}
	return 0
}
