package cli

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// taskEventsShown bounds the recent events of a task.
const taskEventsShown = 10

func allocStatusSpec() spec {
	return spec{
		name: "alloc status", args: "<allocation>", general: true, console: true,
		synopsis: "Display allocation status information and metadata",
		about: "Display what an allocation is, where it runs and how its tasks fare.\n" +
			"The argument may be a prefix of the allocation's ID, of at least two characters.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			short := fs.Bool("short", false, "Only the most important.")
			stats := fs.Bool("stats", false, "Show what each task uses, in detail.")
			verbose := fs.Bool("verbose", false, "Show full IDs, absolute times and placement metrics.")
			return func(in *invocation, args []string) int {
				c, ok := in.client()
				if !ok {
					return 1
				}
				if len(args) == 0 && s.wanted() {
					_, answer, err := c.Allocations(in.ctx, apiclient.Query{})
					if err != nil {
						return in.fail("Error querying allocations: %s", err)
					}
					return in.print(s, answer.Body)
				}
				if len(args) != 1 {
					return in.usage("This command takes one of the following argument conditions:\n * A single <allocation>\n * No arguments, with output format specified")
				}
				return in.allocStatus(c, args[0], allocStatusOptions{s, *short, *stats, *verbose})
			}
		},
	}
}

type allocStatusOptions struct {
	shaped
	short, stats, verbose bool
}

func (in *invocation) allocStatus(c *apiclient.Client, typed string, o allocStatusOptions) int {
	search := allocSearch
	search.code = 0 // an ambiguous prefix is an answer here
	stub, code, ok := in.oneAlloc(c, search, typed, o.verbose)
	if !ok {
		return code
	}
	c = c.InNamespace(stub.Namespace)
	alloc, answer, err := c.Allocation(in.ctx, stub.ID, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying allocation: %s", err)
	}
	if o.wanted() {
		return in.print(o.shaped, answer.Body)
	}
	if o.short {
		in.ui.Output(in.allocShort(alloc))
		in.section("Tasks", in.taskTable(alloc))
		return 0
	}
	var stats *apiclient.AllocStats
	if alloc.ClientStatus == "running" {
		stats = in.allocStats(c, alloc)
	}
	in.ui.Output(in.allocHeader(alloc, o.verbose))
	in.allocAddresses(alloc)
	for _, task := range taskOrder(alloc) {
		in.taskReport(alloc, task, stats, o.stats)
	}
	if o.verbose && alloc.Metrics != nil {
		in.section("Placement Metrics", placementMetrics(alloc.Metrics))
	}
	return 0
}

func (in *invocation) allocShort(a *apiclient.Allocation) string {
	var p pairs
	p.add("ID", a.ID)
	p.add("Name", a.Name)
	p.add("Created", in.p.ago(unixNano(a.CreateTime)))
	p.add("Modified", in.p.ago(unixNano(a.ModifyTime)))
	return p.String()
}

func (in *invocation) taskTable(a *apiclient.Allocation) string {
	rows := [][]string{{"Name", "State", "Last Event", "Time", "Lifecycle"}}
	for _, name := range taskOrder(a) {
		row := []string{name, "", "", "", lifecycle(a, name)}
		if row[4] == "" {
			row[4] = "main"
		}
		if state := a.TaskStates[name]; state != nil {
			row[1] = state.State
			if n := len(state.Events); n > 0 {
				row[2], row[3] = state.Events[n-1].Type, in.p.absolute(unixNano(state.Events[n-1].Time))
			}
		}
		rows = append(rows, row)
	}
	return tableOf(rows...)
}

func (in *invocation) allocHeader(a *apiclient.Allocation, verbose bool) string {
	var p pairs
	p.add("ID", a.ID)
	p.add("Eval ID", shortID(a.EvalID, verbose))
	p.add("Name", a.Name)
	p.add("Node ID", shortID(a.NodeID, verbose))
	p.add("Node Name", a.NodeName)
	p.add("Job ID", a.JobID)
	version := a.JobVersion
	if a.Job != nil {
		version = a.Job.Version
	}
	p.add("Job Version", strconv.FormatUint(version, 10))
	p.add("Client Status", a.ClientStatus)
	p.add("Client Description", a.ClientDescription)
	p.add("Desired Status", a.DesiredStatus)
	p.add("Desired Description", a.DesiredDescription)
	p.add("Created", in.p.since(unixNano(a.CreateTime), verbose))
	p.add("Modified", in.p.since(unixNano(a.ModifyTime), verbose))
	if a.Job != nil {
		if limit := maxRunDeadline(a.Job.TaskGroups, a.TaskGroup, a.CreateTime); !limit.IsZero() {
			p.add(maxRunColumn, in.p.absolute(limit))
		}
	}
	if a.DeploymentID != "" {
		health := "unset"
		if d := a.DeploymentStatus; d != nil && d.Healthy != nil {
			health = map[bool]string{true: "healthy", false: "unhealthy"}[*d.Healthy]
		}
		p.add("Deployment ID", shortID(a.DeploymentID, verbose))
		p.add("Deployment Health", health)
		if d := a.DeploymentStatus; d != nil && d.Canary {
			p.add("Canary", "true")
		}
	}
	if a.NextAllocation != "" {
		p.add("Replacement Alloc ID", shortID(a.NextAllocation, verbose))
	}
	if m := a.Metrics; verbose && m != nil {
		p.add("Evaluated Nodes", strconv.Itoa(m.NodesEvaluated))
		p.add("Filtered Nodes", strconv.Itoa(m.NodesFiltered))
		p.add("Exhausted Nodes", strconv.Itoa(m.NodesExhausted))
		p.add("Allocation Time", m.AllocationTime.String())
		p.add("Failures", strconv.Itoa(m.CoalescedFailures))
	}
	return p.String()
}

