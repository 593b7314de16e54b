package cli

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

type nodeStatusOptions struct {
	shaped
	paging
	self, allocs, short, stats, os, quiet, verbose bool
}

func nodeStatusSpec() spec {
	return spec{
		name: "node status", args: "[node]", general: true, console: true,
		synopsis: "Display status information about nodes",
		about: "Display status information about a node. Without an argument, list all nodes.\n" +
			"The argument may be a prefix of the node's ID, of at least two characters.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o nodeStatusOptions
			o.shaped.register(fs)
			o.paging.register(fs)
			fs.BoolVar(&o.self, "self", false, "The node that the agent itself is.")
			fs.BoolVar(&o.allocs, "allocs", false, "In the list, count each node's running allocations.")
			fs.BoolVar(&o.short, "short", false, "Only the most important.")
			fs.BoolVar(&o.stats, "stats", false, "Show what the machine uses, in detail.")
			fs.BoolVar(&o.os, "os", false, "In the list, show operating systems.")
			fs.BoolVar(&o.quiet, "quiet", false, "In the list, show only full IDs.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs, absolute times, attributes and meta.")
			return func(in *invocation, args []string) int {
				if len(args) > 1 || o.self && len(args) > 0 {
					return in.usage("This command takes either one or no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				switch {
				case o.self:
					id, err := c.SelfNodeID(in.ctx)
					if err != nil {
						return in.fail("Error querying agent info: %s", err)
					}
					if id == "" {
						return in.fail("Local agent not a client, no node to display")
					}
					return in.nodeStatus(c, id, o)
				case len(args) == 1:
					return in.nodeStatus(c, args[0], o)
				}
				return in.nodeList(c, o)
			}
		},
	}
}

func (in *invocation) nodeList(c *apiclient.Client, o nodeStatusOptions) int {
	q := apiclient.Query{PerPage: o.perPage, Token: o.token, Filter: o.filter}
	if o.os {
		q.Values = map[string][]string{"os": {"true"}}
	}
	list, answer, err := c.Nodes(in.ctx, q)
	switch {
	case err != nil:
		return in.fail("Error querying node status: %s", err)
	case o.wanted():
		return in.print(o.shaped, answer.Body)
	case len(list) == 0:
		in.ui.Output("No nodes registered")
		return 0
	case o.quiet:
		for _, n := range list {
			in.ui.Output(n.ID)
		}
		return 0
	}
	columns := nodeColumns{os: o.os, verbose: o.verbose}
	if o.allocs {
		columns.running = map[string]int{}
		for _, n := range list {
			allocs, _, err := c.NodeAllocations(in.ctx, n.ID)
			if err != nil {
				return in.fail("Error querying node allocations: %s", err)
			}
			for _, a := range allocs {
				if a.ClientStatus == "running" {
					columns.running[n.ID]++
				}
			}
		}
	}
	in.ui.Output(nodeTable(list, columns))
	in.footer(answer.NextToken)
	return 0
}

func (in *invocation) nodeStatus(c *apiclient.Client, typed string, o nodeStatusOptions) int {
	stub, code, ok := in.oneNode(c, typed, o.verbose)
	if !ok {
		return code
	}
	node, answer, err := c.Node(in.ctx, stub.ID)
	if err != nil {
		return in.fail("Error querying node info: %s", err)
	}
	if o.wanted() {
		return in.print(o.shaped, answer.Body)
	}
	allocs, _, err := c.NodeAllocations(in.ctx, node.ID)
	if err != nil {
		return in.fail("Error querying node allocations: %s", err)
	}
	var host *apiclient.HostStats
	if !o.short && node.Status != "down" {
		if host, err = c.HostStats(in.ctx, node); err != nil {
			in.ui.Warn(fmt.Sprintf("Couldn't retrieve stats: %s", err))
			host = nil
		}
	}
	in.ui.Output(in.nodeHeader(node, host, o.short))
	if !o.short {
		if o.verbose {
			in.section("Drivers", in.driverTable(node))
			if len(node.HostVolumes) > 0 {
				in.section("Host Volumes", hostVolumeTable(node))
			}
		}
		in.section("Node Events", in.nodeEvents(node, o.verbose))
		in.section("Allocated Resources", allocatedResources(node, allocs))
		if host != nil {
			in.hostReport(c, node, allocs, host, o.stats)
		}
	}
	stubs := make([]*apiclient.AllocStub, len(allocs))
	for i, a := range allocs {
		stubs[i] = &a.AllocStub
		if a.Job != nil {
			stubs[i].JobVersion = a.Job.Version
		}
	}
	in.section("Allocations", in.allocTable(stubs, allocColumns{verbose: o.verbose, nodeless: true}))
	if o.verbose && !o.short {
		in.section("Attributes", sortedPairs(node.Attributes))
		in.section("Meta", sortedPairs(node.Meta))
	}
	return 0
}

