package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"drover/eventlog/event"
	"drover/projections"
)

// TestScenarios runs the stories in testdata. Each plan is decided twice, checked
// for soundness, and committed. Rewrite them with -rewrite, and commit only the
// differences that you understand and want.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		c := newCluster(t)
		jobs := make(map[string]*event.Job)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			c.t = t
			switch d.Cmd {
			case "node", "nodes":
				return c.nodeCommand(d)
			case "job":
				job := parseJob(d)
				jobs[job.ID] = job
				c.submit(job)
				return fmt.Sprintf("%s version %d\n", job.ID, c.state.Job(key(job.ID)).Version)
			case "stop", "purge":
				id := d.CmdArgs[0].Key
				c.apply(&event.JobStopped{Namespace: event.DefaultNamespace, JobID: id, Version: c.state.Job(key(id)).Version + 1, Purge: d.Cmd == "purge"})
				return ""
			case "schedule":
				id := d.CmdArgs[0].Key
				plan := c.schedule(id)
				c.checkSound()
				if d.HasArg("scores") {
					return c.renderPlan(plan) + renderScores(plan)
				}
				if d.HasArg("classes") {
					return c.renderPlan(plan) + renderClasses(plan)
				}
				return c.renderPlan(plan)
			case "report":
				for _, arg := range d.CmdArgs[1:] {
					c.report(c.named(d, arg.Key), clientStatus(d, arg.Vals[0]))
				}
				return ""
			case "mark":
				marked := &event.AllocationsMarked{Migrate: true}
				for _, arg := range d.CmdArgs[1:] {
					marked.IDs = append(marked.IDs, c.named(d, arg.Key).ID)
				}
				c.apply(marked)
				return ""
			case "down":
				c.setNode(d.CmdArgs[0].Key, event.NodeDown)
				return ""
			case "up":
				c.setNode(d.CmdArgs[0].Key, event.NodeReady)
				return ""
			case "change":
				return c.changeNode(d)
			case "allocs":
				return c.renderAllocs(d.CmdArgs[0].Key)
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

func clientStatus(d *datadriven.TestData, word string) (status event.ClientStatus) {
	if err := status.UnmarshalText([]byte(word)); err != nil {
		panic(d.Pos + ": " + err.Error())
	}
	return status
}

// named finds the newest allocation of that name ("g0", or "g0@node"), in the job of
// the first argument.
func (c *cluster) named(d *datadriven.TestData, name string) *projections.Allocation {
	var found *projections.Allocation
	name, node, _ := strings.Cut(name, "@")
	for a := range c.state.AllocationsOf(key(d.CmdArgs[0].Key)) {
		if shortName(a) == name && (node == "" || nodeName(a.NodeID) == node) {
			found = a
		}
	}
	if found == nil {
		c.t.Fatalf("%s: there is no allocation %s", d.Pos, name)
	}
	return found
}

func shortName(a *projections.Allocation) string {
	return a.Group + strconv.FormatUint(uint64(a.NameIndex), 10)
}

func (c *cluster) nodeCommand(d *datadriven.TestData) string {
	count, name := 1, ""
	cpu, memoryMB := int64(4000), int64(8192)
	d.MaybeScanArgs(c.t, "count", &count)
	d.MaybeScanArgs(c.t, "cpu", &cpu)
	d.MaybeScanArgs(c.t, "memory", &memoryMB)
	d.ScanArgs(c.t, "name", &name)
	for i := range count {
		full := name
		if d.Cmd == "nodes" {
			full = name + strconv.Itoa(i+1)
		}
		c.addNode(newNode(full, cpu, memoryMB, func(n *event.Node) { applyNodeArgs(d, n) }))
	}
	return ""
}

func (c *cluster) changeNode(d *datadriven.TestData) string {
	var name string
	d.ScanArgs(c.t, "name", &name)
	info := *c.state.Node(nodeID(name)).Info
	info.Attributes = maps.Clone(info.Attributes)
	info.Drivers = maps.Clone(info.Drivers)
	resources := *info.NodeResources
	info.NodeResources = &resources
	d.MaybeScanArgs(c.t, "cpu", &resources.Cpu.CpuShares)
	applyNodeArgs(d, &info)
	rest := info
	rest.Attributes = nil
	c.apply(&event.NodeChanged{NodeID: info.ID, AttributesSet: info.Attributes, Rest: &rest, ComputedClass: classOf(&info)})
	return ""
}

func applyNodeArgs(d *datadriven.TestData, n *event.Node) {
	for _, arg := range d.CmdArgs {
		switch value := strings.Join(arg.Vals, ","); arg.Key {
		case "dc":
			n.Datacenter = value
		case "pool":
			n.NodePool = value
		case "class":
			n.NodeClass = value
		case "disk":
			n.NodeResources.Disk.DiskMB, _ = strconv.ParseInt(value, 10, 64)
		case "max-allocs":
			n.NodeMaxAllocs, _ = strconv.Atoi(value)
		case "drivers":
			n.Drivers = make(map[string]*event.DriverInfo)
			for _, name := range arg.Vals {
				name, sick := strings.CutSuffix(name, "!")
				n.Drivers[name] = &event.DriverInfo{Detected: true, Healthy: !sick}
			}
		case "host-networks":
			n.HostNetworks = make(map[string]*event.HostNetwork)
			for _, name := range arg.Vals {
				n.HostNetworks[name] = &event.HostNetwork{Name: name}
			}
		case "attr", "meta":
			into := n.Attributes
			if arg.Key == "meta" {
				into = n.Meta
			}
			for _, pair := range arg.Vals {
				k, v, _ := strings.Cut(pair, ":")
				into[k] = v
			}
		case "reserved":
			n.ReservedResources = &event.NodeReservedResources{Networks: event.ReservedNetworks{ReservedHostPorts: value}}
		case "dynamic":
			first, last, _ := strings.Cut(value, "-")
			n.NodeResources.MinDynamicPort, _ = strconv.Atoi(first)
			n.NodeResources.MaxDynamicPort, _ = strconv.Atoi(last)
		}
	}
}

// parseJob reads a job: its groups by arguments (name:count), all alike; further
// properties line by line.
func parseJob(d *datadriven.TestData) *event.Job {
	cpu, memoryMB, kind := 500, 256, event.JobTypeService
	job := newJob(d.CmdArgs[0].Key, 1, cpu, memoryMB)
	job.TaskGroups = nil
	for _, arg := range d.CmdArgs[1:] {
		n, _ := strconv.Atoi(arg.Vals[0])
		switch arg.Key {
		case "cpu":
			cpu = n
		case "memory":
			memoryMB = n
		case "type":
			kind = arg.Vals[0]
		case "priority":
			job.Priority = n
		default:
			g := newJob("", n, cpu, memoryMB).TaskGroups[0]
			g.Name = arg.Key
			job.TaskGroups = append(job.TaskGroups, g)
		}
	}
	job.Type = kind
	for _, line := range strings.Split(d.Input, "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields := strings.Fields(rest)
		for _, g := range job.TaskGroups {
			switch word {
			case "group-constraint":
				g.Constraints = append(g.Constraints, parseConstraint(rest))
			case "group-spread":
				g.Spreads = append(g.Spreads, parseSpread(strings.Fields(rest)))
			case "task-constraint":
				g.Tasks[0].Constraints = append(g.Tasks[0].Constraints, parseConstraint(rest))
			case "port":
				if len(g.Networks) == 0 {
					g.Networks = []event.NetworkResource{{}}
				}
				label, number, static := strings.Cut(rest, "=")
				if value, _ := strconv.Atoi(number); static {
					g.Networks[0].ReservedPorts = append(g.Networks[0].ReservedPorts, event.Port{Label: label, Value: value})
				} else {
					g.Networks[0].DynamicPorts = append(g.Networks[0].DynamicPorts, event.Port{Label: label})
				}
			case "env":
				k, v, _ := strings.Cut(rest, "=")
				g.Tasks[0].Env = map[string]string{k: v}
			case "kill_timeout":
				g.Tasks[0].KillTimeout = 1
			case "driver":
				g.Tasks[0].Driver = rest
			case "disk":
				g.EphemeralDisk.SizeMB, _ = strconv.Atoi(rest)
			case "sticky":
				g.EphemeralDisk.Sticky = true
			case "cores":
				g.Tasks[0].Resources.Cores, _ = strconv.Atoi(rest)
			case "device":
				g.Tasks[0].Resources.Devices = []event.RequestedDevice{{Name: rest, Count: 1}}
			case "host-volume":
				g.Volumes = map[string]event.VolumeRequest{"v": {Name: "v", Type: "host", Source: rest}}
			case "host-network":
				g.Networks[0].DynamicPorts[0].HostNetwork = rest
			case "mode":
				g.Networks = []event.NetworkResource{{Mode: rest}}
			}
		}
		switch word {
		case "constraint":
			job.Constraints = append(job.Constraints, parseConstraint(rest))
		case "affinity":
			weight, _ := strconv.Atoi(fields[3])
			job.Affinities = append(job.Affinities, event.Affinity{LTarget: fields[0], Operand: fields[1], RTarget: fields[2], Weight: int8(weight)})
		case "spread":
			job.Spreads = append(job.Spreads, parseSpread(fields))
		case "datacenters":
			job.Datacenters = fields
		case "pool":
			job.NodePool = rest
		case "all_at_once":
			job.AllAtOnce = true
		}
	}
	return job
}

// parseSpread reads "attribute weight value:percent...".
func parseSpread(fields []string) event.Spread {
	weight, _ := strconv.Atoi(fields[1])
	block := event.Spread{Attribute: fields[0], Weight: int8(weight)}
	for _, target := range fields[2:] {
		value, percent, _ := strings.Cut(target, ":")
		n, _ := strconv.Atoi(percent)
		block.SpreadTarget = append(block.SpreadTarget, event.SpreadTarget{Value: value, Percent: uint8(n)})
	}
	return block
}

func parseConstraint(text string) event.Constraint {
	if rest, ok := strings.CutPrefix(text, distinctHosts); ok {
		return event.Constraint{Operand: distinctHosts, RTarget: strings.TrimSpace(rest)}
	}
	left, rest, _ := strings.Cut(text, " ")
	operand, right, _ := strings.Cut(rest, " ")
	return event.Constraint{LTarget: left, Operand: operand, RTarget: right}
}

func (c *cluster) renderPlan(p *event.PlanCommitted) string {
	var b strings.Builder
	name := func(id event.ID) string { return shortName(c.state.Allocation(id)) }
	for _, stop := range p.Stops {
		fmt.Fprintf(&b, "stop    %s on %s: %s", name(stop.ID), nodeName(c.state.Allocation(stop.ID).NodeID), stop.Description)
		if stop.Client != 0 {
			fmt.Fprintf(&b, " (%v)", stop.Client)
		}
		if stop.HandsOver {
			b.WriteString(" (hands over)")
		}
		b.WriteByte('\n')
	}
	for _, id := range p.InPlace {
		fmt.Fprintf(&b, "inplace %s\n", name(id))
	}
	for _, g := range p.Groups {
		for _, place := range g.Placements {
			a := c.state.Allocation(event.AllocationID(p.EvalID, p.Basis, place.Ordinal))
			fmt.Fprintf(&b, "place   %s on %s score %s", shortName(a), nodeName(a.NodeID), scoreText(place.Score))
			for _, port := range a.Ports() {
				fmt.Fprintf(&b, " %s=%d", port.Label, port.Value)
			}
			if !place.Previous.IsZero() {
				fmt.Fprintf(&b, " for %s on %s", name(place.Previous), nodeName(c.state.Allocation(place.Previous).NodeID))
			}
			b.WriteByte('\n')
		}
	}
	for _, g := range p.Groups {
		if g.Failed != nil {
			b.WriteString(explainFailure(g.Name, g.Failed))
		}
	}
	for _, group := range slices.Sorted(maps.Keys(p.Queued)) {
		if n := p.Queued[group]; n > 0 {
			fmt.Fprintf(&b, "queued  %s=%d\n", group, n)
		}
	}
	fmt.Fprintf(&b, "%v\n", p.Outcome)
	return b.String()
}

// renderScores says how the best nodes for each group's first placement ranked.
func renderScores(p *event.PlanCommitted) string {
	var b strings.Builder
	for _, g := range p.Groups {
		for _, node := range g.Metric.ScoreMetaData {
			fmt.Fprintf(&b, "%s on %s:", g.Name, nodeName(node.NodeID))
			for _, scorer := range slices.Sorted(maps.Keys(node.Scores)) {
				fmt.Fprintf(&b, " %s=%s", scorer, scoreText(node.Scores[scorer]))
			}
			fmt.Fprintf(&b, " mean=%s\n", scoreText(node.NormScore))
		}
	}
	return b.String()
}

// renderClasses says which room would wake the evaluation of what failed.
func renderClasses(p *event.PlanCommitted) string {
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(p.ClassEligibility)) {
		fmt.Fprintf(&b, "class %s: %v\n", class, p.ClassEligibility[class])
	}
	fmt.Fprintf(&b, "escaped: %v\n", p.EscapedComputedClass)
	return b.String()
}

