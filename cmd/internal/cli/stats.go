package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
)

// memoryUsed is what a task uses of its memory, as far as it was measured.
func memoryUsed(u *apiclient.ResourceUsage) uint64 {
	if slices.Contains(u.MemoryStats.Measured, "Usage") {
		return u.MemoryStats.Usage
	}
	return u.MemoryStats.RSS
}

// measured is a table of one row with what was measured, by name.
func measured(names []string, values map[string]string) string {
	names = slices.Sorted(slices.Values(names))
	var head, row []string
	for _, name := range names {
		if value, ok := values[name]; ok {
			head, row = append(head, name), append(row, value)
		}
	}
	if len(head) == 0 {
		return noneCell
	}
	return tableOf(head, row)
}

func memoryStats(u *apiclient.ResourceUsage) string {
	m := u.MemoryStats
	return measured(m.Measured, map[string]string{
		"RSS": byteSize(m.RSS), "Cache": byteSize(m.Cache), "Swap": byteSize(m.Swap), "Usage": byteSize(m.Usage), "Max Usage": byteSize(m.MaxUsage),
		"Kernel Usage": byteSize(m.KernelUsage), "Kernel Max Usage": byteSize(m.KernelMaxUsage),
	})
}

func cpuStats(u *apiclient.ResourceUsage) string {
	c := u.CpuStats
	return measured(c.Measured, map[string]string{
		"Percent": percent(c.Percent), "System Mode": percent(c.SystemMode), "User Mode": percent(c.UserMode),
		"Throttled Periods": strconv.FormatUint(c.ThrottledPeriods, 10), "Throttled Time": strconv.FormatUint(c.ThrottledTime, 10),
	})
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }

// hostReport is what the machine and the allocations on it use.
func (in *invocation) hostReport(c *apiclient.Client, n *apiclient.Node, allocs []*apiclient.Allocation, h *apiclient.HostStats, detail bool) {
	var ticks float64
	var memory uint64
	for _, a := range allocs {
		if a.ClientStatus != "running" {
			continue
		}
		// One that ended meanwhile uses nothing.
		if stats, err := c.AllocStats(in.ctx, n, a.ID); err == nil {
			ticks += stats.ResourceUsage.CpuStats.TotalTicks
			memory += memoryUsed(&stats.ResourceUsage)
		}
	}
	var total int64
	if n.NodeResources != nil {
		total = n.NodeResources.Cpu.CpuShares
	}
	in.section("Allocation Resource Utilization", tableOf([]string{"CPU", "Memory"}, []string{
		fmt.Sprintf("%.0f/%d MHz", ticks, total), byteSize(memory) + "/" + byteSize(h.Memory.Total),
	}))
	in.section("Host Resource Utilization", tableOf([]string{"CPU", "Memory", "Disk"}, []string{
		fmt.Sprintf("%.0f/%d MHz", h.CPUTicksConsumed, total), byteSize(h.Memory.Used) + "/" + byteSize(h.Memory.Total),
		byteSize(h.AllocDirStats.Used) + "/" + byteSize(h.AllocDirStats.Size),
	}))
	if !detail {
		return
	}
	var cores []string
	for _, core := range h.CPU {
		cores = append(cores, pairs{{"CPU", core.CPU}, {"User", percent(core.User)}, {"System", percent(core.System)}, {"Idle", percent(core.Idle)}}.String())
	}
	in.section("CPU Stats", strings.Join(cores, "\n\n"))
	in.section("Memory Stats", pairs{
		{"Total", byteSize(h.Memory.Total)}, {"Available", byteSize(h.Memory.Available)}, {"Used", byteSize(h.Memory.Used)}, {"Free", byteSize(h.Memory.Free)},
	}.String())
	var disks []string
	for _, d := range h.DiskStats {
		disks = append(disks, pairs{
			{"Device", d.Device}, {"MountPoint", d.Mountpoint}, {"Size", byteSize(d.Size)}, {"Used", byteSize(d.Used)}, {"Available", byteSize(d.Available)},
			{"Used Percent", percent(d.UsedPercent)}, {"Inodes Percent", percent(d.InodesUsedPercent)},
		}.String())
	}
	in.section("Disk Stats", strings.Join(disks, "\n\n"))
}
