package agent

import (
	"log/slog"
	"maps"

	"drover/cmd/internal/agentconfig"
	"drover/executor"
)

// openNode makes the node agent; nothing runs yet. servers is where it finds the
// servers' agent protocol.
func openNode(cfg agentconfig.Config, version string, logger *slog.Logger, servers []string) (*executor.Agent, error) {
	c := cfg.Client
	return executor.New(executor.Config{
		StateDir: c.StateDir, AllocDir: c.AllocDir, Servers: servers, Dev: cfg.Dev, Version: version,
		Name: cfg.Name, Region: cfg.Region, Datacenter: cfg.Datacenter,
		NodePool: c.NodePool, NodeClass: c.NodeClass, Meta: maps.Clone(c.Meta),
		HTTPAdvertise: cfg.Advertise.HTTP, NetworkInterface: c.NetworkInterface,
		CPUTotalMHz: int64(c.CPUTotalComputeMHz), MemoryTotalMB: int64(c.MemoryTotalMB), DiskTotalMB: int64(c.DiskTotalMB),
		Reserved: executor.Reserved{
			CPUMHz: int64(c.Reserved.CPUMHz), MemoryMB: int64(c.Reserved.MemoryMB), DiskMB: int64(c.Reserved.DiskMB), Ports: c.Reserved.Ports,
		},
		MinDynamicPort: c.MinDynamicPort, MaxDynamicPort: c.MaxDynamicPort,
		RawExecEnabled: cfg.RawExecEnabled, MaxKillTimeout: c.MaxKillTimeout,
		ChrootEnv: maps.Clone(c.ChrootEnv),
		Logger:    named(logger, "client"),
	})
}
