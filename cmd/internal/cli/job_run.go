package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/posener/complete"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

type runOptions struct {
	jobFileOptions
	checkIndex        *uint64
	detach            bool
	evalPriority      int
	output            bool
	preserveCounts    bool
	preserveResources bool
	verbose           bool
}

func jobRunSpec() spec {
	return spec{
		name: "job run", args: "<path>", general: true, console: true,
		synopsis: "Run a new job or update an existing job",
		about: "Submit the job in the file, and wait until the scheduler has dealt with it.\n" +
			"The path is a file, a URL, or \"-\" for the standard input. Region and namespace in the file override flags and environment.\n" +
			"The exit code is 2 when something could not be placed.",
		predict: complete.PredictOr(complete.PredictFiles("*.nomad"), complete.PredictFiles("*.hcl"), complete.PredictFiles("*.json")),
		setup: func(fs *flag.FlagSet) runFunc {
			var o runOptions
			o.register(fs)
			fs.Func("check-index", "Only if the job has this modify `index`; 0 = only if it does not exist.", func(s string) error {
				var n uint64
				if _, err := fmt.Sscanf(s, "%d", &n); err != nil || fmt.Sprint(n) != s {
					return fmt.Errorf("%q is no index", s)
				}
				o.checkIndex = &n
				return nil
			})
			fs.BoolVar(&o.detach, "detach", false, "Return once the job is submitted.")
			fs.IntVar(&o.evalPriority, "eval-priority", 0, "Priority of the evaluation, 1 to 100. Default = the job's.")
			fs.BoolVar(&o.output, "output", false, "Print the job as JSON and do not submit it.")
			fs.Bool("policy-override", false, "Accepted as it is elsewhere; there are no policies to override.")
			fs.BoolVar(&o.preserveCounts, "preserve-counts", false, "Keep the counts of groups that exist.")
			fs.BoolVar(&o.preserveResources, "preserve-resources", false, "Keep the resources of tasks that exist.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <path>")
				}
				return in.jobRun(args[0], o)
			}
		},
	}
}

func (in *invocation) jobRun(path string, o runOptions) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	file, err := in.parseJobFile(path, o.jobFileOptions)
	if err != nil {
		return in.fail("Error getting job struct: %s", err)
	}
	job := file.Job
	if o.output {
		body, err := json.MarshalIndent(struct{ Job *event.Job }{job}, "", "    ")
		if err != nil {
			return in.fail("Error converting job: %s", err)
		}
		in.ui.Output(string(body))
		return 0
	}
	c = file.destination(c)
	req := &apiclient.JobRegisterRequest{
		Job: job, PreserveCounts: o.preserveCounts, PreserveResource: o.preserveResources, EvalPriority: o.evalPriority, Submission: file.Submission,
	}
	if o.checkIndex != nil {
		req.EnforceIndex, req.JobModifyIndex = true, *o.checkIndex
	}
	resp, err := c.RegisterJob(in.ctx, req)
	if err != nil {
		if conflict := indexConflict(err); conflict != "" {
			in.ui.Error(conflict)
			return in.fail("Job not updated")
		}
		return in.fail("Error submitting job: %s", err)
	}
	in.jobWarnings(file.Warnings, resp.Warnings)
	if o.detach || resp.EvalID == "" {
		in.ui.Output("Job registration successful")
		if resp.EvalID != "" {
			in.ui.Output("Evaluation ID: " + resp.EvalID)
		}
		return 0
	}
	return in.monitorEval(c, resp.EvalID, o.verbose)
}

var conflictText = regexp.MustCompile(`Enforcing job modify index \d+: [^)\n]*`)

// indexConflict is what the servers say when the job has another modify index
// than -check-index asked for; "" for any other error.
func indexConflict(err error) string {
	var status *apiclient.StatusError
	if !errors.As(err, &status) {
		return ""
	}
	return conflictText.FindString(status.Message)
}

// jobWarnings shows what the parser and the servers had to say about a job.
// What both said is shown once.
func (in *invocation) jobWarnings(local []string, server string) {
	text := mergeWarnings(local, server)
	if text != "" {
		in.ui.Output(in.ui.painted(ansiYellow, "Job Warnings:\n"+text) + "\n")
	}
}

// mergeWarnings adds to the servers' text what only the parser said. Of two
// warnings that say the same about different fields the longer one stays: the
// parser saw what the author wrote, the servers see it among the defaults.
func mergeWarnings(local []string, server string) string {
	list := listedWarnings(server)
	for _, w := range local {
		w = strings.TrimSpace(w)
		about, _, named := strings.Cut(w, ": ")
		same := slices.IndexFunc(list, func(other string) bool {
			return strings.Contains(other, w) || named && strings.HasPrefix(other, about+": ")
		})
		switch {
		case same < 0:
			list = append(list, w)
		case len(list[same]) < len(w):
			list[same] = w
		}
	}
	switch len(list) {
	case 0:
		return ""
	case 1:
		return "1 warning:\n\n* " + list[0]
	}
	return fmt.Sprintf("%d warnings:\n\n* %s", len(list), strings.Join(list, "\n* "))
}

var warningsHeader = regexp.MustCompile(`^[0-9]+ warning(s|\(s\))?:$`)

// listedWarnings takes the servers' text apart: a line that says how many there
// are, and the warnings, each of which may have several lines.
func listedWarnings(text string) (list []string) {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		first, begins := strings.CutPrefix(line, "* ")
		switch {
		case i == 0 && warningsHeader.MatchString(line):
		case begins, len(list) == 0 && strings.TrimSpace(line) != "":
			list = append(list, first)
		case len(list) > 0:
			list[len(list)-1] += "\n" + line
		}
	}
	return list
}

func jobValidateSpec() spec {
	return spec{
		name: "job validate", args: "<path>", general: true,
		synopsis: "Checks if a given job file is valid",
		about: "Check the job in the file. The servers are asked; when none answers, the check is made here alone.\n" +
			"The path is a file, a URL, or \"-\" for the standard input.",
		predict: complete.PredictFiles("*"),
		setup: func(fs *flag.FlagSet) runFunc {
			var o jobFileOptions
			o.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <path>")
				}
				return in.jobValidate(args[0], o)
			}
		},
	}
}

func (in *invocation) jobValidate(path string, o jobFileOptions) int {
	c, err := apiclient.New(in.cfg)
	if err != nil {
		in.fail("Error initializing client: %s", err)
		return 255
	}
	file, err := in.parseJobFile(path, o)
	if err != nil {
		return in.fail("Error getting job struct: %s", err)
	}
	c = file.destination(c)
	resp, err := c.ValidateJob(in.ctx, file.Job)
	if apiclient.IsConnectError(err) {
		in.ui.Warn("Could not reach a server, so the job is validated here alone.")
		resp, err = &apiclient.JobValidateResponse{}, nil
		warnings, invalid := in.p.ValidateJob(file.Job)
		if invalid != nil {
			resp.Error = invalid.Error()
		}
		file.Warnings = append(file.Warnings, warnings...)
	}
	switch {
	case err != nil:
		return in.fail("Error validating job: %s", err)
	case resp.Error != "" || len(resp.ValidationErrors) > 0:
		text := resp.Error
		if text == "" {
			text = strings.Join(resp.ValidationErrors, "\n")
		}
		in.ui.Error("Job validation errors:")
		return in.fail("%s", text)
	}
	in.jobWarnings(file.Warnings, resp.Warnings)
	in.ui.Info("Job validation successful")
	return 0
}