func scoreText(s event.Score) string {
	text, _ := s.MarshalJSON()
	return string(text)
}

// explainFailure says it in the words of the command line (reference, section 17).
func explainFailure(group string, m *event.AllocMetric) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Task Group %q (failed to place %d allocations):\n", group, m.CoalescedFailures+1)
	if m.NodesEvaluated == 0 {
		b.WriteString("  * No nodes were eligible for evaluation\n")
	}
	for _, dc := range slices.Sorted(maps.Keys(m.NodesAvailable)) {
		if m.NodesAvailable[dc] == 0 {
			fmt.Fprintf(&b, "  * No nodes are available in datacenter %q\n", dc)
		}
	}
	each := func(counts map[string]int, format string) {
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, format, k, counts[k])
		}
	}
	each(m.ClassFiltered, "  * Class %q: %d nodes excluded by filter\n")
	each(m.ConstraintFiltered, "  * Constraint %q: %d nodes excluded by filter\n")
	if m.NodesExhausted > 0 {
		fmt.Fprintf(&b, "  * Resources exhausted on %d nodes\n", m.NodesExhausted)
	}
	each(m.ClassExhausted, "  * Class %q exhausted on %d nodes\n")
	each(m.DimensionExhausted, "  * Dimension %q exhausted on %d nodes\n")
	return b.String()
}

func (c *cluster) renderAllocs(id string) string {
	var lines []string
	for a := range c.state.AllocationsOf(key(id)) {
		lines = append(lines, fmt.Sprintf("%s v%d on %s desired %v client %v", shortName(a), a.JobVersion, nodeName(a.NodeID), a.Desired, a.Client))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
