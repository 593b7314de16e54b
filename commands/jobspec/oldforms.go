package jobspec

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// modernize brings what old job files and old clients of the API ask for into the terms of today, in a tree that holds
// only what was written, and says what it did. Doing so again changes nothing.
func modernize(job tree) []string {
	m := &moderniser{}
	m.update(job, job)
	m.deadlines(job, job)
	m.constraints(job)
	groups, _ := job["TaskGroups"].([]any)
	for _, item := range groups {
		g := item.(tree)
		m.group, m.task = g, nil
		m.update(job, g)
		m.deadlines(job, g)
		m.constraints(g)
		m.disconnect(job, g)
		tasks, _ := g["Tasks"].([]any)
		m.disk(g, tasks)
		m.hoist(g, tasks)
		for _, item := range tasks {
			m.task = item.(tree)
			m.constraints(m.task)
			m.portMap(g, m.task)
		}
	}
	return m.warnings
}

// moderniser knows where it is, for what it has to say.
type moderniser struct {
	group, task tree
	warnings    []string
}

// warn says what was done to a field of the job, group or task that is being looked at.
func (m *moderniser) warn(field, format string, args ...any) {
	path := "job"
	if m.group != nil {
		path = "group." + text(m.group, "Name")
	}
	if m.task != nil {
		path += ".task." + text(m.task, "Name")
	}
	m.warnings = append(m.warnings, path+field+": old syntax: "+fmt.Sprintf(format, args...))
}

// update leaves out the pacing of updates where there is nothing to pace.
func (m *moderniser) update(job, t tree) {
	if kind := text(job, "Type"); t["Update"] == nil || kind != "batch" && kind != "sysbatch" {
		return
	}
	delete(t, "Update")
	m.warn(".update", "a %s job has no updates to pace; the block is left out", text(job, "Type"))
}

// deadlines makes room for a healthy_deadline that was written before there was a progress_deadline around it.
func (m *moderniser) deadlines(job, t tree) {
	u := block1(t, "Update")
	healthy, _ := u["HealthyDeadline"].(time.Duration)
	limit := updateDefaults["ProgressDeadline"].(time.Duration)
	if healthy < limit || healthy > math.MaxInt64/2 || u["ProgressDeadline"] != nil || block1(job, "Update")["ProgressDeadline"] != nil {
		return
	}
	u["ProgressDeadline"] = 2 * healthy
	m.warn(".update", "healthy_deadline must be less than progress_deadline, %s unless written; modern form: progress_deadline = %q", limit, fmt.Sprint(2*healthy))
}

// staggered names the pauses between updates that a job file asks for.
func staggered(job tree) (warnings []string) {
	groups, _ := job["TaskGroups"].([]any)
	for i, t := range append([]any{job}, groups...) {
		if block1(t.(tree), "Update")["Stagger"] == nil {
			continue
		}
		path := "job"
		if i > 0 {
			path = "group." + text(t.(tree), "Name")
		}
		warnings = append(warnings, path+".update.stagger: old syntax: it has no effect; modern form: min_healthy_time, how long each allocation must be healthy before the next is updated")
	}
	return warnings
}

// constraints gives targets the braces they had not before 2016: $node.class.
func (m *moderniser) constraints(t tree) {
	list, _ := t["Constraints"].([]any)
	for i, item := range list {
		c := item.(tree)
		for _, side := range []string{"LTarget", "RTarget"} {
			old := text(c, side)
			if !isBareTarget(old) {
				continue
			}
			c[side] = "${" + old[1:] + "}"
			at := ".constraint"
			if len(list) > 1 {
				at = fmt.Sprintf("%s[%d]", at, i)
			}
			m.warn(at, "%q; modern form: %q", old, c[side])
		}
	}
}

func isBareTarget(s string) bool {
	if !strings.HasPrefix(s, "$") {
		return false
	}
	for _, root := range []string{"$node.", "$attr.", "$meta."} {
		if rest, ok := strings.CutPrefix(s, root); ok && rest != "" {
			return !strings.ContainsAny(rest, "${} ")
		}
	}
	return false
}

