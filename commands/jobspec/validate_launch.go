package jobspec

import (
	"slices"
	"time"
	_ "time/tzdata" // a machine may have no time zones of its own

	"github.com/hashicorp/cronexpr"

	"drover/eventlog/event"
)

// launches checks what says when, and with what, others are launched from a job.
func (v *validator) launches(job *event.Job) {
	once := job.Type == event.JobTypeBatch || job.Type == event.JobTypeSysBatch
	if p := job.Periodic; p != nil {
		const at = "job.periodic"
		if !once {
			v.fail(at, "can only be used with batch and sysbatch jobs, not %s", job.Type)
		}
		if job.ParameterizedJob != nil {
			v.fail(at, "a job cannot be both periodic and parameterized")
		}
		specs := p.Specs
		switch {
		case p.Spec != "" && len(p.Specs) > 0:
			v.fail(at, "cron and crons cannot both be given")
		case p.Spec != "":
			specs = []string{p.Spec}
			v.warn(at+".cron", "is deprecated; write crons = [%q]", p.Spec)
		case len(p.Specs) == 0:
			v.fail(at+".crons", "at least one cron expression is required")
		}
		if p.SpecType != "" && p.SpecType != "cron" {
			v.fail(at, "unknown kind of times %q; only cron is known", p.SpecType)
		}
		for _, spec := range specs {
			if _, err := cronexpr.Parse(spec); err != nil {
				v.fail(at+".crons", "%q: %v", spec, err)
			}
		}
		if _, err := time.LoadLocation(p.TimeZone); err != nil {
			v.fail(at+".time_zone", "%v", err)
		}
		v.warn(at, "will not run here: this version launches no jobs by the clock; the job is kept as it is")
	}
	if p := job.ParameterizedJob; p != nil {
		const at = "job.parameterized"
		if !once {
			v.fail(at, "can only be used with batch and sysbatch jobs, not %s", job.Type)
		}
		if !slices.Contains([]string{"", "optional", "required", "forbidden"}, p.Payload) {
			v.fail(at+".payload", "%q is not optional, required or forbidden", p.Payload)
		}
		for _, key := range p.MetaRequired {
			if slices.Contains(p.MetaOptional, key) {
				v.fail(at, "%q is in meta_required and in meta_optional", key)
			}
		}
		v.warn(at, "will not run here: this version dispatches no jobs; the job is kept as it is")
	}
}
