package apiclient

import (
	"context"
	"net/url"
)

// AllocStats is what an allocation uses at this moment.
type AllocStats struct {
	ResourceUsage ResourceUsage
	Tasks         map[string]struct{ ResourceUsage ResourceUsage }
}

// ResourceUsage is memory in bytes and processor in percent of one core and MHz.
// Measured names the values that mean something.
type ResourceUsage struct {
	MemoryStats struct {
		RSS, Cache, Swap, Usage, MaxUsage, KernelUsage, KernelMaxUsage uint64
		Measured                                                       []string
	}
	CpuStats struct {
		SystemMode, UserMode, TotalTicks, Percent float64
		ThrottledPeriods, ThrottledTime           uint64
		Measured                                  []string
	}
}

// HostStats is what a machine uses at this moment, in bytes, percent and MHz.
type HostStats struct {
	Memory           struct{ Total, Available, Used, Free uint64 }
	CPU              []HostCPU
	DiskStats        []HostDisk
	AllocDirStats    HostDisk
	Uptime           uint64 // seconds
	CPUTicksConsumed float64
}

// HostCPU is one core, in percent.
type HostCPU struct {
	CPU                string
	User, System, Idle float64
}

// HostDisk is one file system, in bytes.
type HostDisk struct {
	Device, Mountpoint             string
	Size, Used, Available          uint64
	UsedPercent, InodesUsedPercent float64
}

// AllocStats asks the node for what one of its allocations uses.
func (c *Client) AllocStats(ctx context.Context, node *Node, allocID string) (*AllocStats, error) {
	var stats AllocStats
	err := c.onNode(node, func(c *Client) error {
		_, err := c.Get(ctx, "/v1/client/allocation/"+url.PathEscape(allocID)+"/stats", Query{}, &stats)
		return err
	})
	return &stats, err
}

// HostStats asks the node for what it uses.
func (c *Client) HostStats(ctx context.Context, node *Node) (*HostStats, error) {
	var stats HostStats
	err := c.onNode(node, func(c *Client) error {
		_, err := c.Get(ctx, "/v1/client/stats", Query{Values: url.Values{"node_id": {node.ID}}}, &stats)
		return err
	})
	return &stats, err
}