// disconnect fills the disconnect block from the arguments it replaced, where there is none.
func (m *moderniser) disconnect(job, g tree) {
	if g["Disconnect"] != nil {
		return
	}
	d, form := tree{}, []string{}
	if v, ok := g["MaxClientDisconnect"]; ok {
		d["LostAfter"] = v
		form = append(form, fmt.Sprintf("lost_after = %q", fmt.Sprint(v)))
	}
	onEachNode := text(job, "Type") == "system" || text(job, "Type") == "sysbatch" // these it never had an effect on
	if v, ok := g["StopAfterClientDisconnect"]; ok && d["LostAfter"] == nil && !onEachNode {
		d["StopOnClientAfter"] = v
		form = append(form, fmt.Sprintf("stop_on_client_after = %q", fmt.Sprint(v)))
	}
	if v, _ := g["PreventRescheduleOnLost"].(bool); v {
		d["Replace"] = false
		form = append(form, "replace = false")
	}
	if len(d) == 0 {
		return
	}
	g["Disconnect"] = d
	m.warn(".disconnect", "arguments that the disconnect block replaced; modern form: disconnect { %s }", strings.Join(form, ", "))
}

// disk adds up what the tasks of a group ask for, as they did before the disk was the group's.
func (m *moderniser) disk(g tree, tasks []any) {
	sum, found := int64(0), false
	for _, item := range tasks {
		r := block1(item.(tree), "Resources")
		if n, ok := r["DiskMB"].(int64); ok {
			delete(r, "DiskMB")
			if n > 0 {
				sum, found = min(sum+n, groupDiskMBMax), true
			}
		}
	}
	if !found {
		return
	}
	e := block1(g, "EphemeralDisk")
	if e == nil {
		e = tree{}
		g["EphemeralDisk"] = e
	}
	if have, ok := e["SizeMB"]; ok {
		m.warn("", "disk in a task's resources is left out; ephemeral_disk { size = %d } counts", have)
		return
	}
	size := max(sum, groupDiskMBMin)
	e["SizeMB"] = size
	if logs := usualLogs(tasks, size); logs > 0 {
		e["SizeMB"] = size + logs
		m.warn("", "disk in a task's resources; modern form, in the group: ephemeral_disk { size = %d }, which is what was asked for and %d MB for logs that may be as large",
			e["SizeMB"], logs)
		return
	}
	m.warn("", "disk in a task's resources; modern form, in the group: ephemeral_disk { size = %d }", e["SizeMB"])
}

// usualLogs is how much the logs may take of tasks whose authors say nothing of them, where those of one such task alone
// do not fit on a disk of the size; else 0.
func usualLogs(tasks []any, size int64) (sum int64) {
	files, each := logsBlock.byHCL["max_files"].def, logsBlock.byHCL["max_file_size"].def
	usual := files.(int64) * each.(int64)
	if usual < size {
		return 0
	}
	for _, item := range tasks {
		logs := block1(item.(tree), "LogConfig")
		off, _ := logs["Disabled"].(bool)
		is := func(name string, def any) bool { return logs[name] == nil || logs[name] == def } // API clients write defaults too
		if !off && is("MaxFiles", files) && is("MaxFileSizeMB", each) {
			sum += usual
		}
	}
	return sum
}

// hoist gives the group the ports that its tasks ask for each on its own, as they did before groups had networks. What
// the tasks wrote stays with them: it tells whose port is whose.
func (m *moderniser) hoist(g tree, tasks []any) {
	taken := map[string]bool{}
	owners := map[string]int{}
	var network tree
	if list, _ := g["Networks"].([]any); len(list) > 0 {
		network = list[0].(tree)
		for _, ports := range []string{"ReservedPorts", "DynamicPorts"} {
			for _, p := range blocks(network, ports) {
				taken[text(p, "Label")] = true
			}
		}
	}
	for i, item := range tasks {
		task := item.(tree)
		for _, old := range blocks(block1(task, "Resources"), "Networks") {
			for _, ports := range []string{"ReservedPorts", "DynamicPorts"} {
				for _, p := range blocks(old, ports) {
					label := text(p, "Label")
					name := label
					if owner, known := owners[label]; known && owner != i {
						// Two tasks with a port of one name: the second keeps its own under a name that other tasks have always
						// known it by, as in NOMAD_ADDR_<task>_<label>.
						name = text(task, "Name") + "_" + label
						m.renamePort(task, label, name)
					} else {
						owners[label] = i
					}
					m.publish(task, name)
					if taken[name] {
						continue
					}
					taken[name] = true
					if network == nil {
						network = tree{}
						g["Networks"] = []any{network}
					}
					hoisted := maps.Clone(p)
					hoisted["Label"] = name
					have, _ := network[ports].([]any)
					network[ports] = append(have, hoisted)
				}
			}
		}
	}
}

