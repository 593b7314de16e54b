package executor

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/shirou/gopsutil/v4/disk"

	"drover/eventlog/event"
	"drover/executor/container"
	"drover/executor/driver"
)

// compatibleVersion is the release of the field's tool whose behaviour this agent has. Job files ask for it in implied
// constraints.
const compatibleVersion = "2.0.5"

// Version is drover's own version, which the build may set. It is what [Config.Version] is when it is empty.
var Version = "0.1.0-dev"

func (h HostSources) withDefaults() HostSources {
	if h.Root == nil {
		h.Root = os.DirFS("/")
	}
	if h.Hostname == nil {
		h.Hostname = os.Hostname
	}
	if h.DiskUse == nil {
		h.DiskUse = func(path string) (DiskUse, error) {
			d, err := disk.Usage(path)
			if err != nil {
				return DiskUse{}, err
			}
			return DiskUse{Bytes: d.UsedPercent, Inodes: d.InodesUsedPercent}, nil
		}
	}
	if h.DiskBytes == nil {
		h.DiskBytes = func(path string) (uint64, string, error) {
			var s syscall.Statfs_t
			if err := syscall.Statfs(path, &s); err != nil {
				return 0, "", fmt.Errorf("size of file system of %s: %w", path, err)
			}
			return s.Blocks * uint64(s.Bsize), deviceOf(h.Root, path), nil
		}
	}
	if h.Interfaces == nil {
		h.Interfaces = hostInterfaces
	}
	return h
}

// read is the trimmed content of a file, or "" when it cannot be read.
func (h HostSources) read(path string) string {
	b, err := fs.ReadFile(h.Root, path)
	if err != nil {
		return ""
	}
	return trim(b)
}

// fingerprint describes the machine. It reads some dozens of small files and asks nobody on the network, so it takes a
// few milliseconds. allocDir must exist.
func fingerprint(ctx context.Context, cfg *Config, id event.ID, drivers []driver.Driver) (*event.Node, error) {
	h := cfg.Host
	hostname, err := h.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read host name: %w", err)
	}
	n := &event.Node{
		ID: id, Name: cfg.Name, Datacenter: cfg.Datacenter, NodePool: cfg.NodePool, NodeClass: cfg.NodeClass,
		HTTPAddr: cfg.HTTPAdvertise, TLSEnabled: cfg.TLSEnabled, Attributes: map[string]string{}, Meta: map[string]string{},
		Links: map[string]string{}, Drivers: map[string]*event.DriverInfo{}, NodeResources: &event.NodeResources{},
		ReservedResources: &event.NodeReservedResources{
			Cpu:      event.ReservedCpu{CpuShares: cfg.Reserved.CPUMHz},
			Memory:   event.NodeMemory{MemoryMB: cfg.Reserved.MemoryMB},
			Disk:     event.NodeDisk{DiskMB: cfg.Reserved.DiskMB},
			Networks: event.ReservedNetworks{ReservedHostPorts: cfg.Reserved.Ports},
		},
		HostVolumes: cfg.HostVolumes, NodeMaxAllocs: cfg.NodeMaxAllocs,
	}
	if groups, err := container.FindCgroups(); err == nil && os.Geteuid() == 0 {
		n.CgroupParent = groups.Parent()
	}
	if n.Name == "" {
		n.Name = hostname
	}
	maps.Copy(n.Meta, cfg.Meta)
	a := n.Attributes
	a["unique.hostname"] = hostname
	a["nomad.version"] = compatibleVersion
	a["drover.version"] = cfg.Version
	a["nomad.service_discovery"] = "true"
	if cfg.HTTPAdvertise != "" {
		a["unique.advertise.address"] = cfg.HTTPAdvertise
	}
	h.system(a)
	h.cpu(cfg, n)
	if err := h.memoryAndDisk(cfg, n); err != nil {
		return nil, err
	}
	if err := h.network(cfg, n); err != nil {
		return nil, err
	}
	cfg.Access.hide(a)
	for _, d := range drivers {
		info := d.Fingerprint(ctx)
		// The change of a time is no change of a node; a registration that says the same must be the same.
		info.UpdateTime = 0
		setDriver(n, d.Name(), &info)
	}
	n.ComputedClass = computedClass(n)
	return n, nil
}

