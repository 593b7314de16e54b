package jobspec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/hashicorp/go-version"

	"drover/eventlog/event"
)

// constraints checks a list of constraints. The distinct_* operators are about all allocations of a job or group, so a
// task cannot have them.
func (v *validator) constraints(path string, list []event.Constraint, distinct bool) {
	for i, c := range list {
		at := path + ".constraint"
		if len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		switch c.Operand {
		case "distinct_hosts":
			if !distinct {
				v.fail(at, "distinct_hosts is allowed for jobs and groups only")
			}
			continue
		case "distinct_property":
			if !distinct {
				v.fail(at, "distinct_property is allowed for jobs and groups only")
			}
			if n, err := strconv.ParseUint(c.RTarget, 10, 64); c.RTarget != "" && (err != nil || n < 1) {
				v.fail(at+".value", "%q is no number of at least 1", c.RTarget)
			}
			if c.LTarget == "" {
				v.fail(at+".distinct_property", "a property such as ${meta.rack} is required")
			} else {
				v.target(at+".distinct_property", c.LTarget)
			}
			continue
		}
		v.condition(at, c, true)
	}
}

// condition checks what constraints and affinities have in common.
func (v *validator) condition(path string, c event.Constraint, presence bool) {
	if c.LTarget == "" {
		v.fail(path+".attribute", "is required")
	} else {
		v.target(path+".attribute", c.LTarget)
	}
	switch c.Operand {
	case "is_set", "is_not_set":
		if !presence {
			v.fail(path+".operator", "%q is not allowed here", c.Operand)
		}
		if c.RTarget != "" {
			v.fail(path+".value", "%s takes no value", c.Operand)
		}
		return
	case "=", "==", "is", "!=", "not", "<", "<=", ">", ">=", "set_contains", "set_contains_all", "set_contains_any":
	case "regexp":
		if _, err := regexp.Compile(c.RTarget); err != nil && !hasTarget(c.RTarget) {
			v.fail(path+".value", "no regular expression: %v", err)
		}
	case "version":
		if _, err := version.NewConstraint(c.RTarget); err != nil && !hasTarget(c.RTarget) && c.RTarget != "" {
			v.fail(path+".value", "no version constraint: %v", err)
		}
	case "semver":
		if err := checkSemver(c.RTarget); err != nil && !hasTarget(c.RTarget) && c.RTarget != "" {
			v.fail(path+".value", "no semantic version constraint: %v", err)
		}
	default:
		v.fail(path+".operator", "%q is not known", c.Operand)
	}
	if c.RTarget == "" {
		v.fail(path+".value", "is required")
	}
}

func hasTarget(s string) bool { return strings.Contains(s, "${") }

// checkSemver reads a comma list of strict semantic versions, each perhaps after a comparison.
func checkSemver(text string) error {
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		for _, operator := range []string{">=", "<=", "!=", "=", ">", "<"} {
			if rest, ok := strings.CutPrefix(part, operator); ok {
				part = strings.TrimSpace(rest)
				break
			}
		}
		if _, err := semver.StrictNewVersion(part); err != nil {
			return fmt.Errorf("%q: %w", part, err)
		}
	}
	return nil
}

var nodeTargets = map[string]bool{
	"node.unique.id": true, "node.unique.name": true, "node.datacenter": true, "node.class": true, "node.pool": true,
}

// target checks that a left side that looks like a target is one that the scheduler can resolve.
func (v *validator) target(path, text string) {
	if !strings.HasPrefix(text, "$") {
		return
	}
	inner, braced := strings.CutPrefix(text, "${")
	if !braced {
		v.fail(path, "%q is missing an opening brace: ${%s}", text, strings.TrimSuffix(strings.TrimPrefix(text, "$"), "}"))
		return
	}
	name, closed := strings.CutSuffix(inner, "}")
	if !closed {
		v.fail(path, "%q is missing a closing brace", text)
		return
	}
	if nodeTargets[name] {
		return
	}
	for _, prefix := range []string{"attr.", "meta.", "device."} {
		if key, ok := strings.CutPrefix(name, prefix); ok && key != "" {
			return
		}
	}
	v.fail(path, "%q is unknown: ${attr.…}, ${meta.…} and ${node.unique.id|unique.name|datacenter|class|pool} are", text)
}

