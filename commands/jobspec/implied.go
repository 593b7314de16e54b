package jobspec

import (
	"slices"
	"strings"

	"drover/eventlog/event"
)

// AddImplied adds to the groups of a canonical job the constraints that follow from what their tasks ask for: a node
// that cannot do it is left out before anything is started there, and the evaluation says why. An author's own
// constraint on the same attribute stands instead. It is done when a job is registered, not when its file is parsed:
// what an author is shown of a file is what stands in it.
func AddImplied(job *event.Job) {
	for _, g := range job.TaskGroups {
		for _, c := range implied(g) {
			if !constrains(job, g, c.LTarget) {
				// The list may be shared with others: it is not appended to in place.
				g.Constraints = append(slices.Clip(g.Constraints), c)
			}
		}
	}
}

func implied(g *event.TaskGroup) (list []event.Constraint) {
	if names := signalsOf(g); len(names) > 0 {
		list = append(list, event.Constraint{LTarget: "${attr.os.signals}", Operand: "set_contains", RTarget: strings.Join(names, ",")})
	}
	if slices.ContainsFunc(g.Tasks, func(t *event.Task) bool { return t.Vault != nil }) {
		list = append(list, event.Constraint{LTarget: "${attr.vault.version}", Operand: "semver", RTarget: ">= 0.6.1"})
	}
	own, checked := false, false
	for _, s := range servicesOf(g) {
		if s.Provider == "nomad" {
			own, checked = true, checked || len(s.Checks) > 0
		}
	}
	if own {
		list = append(list, event.Constraint{LTarget: "${attr.nomad.service_discovery}", Operand: "=", RTarget: "true"})
	}
	if checked {
		list = append(list, event.Constraint{LTarget: "${attr.nomad.version}", Operand: "semver", RTarget: ">= 1.4.0"})
	}
	return list
}

// signalsOf lists the signals that the tasks of a group may be sent, in the order of their names.
func signalsOf(g *event.TaskGroup) (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, t := range g.Tasks {
		add(t.KillSignal)
		for i := range t.Templates {
			if t.Templates[i].ChangeMode == "signal" {
				add(t.Templates[i].ChangeSignal)
			}
		}
		if t.Vault != nil && t.Vault.ChangeMode == "signal" {
			add(t.Vault.ChangeSignal)
		}
	}
	slices.Sort(names)
	return names
}

// servicesOf lists the services of a group and of its tasks.
func servicesOf(g *event.TaskGroup) (list []*event.Service) {
	for i := range g.Services {
		list = append(list, &g.Services[i])
	}
	for _, t := range g.Tasks {
		for i := range t.Services {
			list = append(list, &t.Services[i])
		}
	}
	return list
}

// constrains reports whether the author says something about the attribute.
func constrains(job *event.Job, g *event.TaskGroup, attribute string) bool {
	about := func(c event.Constraint) bool { return c.LTarget == attribute }
	return slices.ContainsFunc(job.Constraints, about) || slices.ContainsFunc(g.Constraints, about) ||
		slices.ContainsFunc(g.Tasks, func(t *event.Task) bool { return slices.ContainsFunc(t.Constraints, about) })
}
