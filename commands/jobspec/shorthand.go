package jobspec

import "strings"

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
func splitPorts(_ *decoder, t tree) {
	ports, _ := t["$ports"].([]any)
	delete(t, "$ports")
	for _, p := range ports {
		list := "DynamicPorts"
		if n, ok := p.(tree)["Value"].(int64); ok && n > 0 {
			list = "ReservedPorts"
		}
		have, _ := t[list].([]any)
		t[list] = append(have, p)
	}
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
func expandJob(_ *decoder, t tree) {
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