// allocAddresses shows the ports of the group's network.
func (in *invocation) allocAddresses(a *apiclient.Allocation) {
	if a.AllocatedResources == nil || len(a.AllocatedResources.Shared.Ports) == 0 {
		return
	}
	shared := a.AllocatedResources.Shared
	rows := [][]string{{"Label", "Dynamic", "Address"}}
	for _, port := range shared.Ports {
		address := fmt.Sprintf("%s:%d", port.HostIP, port.Value)
		if port.To > 0 {
			address += fmt.Sprintf(" -> %d", port.To)
		}
		rows = append(rows, []string{"*" + port.Label, "yes", address})
	}
	title := "Allocation Addresses"
	if len(shared.Networks) > 0 && shared.Networks[0].Mode != "" && shared.Networks[0].Mode != "host" {
		title += fmt.Sprintf(" (mode = %q)", shared.Networks[0].Mode)
	}
	in.section(title+":", tableOf(rows...))
}

// specOf is the task as the job file describes it, or nil.
func specOf(a *apiclient.Allocation, task string) *event.Task {
	if a.Job == nil {
		return nil
	}
	group := a.Job.LookupGroup(a.TaskGroup)
	if group == nil {
		return nil
	}
	return group.LookupTask(task)
}

// lifecycle says when a task runs, beside the main ones; "" for a main task.
func lifecycle(a *apiclient.Allocation, task string) string {
	t := specOf(a, task)
	if t == nil || t.Lifecycle == nil || t.Lifecycle.Hook == "" {
		return ""
	}
	if t.Lifecycle.Sidecar {
		return t.Lifecycle.Hook + " sidecar"
	}
	return t.Lifecycle.Hook
}

// taskOrder is the names of the tasks: prestart first, then sidecars, then main
// tasks, then what comes after them; by name within.
func taskOrder(a *apiclient.Allocation) []string {
	names := map[string]bool{}
	for name := range a.TaskStates {
		names[name] = true
	}
	if a.Job != nil {
		if group := a.Job.LookupGroup(a.TaskGroup); group != nil {
			for _, t := range group.Tasks {
				names[t.Name] = true
			}
		}
	}
	rank := func(name string) int {
		switch l := lifecycle(a, name); {
		case l == "prestart":
			return 0
		case strings.HasSuffix(l, "sidecar"):
			return 1
		case l == "":
			return 2
		}
		return 3
	}
	order := sorted(names)
	slices.SortStableFunc(order, func(x, y string) int { return cmp.Compare(rank(x), rank(y)) })
	return order
}

// allocStats is what the allocation uses, or nil when its node does not say.
func (in *invocation) allocStats(c *apiclient.Client, a *apiclient.Allocation) *apiclient.AllocStats {
	node, _, err := c.Node(in.ctx, a.NodeID)
	if err == nil {
		var stats *apiclient.AllocStats
		if stats, err = c.AllocStats(in.ctx, node, a.ID); err == nil {
			return stats
		}
	}
	in.ui.Warn(fmt.Sprintf("Couldn't retrieve stats: %s", err))
	return nil
}

