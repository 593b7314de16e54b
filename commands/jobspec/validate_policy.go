package jobspec

import (
	"fmt"
	"slices"
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
		if !r.Unlimited && r.Interval > 0 && r.Interval < 15*time.Second {
			v.fail(path+".interval", "%s is less than 15s", r.Interval)
		}
	}
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
	if m.MinHealthyTime > m.HealthyDeadline {
		v.fail(path+".min_healthy_time", "%s is more than healthy_deadline, %s", m.MinHealthyTime, m.HealthyDeadline)
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
	if int64(count) < s.Min || int64(count) > s.Max {
		v.fail(path, "the count %d is not between min %d and max %d", count, s.Min, s.Max)
	}
}

func (v *validator) template(path string, t *event.Template) {
	if t.SourcePath == "" && t.EmbeddedTmpl == "" {
		v.fail(path, "source or data is required")
	}
	if t.DestPath == "" {
		v.fail(path+".destination", "is required")
	}
	v.oneOf(path+".change_mode", t.ChangeMode, "restart", "signal", "noop", "script")
	if t.ChangeMode == "signal" && t.Envvars {
		v.fail(path+".env", "is not allowed with change_mode signal: a running process does not see it")
	}
	if t.ChangeSignal != "" && !slices.Contains(signals, t.ChangeSignal) {
		v.fail(path+".change_signal", "%q is no signal", t.ChangeSignal)
	}
	if t.ChangeMode == "script" && (t.ChangeScript == nil || t.ChangeScript.Command == "") {
		v.fail(path+".change_script", "is required with change_mode script")
	}
	if t.Splay < 0 {
		v.fail(path+".splay", "%s is negative", t.Splay)
	}
	if w := t.Wait; w != nil && w.Max < w.Min {
		v.fail(path+".wait", "max %s is less than min %s", w.Max, w.Min)
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
