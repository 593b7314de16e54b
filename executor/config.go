package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"drover/eventlog/event"
	"drover/executor/artifact"
	"drover/executor/container"
	"drover/executor/driver"
	"drover/executor/qemu"
)

// Config says what a node agent is and where it keeps things.
type Config struct {
	// StateDir holds what the agent must remember: identity, orders, handles. Absolute. Mode 0700.
	StateDir string
	// AllocDir holds the allocations' directories. Absolute. Mode 0711.
	AllocDir string
	// Servers are host:port of the servers' agent protocol (4647); the next one is tried when one fails. At least one,
	// unless Connection is set.
	Servers []string
	// Connection replaces the HTTP connection to Servers; for tests and for an agent inside a server's process.
	Connection Connection
	// Dev makes an agent whose tasks end with it: Run destroys all allocations before it returns. Whoever made StateDir and
	// AllocDir removes them.
	Dev bool

	// Version is drover's own version, shown as the node attribute drover.version; "" is [Version].
	Version string
	// Name is the node's name; "" is the host name.
	Name string
	// Region is what tasks see as NOMAD_REGION; "" is "global".
	Region string
	// Datacenter is the node's data center; "" is "dc1".
	Datacenter string
	// NodePool is the node's pool; "" is "default". "all" is refused.
	NodePool string
	// NodeClass is any word that jobs may ask for.
	NodeClass string
	// Meta are values that jobs may ask for.
	Meta map[string]string
	// HTTPAdvertise is host:port of the HTTP API that this node serves.
	HTTPAdvertise string
	// TLSEnabled says that HTTPAdvertise speaks HTTPS.
	TLSEnabled bool

	// NetworkInterface is the interface whose addresses tasks get; "" is the one with the default route.
	NetworkInterface string
	// NetworkSpeedMbit overrides the speed of that interface, in Mbit/s; 0 detects it.
	NetworkSpeedMbit int
	// CPUTotalMHz overrides the compute capacity of the machine, in MHz over all cores; 0 detects it.
	CPUTotalMHz int64
	// MemoryTotalMB overrides the memory of the machine, in MiB; 0 detects it.
	MemoryTotalMB int64
	// DiskTotalMB overrides the size of the file system of AllocDir, in MiB; 0 detects it.
	DiskTotalMB int64
	// Reserved is kept back from tasks.
	Reserved Reserved
	// MinDynamicPort and MaxDynamicPort bound the ports that are chosen for tasks; 0 is 20000 and 32000.
	MinDynamicPort, MaxDynamicPort int
	// HostNetworks are aliases of addresses, by name.
	HostNetworks map[string]*event.HostNetwork
	// HostVolumes are directories offered to tasks, by name.
	HostVolumes map[string]*event.HostVolume
	// NodeMaxAllocs bounds the allocations on the node; 0 is no limit.
	NodeMaxAllocs int

	// RawExecEnabled lets jobs run plain processes without isolation.
	RawExecEnabled bool
	// RawExecDenied are users and groups that no raw_exec task may run as, RawExecEnvDenied patterns of variables that none has.
	RawExecDenied    driver.DeniedIDs
	RawExecEnvDenied []string
	// Ineligible has the node get nothing to run, from its first registration on, until an operator makes it eligible.
	Ineligible bool
	// ShimPath is the task shim to use instead of the one that drover carries.
	ShimPath string
	// ContainerMakerPath is the maker of containers to use instead of the one that drover carries.
	ContainerMakerPath string
	// ChrootEnv maps directories of the machine to where tasks of the drivers exec and java see them; nil is a list of the
	// usual ones, each at its own path.
	ChrootEnv map[string]string
	// Exec, Java and OCI are what the operator says of the containers of these drivers.
	Exec, Java, OCI container.Policy
	// Qemu is what the qemu driver may do.
	Qemu qemu.Config
	// Drivers are further drivers.
	Drivers []driver.Driver
	// DriverPeriod is how often a driver is looked at again; one that cannot be used is looked at six times as often. 0 is
	// 30 s.
	DriverPeriod time.Duration
	// MaxKillTimeout caps the kill timeout of tasks; 0 is 30 s.
	MaxKillTimeout time.Duration
	// Artifacts bounds the download of one artifact; zero fields are the defaults of package artifact.
	Artifacts artifact.Limits
	// Collection says when directories of ended allocations are removed.
	Collection Collection
	// Access is what is kept from tasks; nil lists in it are the usual ones.
	Access Access

	// Logger receives one line per transition; nil discards.
	Logger *slog.Logger
	// Hooks are called with what the agent does. Nil functions are not called.
	Hooks Hooks
	// Host is where facts about the machine are read; its zero value is the machine itself.
	Host HostSources
}

