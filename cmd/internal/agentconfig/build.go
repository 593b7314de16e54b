package agentconfig

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// rpcPort is where a server listens when its address names no port.
const rpcPort = 4647

// builder turns the merged layers into a Config.
type builder struct {
	host Host
	line *CommandLine
	t    tree

	idleDriver []string // keys of drivers' settings and old options that nothing acts on
	warnings   []string
}

func (b *builder) build() (Config, error) {
	t := b.t
	cfg := Config{
		Dev:                 b.line.Dev,
		Region:              t.text("region"),
		Datacenter:          t.text("datacenter"),
		Name:                t.text("name"),
		DataDir:             t.text("data_dir"),
		LeaveOnInterrupt:    t.on("leave_on_interrupt"),
		LeaveOnTerminate:    t.on("leave_on_terminate"),
		EnableDebug:         t.on("enable_debug"),
		HTTPResponseHeaders: t.table("http_api_response_headers"),
		Ports: Ports{
			HTTP: t.int("ports", "http"), RPC: t.int("ports", "rpc"), Serf: t.int("ports", "serf"), Raft: t.int("ports", "raft"),
		},
		Log: Log{Level: new(slog.LevelVar), JSON: t.on("log_json"), File: t.text("log_file"), Location: t.on("log_include_location")},
	}
	if cfg.Name == "" {
		name, err := b.host.Name()
		if err != nil {
			return Config{}, fmt.Errorf("find this host's name: %w", err)
		}
		cfg.Name = name
	}
	cfg.Server.Enabled = t.on("server", "enabled")
	cfg.Client.Enabled = t.on("client", "enabled")
	for _, step := range []func(*Config) error{b.telemetry, b.role, b.identity, b.log, b.server, b.client, b.directories, b.driver, b.addresses} {
		if err := step(&cfg); err != nil {
			return Config{}, err
		}
	}
	cfg.Warnings = b.warnings
	if !cfg.Dev {
		cfg.Warnings = append(cfg.Warnings, "mTLS is not configured - Drover is not secure without mTLS!")
	}
	return cfg, nil
}

func (b *builder) telemetry(cfg *Config) error {
	on := func(key string) bool { return b.t.on("telemetry", key) }
	cfg.Telemetry = Telemetry{Node: on("publish_node_metrics"), Allocations: on("publish_allocation_metrics")}
	switch {
	case on("disable_hostname"):
	case on("use_node_name"):
		cfg.Telemetry.Host = cfg.Name
	default:
		name, err := b.host.Name()
		if err != nil {
			return fmt.Errorf("find this host's name, which metrics tell unless telemetry.disable_hostname is set: %w", err)
		}
		cfg.Telemetry.Host = name
	}
	return nil
}

func (b *builder) role(cfg *Config) error {
	if b.line.given("server", "bootstrap_expect") && !cfg.Server.Enabled {
		return errors.New("Bootstrap requires server mode to be enabled")
	}
	if !cfg.Server.Enabled && !cfg.Client.Enabled {
		return errors.New("Must specify either server, client or dev mode for the agent.")
	}
	return nil
}

func (b *builder) identity(cfg *Config) error {
	if strings.ContainsRune(cfg.Region, 0) {
		return errors.New("Region contains invalid characters (null)")
	}
	if strings.ContainsAny(cfg.Datacenter, "\x00*") {
		return errors.New("Datacenter contains invalid characters (null or '*')")
	}
	return nil
}

// levels are the words of log_level, from the most to the least talkative.
var levels = []struct {
	word  string
	level slog.Level
}{
	{"TRACE", LevelTrace}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"OFF", LevelOff},
}

// ParseLevel reads a level as log_level spells it, in any case.
func ParseLevel(word string) (slog.Level, bool) {
	for _, l := range levels {
		if strings.EqualFold(l.word, word) {
			return l.level, true
		}
	}
	return 0, false
}

// LevelWord is how log_level spells a level.
func LevelWord(level slog.Level) string {
	for _, l := range levels {
		if level <= l.level {
			return l.word
		}
	}
	return "OFF"
}

func (b *builder) log(cfg *Config) error {
	wanted := strings.ToUpper(b.t.text("log_level"))
	var words []string
	for _, l := range levels {
		if l.word == wanted {
			cfg.Log.Level.Set(l.level)
			return nil
		}
		words = append(words, l.word)
	}
	return fmt.Errorf("Invalid log level: %s. Valid log levels are: %v", wanted, words)
}