// renamePort makes a task use a port of the group by another name.
func (m *moderniser) renamePort(task tree, label, name string) {
	env, _ := task["Env"].(map[string]any)
	if env == nil {
		env = map[string]any{}
		task["Env"] = env
	}
	for _, kind := range []string{"PORT", "ALLOC_PORT", "IP", "ADDR", "HOST_PORT", "HOST_IP", "HOST_ADDR"} {
		old := "NOMAD_" + kind + "_" + envName(label)
		if _, own := env[old]; own {
			return // done before
		}
		env[old] = "${NOMAD_" + kind + "_" + envName(name) + "}"
	}
	for _, s := range blocks(task, "Services") {
		for _, t := range append(blocks(s, "Checks"), s) {
			if text(t, "PortLabel") == label {
				t["PortLabel"] = name
			}
		}
	}
	m.task = task
	m.warn("", "port %q is another task's too; here it is the group's port %q", label, name)
	m.task = nil
}

// envName is a port's label in the names of environment variables.
func envName(label string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, label)
}

// publish names a port in the configuration of a docker task: ports of its own were published without being named.
func (m *moderniser) publish(task tree, label string) {
	if text(task, "Driver") != "docker" {
		return
	}
	config, _ := task["Config"].(map[string]any)
	// A network that the operator made publishes ports as the usual one does; in these there is nothing to publish to.
	mode, _ := config["network_mode"].(string)
	if config == nil || mode == "host" || mode == "none" || strings.HasPrefix(mode, "container:") {
		return
	}
	switch list := config["ports"].(type) {
	case nil:
		config["ports"] = []any{label}
	case []any:
		if !slices.Contains(list, any(label)) {
			config["ports"] = append(list, label)
		}
	}
}

// portMap brings a docker task's port_map into its group's network.
func (m *moderniser) portMap(g, task tree) {
	config, _ := task["Config"].(map[string]any)
	mapped := config["port_map"]
	if text(task, "Driver") != "docker" || mapped == nil {
		return
	}
	inside := map[string]any{}
	list, isList := mapped.([]any)
	if !isList {
		list = []any{mapped}
	}
	for _, item := range list {
		part, ok := item.(map[string]any)
		if !ok {
			return // the driver says what is wrong
		}
		maps.Copy(inside, part)
	}
	networks, _ := g["Networks"].([]any)
	if len(networks) == 0 {
		return
	}
	ports := map[string]tree{}
	for _, kind := range []string{"ReservedPorts", "DynamicPorts"} {
		for _, p := range blocks(networks[0].(tree), kind) {
			ports[text(p, "Label")] = p
		}
	}
	own := func(label string) tree {
		if p := ports[text(task, "Name")+"_"+label]; p != nil {
			return p
		}
		return ports[label]
	}
	for _, label := range sortedKeys(inside) {
		p := own(label)
		n, isNumber := portNumber(inside[label])
		if to, _ := p["To"].(int64); p == nil || !isNumber || to != 0 && to != n {
			return // no such port, or one that leads elsewhere: the driver says so
		}
	}
	var form []string
	for _, label := range sortedKeys(inside) {
		p := own(label)
		p["To"], _ = portNumber(inside[label])
		m.publish(task, text(p, "Label"))
		form = append(form, fmt.Sprintf("port %q { to = %d }", text(p, "Label"), p["To"]))
	}
	delete(config, "port_map")
	names, _ := config["ports"].([]any)
	quoted := make([]string, len(names))
	for i := range names {
		quoted[i] = fmt.Sprintf("%q", fmt.Sprint(names[i]))
	}
	m.warn(".config.port_map", "modern form, in the group: network { %s }; in config: ports = [%s]", strings.Join(form, ", "), strings.Join(quoted, ", "))
}

func portNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, v > 0 && v <= 65535
	case string:
		var n int64
		_, err := fmt.Sscanf(v, "%d", &n)
		return n, err == nil && fmt.Sprint(n) == v && n > 0 && n <= 65535
	}
	return 0, false
}
