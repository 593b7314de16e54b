package event

import (
	"regexp"
	"strings"
	"time"
)

// Node is a machine that runs tasks, as its agent describes it. Its JSON names
// are those of the HTTP API. The fields from Status on are derived from other
// records and are filled in when a node is shown; a registration does not carry
// them.
type Node struct {
	ID                ID                      `cbor:"1,keyasint"`
	Name              string                  `cbor:"2,keyasint,omitempty"`
	Datacenter        string                  `cbor:"3,keyasint,omitempty"`
	NodePool          string                  `cbor:"4,keyasint,omitempty"`
	NodeClass         string                  `cbor:"5,keyasint,omitempty"`
	HTTPAddr          string                  `cbor:"6,keyasint,omitempty"` // host:port of the agent's HTTP API
	TLSEnabled        bool                    `cbor:"7,keyasint,omitempty"`
	CgroupParent      string                  `cbor:"8,keyasint,omitempty"`
	Attributes        map[string]string       `cbor:"9,keyasint,omitempty"`
	Meta              map[string]string       `cbor:"10,keyasint,omitempty"`
	Links             map[string]string       `cbor:"11,keyasint,omitempty"`
	Drivers           map[string]*DriverInfo  `cbor:"12,keyasint,omitempty"`
	NodeResources     *NodeResources          `cbor:"13,keyasint,omitempty"`
	ReservedResources *NodeReservedResources  `cbor:"14,keyasint,omitempty"`
	HostVolumes       map[string]*HostVolume  `cbor:"15,keyasint,omitempty"`
	HostNetworks      map[string]*HostNetwork `cbor:"16,keyasint,omitempty"`
	NodeMaxAllocs     int                     `cbor:"17,keyasint,omitempty"` // 0 = no limit

	// ComputedClass stands for everything about the node that placement may
	// depend on and that is not unique to it. Nodes of one class are equally
	// feasible for a job, apart from `unique.` attributes.
	ComputedClass string `cbor:"18,keyasint,omitempty"`

	SecretID              ID             `cbor:"-"`
	Status                NodeStatus     `cbor:"-"`
	StatusDescription     string         `cbor:"-"`
	StatusUpdatedAt       int64          `cbor:"-"` // Unix seconds
	SchedulingEligibility string         `cbor:"-"`
	Drain                 bool           `cbor:"-"`
	DrainStrategy         *DrainStrategy `cbor:"-"`
	Events                []NodeEvent    `cbor:"-"`
	CreateIndex           uint64         `cbor:"-"`
	ModifyIndex           uint64         `cbor:"-"`
}

// DrainStrategy is how a node is being emptied.
type DrainStrategy struct {
	Deadline         time.Duration `cbor:"1,keyasint,omitempty"`
	IgnoreSystemJobs bool          `cbor:"2,keyasint,omitempty"`
	ForceDeadline    Stamp         `cbor:"3,keyasint,omitempty"`
	StartedAt        Stamp         `cbor:"4,keyasint,omitempty"`
}

// Eligible and Ineligible are the words of Node.SchedulingEligibility.
const (
	Eligible   = "eligible"
	Ineligible = "ineligible"
)

// NodeResources is what the machine has in total.
type NodeResources struct {
	Cpu            NodeCpu           `cbor:"1,keyasint,omitempty"`
	Memory         NodeMemory        `cbor:"2,keyasint,omitempty"`
	Disk           NodeDisk          `cbor:"3,keyasint,omitempty"`
	Networks       []NetworkResource `cbor:"4,keyasint,omitempty"`
	NodeNetworks   []NodeNetwork     `cbor:"5,keyasint,omitempty"`
	Devices        []any             `cbor:"-"`
	MinDynamicPort int               `cbor:"6,keyasint,omitempty"`
	MaxDynamicPort int               `cbor:"7,keyasint,omitempty"`
}

// NodeCpu is compute capacity: CpuShares in MHz summed over all cores.
type NodeCpu struct {
	CpuShares          int64    `cbor:"1,keyasint,omitempty"`
	TotalCpuCores      uint16   `cbor:"2,keyasint,omitempty"`
	ReservableCpuCores []uint16 `cbor:"3,keyasint,omitempty"`
}

// NodeMemory is main memory.
type NodeMemory struct {
	MemoryMB int64 `cbor:"1,keyasint,omitempty"`
}

// NodeDisk is the file system that holds the allocation directories.
type NodeDisk struct {
	DiskMB int64 `cbor:"1,keyasint,omitempty"`
}

// NodeNetwork is one interface of the machine.
type NodeNetwork struct {
	Mode       string               `cbor:"1,keyasint,omitempty"`
	Device     string               `cbor:"2,keyasint,omitempty"`
	MacAddress string               `cbor:"3,keyasint,omitempty"`
	Speed      int                  `cbor:"4,keyasint,omitempty"` // Mbit/s
	Addresses  []NodeNetworkAddress `cbor:"5,keyasint,omitempty"`
}