// CoreScheduler stands in lists of schedulers for what collects garbage, which no worker does here.
const CoreScheduler = "_core"

// enabledSchedulers checks the types of jobs that a server's workers take; none = all.
func enabledSchedulers(names []string) (types []string, err error) {
	all := []string{event.JobTypeBatch, event.JobTypeService, event.JobTypeSysBatch, event.JobTypeSystem}
	for _, name := range names {
		switch {
		case slices.Contains(all, name):
			types = append(types, name)
		case name != CoreScheduler:
			return nil, fmt.Errorf("server.enabled_schedulers has %q: there are %s", name, strings.Join(all, ", "))
		}
	}
	if len(names) > 0 && len(types) == 0 {
		return nil, fmt.Errorf("server.enabled_schedulers names none of %s", strings.Join(all, ", "))
	}
	slices.Sort(types)
	if types = slices.Compact(types); len(types) == len(all) {
		return nil, nil
	}
	return types, nil
}

func (b *builder) server(cfg *Config) (err error) {
	t := b.t
	cfg.Server.BootstrapExpect = t.int("server", "bootstrap_expect")
	cfg.Server.HeartbeatGrace = t.duration("server", "heartbeat_grace")
	cfg.Server.MinHeartbeatTTL = t.duration("server", "min_heartbeat_ttl")
	cfg.Server.NumSchedulers = t.int("server", "num_schedulers")
	if cfg.Server.EnabledSchedulers, err = enabledSchedulers(t.list("server", "enabled_schedulers")); err != nil {
		return err
	}
	cfg.Server.GC = GC{
		Interval: t.duration("server", "job_gc_interval"), JobThreshold: t.duration("server", "job_gc_threshold"),
		EvalThreshold: t.duration("server", "eval_gc_threshold"), BatchEvalThreshold: t.duration("server", "batch_eval_gc_threshold"),
		NodeThreshold: t.duration("server", "node_gc_threshold"), KeptMax: t.int("server", "gc_kept_max"),
	}
	const config = "default_scheduler_config"
	preempts := func(kind string) bool { return t.on("server", config, "preemption_config", kind+"_scheduler_enabled") }
	cfg.Server.Scheduler = Scheduler{
		Algorithm:            t.text("server", config, "scheduler_algorithm"),
		MemoryOversubscribed: t.on("server", config, "memory_oversubscription_enabled"),
		RejectJobs:           t.on("server", config, "reject_job_registration"),
		Pause:                t.on("server", config, "pause_eval_broker"),
		NodeLimit:            uint(max(0, t.int("server", config, "node_limit_for_feasibility_checks"))),
		PreemptSystem:        preempts("system"), PreemptSysBatch: preempts("sysbatch"), PreemptBatch: preempts("batch"), PreemptService: preempts("service"),
	}
	switch cfg.Server.Scheduler.Algorithm {
	case "":
		cfg.Server.Scheduler.Algorithm = event.AlgorithmBinpack
	case event.AlgorithmBinpack, event.AlgorithmSpread:
	default:
		return fmt.Errorf("server.default_scheduler_config.scheduler_algorithm is %q: it must be %s or %s", cfg.Server.Scheduler.Algorithm, event.AlgorithmBinpack, event.AlgorithmSpread)
	}
	if cfg.Server.NumSchedulers == 0 {
		// The best nodes are the same for all workers, so one that decides beside
		// another often decides twice; and the committer, the log and the API want
		// cores too. More of them pay where jobs do not compete for nodes, or where
		// ranking is slow (spread, affinities).
		cfg.Server.NumSchedulers = max(1, b.host.CPUs/2)
	}
	if !cfg.Server.Enabled {
		return nil
	}
	for name, n := range map[string]int64{
		"num_schedulers": int64(cfg.Server.NumSchedulers), "heartbeat_grace": int64(cfg.Server.HeartbeatGrace),
		"min_heartbeat_ttl": int64(cfg.Server.MinHeartbeatTTL), "bootstrap_expect": int64(cfg.Server.BootstrapExpect), "gc_kept_max": int64(cfg.Server.GC.KeptMax),
		"job_gc_interval": int64(cfg.Server.GC.Interval), "job_gc_threshold": int64(cfg.Server.GC.JobThreshold),
		"eval_gc_threshold": int64(cfg.Server.GC.EvalThreshold), "batch_eval_gc_threshold": int64(cfg.Server.GC.BatchEvalThreshold),
		"node_gc_threshold": int64(cfg.Server.GC.NodeThreshold),
	} {
		if n < 0 {
			return fmt.Errorf("server.%s must not be negative", name)
		}
	}
	const later = "this version runs a cluster of one server; clusters of several come with a later one"
	if n := cfg.Server.BootstrapExpect; n > 1 {
		return fmt.Errorf("server.bootstrap_expect is %d: %s. Set it to 1", n, later)
	}
	for _, key := range []string{"start_join", "retry_join"} {
		if len(t.list("server", key)) > 0 {
			return fmt.Errorf("server.%s names servers to join: %s. Remove it and set bootstrap_expect = 1", key, later)
		}
		if len(t.list("server", "server_join", key)) > 0 {
			return fmt.Errorf("server.server_join.%s names servers to join: %s. Remove it and set bootstrap_expect = 1", key, later)
		}
	}
	if cfg.Server.BootstrapExpect == 0 {
		return fmt.Errorf("server.bootstrap_expect is not set, so the server would wait for others to join: %s. Set it to 1", later)
	}
	if !cfg.Dev {
		b.warnings = append(b.warnings, "Bootstrap mode enabled! Potentially unsafe operation.")
	}
	return nil
}

