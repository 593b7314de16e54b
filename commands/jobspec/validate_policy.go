package jobspec

import (
	"fmt"
	"time"

	"drover/eventlog/event"
)

// Rules for blocks that are only kept today. They are checked all the same: what is stored now must be right when
// something starts to act on it.

func (v *validator) reschedule(path string, r *event.ReschedulePolicy) {
	if r == nil {
		return
	}
	if r.Attempts < 0 {
		v.fail(path+".attempts", "%d is negative", r.Attempts)
	}
	if r.Attempts <= 0 && !r.Unlimited {
		return // no rescheduling: nothing else counts
	}
	if r.Unlimited && r.Attempts > 0 {
		v.fail(path, "attempts and unlimited cannot both be given")
	}
	if !r.Unlimited && r.Interval <= 0 {
		v.fail(path+".interval", "is required with attempts")
	}
	if r.Delay < 5*time.Second {
		v.fail(path+".delay", "%s is less than 5s", r.Delay)
	}
	v.oneOf(path+".delay_function", r.DelayFunction, "constant", "exponential", "fibonacci")
	if r.DelayFunction != "constant" {
		if r.MaxDelay < 5*time.Second {
			v.fail(path+".max_delay", "%s is less than 5s", r.MaxDelay)
		}
		if r.MaxDelay < r.Delay {
			v.fail(path+".max_delay", "%s is less than delay, %s", r.MaxDelay, r.Delay)
		}
		switch {
		case r.Unlimited || r.Interval <= 0:
		case r.Interval < 15*time.Second:
			v.fail(path+".interval", "%s is less than 15s", r.Interval)
		case r.Delay >= 5*time.Second && r.MaxDelay >= r.Delay && !fits(r):
			v.fail(path+".interval", "%d attempts do not fit into %s: their delays take longer", r.Attempts, r.Interval)
		}
	}
}

// fits tells whether the delays of all attempts, which grow from each to the next, are over within the interval.
func fits(r *event.ReschedulePolicy) bool {
	left, before, delay := r.Interval, time.Duration(0), r.Delay // the one before is of fibonacci
	for n := r.Attempts; n > 0; n-- {
		if delay >= r.MaxDelay { // all that are left are as long
			return left/r.MaxDelay >= time.Duration(n)
		}
		if left -= delay; left < 0 {
			return false
		}
		grows := delay
		if r.DelayFunction == "fibonacci" {
			grows, before = before, delay
		}
		delay += min(grows, r.MaxDelay-delay)
	}
	return true
}

// onlyFor refuses blocks that mean nothing for a job of this type, once: what the job has, its groups have from it.
func (v *validator) onlyFor(block string, job bool, groups func(*event.TaskGroup) bool, why string) {
	if job {
		v.fail("job."+block, "a %s job has no %s block: %s", v.job.Type, block, why)
		return
	}
	for _, g := range v.job.TaskGroups {
		if groups(g) {
			v.fail("group."+g.Name+"."+block, "a %s job has no %s block: %s", v.job.Type, block, why)
		}
	}
}

// blocksOfType checks which blocks a job of this type may have.
func (v *validator) blocksOfType() {
	job := v.job
	if job.Type != event.JobTypeService {
		v.onlyFor("migrate", job.Migrate != nil, func(g *event.TaskGroup) bool { return g.Migrate != nil },
			"only services are moved with care")
	}
	if job.Type == event.JobTypeBatch || job.Type == event.JobTypeSysBatch {
		v.onlyFor("update", job.Update != nil, func(g *event.TaskGroup) bool { return g.Update != nil },
			"there are no updates to pace")
	}
	if !event.EveryNode(job.Type) {
		return
	}
	v.onlyFor("reschedule", job.Reschedule != nil, func(g *event.TaskGroup) bool { return g.ReschedulePolicy != nil },
		"its allocations belong to their nodes and are not moved")
	if job.Type != event.JobTypeSystem {
		return
	}
	const everywhere = "it runs on every node, and there is nothing to prefer"
	v.onlyFor("affinity", len(job.Affinities) > 0, func(g *event.TaskGroup) bool { return len(g.Affinities) > 0 }, everywhere)
	for _, g := range job.TaskGroups {
		for _, t := range g.Tasks {
			if len(t.Affinities) > 0 {
				v.fail("group."+g.Name+".task."+t.Name+".affinity", "a system job has no affinity block: %s", everywhere)
			}
		}
	}
	v.onlyFor("spread", len(job.Spreads) > 0, func(g *event.TaskGroup) bool { return len(g.Spreads) > 0 }, everywhere)
	v.onlyFor("scaling", false, func(g *event.TaskGroup) bool { return g.Scaling != nil }, "it runs on every node")
}