// system reads kernel, distribution, signals and cgroups.
func (h HostSources) system(a map[string]string) {
	a["kernel.name"] = runtime.GOOS
	a["kernel.version"] = h.read("proc/sys/kernel/osrelease")
	a["kernel.arch"] = machineName(runtime.GOARCH)
	a["os.name"], a["os.version"] = "", ""
	for line := range strings.Lines(h.read("etc/os-release")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			a["os.name"] = value
		case "VERSION_ID":
			a["os.version"] = value
		}
	}
	a["os.signals"] = strings.Join(driver.SignalNames(), ",")
	switch h.cgroupMount() {
	case "tmpfs":
		a["os.cgroups.version"] = "1"
	case "cgroup2":
		a["os.cgroups.version"] = "2"
	}
	for key, value := range a {
		if value == "" {
			delete(a, key)
		}
	}
}

// machineName is what `uname -m` calls the architecture.
func machineName(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	case "386":
		return "i686"
	}
	return goarch
}

// cgroupMount is the type of the file system at /sys/fs/cgroup.
func (h HostSources) cgroupMount() string {
	for line := range strings.Lines(h.read("proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		if f := strings.Fields(before); ok && len(f) > 4 && f[4] == "/sys/fs/cgroup" {
			if t := strings.Fields(after); len(t) > 0 {
				return t[0]
			}
		}
	}
	return ""
}

// cpu finds cores and their speed: the base speed where the kernel knows it, else the highest one, else what the
// processor runs at now.
func (h HostSources) cpu(cfg *Config, n *event.Node) {
	a := n.Attributes
	a["cpu.arch"] = runtime.GOARCH
	cores, model, highestMHz := 0, "", 0.0
	for line := range strings.Lines(h.read("proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			cores++
		case "model name":
			model = value
		case "cpu MHz":
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				highestMHz = max(highestMHz, f)
			}
		}
	}
	cores = max(cores, 1)
	var totalMHz int64
	var fastest int64
	ids := make([]uint16, 0, cores)
	for i := range cores {
		mhz := h.coreMHz(i)
		if mhz == 0 {
			mhz = int64(highestMHz)
		}
		if mhz == 0 {
			mhz = fallbackCoreMHz
		}
		totalMHz += mhz
		fastest = max(fastest, mhz)
		ids = append(ids, uint16(i))
	}
	if cfg.CPUTotalMHz > 0 {
		totalMHz = cfg.CPUTotalMHz
	}
	n.NodeResources.Cpu = event.NodeCpu{CpuShares: totalMHz, TotalCpuCores: uint16(cores), ReservableCpuCores: ids}
	if model != "" {
		a["cpu.modelname"] = model
	}
	a["cpu.frequency"] = strconv.FormatInt(fastest, 10)
	a["cpu.numcores"] = strconv.Itoa(cores)
	a["cpu.reservablecores"] = strconv.Itoa(cores)
	a["cpu.totalcompute"] = strconv.FormatInt(totalMHz, 10)
	a["cpu.usablecompute"] = strconv.FormatInt(max(totalMHz-cfg.Reserved.CPUMHz, 0), 10)
}

// fallbackCoreMHz is taken for a core whose speed nobody tells; some ARM boards are silent.
const fallbackCoreMHz = 1000

func (h HostSources) coreMHz(core int) int64 {
	dir := "sys/devices/system/cpu/cpu" + strconv.Itoa(core)
	for _, source := range []struct {
		file string
		per  int64
	}{
		{"/cpufreq/base_frequency", 1000}, {"/acpi_cppc/nominal_freq", 1}, {"/cpufreq/cpuinfo_max_freq", 1000},
	} {
		if v, err := strconv.ParseInt(h.read(dir+source.file), 10, 64); err == nil && v > 0 {
			return v / source.per
		}
	}
	return 0
}