// NodeNetworkAddress is one address of an interface. Alias "default" marks the
// address that ports are bound to when a job names no host network.
type NodeNetworkAddress struct {
	Family        string `cbor:"1,keyasint,omitempty"`
	Alias         string `cbor:"2,keyasint,omitempty"`
	Address       string `cbor:"3,keyasint,omitempty"`
	ReservedPorts string `cbor:"4,keyasint,omitempty"`
	Gateway       string `cbor:"5,keyasint,omitempty"`
}

// NodeReservedResources is what is kept back from tasks.
type NodeReservedResources struct {
	Cpu      ReservedCpu      `cbor:"1,keyasint,omitempty"`
	Memory   NodeMemory       `cbor:"2,keyasint,omitempty"`
	Disk     NodeDisk         `cbor:"3,keyasint,omitempty"`
	Networks ReservedNetworks `cbor:"4,keyasint,omitempty"`
}

// ReservedCpu is compute capacity kept back, in MHz and as whole cores.
type ReservedCpu struct {
	CpuShares        int64    `cbor:"1,keyasint,omitempty"`
	ReservedCpuCores []uint16 `cbor:"2,keyasint,omitempty"`
}

// ReservedNetworks lists host ports that tasks may not have, as "22,80,8500-8600".
type ReservedNetworks struct {
	ReservedHostPorts string `cbor:"1,keyasint,omitempty"`
}

// DriverInfo is what a node says of one task driver.
type DriverInfo struct {
	Attributes        map[string]string `cbor:"1,keyasint,omitempty"`
	Detected          bool              `cbor:"2,keyasint,omitempty"`
	Healthy           bool              `cbor:"3,keyasint,omitempty"`
	HealthDescription string            `cbor:"4,keyasint,omitempty"`
	UpdateTime        Stamp             `cbor:"5,keyasint,omitempty"`
}

// HostVolume is a directory that the operator offers to tasks.
type HostVolume struct {
	Name     string `cbor:"1,keyasint,omitempty"`
	Path     string `cbor:"2,keyasint,omitempty"`
	ReadOnly bool   `cbor:"3,keyasint,omitempty"`
	ID       string `cbor:"4,keyasint,omitempty"`
}

// HostNetwork is an alias for addresses of the machine.
type HostNetwork struct {
	Name          string `cbor:"1,keyasint,omitempty"`
	CIDR          string `cbor:"2,keyasint,omitempty"`
	Interface     string `cbor:"3,keyasint,omitempty"`
	ReservedPorts string `cbor:"4,keyasint,omitempty"`
}

// HostNetworkOn is the name of the host network that a port of a job has on a node: what refers to the node in it, as in
// net-${meta.rack}, is replaced by what the node says. What no node has stays as it is, and names no network.
func (n *Node) HostNetworkOn(name string) string {
	if !strings.Contains(name, "${") {
		return name
	}
	return hostNetworkTarget.ReplaceAllStringFunc(name, func(reference string) string {
		key := reference[2 : len(reference)-1]
		if attribute, ok := strings.CutPrefix(key, "attr."); ok {
			if value, ok := n.Attributes[attribute]; ok {
				return value
			}
		} else if meta, ok := strings.CutPrefix(key, "meta."); ok {
			if value, ok := n.Meta[meta]; ok {
				return value
			}
		}
		return reference
	})
}

var hostNetworkTarget = regexp.MustCompile(`\$\{[A-Za-z0-9_.-]+\}`)

// HostAddress is the first address of a host network on the node; "" and "default" name the one that ports are bound to
// when a job says nothing. "" when the node has no such network.
func (n *Node) HostAddress(network string) string {
	if n.NodeResources == nil {
		return ""
	}
	network = n.HostNetworkOn(network)
	usual := network == "" || network == "default"
	for _, candidate := range n.NodeResources.NodeNetworks {
		for _, address := range candidate.Addresses {
			if address.Alias == network || usual && address.Alias == "default" {
				return address.Address
			}
		}
	}
	if usual && len(n.NodeResources.Networks) > 0 {
		return n.NodeResources.Networks[0].IP
	}
	return ""
}

// NodeEvent is one line of a node's own history, as the API shows it.
type NodeEvent struct {
	Message     string            `cbor:"1,keyasint,omitempty"`
	Subsystem   string            `cbor:"2,keyasint,omitempty"`
	Details     map[string]string `cbor:"3,keyasint,omitempty"`
	Timestamp   Stamp             `cbor:"4,keyasint,omitempty"`
	CreateIndex uint64            `cbor:"5,keyasint,omitempty"`
}