func (in *invocation) nodeHeader(n *apiclient.Node, host *apiclient.HostStats, short bool) string {
	var p pairs
	p.add("ID", n.ID)
	p.add("Name", n.Name)
	p.add("Node Pool", n.NodePool)
	p.add("Class", n.NodeClass)
	p.add("DC", n.Datacenter)
	p.add("Drain", in.drain(n))
	p.add("Eligibility", n.SchedulingEligibility)
	p.add("Status", n.Status)
	drivers := strings.Join(driverWords(n), ",")
	if short {
		p.add("Drivers", drivers)
		return p.String()
	}
	p.add("CSI Controllers", strings.Join(sorted(n.CSIControllerPlugins), ","))
	p.add("CSI Drivers", strings.Join(sorted(n.CSINodePlugins), ","))
	if host != nil {
		p.add("Uptime", (time.Duration(host.Uptime) * time.Second).String())
	}
	p.add("Host Volumes", strings.Join(sorted(n.HostVolumes), ","))
	p.add("Host Networks", strings.Join(sorted(n.HostNetworks), ","))
	p.add("CSI Volumes", "")
	p.add("Driver Status", drivers)
	return p.String()
}

func (in *invocation) drain(n *apiclient.Node) string {
	d := n.DrainStrategy
	if d == nil {
		return strconv.FormatBool(n.Drain)
	}
	text := "true; "
	switch {
	case d.Deadline < 0:
		text += "force drain"
	case d.ForceDeadline == 0:
		text += "no deadline"
	default:
		text += in.p.absolute(d.ForceDeadline.Time()) + " deadline"
	}
	if d.IgnoreSystemJobs {
		text += "; ignoring system jobs"
	}
	return text
}

// driverWords are the drivers that the node has.
func driverWords(n *apiclient.Node) []string {
	var words []string
	for _, name := range sorted(n.Drivers) {
		switch d := n.Drivers[name]; {
		case d == nil || !d.Detected:
		case d.Healthy:
			words = append(words, name)
		default:
			words = append(words, name+" (unhealthy)")
		}
	}
	return words
}

func (in *invocation) driverTable(n *apiclient.Node) string {
	rows := [][]string{{"Driver", "Detected", "Healthy", "Message", "Time"}}
	for _, name := range sorted(n.Drivers) {
		d := n.Drivers[name]
		if d == nil {
			continue
		}
		rows = append(rows, []string{name, strconv.FormatBool(d.Detected), strconv.FormatBool(d.Healthy), d.HealthDescription, in.p.absolute(d.UpdateTime.Time())})
	}
	return tableOf(rows...)
}

func hostVolumeTable(n *apiclient.Node) string {
	rows := [][]string{{"Name", "ReadOnly", "Source"}}
	for _, name := range sorted(n.HostVolumes) {
		if v := n.HostVolumes[name]; v != nil {
			rows = append(rows, []string{name, strconv.FormatBool(v.ReadOnly), v.Path})
		}
	}
	return tableOf(rows...)
}

// nodeEvents is the node's own history, newest first.
func (in *invocation) nodeEvents(n *apiclient.Node, verbose bool) string {
	head := []string{"Time", "Subsystem", "Message"}
	if verbose {
		head = append(head, "Details")
	}
	rows := [][]string{head}
	for _, e := range slices.Backward(n.Events) {
		subsystem := e.Subsystem
		if driver := e.Details["driver"]; driver != "" {
			subsystem = "Driver: " + driver
		}
		row := []string{in.p.absolute(e.Timestamp.Time()), subsystem, e.Message}
		if verbose {
			var details []string
			for _, key := range sorted(e.Details) {
				details = append(details, key+" = "+e.Details[key])
			}
			row = append(row, strings.Join(details, ","))
		}
		rows = append(rows, row)
	}
	return tableOf(rows...)
}

// allocatedResources sums up what allocations hold, beside what there is.
func allocatedResources(n *apiclient.Node, allocs []*apiclient.Allocation) string {
	total := n.NodeResources
	if total == nil {
		total = &event.NodeResources{}
	}
	reserved := n.ReservedResources
	if reserved == nil {
		reserved = &event.NodeReservedResources{}
	}
	var cpu, memory, disk int64
	count := 0
	for _, a := range allocs {
		if a.ClientStatus == "complete" || a.ClientStatus == "failed" || a.ClientStatus == "lost" || a.AllocatedResources == nil {
			continue
		}
		count++
		for _, t := range a.AllocatedResources.Tasks {
			cpu += t.Cpu.CpuShares
			memory += t.Memory.MemoryMB
		}
		disk += a.AllocatedResources.Shared.DiskMB
	}
	counted := strconv.Itoa(count)
	if n.NodeMaxAllocs > 0 {
		counted += "/" + strconv.Itoa(n.NodeMaxAllocs)
	}
	return tableOf([]string{"CPU", "Memory", "Disk", "Alloc Count"}, []string{
		fmt.Sprintf("%d/%d MHz", cpu, total.Cpu.CpuShares-reserved.Cpu.CpuShares),
		mebibytes(memory) + "/" + mebibytes(total.Memory.MemoryMB-reserved.Memory.MemoryMB),
		mebibytes(disk) + "/" + mebibytes(total.Disk.DiskMB-reserved.Disk.DiskMB),
		counted,
	})
}

func sortedPairs(m map[string]string) string {
	var p pairs
	for _, key := range sorted(m) {
		p.add(key, m[key])
	}
	return p.String()
}