func (v *validator) update(path string, u *event.UpdateStrategy) {
	if u.MaxParallel < 0 {
		v.fail(path+".max_parallel", "%d is negative", u.MaxParallel)
	}
	if u.MaxParallel == 0 {
		return // as if there were no block
	}
	v.oneOf(path+".health_check", u.HealthCheck, "checks", "task_states", "manual")
	if u.Canary < 0 {
		v.fail(path+".canary", "%d is negative", u.Canary)
	}
	if v.job.Type == event.JobTypeSystem && u.Canary > 100 {
		v.fail(path+".canary", "%d is more than 100: a system job's canaries are a percentage of its nodes", u.Canary)
	}
	if u.AutoPromote && u.Canary == 0 {
		v.fail(path+".auto_promote", "needs canary > 0")
	}
	if u.MinHealthyTime < 0 {
		v.fail(path+".min_healthy_time", "%s is negative", u.MinHealthyTime)
	}
	if u.HealthyDeadline <= 0 {
		v.fail(path+".healthy_deadline", "%s is not positive", u.HealthyDeadline)
	}
	if u.ProgressDeadline < 0 {
		v.fail(path+".progress_deadline", "%s is negative", u.ProgressDeadline)
	}
	if u.MinHealthyTime >= u.HealthyDeadline {
		v.fail(path+".min_healthy_time", "%s is not less than healthy_deadline, %s", u.MinHealthyTime, u.HealthyDeadline)
	}
	if u.ProgressDeadline != 0 && u.HealthyDeadline >= u.ProgressDeadline {
		v.fail(path+".healthy_deadline", "%s is not less than progress_deadline, %s", u.HealthyDeadline, u.ProgressDeadline)
	}
	if u.Stagger <= 0 {
		v.fail(path+".stagger", "%s is not positive", u.Stagger)
	}
}

func (v *validator) migrate(path string, m *event.MigrateStrategy) {
	if m.MaxParallel < 0 {
		v.fail(path+".max_parallel", "%d is negative", m.MaxParallel)
	}
	v.oneOf(path+".health_check", m.HealthCheck, "checks", "task_states")
	if m.MinHealthyTime < 0 {
		v.fail(path+".min_healthy_time", "%s is negative", m.MinHealthyTime)
	}
	if m.MinHealthyTime >= m.HealthyDeadline {
		v.fail(path+".min_healthy_time", "%s is not less than healthy_deadline, %s", m.MinHealthyTime, m.HealthyDeadline)
	}
}

func (v *validator) disconnect(path string, d *event.DisconnectStrategy) {
	if d.LostAfter < 0 {
		v.fail(path+".lost_after", "%s is negative", d.LostAfter)
	}
	if s := d.StopOnClientAfter; s != nil {
		if *s < 0 {
			v.fail(path+".stop_on_client_after", "%s is negative", *s)
		}
		if event.EveryNode(v.job.Type) {
			v.fail(path+".stop_on_client_after", "is for service and batch jobs only")
		}
		if d.LostAfter > 0 {
			v.fail(path, "lost_after and stop_on_client_after cannot both be given")
		}
	}
	v.oneOf(path+".reconcile", d.Reconcile, "keep_original", "keep_replacement", "best_score", "longest_running")
}

func (v *validator) scaling(path string, s *event.ScalingPolicy, count int) {
	if s.Min < 0 {
		v.fail(path+".min", "%d is negative", s.Min)
	}
	if s.Max < s.Min {
		v.fail(path+".max", "%d is less than min, %d", s.Max, s.Min)
	}
	v.oneOf(path+".type", s.Type, "horizontal")
	if int64(count) < s.Min || int64(count) > s.Max {
		v.fail(path, "the count %d is not between min %d and max %d", count, s.Min, s.Max)
	}
}

// deepContent bounds the nesting of opaque content outside of driver configurations: what is too deep for the log's
// encoding must be refused before it gets there.
func (v *validator) deepContent(g *event.TaskGroup, t *event.Task, path string) {
	check := func(at string, content map[string]any) {
		if depth := nesting(content); depth > opaqueNestingMax {
			v.fail(at, "is nested %d levels deep, more than %d", depth, opaqueNestingMax)
		}
	}
	for _, s := range t.Secrets {
		check(path+".secret."+s.Name+".config", s.Config)
	}
	for i, s := range t.ScalingPolicies {
		check(fmt.Sprintf("%s.scaling[%d].policy", path, i), s.Policy)
	}
	if g.Scaling != nil {
		check(path+".scaling.policy", g.Scaling.Policy)
	}
	for _, list := range [][]event.Service{g.Services, t.Services} {
		for _, s := range list {
			if s.Connect == nil {
				continue
			}
			at := path + ".service." + s.Name + ".connect"
			if task := s.Connect.SidecarTask; task != nil {
				check(at+".sidecar_task.config", task.Config)
			}
			if gw := s.Connect.Gateway; gw != nil && gw.Proxy != nil {
				check(at+".gateway.proxy.config", gw.Proxy.Config)
			}
			if side := s.Connect.SidecarService; side != nil && side.Proxy != nil {
				check(at+".sidecar_service.proxy.config", side.Proxy.Config)
				for _, up := range side.Proxy.Upstreams {
					check(at+".sidecar_service.proxy.upstreams.config", up.Config)
				}
			}
		}
	}
}