// metaKey is dotted words, none of them empty.
var metaKey = regexp.MustCompile(`^[^.]+(\.[^.]+)*$`)

func (b *builder) client(cfg *Config) error {
	t := b.t
	c := &cfg.Client
	c.NodeClass, c.NodePool = t.text("client", "node_class"), t.text("client", "node_pool")
	c.Ineligible = t.on("client", "default_ineligible")
	c.Meta, c.Options = t.table("client", "meta"), t.table("client", "options")
	b.options(c)
	c.ChrootEnv = t.table("client", "chroot_env")
	c.CPUTotalComputeMHz = t.int("client", "cpu_total_compute")
	c.MemoryTotalMB, c.DiskTotalMB = t.int("client", "memory_total_mb"), t.int("client", "disk_total_mb")
	c.Reserved = Reserved{
		CPUMHz: t.int("client", "reserved", "cpu"), MemoryMB: t.int("client", "reserved", "memory"),
		DiskMB: t.int("client", "reserved", "disk"), Ports: t.text("client", "reserved", "reserved_ports"),
	}
	c.NodeMaxAllocs, c.NetworkSpeedMbit = t.int("client", "node_max_allocs"), t.int("client", "network_speed")
	c.MaxKillTimeout = t.duration("client", "max_kill_timeout")
	c.MinDynamicPort, c.MaxDynamicPort = t.int("client", "min_dynamic_port"), t.int("client", "max_dynamic_port")
	c.Collection = Collection{
		Interval: t.duration("client", "gc_interval"), Parallel: t.int("client", "gc_parallel_destroys"),
		DiskPercent: t.fraction("client", "gc_disk_usage_threshold"), InodePercent: t.fraction("client", "gc_inode_usage_threshold"),
		AllocationsMax: t.int("client", "gc_max_allocs"),
	}
	c.Artifacts = Artifacts{
		HTTPTimeout: t.duration("client", "artifact", "http_read_timeout"), GitTimeout: t.duration("client", "artifact", "git_timeout"),
		HTTPBytesMax: t.bytes("client", "artifact", "http_max_size"), UnpackedBytesMax: t.bytes("client", "artifact", "decompression_size_limit"),
		UnpackedFilesMax: t.int("client", "artifact", "decompression_file_count_limit"),
	}
	if !c.Enabled {
		return nil
	}
	for name, n := range map[string]float64{
		"gc_interval": c.Collection.Interval.Seconds(), "gc_parallel_destroys": float64(c.Collection.Parallel),
		"gc_disk_usage_threshold": c.Collection.DiskPercent, "gc_inode_usage_threshold": c.Collection.InodePercent,
		"gc_max_allocs": float64(c.Collection.AllocationsMax), "artifact.http_read_timeout": c.Artifacts.HTTPTimeout.Seconds(),
		"artifact.git_timeout": c.Artifacts.GitTimeout.Seconds(), "artifact.http_max_size": float64(c.Artifacts.HTTPBytesMax),
		"artifact.decompression_size_limit":       float64(c.Artifacts.UnpackedBytesMax),
		"artifact.decompression_file_count_limit": float64(c.Artifacts.UnpackedFilesMax),
	} {
		if n <= 0 {
			return fmt.Errorf("client.%s must be above zero", name)
		}
	}
	if c.Collection.DiskPercent > 100 || c.Collection.InodePercent > 100 {
		return errors.New("client.gc_disk_usage_threshold and client.gc_inode_usage_threshold are percentages: at most 100")
	}
	for key := range c.Meta {
		if !metaKey.MatchString(key) {
			return fmt.Errorf("Invalid Client.Meta key: %s", key)
		}
	}
	for source, target := range c.ChrootEnv {
		if !filepath.IsAbs(source) || filepath.Clean("/"+target) == "/" {
			return fmt.Errorf("Invalid client.chroot_env %q = %q: an absolute path of the machine and a path below the task's root are wanted", source, target)
		}
	}
	for name, volume := range t.get("client", "host_volume").named {
		dir := volume.text("path")
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("client.host_volume %q: path must be absolute, not %q", name, dir)
		}
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("client.host_volume %q: %w; make the directory first", name, err)
		} else if !info.IsDir() {
			return fmt.Errorf("client.host_volume %q: %s is not a directory", name, dir)
		}
		if c.HostVolumes == nil {
			c.HostVolumes = make(map[string]HostVolume)
		}
		c.HostVolumes[name] = HostVolume{Path: filepath.Clean(dir), ReadOnly: volume.on("read_only")}
	}
	if err := b.hostNetworks(c); err != nil {
		return err
	}
	if c.NodePool == "all" {
		return errors.New(`Invalid node pool: node is not allowed to register in node pool "all"`)
	}
	if c.MinDynamicPort < 1 || c.MaxDynamicPort > 65535 || c.MinDynamicPort > c.MaxDynamicPort {
		return fmt.Errorf("Invalid dynamic port range: min_dynamic_port=%d and max_dynamic_port=%d", c.MinDynamicPort, c.MaxDynamicPort)
	}
	if err := checkPorts(c.Reserved.Ports); err != nil {
		return fmt.Errorf("reserved.reserved_ports %q invalid: %w", c.Reserved.Ports, err)
	}
	for name, n := range map[string]int{
		"cpu_total_compute": c.CPUTotalComputeMHz, "memory_total_mb": c.MemoryTotalMB, "disk_total_mb": c.DiskTotalMB,
		"reserved.cpu": c.Reserved.CPUMHz, "reserved.memory": c.Reserved.MemoryMB, "reserved.disk": c.Reserved.DiskMB,
		"node_max_allocs": c.NodeMaxAllocs, "network_speed": c.NetworkSpeedMbit,
	} {
		if n < 0 {
			return fmt.Errorf("client.%s must not be negative", name)
		}
	}
	var err error
	if c.NetworkInterface, err = b.host.Expand(t.text("client", "network_interface")); err != nil {
		return fmt.Errorf("client.network_interface: %w", err)
	}
	if len(strings.Fields(c.NetworkInterface)) > 1 {
		return fmt.Errorf("client.network_interface must name one interface, not %q", c.NetworkInterface)
	}
	return b.servers(cfg)
}