func (in *invocation) taskReport(a *apiclient.Allocation, name string, stats *apiclient.AllocStats, detail bool) {
	state := a.TaskStates[name]
	if state == nil {
		state = &apiclient.TaskState{State: "pending"}
	}
	kind := ""
	if l := lifecycle(a, name); l != "" {
		kind = " (" + l + ")"
	}
	in.ui.Output("\n" + in.ui.bold(fmt.Sprintf("Task %q%s is %q", name, kind, state.State)))
	var usage *apiclient.ResourceUsage
	if stats != nil {
		if task, ok := stats.Tasks[name]; ok {
			usage = &task.ResourceUsage
		}
	}
	if resources := taskResources(a, name, usage); resources != "" {
		in.ui.Output("Task Resources:\n" + resources + "\n")
	}
	if volumes := hostVolumes(a, name); volumes != "" {
		in.ui.Output("Host Volumes:\n" + volumes + "\n")
	}
	if detail && usage != nil {
		in.ui.Output("Memory Stats\n" + memoryStats(usage) + "\n\nCPU Stats\n" + cpuStats(usage) + "\n")
	}
	moment := func(t time.Time) string {
		if t.IsZero() {
			return "N/A"
		}
		return in.p.absolute(t)
	}
	var p pairs
	p.add("Started At", moment(state.StartedAt))
	p.add("Finished At", moment(state.FinishedAt))
	p.add("Total Restarts", strconv.FormatUint(state.Restarts, 10))
	p.add("Last Restart", moment(state.LastRestart))
	in.ui.Output("Task Events:\n" + p.String())
	rows := [][]string{{"Time", "Type", "Description"}}
	for i := len(state.Events) - 1; i >= 0 && len(rows) <= taskEventsShown; i-- {
		e := &state.Events[i]
		rows = append(rows, []string{in.p.absolute(unixNano(e.Time)), e.Type, e.Text()})
	}
	in.ui.Output("\nRecent Events:\n" + tableOf(rows...))
}

// taskResources is what the task holds, with its own addresses, and how much of
// it is used when that is known.
func taskResources(a *apiclient.Allocation, name string, usage *apiclient.ResourceUsage) string {
	if a.AllocatedResources == nil {
		return ""
	}
	held, ok := a.AllocatedResources.Tasks[name]
	if !ok {
		return ""
	}
	var addresses []string
	for _, network := range held.Networks {
		for _, port := range slices.Concat(network.ReservedPorts, network.DynamicPorts) {
			addresses = append(addresses, fmt.Sprintf("%s: %s:%d", port.Label, network.IP, port.Value))
		}
	}
	cpu := "CPU"
	if n := len(held.Cpu.ReservedCores); n > 0 {
		cpu = fmt.Sprintf("CPU (%d cores)", n)
	}
	rows := [][]string{
		{cpu, "Memory", "Disk", "Addresses"},
		{fmt.Sprintf("%d MHz", held.Cpu.CpuShares), mebibytes(held.Memory.MemoryMB), mebibytes(a.AllocatedResources.Shared.DiskMB), ""},
	}
	if usage != nil {
		rows[1][0] = fmt.Sprintf("%.0f/%s", usage.CpuStats.TotalTicks, rows[1][0])
		rows[1][1] = byteSize(memoryUsed(usage)) + "/" + rows[1][1]
	}
	second := ""
	if maximum := held.Memory.MemoryMaxMB; maximum > 0 && maximum != held.Memory.MemoryMB {
		second = "Max: " + mebibytes(maximum)
	}
	if len(addresses) > 0 {
		rows[1][3], addresses = addresses[0], addresses[1:]
	}
	for second != "" || len(addresses) > 0 {
		row := []string{"", second, "", ""}
		if len(addresses) > 0 {
			row[3], addresses = addresses[0], addresses[1:]
		}
		rows, second = append(rows, row), ""
	}
	return bareTable(rows...)
}

// hostVolumes are the directories of its node that a task mounts.
func hostVolumes(a *apiclient.Allocation, name string) string {
	t := specOf(a, name)
	if t == nil {
		return ""
	}
	group := a.Job.LookupGroup(a.TaskGroup)
	rows := [][]string{{"ID", "Read Only"}}
	for _, m := range t.VolumeMounts {
		if v, ok := group.Volumes[m.Volume]; ok && v.Type == "host" {
			rows = append(rows, []string{v.Source, strconv.FormatBool(v.ReadOnly || m.ReadOnly)})
		}
	}
	if len(rows) == 1 {
		return ""
	}
	return bareTable(rows...)
}

// placementMetrics is how the best nodes scored.
func placementMetrics(m *event.AllocMetric) string {
	names := map[string]bool{}
	for _, node := range m.ScoreMetaData {
		for scorer := range node.Scores {
			names[scorer] = true
		}
	}
	scorers := sorted(names)
	rows := [][]string{slices.Concat([]string{"Node"}, scorers, []string{"final score"})}
	number := func(s event.Score) string {
		return strconv.FormatFloat(float64(s)/event.ScoreScale, 'g', 3, 64)
	}
	for _, node := range m.ScoreMetaData {
		row := []string{node.NodeID.String()}
		for _, scorer := range scorers {
			row = append(row, number(node.Scores[scorer]))
		}
		rows = append(rows, append(row, number(node.NormScore)))
	}
	return tableOf(rows...)
}