// Reserved is what a machine keeps for itself.
type Reserved struct {
	CPUMHz   int64
	MemoryMB int64
	DiskMB   int64
	// Ports are host ports that tasks may not have, as "22,80,8500-8600".
	Ports string
}

// Hooks report what an agent does and let tests fail exactly one thing. They are called on the agent's own goroutines
// and must return at once.
type Hooks struct {
	// FailDriver may fail a labelled driver call, see package driver.
	FailDriver driver.Fail
	// OnTaskStart is called after each start of a task: how long it took from the order, or from the restart timer, to the
	// running program.
	OnTaskStart func(took time.Duration, err error)
	// OnReport is called after each attempt to send a report.
	OnReport func(took time.Duration, deltas int, err error)
	// OnOrders is called after each batch of orders was taken in.
	OnOrders func(orders int, full bool)
}

// HostSources are where a fingerprint looks. Zero fields are the machine itself.
type HostSources struct {
	// Root is the file system that holds proc, sys and etc.
	Root fs.FS
	// Hostname is the machine's name.
	Hostname func() (string, error)
	// DiskBytes is the size of the file system that holds a path, and its device.
	DiskBytes func(path string) (total uint64, device string, err error)
	// DiskUse is how full the file system is that holds a path.
	DiskUse func(path string) (DiskUse, error)
	// Interfaces lists the network interfaces with their addresses.
	Interfaces func() ([]HostInterface, error)
}

// HostInterface is one network interface.
type HostInterface struct {
	Name      string
	MAC       string
	Up        bool
	Loopback  bool
	Addresses []netip.Addr
}

// withDefaults replaces zeros that have a meaning.
func (c Config) withDefaults() Config {
	or := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	or(&c.Version, Version)
	or(&c.Region, event.GlobalRegion)
	or(&c.Datacenter, "dc1")
	or(&c.NodePool, "default")
	if c.MinDynamicPort == 0 && c.MaxDynamicPort == 0 {
		c.MinDynamicPort, c.MaxDynamicPort = defaultMinDynamicPort, defaultMaxDynamicPort
	}
	if c.DriverPeriod == 0 {
		c.DriverPeriod = defaultDriverPeriod
	}
	if c.MaxKillTimeout == 0 {
		c.MaxKillTimeout = defaultMaxKillTimeout
	}
	c.Artifacts = c.Artifacts.WithDefaults()
	c.Collection = c.Collection.withDefaults()
	c.Access = c.Access.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Host = c.Host.withDefaults()
	return c
}

func (c *Config) validate() error {
	for _, d := range []struct{ name, path string }{{"state-dir", c.StateDir}, {"alloc-dir", c.AllocDir}} {
		if !filepath.IsAbs(d.path) {
			return fmt.Errorf("%s must be given as an absolute path: got %v", d.name, d.path)
		}
	}
	if len(c.Servers) > 0 || c.Connection == nil {
		if err := validServers(c.Servers); err != nil {
			return err
		}
	}
	if c.NodePool == "all" {
		return errors.New(`invalid node pool: node is not allowed to register in node pool "all"`)
	}
	if strings.ContainsAny(c.Datacenter, "*\x00") {
		return errors.New("datacenter contains invalid characters (null or '*')")
	}
	for key := range c.Meta {
		if err := validMetaKey(key); err != nil {
			return err
		}
	}
	if c.MinDynamicPort < 1 || c.MaxDynamicPort > 65535 || c.MinDynamicPort > c.MaxDynamicPort {
		return fmt.Errorf("invalid dynamic port range: min_dynamic_port=%d and max_dynamic_port=%d", c.MinDynamicPort, c.MaxDynamicPort)
	}
	if err := validPorts(c.Reserved.Ports); err != nil {
		return fmt.Errorf("reserved_ports %q: %w", c.Reserved.Ports, err)
	}
	if c.CPUTotalMHz < 0 || c.MemoryTotalMB < 0 || c.DiskTotalMB < 0 || c.Reserved.CPUMHz < 0 || c.Reserved.MemoryMB < 0 || c.Reserved.DiskMB < 0 {
		return errors.New("resources of a node cannot be negative")
	}
	return c.Collection.validate()
}

// validPorts checks a list such as "22,80,8500-8600".
func validPorts(list string) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		a, errA := strconv.ParseUint(low, 10, 16)
		b, errB := strconv.ParseUint(high, 10, 16)
		if errA != nil || errB != nil || a > b {
			return fmt.Errorf("%q is neither a port nor a range of ports", part)
		}
	}
	return nil
}