// hostNetworks reads the names that jobs know addresses of the machine by.
func (b *builder) hostNetworks(c *Client) error {
	for name, network := range b.t.get("client", "host_network").named {
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("client.host_network %q: "+format, append([]any{name}, args...)...)
		}
		n := HostNetwork{ReservedPorts: network.text("reserved_ports")}
		if name == "default" {
			return wrong("the name is that of the interface which network_interface chooses; take another")
		}
		var err error
		if n.CIDR, err = b.host.Expand(network.text("cidr")); err != nil {
			return wrong("cidr: %w", err)
		}
		if n.CIDR != "" {
			if _, err := netip.ParsePrefix(n.CIDR); err != nil {
				return wrong("cidr %q is not an address with the length of its prefix, such as 10.0.0.0/8", n.CIDR)
			}
		}
		if n.Interface, err = b.host.Expand(network.text("interface")); err != nil {
			return wrong("interface: %w", err)
		}
		if err := checkPorts(n.ReservedPorts); err != nil {
			return wrong("reserved_ports %q invalid: %w", n.ReservedPorts, err)
		}
		if c.HostNetworks == nil {
			c.HostNetworks = make(map[string]HostNetwork)
		}
		c.HostNetworks[name] = n
	}
	return nil
}

// actingOptions are the old options that still act, besides those of the lists in options.
var actingOptions = []string{"driver.raw_exec.enable", "docker.privileged.enabled", "docker.volumes.enabled", "docker.endpoint"}

