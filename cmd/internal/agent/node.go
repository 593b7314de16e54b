package agent

import (
	"log/slog"
	"maps"
	"path/filepath"

	"drover/cmd/internal/agentconfig"
	"drover/eventlog/event"
	"drover/executor"
	"drover/executor/artifact"
	"drover/executor/container"
	"drover/executor/docker"
	"drover/executor/driver"
	"drover/executor/qemu"
)

// openNode makes the node agent; nothing runs yet. servers is where it finds the
// servers' agent protocol.
func openNode(cfg agentconfig.Config, version string, logger *slog.Logger, servers []string) (*executor.Agent, error) {
	c, d := cfg.Client, cfg.Docker
	containers, err := docker.New(docker.Config{
		Endpoint: cfg.Docker.Endpoint, AllowPrivileged: cfg.Docker.AllowPrivileged, VolumesEnabled: cfg.Docker.VolumesEnabled,
		AllowCaps: cfg.Docker.AllowCaps, ExtraLabels: cfg.Docker.ExtraLabels, AuthFile: cfg.Docker.AuthFile, AuthHelper: cfg.Docker.AuthHelper,
		KeepContainers: cfg.Docker.KeepContainers, KeepImages: cfg.Docker.KeepImages, ImageDelay: cfg.Docker.ImageDelay, NoLogs: cfg.Docker.NoLogs,
		StateFile: filepath.Join(c.StateDir, "docker-images"),
		// The place of its state tells nodes apart that share a daemon, and outlasts the loss of that state.
		Owner:    c.StateDir,
		Dangling: docker.Dangling{Off: d.DanglingOff, DryRun: d.DanglingDryRun, Period: d.DanglingPeriod, Grace: d.DanglingGrace},
		Logger:   named(logger, "docker"),
	})
	if err != nil {
		return nil, err
	}
	volumes := make(map[string]*event.HostVolume, len(c.HostVolumes))
	for name, v := range c.HostVolumes {
		volumes[name] = &event.HostVolume{Name: name, Path: v.Path, ReadOnly: v.ReadOnly}
	}
	networks := make(map[string]*event.HostNetwork, len(c.HostNetworks))
	for name, n := range c.HostNetworks {
		networks[name] = &event.HostNetwork{Name: name, CIDR: n.CIDR, Interface: n.Interface, ReservedPorts: n.ReservedPorts}
	}
	return executor.New(executor.Config{
		StateDir: c.StateDir, AllocDir: c.AllocDir, Servers: servers, Dev: cfg.Dev, Version: version,
		Name: cfg.Name, Region: cfg.Region, Datacenter: cfg.Datacenter,
		NodePool: c.NodePool, NodeClass: c.NodeClass, Meta: maps.Clone(c.Meta),
		HTTPAdvertise: cfg.Advertise.HTTP, NetworkInterface: c.NetworkInterface, NetworkSpeedMbit: c.NetworkSpeedMbit, HostNetworks: networks,
		CPUTotalMHz: int64(c.CPUTotalComputeMHz), MemoryTotalMB: int64(c.MemoryTotalMB), DiskTotalMB: int64(c.DiskTotalMB),
		Reserved: executor.Reserved{
			CPUMHz: int64(c.Reserved.CPUMHz), MemoryMB: int64(c.Reserved.MemoryMB), DiskMB: int64(c.Reserved.DiskMB), Ports: c.Reserved.Ports,
		},
		MinDynamicPort: c.MinDynamicPort, MaxDynamicPort: c.MaxDynamicPort,
		NodeMaxAllocs: c.NodeMaxAllocs, HostVolumes: volumes,
		Ineligible:    c.Ineligible,
		RawExecDenied: driver.DeniedIDs(cfg.RawExecDenied), RawExecEnvDenied: cfg.RawExecEnvDenied,
		RawExecEnabled: cfg.RawExecEnabled, MaxKillTimeout: c.MaxKillTimeout,
		ChrootEnv: maps.Clone(c.ChrootEnv),
		Access:    executor.Access(c.Access),
		Collection: executor.Collection{
			Interval: c.Collection.Interval, Parallel: c.Collection.Parallel, DiskPercentMax: c.Collection.DiskPercent,
			InodePercentMax: c.Collection.InodePercent, AllocationsMax: c.Collection.AllocationsMax,
		},
		Artifacts: artifact.Limits(c.Artifacts),
		Exec:      policyOf(&cfg.Exec), Java: policyOf(&cfg.Java), OCI: policyOf(&cfg.OCI),
		Qemu:    qemu.Config{ImagePaths: cfg.Qemu.ImagePaths, ArgsAllowed: cfg.Qemu.ArgsAllowed, EmulatorsAllowed: cfg.Qemu.EmulatorsAllowed},
		Drivers: []driver.Driver{containers},
		Logger:  named(logger, "client"),
	})
}

func policyOf(c *agentconfig.Containers) container.Policy {
	return container.Policy{
		PIDMode: c.PIDMode, IPCMode: c.IPCMode, AllowCaps: c.AllowCaps, Denied: driver.DeniedIDs(c.Denied), NoPivotRoot: c.NoPivotRoot,
	}
}
