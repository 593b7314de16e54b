package agent

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"drover/eventlog/event"
	"drover/executor"
	"drover/projections"
)

// nodeMetrics shows what a node and its allocations use and do, under the names that dashboards of the field read.
type nodeMetrics struct {
	node *executor.Agent

	host        bool // what the machine uses
	allocations bool // what each task uses
}

// collect samples everything now.
func (m *nodeMetrics) collect(ctx context.Context, answer *metricsAnswer) error {
	n := m.node.Node()
	held, err := m.node.Held(ctx, m.allocations)
	if err != nil {
		return err
	}
	class := n.NodeClass
	if class == "" {
		class = "none"
	}
	status := "initializing"
	select {
	case <-m.node.Ready():
		status = "ready"
	default:
	}
	c := &nodeCollection{answer: answer, labels: map[string]string{
		"node_id": n.ID.String(), "datacenter": n.Datacenter, "node_class": class, "node_pool": event.PoolOf(n.NodePool), "node_status": status,
	}}
	c.ofAllocations(n, held)
	for i := range held {
		for j := range held[i].Tasks {
			c.ofTask(&held[i], &held[i].Tasks[j])
		}
	}
	usage, err := m.node.HostUsage(ctx)
	if err != nil {
		return err
	}
	c.node("nomad.client.uptime", float64(usage.Uptime))
	if m.host {
		c.ofHost(usage)
	}
	return nil
}

type nodeCollection struct {
	answer *metricsAnswer
	labels map[string]string
}

func (c *nodeCollection) gauge(name string, value float64, labels map[string]string) {
	c.answer.Gauges = append(c.answer.Gauges, metricGauge{Name: name, Value: value, Labels: labels})
}

// node is a gauge of the whole node, or of the part of it that more names.
func (c *nodeCollection) node(name string, value float64, more ...string) {
	labels := c.labels
	if len(more) > 0 {
		labels = maps.Clone(labels)
		labels[more[0]] = more[1]
	}
	c.gauge(name, value, labels)
}

func (c *nodeCollection) counter(name string, count uint64, labels map[string]string) {
	if count > 0 {
		c.answer.Counters = append(c.answer.Counters, MetricSample{Name: name, Count: int64(count), Sum: float64(count), Labels: labels})
	}
}

// ofAllocations counts what is there, and adds up what it was promised and what is left: MHz and MB.
func (c *nodeCollection) ofAllocations(n *event.Node, held []executor.Held) {
	var running, pending, terminal float64
	tasks := map[event.TaskStatus]float64{}
	var promised projections.Resources
	var most int64
	for _, a := range held {
		switch {
		case a.Status == event.ClientPending:
			pending++
		case a.Status == event.ClientRunning:
			running++
		default:
			terminal++
			continue
		}
		promised = promised.Plus(projections.GroupAsk(a.Group).Resources)
		most += memoryMax(a.Group)
	}
	for _, a := range held {
		for _, t := range a.Tasks {
			tasks[t.Status]++
		}
	}
	c.node("nomad.client.allocations.running", running)
	c.node("nomad.client.allocations.pending", pending)
	c.node("nomad.client.allocations.terminal", terminal)
	c.node("nomad.client.tasks.running", tasks[event.TaskRunning])
	c.node("nomad.client.tasks.pending", tasks[event.TaskPending])
	c.node("nomad.client.tasks.dead", tasks[event.TaskDead])
	left := projections.AvailableOn(n).Minus(promised)
	c.node("nomad.client.allocated.cpu", float64(promised.CPU))
	c.node("nomad.client.allocated.memory", float64(promised.MemoryMB))
	c.node("nomad.client.allocated.max_memory", float64(most))
	c.node("nomad.client.allocated.disk", float64(promised.DiskMB))
	c.node("nomad.client.unallocated.cpu", float64(left.CPU))
	c.node("nomad.client.unallocated.memory", float64(left.MemoryMB))
	c.node("nomad.client.unallocated.disk", float64(left.DiskMB))
}

// memoryMax is what all tasks of a group may use at the most, in MB. One without a limit counts with what it is sure of.
func memoryMax(g *event.TaskGroup) (sum int64) {
	for _, t := range g.Tasks {
		sum += int64(max(t.Resources.MemoryMB, t.Resources.MemoryMaxMB))
	}
	return sum
}