// options reads what the old options keep from tasks, by their old names too.
func (b *builder) options(c *Client) {
	seen := slices.Clone(actingOptions)
	list := func(names ...string) (values []string) {
		for _, name := range names {
			seen = append(seen, name)
			text, set := c.Options[name]
			if !set {
				continue
			}
			values = []string{} // an empty list is not the usual one
			for value := range strings.SplitSeq(text, ",") {
				if value = strings.TrimSpace(value); value != "" {
					values = append(values, value)
				}
			}
		}
		return values
	}
	c.Access = Access{
		DriversAllowed: list("driver.whitelist", "driver.allowlist"), DriversDenied: list("driver.blacklist", "driver.denylist"),
		UsersDenied: list("user.blacklist", "user.denylist"), CheckedDrivers: list("user.checked_drivers"),
		EnvDenied:           list("env.blacklist", "env.denylist"),
		FingerprintsAllowed: list("fingerprint.whitelist", "fingerprint.allowlist"), FingerprintsDenied: list("fingerprint.blacklist", "fingerprint.denylist"),
	}
	for name := range c.Options {
		if !slices.Contains(seen, name) {
			b.idleDriver = append(b.idleDriver, fmt.Sprintf("client.options[%q]", name))
		}
	}
}

// servers gathers whom the node agent registers with.
func (b *builder) servers(cfg *Config) error {
	add := func(key, address string) error {
		if strings.Contains(address, "=") {
			return fmt.Errorf("client.%s: %q: only addresses are understood, host or host:port", key, address)
		}
		if address = strings.TrimSpace(address); address != "" {
			cfg.Client.Servers = append(cfg.Client.Servers, withPort(address, rpcPort))
		}
		return nil
	}
	for _, address := range b.t.list("client", "servers") {
		if err := add("servers", address); err != nil {
			return err
		}
	}
	for _, address := range b.t.list("client", "server_join", "retry_join") {
		if err := add("server_join.retry_join", address); err != nil {
			return err
		}
	}
	if len(b.t.list("client", "server_join", "start_join")) > 0 {
		return errors.New("client.server_join.start_join is not for clients: use retry_join, or servers")
	}
	if len(cfg.Client.Servers) == 0 && !cfg.Server.Enabled {
		return errors.New(`A client needs a server: name at least one with client { servers = ["<host>:4647"] } or -servers`)
	}
	return nil
}

func (b *builder) directories(cfg *Config) error {
	t := b.t
	cfg.Client.StateDir, cfg.Client.AllocDir = t.text("client", "state_dir"), t.text("client", "alloc_dir")
	for _, d := range []struct{ key, path string }{
		{"data-dir", cfg.DataDir}, {"plugin-dir", t.text("plugin_dir")}, {"alloc-dir", cfg.Client.AllocDir},
		{"alloc-mounts-dir", t.text("client", "alloc_mounts_dir")}, {"host-volumes-dir", t.text("client", "host_volumes_dir")},
		{"host-volume-plugin-dir", t.text("client", "host_volume_plugin_dir")}, {"state-dir", cfg.Client.StateDir},
	} {
		if d.path != "" && !filepath.IsAbs(d.path) {
			return fmt.Errorf("%s must be given as an absolute path: got %s", d.key, d.path)
		}
	}
	if cfg.DataDir == "" {
		if !cfg.Dev {
			return errors.New(`Must specify "data_dir" config option or "data-dir" CLI flag`)
		}
		return nil
	}
	cfg.DataDir = filepath.Clean(cfg.DataDir)
	if cfg.Client.StateDir == "" {
		cfg.Client.StateDir = filepath.Join(cfg.DataDir, "client")
	}
	if cfg.Client.AllocDir == "" {
		cfg.Client.AllocDir = filepath.Join(cfg.DataDir, "alloc")
	}
	return nil
}

// plugin reads the settings of a task driver.
func plugin(t tree, name string, schema []entry) (tree, error) {
	path := fmt.Sprintf("plugin[%q].config", name)
	config := t.get("plugin").named[name]["config"]
	blocks, ok := config.raw.objects()
	if !ok && (config.raw.literal != nil || config.raw.list != nil) {
		return nil, &keyError{path: path, line: config.raw.line, msg: "must be a block"}
	}
	settings := tree{}
	for _, block := range blocks {
		one, err := decode(block, schema, path+".")
		if err != nil {
			return nil, err
		}
		settings = merge(schema, settings, one)
	}
	return settings, nil
}

