package jobspec

import (
	"fmt"
	"maps"
	"path"
	"strings"
)

// canonicalize fills in everything an author may leave out. A canonical tree stays as it is when this runs again.
func canonicalize(job tree) {
	if text(job, "Type") == "" {
		job["Type"] = "service"
	}
	if text(job, "Name") == "" {
		job["Name"] = job["ID"]
		if job["ID"] == nil {
			delete(job, "Name")
		}
	}
	dropEmpty(job, "Region", "Namespace", "NodePool")
	kind := text(job, "Type")

	// The official client writes such a job's update block for the whole job even when its author did not.
	if kind == "service" || kind == "system" {
		job["Update"] = layered(updateDefaults, block1(job, "Update"))
	}
	for _, g := range blocks(job, "TaskGroups") {
		canonicalizeGroup(job, g, kind)
	}
	if r := block1(job, "Reschedule"); r != nil {
		job["Reschedule"] = layered(rescheduleDefaults[kind], r)
	}
	if m := block1(job, "Migrate"); m != nil {
		job["Migrate"] = layered(migrateDefaults, m)
	}
	jobBlock.fill(job)
}

func canonicalizeGroup(job, g tree, kind string) {
	restart := restartDefaults["service"]
	if kind == "batch" || kind == "sysbatch" {
		restart = restartDefaults["batch"]
	}
	g["RestartPolicy"] = layered(restart, block1(g, "RestartPolicy"))
	if own, all := block1(g, "ReschedulePolicy"), block1(job, "Reschedule"); own != nil || all != nil || rescheduleDefaults[kind] != nil {
		g["ReschedulePolicy"] = layered(rescheduleDefaults[kind], all, own)
	}
	if own, all := block1(g, "Update"), block1(job, "Update"); own != nil || all != nil {
		g["Update"] = layered(updateDefaults, all, own)
	}
	if own, all := block1(g, "Migrate"), block1(job, "Migrate"); own != nil || all != nil || kind == "service" {
		g["Migrate"] = layered(migrateDefaults, all, own)
	}
	if g["Count"] == nil {
		g["Count"] = int64(1)
		if s := block1(g, "Scaling"); s != nil && s["Min"] != nil {
			g["Count"] = s["Min"]
		}
	}
	if s := block1(g, "Scaling"); s != nil && s["Min"] == nil {
		s["Min"] = g["Count"]
	}
	for name, v := range volumes(g) {
		if text(v, "Name") == "" {
			v["Name"] = name
		}
	}
	for _, t := range blocks(g, "Tasks") {
		canonicalizeTask(job, g, t)
	}
	canonicalizeServices(job, g, nil, blocks(g, "Services"))
}

func canonicalizeTask(job, g, t tree) {
	t["RestartPolicy"] = layered(block1(g, "RestartPolicy"), block1(t, "RestartPolicy"))
	if r := block1(t, "Resources"); r == nil || r["CPU"] == nil {
		if r == nil {
			r = tree{}
			t["Resources"] = r
		}
		r["CPU"] = int64(100)
		if cores, _ := r["Cores"].(int64); cores > 0 {
			r["CPU"] = int64(0)
		}
	}
	for _, a := range blocks(t, "Artifacts") {
		if text(a, "RelativeDest") != "" {
			continue
		}
		a["RelativeDest"] = "local/"
		if text(a, "GetterMode") == "file" {
			a["RelativeDest"] = "local/" + path.Base(text(a, "GetterSource"))
		}
	}
	for _, tmpl := range blocks(t, "Templates") {
		if text(tmpl, "ChangeMode") == "signal" && text(tmpl, "ChangeSignal") == "" {
			tmpl["ChangeSignal"] = "SIGHUP"
		}
		if s := text(tmpl, "ChangeSignal"); s != "" {
			tmpl["ChangeSignal"] = strings.ToUpper(s)
		}
	}
	canonicalizeServices(job, g, t, blocks(t, "Services"))
}

// canonicalizeServices names services and checks that have no name, and fills in the names known when a job is
// registered. What only the node knows stays for the node.
func canonicalizeServices(job, g, t tree, services []tree) {
	if len(services) == 0 {
		return
	}
	base := text(job, "Name") + "-" + text(g, "Name")
	known := []string{"${JOB}", text(job, "Name"), "${TASKGROUP}", text(g, "Name")}
	if t != nil {
		base += "-" + text(t, "Name")
		known = append(known, "${TASK}", text(t, "Name"))
	}
	known = append(known, "${BASE}", base)
	for _, s := range services {
		if text(s, "Name") == "" {
			s["Name"] = base
		}
		s["Name"] = strings.NewReplacer(known...).Replace(text(s, "Name"))
		for _, check := range blocks(s, "Checks") {
			if text(check, "Name") == "" {
				check["Name"] = fmt.Sprintf("service: %q check", text(s, "Name"))
			}
			if check["CheckRestart"] == nil && s["CheckRestart"] != nil {
				check["CheckRestart"] = maps.Clone(s["CheckRestart"].(tree))
			}
			if text(check, "OnUpdate") == "" {
				check["OnUpdate"] = "require_healthy"
				if on := text(s, "OnUpdate"); on != "" {
					check["OnUpdate"] = on
				}
			}
		}
	}
}

// fill gives absent fields their default, in a block and all blocks in it.
func (b *block) fill(t tree) {
	for _, f := range b.fills {
		v, ok := t[f.json]
		switch {
		case !ok && f.always:
			v = make(tree, len(f.block.fills))
			t[f.json] = v
		case !ok || f.kind == kindString && v == "" && f.def != nil:
			if f.def != nil {
				t[f.json] = f.def
			}
			continue
		}
		switch f.kind {
		case kindStrings:
			if len(v.([]any)) == 0 && f.def != nil {
				t[f.json] = f.def
			}
		case kindBlock:
			f.block.fill(v.(tree))
		case kindBlocks:
			for _, item := range v.([]any) {
				f.block.fill(item.(tree))
			}
		case kindBlockMap:
			for _, item := range v.(tree) {
				f.block.fill(item.(tree))
			}
		}
	}
}

// layered merges blocks of plain values field by field, the later wins. The first has no empty strings. Where the others
// say nothing new it is the result itself, so nobody may write to a result.
func layered(base tree, others ...tree) tree {
	merged, own := base, false
	for _, layer := range others {
		for k, v := range layer {
			if v == "" || merged[k] == v {
				continue
			}
			if !own {
				merged, own = maps.Clone(merged), true
				if merged == nil {
					merged = make(tree, len(layer))
				}
			}
			merged[k] = v
		}
	}
	if merged == nil {
		return tree{}
	}
	return merged
}

func dropEmpty(t tree, names ...string) {
	for _, name := range names {
		if t[name] == "" {
			delete(t, name)
		}
	}
}

func text(t tree, name string) string {
	s, _ := t[name].(string)
	return s
}

func block1(t tree, name string) tree {
	b, _ := t[name].(tree)
	return b
}

func blocks(t tree, name string) []tree {
	list, _ := t[name].([]any)
	if len(list) == 0 {
		return nil
	}
	out := make([]tree, len(list))
	for i := range list {
		out[i] = list[i].(tree)
	}
	return out
}

func volumes(g tree) map[string]tree {
	m, _ := g["Volumes"].(tree)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]tree, len(m))
	for name, v := range m {
		out[name] = v.(tree)
	}
	return out
}