func (h HostSources) memoryAndDisk(cfg *Config, n *event.Node) error {
	for line := range strings.Lines(h.read("proc/meminfo")) {
		if text, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				return fmt.Errorf("read memory size: %w", err)
			}
			n.Attributes["memory.totalbytes"] = strconv.FormatInt(kb<<10, 10)
			n.NodeResources.Memory.MemoryMB = kb >> 10
		}
	}
	if cfg.MemoryTotalMB > 0 {
		n.NodeResources.Memory.MemoryMB = cfg.MemoryTotalMB
		n.Attributes["memory.totalbytes"] = strconv.FormatInt(cfg.MemoryTotalMB<<20, 10)
	}
	total, device, err := h.DiskBytes(cfg.AllocDir)
	if err != nil {
		return err
	}
	n.NodeResources.Disk.DiskMB = int64(total >> 20)
	if cfg.DiskTotalMB > 0 {
		n.NodeResources.Disk.DiskMB = cfg.DiskTotalMB
		total = uint64(cfg.DiskTotalMB) << 20
	}
	n.Attributes["unique.storage.volume"] = device
	n.Attributes["unique.storage.bytestotal"] = strconv.FormatUint(total, 10)
	return nil
}

// deviceOf finds what is mounted where path lies.
func deviceOf(root fs.FS, path string) string {
	b, err := fs.ReadFile(root, "proc/self/mounts")
	if err != nil {
		return ""
	}
	device, longest := "", -1
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		at := f[1]
		if (path == at || at == "/" || strings.HasPrefix(path, at+"/")) && len(at) >= longest {
			device, longest = f[0], len(at)
		}
	}
	return device
}

func hostInterfaces() ([]HostInterface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var found []HostInterface
	for _, i := range all {
		hi := HostInterface{
			Name: i.Name, MAC: i.HardwareAddr.String(), Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0,
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", i.Name, err)
		}
		for _, addr := range addrs {
			if p, err := netip.ParsePrefix(addr.String()); err == nil {
				hi.Addresses = append(hi.Addresses, p.Addr().Unmap())
			}
		}
		found = append(found, hi)
	}
	return found, nil
}

// network picks the interface that tasks are reached at and lists all of them.
func (h HostSources) network(cfg *Config, n *event.Node) error {
	all, err := h.Interfaces()
	if err != nil {
		return err
	}
	chosen, err := h.chooseInterface(cfg.NetworkInterface, all)
	if err != nil {
		return err
	}
	within := map[string]netip.Prefix{}
	for alias, hn := range cfg.HostNetworks {
		if hn.CIDR != "" {
			if within[alias], err = netip.ParsePrefix(hn.CIDR); err != nil {
				return fmt.Errorf("cidr of host network %q: %w", alias, err)
			}
		}
	}
	speed := cfg.NetworkSpeedMbit
	for _, i := range all {
		mbit := h.speedMbit(i.Name)
		if i.Name == chosen.Name && speed == 0 {
			speed = mbit
		}
		network := event.NodeNetwork{Mode: "host", Device: i.Name, MacAddress: i.MAC, Speed: mbit}
		for _, addr := range i.Addresses {
			family := "ipv4"
			if addr.Is6() {
				family = "ipv6"
			}
			if i.Name == chosen.Name && usable(addr, i.Addresses) {
				network.Addresses = append(network.Addresses, event.NodeNetworkAddress{Family: family, Alias: "default", Address: addr.String()})
			}
			for _, alias := range slices.Sorted(maps.Keys(cfg.HostNetworks)) {
				hn := cfg.HostNetworks[alias]
				if hn.Interface != "" && hn.Interface != i.Name {
					continue
				}
				if prefix, ok := within[alias]; ok && !prefix.Contains(addr) || !usable(addr, i.Addresses) {
					continue
				}
				if n.HostNetworks == nil {
					n.HostNetworks = map[string]*event.HostNetwork{}
				}
				n.HostNetworks[alias] = hn
				network.Addresses = append(network.Addresses, event.NodeNetworkAddress{
					Family: family, Alias: alias, Address: addr.String(), ReservedPorts: hn.ReservedPorts,
				})
			}
		}
		if len(network.Addresses) > 0 {
			n.NodeResources.NodeNetworks = append(n.NodeResources.NodeNetworks, network)
		}
	}
	// What has no address is not offered: a port there would be bound somewhere else, or nowhere.
	for _, alias := range slices.Sorted(maps.Keys(cfg.HostNetworks)) {
		if n.HostNetworks[alias] == nil {
			cfg.Logger.Warn("no address of this machine is in a host network: jobs that ask for it are not placed here", "host_network", alias,
				"cidr", cfg.HostNetworks[alias].CIDR, "interface", cfg.HostNetworks[alias].Interface)
		}
	}
	for _, addr := range chosen.Addresses {
		if usable(addr, chosen.Addresses) {
			n.NodeResources.Networks = append(n.NodeResources.Networks, event.NetworkResource{
				Mode: "host", Device: chosen.Name, IP: addr.String(), CIDR: netip.PrefixFrom(addr, addr.BitLen()).String(), MBits: speed,
			})
		}
	}
	if len(n.NodeResources.Networks) > 0 {
		n.Attributes["unique.network.ip-address"] = n.NodeResources.Networks[0].IP
	}
	n.NodeResources.MinDynamicPort, n.NodeResources.MaxDynamicPort = cfg.MinDynamicPort, cfg.MaxDynamicPort
	return nil
}