// drivers are the task drivers whose settings this version knows.
var drivers = map[string][]entry{
	"docker": dockerSchema, "exec": chrootSchema, "java": chrootSchema, "oci": containersSchema, "qemu": qemuSchema, "raw_exec": rawExecSchema,
}

// driver takes over the settings of the task drivers. The old options still
// switch things on.
func (b *builder) driver(cfg *Config) error {
	settings := map[string]tree{}
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		one, err := plugin(b.t, name, drivers[name])
		if err != nil {
			return err
		}
		settings[name] = one
		b.idleDriver = append(b.idleDriver, idle(drivers[name], one, fmt.Sprintf("plugin[%q].config.", name))...)
		if _, set := b.t.get("plugin").named[name]["args"]; set {
			b.idleDriver = append(b.idleDriver, fmt.Sprintf("plugin[%q].args", name))
		}
	}
	option := func(name string) bool {
		switch strings.ToLower(cfg.Client.Options[name]) {
		case "1", "true":
			return true
		}
		return false
	}
	cfg.RawExecEnabled = settings["raw_exec"].on("enabled") || option("driver.raw_exec.enable")
	denied := func(name string) (DeniedIDs, error) {
		s := settings[name]
		ids := DeniedIDs{UIDs: s.text("denied_host_uids"), GIDs: s.text("denied_host_gids")}
		for key, list := range map[string]string{"denied_host_uids": ids.UIDs, "denied_host_gids": ids.GIDs} {
			if _, err := driver.ParseIDRanges(list); err != nil {
				return ids, fmt.Errorf("plugin[%q].config.%s: %w", name, key, err)
			}
		}
		return ids, nil
	}
	var err error
	if cfg.RawExecDenied, err = denied("raw_exec"); err != nil {
		return err
	}
	cfg.RawExecEnvDenied = settings["raw_exec"].list("denied_envvars")
	for _, d := range []struct {
		name string
		c    *Containers
	}{{"exec", &cfg.Exec}, {"java", &cfg.Java}, {"oci", &cfg.OCI}} {
		s := settings[d.name]
		for _, key := range []string{"default_pid_mode", "default_ipc_mode"} {
			if mode := s.text(key); mode != "" && mode != "private" && mode != "host" {
				return fmt.Errorf(`plugin[%q].config.%s must be "private" or "host", got %q`, d.name, key, mode)
			}
		}
		*d.c = Containers{PIDMode: s.text("default_pid_mode"), IPCMode: s.text("default_ipc_mode"), AllowCaps: s.list("allow_caps"), NoPivotRoot: s.on("no_pivot_root")}
		if d.c.Denied, err = denied(d.name); err != nil {
			return err
		}
	}
	q := settings["qemu"]
	cfg.Qemu = Qemu{ImagePaths: q.list("image_paths"), ArgsAllowed: q.list("args_allowlist"), EmulatorsAllowed: q.list("emulators_allowlist")}
	d := settings["docker"]
	// off reports whether a switch that is on by itself was switched off.
	off := func(path ...string) bool {
		last := len(path) - 1
		_, set := d.get(path[:last]...).tree[path[last]]
		return set && !d.on(path...)
	}
	cfg.Docker = Docker{
		Endpoint: d.text("endpoint"), AllowPrivileged: d.on("allow_privileged") || option("docker.privileged.enabled"),
		VolumesEnabled: d.on("volumes", "enabled") || option("docker.volumes.enabled") || cfg.Dev && !off("volumes", "enabled"),
		AllowCaps:      d.list("allow_caps"), ExtraLabels: d.list("extra_labels"),
		AuthFile: d.text("auth", "config"), AuthHelper: d.text("auth", "helper"),
		KeepImages: off("gc", "image"), KeepContainers: off("gc", "container"), DanglingOff: off("gc", "dangling_containers", "enabled"), ImageDelay: d.duration("gc", "image_delay"),
		NoLogs:         d.on("disable_log_collection"),
		DanglingDryRun: d.on("gc", "dangling_containers", "dry_run"),
		DanglingPeriod: d.duration("gc", "dangling_containers", "period"), DanglingGrace: d.duration("gc", "dangling_containers", "creation_grace"),
	}
	if cfg.Docker.Endpoint == "" {
		cfg.Docker.Endpoint = cfg.Client.Options["docker.endpoint"]
	}
	return nil
}
