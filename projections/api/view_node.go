package api

import (
	"net"

	"drover/eventlog/event"
	"drover/projections"
)

// Node is a node in full.
type Node struct {
	event.Node
	LastDrain                *struct{}
	CSIControllerPlugins     map[string]struct{}
	CSINodePlugins           map[string]struct{}
	LastMissedHeartbeatIndex uint64
	LastAllocUpdateIndex     uint64 // last record that changed what it should run

	// Old scripts read them: what NodeResources and ReservedResources say.
	Resources *event.Resources
	Reserved  *event.Resources
}

// NodeStub is one row of the list of nodes.
type NodeStub struct {
	Address               string
	ID                    event.ID
	Attributes            map[string]string `json:",omitempty"`
	Datacenter            string
	Name                  string
	NodePool              string
	NodeClass             string
	Version               string
	Drain                 bool
	SchedulingEligibility string
	Status                event.NodeStatus
	StatusDescription     string
	Drivers               map[string]*event.DriverInfo
	HostVolumes           map[string]*event.HostVolume
	NodeResources         *event.NodeResources         `json:",omitempty"`
	ReservedResources     *event.NodeReservedResources `json:",omitempty"`
	LastDrain             *struct{}
	CreateIndex           uint64
	ModifyIndex           uint64
}

// NewNode shows a node. Its secret is never shown: the state does not have it.
func NewNode(n *projections.Node) *Node {
	shown := &Node{
		Node: *n.Info, CSIControllerPlugins: map[string]struct{}{}, CSINodePlugins: map[string]struct{}{},
		LastAllocUpdateIndex: n.OrdersIndex,
	}
	shown.Status, shown.StatusDescription = n.Status, n.StatusDescription
	shown.StatusUpdatedAt = n.StatusTime / 1e9
	shown.SchedulingEligibility = n.Eligibility()
	shown.Events = n.Events
	shown.CreateIndex, shown.ModifyIndex = n.CreateIndex, n.ModifyIndex
	// Clients look into these without asking whether they are there.
	if shown.NodeResources == nil {
		shown.NodeResources = new(event.NodeResources)
	}
	if shown.ReservedResources == nil {
		shown.ReservedResources = new(event.NodeReservedResources)
	}
	shown.addOldResources()
	if shown.Attributes == nil {
		shown.Attributes = map[string]string{}
	}
	if shown.Drivers == nil {
		shown.Drivers = map[string]*event.DriverInfo{}
	}
	return shown
}

// addOldResources says again what the resources are, in the shape of 2015 to 2018.
func (n *Node) addOldResources() {
	all, kept := n.NodeResources, n.ReservedResources
	n.Resources = &event.Resources{
		CPU: int(all.Cpu.CpuShares), MemoryMB: int(all.Memory.MemoryMB), DiskMB: int(all.Disk.DiskMB), IOPS: new(int), Networks: all.Networks,
	}
	n.Reserved = &event.Resources{CPU: int(kept.Cpu.CpuShares), MemoryMB: int(kept.Memory.MemoryMB), DiskMB: int(kept.Disk.DiskMB), IOPS: new(int)}
}

// versionAttribute is the attribute that carries the version of a node's agent.
const versionAttribute = "nomad.version"

// NewNodeStub shows a node in a list.
func NewNodeStub(n *projections.Node, resources, os bool) *NodeStub {
	info := n.Info
	address, _, err := net.SplitHostPort(info.HTTPAddr)
	if err != nil {
		address = info.HTTPAddr // an agent without HTTP, or an address without a port
	}
	stub := &NodeStub{
		Address: address, ID: info.ID, Datacenter: info.Datacenter, Name: info.Name,
		NodePool: info.NodePool, NodeClass: info.NodeClass, Version: info.Attributes[versionAttribute],
		SchedulingEligibility: n.Eligibility(), Status: n.Status, StatusDescription: n.StatusDescription,
		Drivers: info.Drivers, HostVolumes: info.HostVolumes,
		CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}
	if os {
		if name, ok := info.Attributes["os.name"]; ok {
			stub.Attributes = map[string]string{"os.name": name}
		}
	}
	if resources {
		shown := NewNode(n)
		stub.NodeResources, stub.ReservedResources = shown.NodeResources, shown.ReservedResources
	}
	return stub
}