// usable refuses link-local addresses where there are better ones: they mean nothing to another machine.
func usable(addr netip.Addr, all []netip.Addr) bool {
	return !addr.IsLinkLocalUnicast() || !slices.ContainsFunc(all, func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() })
}

// chooseInterface is the named one, or that of the default route, or the first with an address, loopback last.
func (h HostSources) chooseInterface(name string, all []HostInterface) (HostInterface, error) {
	find := func(ok func(HostInterface) bool) (HostInterface, bool) {
		i := slices.IndexFunc(all, ok)
		if i < 0 {
			return HostInterface{}, false
		}
		return all[i], true
	}
	if name != "" {
		if i, ok := find(func(i HostInterface) bool { return i.Name == name }); ok {
			return i, nil
		}
		return HostInterface{}, fmt.Errorf("network interface %q does not exist", name)
	}
	for line := range strings.Lines(h.read("proc/net/route")) {
		if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			if i, ok := find(func(i HostInterface) bool { return i.Name == f[0] && len(i.Addresses) > 0 }); ok {
				return i, nil
			}
		}
	}
	for _, loopback := range []bool{false, true} {
		if i, ok := find(func(i HostInterface) bool { return i.Up && i.Loopback == loopback && len(i.Addresses) > 0 }); ok {
			return i, nil
		}
	}
	return HostInterface{}, fmt.Errorf("no network interface has an address")
}

// fallbackSpeedMbit is taken for an interface that does not tell its speed, as virtual ones do.
const fallbackSpeedMbit = 1000

func (h HostSources) speedMbit(name string) int {
	if v, err := strconv.Atoi(h.read("sys/class/net/" + name + "/speed")); err == nil && v > 0 {
		return v
	}
	return fallbackSpeedMbit
}

// computedClass is a hash over all that placement may depend on and that other nodes may share.
func computedClass(n *event.Node) string {
	sum := sha256.New()
	put := func(texts ...string) {
		for _, s := range texts {
			sum.Write(binary.AppendUvarint(nil, uint64(len(s))))
			sum.Write([]byte(s))
		}
	}
	put(n.Datacenter, n.NodeClass, n.NodePool)
	for _, m := range []map[string]string{n.Attributes, n.Meta} {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !strings.HasPrefix(key, "unique.") {
				put(key, m[key])
			}
		}
		put("")
	}
	return "v1:" + strconv.FormatUint(binary.BigEndian.Uint64(sum.Sum(nil)), 10)
}
