package executor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"drover/eventlog/event"
)

// hostStats samples the machine. Shares of processor time are those between two samples.
type hostStats struct {
	allocDir string

	mu   sync.Mutex
	last map[string]cpu.TimesStat
}

func newHostStats(allocDir string) *hostStats {
	return &hostStats{allocDir: allocDir, last: map[string]cpu.TimesStat{}}
}

// HostUsage is the answer of /v1/client/stats. Its JSON names are the public API's.
type HostUsage struct {
	Memory           HostMemory
	CPU              []HostCPU
	DiskStats        []HostDisk
	AllocDirStats    HostDisk
	DeviceStats      []any
	Uptime           uint64  // seconds
	Timestamp        int64   // Unix nanoseconds
	CPUTicksConsumed float64 // MHz
}

// HostMemory is main memory in bytes.
type HostMemory struct{ Total, Available, Used, Free uint64 }

// HostCPU is one core; shares are percent.
type HostCPU struct {
	CPU                                   string
	User, System, Idle, Total, TotalTicks float64
	TotalPercent                          float64
}

// HostDisk is one file system; sizes are bytes.
type HostDisk struct {
	Device, Mountpoint             string
	Size, Used, Available          uint64
	UsedPercent, InodesUsedPercent float64
}

// sample reads everything now.
func (h *hostStats) sample(ctx context.Context, n *event.Node) (*HostUsage, error) {
	u := &HostUsage{DeviceStats: []any{}, Timestamp: time.Now().UnixNano()}
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("read memory use: %w", err)
	}
	u.Memory = HostMemory{Total: m.Total, Available: m.Available, Used: m.Used, Free: m.Free}
	times, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("read processor use: %w", err)
	}
	h.mu.Lock()
	perCore := float64(n.NodeResources.Cpu.CpuShares) / float64(max(n.NodeResources.Cpu.TotalCpuCores, 1))
	for _, t := range times {
		c := share(h.last[t.CPU], t)
		c.TotalTicks = c.TotalPercent / 100 * perCore
		u.CPUTicksConsumed += c.TotalTicks
		u.CPU = append(u.CPU, c)
		h.last[t.CPU] = t
	}
	h.mu.Unlock()
	d, err := disk.UsageWithContext(ctx, h.allocDir)
	if err != nil {
		return nil, fmt.Errorf("read disk use: %w", err)
	}
	u.AllocDirStats = HostDisk{
		Device: n.Attributes["unique.storage.volume"], Mountpoint: h.allocDir, Size: d.Total, Used: d.Used, Available: d.Free,
		UsedPercent: d.UsedPercent, InodesUsedPercent: d.InodesUsedPercent,
	}
	u.DiskStats = []HostDisk{}
	if parts, err := disk.PartitionsWithContext(ctx, false); err == nil {
		for _, p := range parts {
			if d, err := disk.UsageWithContext(ctx, p.Mountpoint); err == nil {
				u.DiskStats = append(u.DiskStats, HostDisk{
					Device: p.Device, Mountpoint: p.Mountpoint, Size: d.Total, Used: d.Used, Available: d.Free,
					UsedPercent: d.UsedPercent, InodesUsedPercent: d.InodesUsedPercent,
				})
			}
		}
	}
	if u.Uptime, err = host.UptimeWithContext(ctx); err != nil {
		return nil, fmt.Errorf("read uptime: %w", err)
	}
	return u, nil
}

// share is what a core did between two samples.
func share(before, now cpu.TimesStat) HostCPU {
	busy := func(t cpu.TimesStat) float64 {
		return t.User + t.System + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
	}
	c := HostCPU{CPU: now.CPU}
	total := busy(now) + now.Idle - busy(before) - before.Idle
	if total <= 0 {
		return c
	}
	percent := func(d float64) float64 { return max(d/total*100, 0) }
	c.User = percent(now.User - before.User)
	c.System = percent(now.System - before.System)
	c.Idle = percent(now.Idle - before.Idle)
	c.TotalPercent = percent(busy(now) - busy(before))
	c.Total = c.TotalPercent
	return c
}
