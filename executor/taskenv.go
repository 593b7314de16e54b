package executor

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/eventlog/event"
)

// taskEnv is what a task is told: its environment and the values that its job file may refer to.
type taskEnv struct {
	// vars is the environment that the task gets.
	vars map[string]string
	// named are further task variables that only interpolation knows: names with dots.
	named map[string]string
	node  map[string]string
}

// envInput is all that a task's environment is made of.
type envInput struct {
	node    *event.Node
	region  string
	order   *event.Order
	job     *event.Job
	group   *event.TaskGroup
	task    *event.Task
	dirs    taskDirs
	hostEnv []string // NAME=value of the agent
	deny    []string // patterns of names of hostEnv that the task must not see
}

// buildTaskEnv makes the environment, later parts over earlier ones: NOMAD_*, meta, the agent's own (absent names only),
// the task's env.
func buildTaskEnv(in envInput) *taskEnv {
	e := &taskEnv{vars: map[string]string{}, named: map[string]string{}, node: nodeValues(in.node, in.region)}
	v := e.vars
	o, t := in.order, in.task
	v["NOMAD_ALLOC_DIR"], v["NOMAD_TASK_DIR"], v["NOMAD_SECRETS_DIR"] = in.dirs.shared, in.dirs.local, in.dirs.secrets
	v["NOMAD_ALLOC_ID"], v["NOMAD_SHORT_ALLOC_ID"] = o.ID.String(), o.ID.Short()
	v["NOMAD_ALLOC_NAME"] = allocName(o)
	v["NOMAD_ALLOC_INDEX"] = strconv.FormatUint(uint64(o.NameIndex), 10)
	v["NOMAD_TASK_NAME"], v["NOMAD_GROUP_NAME"] = t.Name, o.Group
	v["NOMAD_JOB_ID"], v["NOMAD_JOB_NAME"] = o.Job.ID, in.job.Name
	if in.job.ParentID != "" {
		v["NOMAD_JOB_PARENT_ID"] = in.job.ParentID
	}
	v["NOMAD_DC"], v["NOMAD_REGION"] = in.node.Datacenter, in.region
	v["NOMAD_NAMESPACE"] = o.Job.Namespace
	v["NOMAD_CPU_LIMIT"] = strconv.Itoa(t.Resources.CPU)
	v["NOMAD_MEMORY_LIMIT"] = strconv.Itoa(t.Resources.MemoryMB)
	if t.Resources.MemoryMaxMB > 0 && o.MemoryOversubscribed {
		v["NOMAD_MEMORY_MAX_LIMIT"] = strconv.Itoa(t.Resources.MemoryMaxMB)
	}
	if in.node.CgroupParent != "" {
		v["NOMAD_PARENT_CGROUP"] = in.node.CgroupParent
	}
	for _, p := range o.Ports {
		ip := in.node.HostAddress(p.HostNetwork)
		e.port(p, ip)
		// Job files whose tasks had ports of their own ask for those of a sibling by its name.
		for _, sibling := range in.group.Tasks {
			if sibling.Name != t.Name {
				e.portOf(sibling.Name, p, ip)
			}
		}
	}
	for _, m := range []map[string]string{in.job.Meta, in.group.Meta, t.Meta} {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			value := e.interpolate(m[key])
			e.named["NOMAD_META_"+key] = value
			v["NOMAD_META_"+cleanName(key)] = value
			v["NOMAD_META_"+strings.ToUpper(cleanName(key))] = value
		}
	}
	for _, pair := range in.hostEnv {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || denied(in.deny, name) {
			continue
		}
		if _, set := v[name]; !set {
			v[name] = value
		}
	}
	// Values may use variables of the task that stand earlier in the order of their names, and never themselves.
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		v[cleanEnvName(name)] = e.interpolate(t.Env[name])
	}
	return e
}

// sidesOf are a port's number on the host, inside of the task, and its whole address on the host.
func sidesOf(p event.AssignedPort, ip string) (host, inside, addr string) {
	host = strconv.Itoa(p.Value)
	inside = host
	if p.To > 0 {
		inside = strconv.Itoa(p.To)
	}
	if ip == "" {
		return host, inside, host
	}
	return host, inside, net.JoinHostPort(ip, host)
}

// portOf adds the variables of one port label under the name of another task.
func (e *taskEnv) portOf(task string, p event.AssignedPort, ip string) {
	name := cleanName(task) + "_" + cleanName(p.Label)
	_, inside, addr := sidesOf(p, ip)
	e.vars["NOMAD_PORT_"+name], e.vars["NOMAD_IP_"+name], e.vars["NOMAD_ADDR_"+name] = inside, ip, addr
}

// port adds the variables of one port label.
func (e *taskEnv) port(p event.AssignedPort, ip string) {
	label := cleanName(p.Label)
	host, inside, addr := sidesOf(p, ip)
	switch at := net.ParseIP(ip); {
	case at == nil:
	case at.To4() != nil:
		e.vars["NOMAD_IPv4_"+label] = ip
	default:
		e.vars["NOMAD_IPv6_"+label] = ip
	}
	for name, value := range map[string]string{
		"NOMAD_PORT_": inside, "NOMAD_ALLOC_PORT_": inside, "NOMAD_IP_": ip, "NOMAD_ADDR_": addr,
		"NOMAD_HOST_IP_": ip, "NOMAD_HOST_PORT_": host, "NOMAD_HOST_ADDR_": addr,
	} {
		e.vars[name+label] = value
		if label != p.Label {
			e.named[name+p.Label] = value
		}
	}
}

func denied(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := filepath.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

// allocName is how people call an allocation: "job.group[n]".
func allocName(o *event.Order) string {
	return fmt.Sprintf("%s.%s[%d]", o.Job.ID, o.Group, o.NameIndex)
}

var unclean = regexp.MustCompile(`[^A-Za-z0-9_]`)

// cleanName makes a label or key fit into the name of an environment variable.
func cleanName(s string) string { return unclean.ReplaceAllString(s, "_") }

// cleanEnvName only removes what cannot stand in an environment at all.
func cleanEnvName(s string) string { return strings.NewReplacer("=", "_", "\x00", "_").Replace(s) }

// nodeValues are what a job file may say of the node.
func nodeValues(n *event.Node, region string) map[string]string {
	v := map[string]string{
		"node.unique.id": n.ID.String(), "node.unique.name": n.Name, "node.datacenter": n.Datacenter,
		"node.region": region, "node.class": n.NodeClass, "node.pool": n.NodePool,
	}
	for key, value := range n.Attributes {
		v["attr."+key] = value
	}
	for key, value := range n.Meta {
		v["meta."+key] = value
	}
	return v
}

var reference = regexp.MustCompile(`\$\{[A-Za-z0-9_.-]+\}`)

// interpolate replaces every ${name} that is known and leaves the others as they are.
func (e *taskEnv) interpolate(s string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	return reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		for _, m := range []map[string]string{e.vars, e.named, e.node} {
			if value, ok := m[name]; ok {
				return value
			}
		}
		return ref
	})
}