func (c *nodeCollection) ofTask(a *executor.Held, t *executor.HeldTask) {
	labels := map[string]string{
		"job": a.Job.Name, "task_group": a.Group.Name, "alloc_id": a.ID.String(), "task": t.Name, "namespace": a.Job.Namespace,
	}
	c.counter("nomad.client.allocs.running", t.Counts.Started, labels)
	c.counter("nomad.client.allocs.restart", t.Counts.Restarted, labels)
	c.counter("nomad.client.allocs.complete", t.Counts.Completed, labels)
	c.counter("nomad.client.allocs.failed", t.Counts.Failed, labels)
	c.counter("nomad.client.allocs.oom_killed", t.Counts.OOMKilled, labels)
	if t.Usage == nil {
		return
	}
	m, cpu := &t.Usage.MemoryStats, &t.Usage.CpuStats
	for _, f := range []struct {
		measured, name string
		value          uint64
	}{
		{"RSS", "rss", m.RSS}, {"Cache", "cache", m.Cache}, {"Swap", "swap", m.Swap}, {"Usage", "usage", m.Usage},
		{"Max Usage", "max_usage", m.MaxUsage}, {"Kernel Usage", "kernel_usage", m.KernelUsage}, {"Kernel Max Usage", "kernel_max_usage", m.KernelMaxUsage},
	} {
		if slices.Contains(m.Measured, f.measured) {
			c.gauge("nomad.client.allocs.memory."+f.name, float64(f.value), labels)
		}
	}
	if m.MappedFile > 0 {
		c.gauge("nomad.client.allocs.memory.mapped_file", float64(m.MappedFile), labels)
	}
	if task := a.Group.LookupTask(t.Name); task != nil {
		c.gauge("nomad.client.allocs.memory.allocated", float64(task.Resources.MemoryMB<<20), labels)
		c.gauge("nomad.client.allocs.cpu.allocated", float64(task.Resources.CPU), labels)
		if task.Resources.MemoryMaxMB > 0 {
			c.gauge("nomad.client.allocs.memory.max_allocated", float64(task.Resources.MemoryMaxMB<<20), labels)
		}
	}
	c.gauge("nomad.client.allocs.cpu.total_percent", cpu.Percent, labels)
	c.gauge("nomad.client.allocs.cpu.system", cpu.SystemMode, labels)
	c.gauge("nomad.client.allocs.cpu.user", cpu.UserMode, labels)
	c.gauge("nomad.client.allocs.cpu.total_ticks", cpu.TotalTicks, labels)
	if slices.Contains(cpu.Measured, "Throttled Time") {
		c.gauge("nomad.client.allocs.cpu.throttled_time", float64(cpu.ThrottledTime), labels)
		c.gauge("nomad.client.allocs.cpu.throttled_periods", float64(cpu.ThrottledPeriods), labels)
	}
}

func (c *nodeCollection) ofHost(u *executor.HostUsage) {
	c.node("nomad.client.host.memory.total", float64(u.Memory.Total))
	c.node("nomad.client.host.memory.available", float64(u.Memory.Available))
	c.node("nomad.client.host.memory.used", float64(u.Memory.Used))
	c.node("nomad.client.host.memory.free", float64(u.Memory.Free))
	for i, core := range u.CPU {
		name := core.CPU
		if name == "" {
			name = "cpu" + strconv.Itoa(i)
		}
		c.node("nomad.client.host.cpu.total_percent", core.TotalPercent, "cpu", name)
		c.node("nomad.client.host.cpu.total", core.Total, "cpu", name)
		c.node("nomad.client.host.cpu.total_ticks", core.TotalTicks, "cpu", name)
		c.node("nomad.client.host.cpu.user", core.User, "cpu", name)
		c.node("nomad.client.host.cpu.system", core.System, "cpu", name)
		c.node("nomad.client.host.cpu.idle", core.Idle, "cpu", name)
	}
	for _, d := range u.DiskStats {
		c.node("nomad.client.host.disk.size", float64(d.Size), "disk", d.Device)
		c.node("nomad.client.host.disk.used", float64(d.Used), "disk", d.Device)
		c.node("nomad.client.host.disk.available", float64(d.Available), "disk", d.Device)
		c.node("nomad.client.host.disk.used_percent", d.UsedPercent, "disk", d.Device)
		c.node("nomad.client.host.disk.inodes_percent", d.InodesUsedPercent, "disk", d.Device)
	}
}
