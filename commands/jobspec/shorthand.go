package jobspec

import (
	"fmt"
	"strings"
)

// expandConstraint brings the shorthand attributes of a constraint or affinity into operator and value.
func expandConstraint(d *decoder, t tree) {
	found := ""
	set := func(name, operand, value string) {
		if found != "" {
			d.failBlock("Conflicting operators", "Only one of "+found+" and "+name+" may be given.")
			return
		}
		found = name
		t["Operand"], t["RTarget"] = operand, value
	}
	for _, name := range []string{"version", "semver", "regexp", "set_contains", "set_contains_all", "set_contains_any"} {
		if v, ok := t["$"+name]; ok {
			set(name, name, v.(string))
		}
		delete(t, "$"+name)
	}
	for _, name := range []string{"is_set", "is_not_set"} {
		if v, ok := t["$"+name]; ok && v.(bool) {
			set(name, name, "")
		}
		delete(t, "$"+name)
	}
	if v, ok := t["$distinct_hosts"]; ok {
		value := "true"
		if !v.(bool) {
			value = "false"
		}
		set("distinct_hosts", "distinct_hosts", value)
		delete(t, "$distinct_hosts")
	}
	if v, ok := t["$distinct_property"]; ok {
		value, _ := t["RTarget"].(string)
		set("distinct_property", "distinct_property", value)
		t["LTarget"] = v
		delete(t, "$distinct_property")
	}
	if t["RTarget"] == "" {
		delete(t, "RTarget")
	}
}

// splitPorts sorts a network's ports into those with a number and those the scheduler chooses.
func splitPorts(d *decoder, t tree) {
	ports, _ := t["$ports"].([]any)
	delete(t, "$ports")
	// Before blocks there were lists: of labels, and of numbers that were their own labels.
	dynamic, _ := t["$dynamic_ports"].([]any)
	for _, label := range dynamic {
		ports = append(ports, tree{"Label": label})
		d.oldName("dynamic_ports is a list; modern form: port %q {}", label)
	}
	reserved, _ := t["$reserved_ports"].([]any)
	for _, n := range reserved {
		ports = append(ports, tree{"Label": fmt.Sprint(n), "Value": n})
		d.oldName("reserved_ports is a list; modern form: port \"%d\" { static = %d }", n, n)
	}
	delete(t, "$dynamic_ports")
	delete(t, "$reserved_ports")
	for _, p := range ports {
		list := "DynamicPorts"
		if n, ok := p.(tree)["Value"].(int64); ok && n > 0 {
			list = "ReservedPorts"
		}
		have, _ := t[list].([]any)
		t[list] = append(have, p)
	}
}

// oldName notes an old name in the block being decoded.
func (d *decoder) oldName(format string, args ...any) {
	d.old = append(d.old, oldName{d.at, fmt.Sprintf(format, args...)})
}

// splitIdentities tells a task's own identity from additional ones.
func splitIdentities(d *decoder, t tree) {
	list, _ := t["$identities"].([]any)
	delete(t, "$identities")
	var more []any
	for _, id := range list {
		name, _ := id.(tree)["Name"].(string)
		switch {
		case name != "" && name != "default":
			more = append(more, id)
		case t["Identity"] != nil:
			d.failBlock("Duplicate identity", "A task has only one default identity; give the others a name.")
		default:
			t["Identity"] = id
		}
	}
	if len(more) > 0 {
		t["Identities"] = more
	}
}

// expandJob brings a job file's shorthands into the API's form: the label as ID and name, tasks directly in the job as
// groups of one, vault and secret blocks of the job and its groups copied to the tasks that have none.
func expandJob(d *decoder, t tree) {
	label, _ := t["$label"].(string)
	delete(t, "$label")
	if _, ok := t["ID"]; !ok {
		t["ID"] = label
	}
	if _, ok := t["Name"]; !ok {
		t["Name"] = label
	}
	delete(t, "$vault_token")
	delete(t, "$consul_token")

	if tasks, _ := t["$tasks"].([]any); len(tasks) > 0 {
		var groups []any
		for _, task := range tasks {
			groups = append(groups, tree{"Name": task.(tree)["Name"], "Count": int64(1), "Tasks": []any{task}})
		}
		declared, _ := t["TaskGroups"].([]any)
		t["TaskGroups"] = append(groups, declared...)
	}
	delete(t, "$tasks")

	groups, _ := t["TaskGroups"].([]any)
	if services, _ := t["$services"].([]any); len(services) > 0 {
		if len(groups) > 1 {
			d.failBlock("Unsupported block type", `Blocks of type "service" are not expected here (in job). Hint: move it into a group or a task.`)
		}
		if len(groups) == 1 {
			g := groups[0].(tree)
			have, _ := g["Services"].([]any)
			g["Services"] = append(have, services...)
		}
		d.oldName("a service in the job; modern form: move it into the group")
	}
	for _, g := range groups {
		g := g.(tree)
		tasks, _ := g["Tasks"].([]any)
		for _, from := range []tree{g, t} {
			for _, task := range tasks {
				task := task.(tree)
				if v, ok := from["$vault"]; ok && task["Vault"] == nil {
					task["Vault"] = v
				}
				if v, ok := from["$secrets"]; ok && task["Secrets"] == nil {
					task["Secrets"] = v
				}
			}
		}
		dropShorthand(g)
	}
	dropShorthand(t)
}

func dropShorthand(t tree) {
	for k := range t {
		if strings.HasPrefix(k, "$") {
			delete(t, k)
		}
	}
}