func (v *validator) affinities(path string, list []event.Affinity) {
	for i, a := range list {
		at := path + ".affinity"
		if len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		v.condition(at, event.Constraint{LTarget: a.LTarget, RTarget: a.RTarget, Operand: a.Operand}, false)
		if a.Weight == 0 || a.Weight < -100 || a.Weight > 100 {
			v.fail(at+".weight", "%d is not between -100 and 100, or is 0", a.Weight)
		}
	}
}

func (v *validator) spreads(path string, list []event.Spread) {
	for i, s := range list {
		at := path + ".spread"
		if len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		if s.Attribute == "" {
			v.fail(at+".attribute", "is required")
		} else {
			v.target(at+".attribute", s.Attribute)
		}
		if s.Weight < 1 || s.Weight > 100 {
			v.fail(at+".weight", "%d is not between 1 and 100", s.Weight)
		}
		sum, seen := 0, map[string]bool{}
		for _, t := range s.SpreadTarget {
			if seen[t.Value] {
				v.fail(at+".target."+t.Value, "defined more than once")
			}
			seen[t.Value] = true
			if t.Percent > 100 {
				v.fail(at+".target."+t.Value+".percent", "%d is more than 100", t.Percent)
			}
			sum += int(t.Percent)
		}
		if sum > 100 {
			v.fail(at+".target", "the percentages add up to %d", sum)
		}
	}
}

// networks checks the ports of a group. One static port may serve one label per host network.
func (v *validator) networks(group string, list []event.NetworkResource) {
	labels := map[string]bool{}
	static := map[string]string{}
	numbers := map[int]string{} // the host network that asked first
	for _, n := range list {
		path := group + ".network"
		switch {
		case n.Mode == "", n.Mode == "host", n.Mode == "bridge", n.Mode == "none":
		case strings.HasPrefix(n.Mode, "cni/") && len(n.Mode) > len("cni/"):
		default:
			v.fail(path+".mode", "%q is not one of none, host, bridge, cni/<name>", n.Mode)
		}
		for i, list := range [][]event.Port{n.ReservedPorts, n.DynamicPorts} {
			for _, p := range list {
				at := path + ".port." + p.Label
				if p.Label == "" {
					at = path + ".port"
					v.fail(at, "a label is required")
				}
				if labels[p.Label] && p.Label != "" {
					v.fail(at, "defined more than once")
				}
				labels[p.Label] = true
				if p.To < -1 || p.To > 65535 {
					v.fail(at+".to", "%d is not between -1 and 65535", p.To)
				}
				if i == 1 {
					if p.Value != 0 {
						v.fail(at+".static", "%d is not between 1 and 65535", p.Value)
					}
					if p.IgnoreCollision {
						v.fail(at+".ignore_collision", "is for static ports only")
					}
					continue
				}
				if p.Value < 1 || p.Value > 65535 {
					v.fail(at+".static", "%d is not between 1 and 65535", p.Value)
				}
				if p.IgnoreCollision && n.Mode != "" && n.Mode != "host" {
					v.fail(at+".ignore_collision", "is for network mode host only")
				}
				if first, known := numbers[p.Value]; known && first != p.HostNetwork && !p.IgnoreCollision {
					v.warn(at+".static", "%d is asked for on another host network too: a port of a node is given once, whatever the network, so no node will do", p.Value)
				}
				if _, known := numbers[p.Value]; !known {
					numbers[p.Value] = p.HostNetwork
				}
				key := fmt.Sprint(p.Value, " ", p.HostNetwork)
				if other, taken := static[key]; taken && !p.IgnoreCollision {
					v.fail(at+".static", "port %d is taken by port %q already", p.Value, other)
				}
				static[key] = p.Label
			}
		}
		if n.MBits != 0 {
			v.warn(path+".mbits", "is deprecated and ignored")
		}
		if n.Hostname != "" && !hasTarget(n.Hostname) && !isHostname(n.Hostname) {
			v.fail(path+".hostname", "%q is no name of DNS: labels of letters, digits and dashes, with dots between them", n.Hostname)
		}
		if n.CNI != nil {
			for _, k := range sortedKeys(n.CNI.Args) {
				if strings.Contains(k, ";") || strings.Contains(n.CNI.Args[k], ";") {
					v.fail(path+".cni.args."+k, "contains a semicolon")
				}
			}
		}
	}
}

func isHostname(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > hostnameBytesMax {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if !serviceName.MatchString(label) {
			return false
		}
	}
	return true
}
