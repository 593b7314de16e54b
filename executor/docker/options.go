package docker

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"drover/executor/driver"
)

// options are a task's configuration, read and not yet judged.
type options struct {
	image, load, command, workDir, networkMode string
	args, entrypoint                           []string
	forcePull, authSoftFail, privileged, tty   bool
	pullTimeout                                time.Duration
	auth                                       registry.AuthConfig

	ports   []string
	portMap map[string]string

	volumes      []string
	volumeDriver string
	mounts       []mount.Mount
	capAdd       []string
	capDrop      []string

	memoryHardMB int
	cpuHardLimit bool
	cpuPeriod    int

	config container.Config     // what goes to the daemon as it is
	host   container.HostConfig // likewise
	net    network.EndpointSettings
}

// parse reads a task's configuration.
func parse(t *driver.Task) (*options, error) {
	c := driver.OptionsOf(t.Config)
	o := &options{pullTimeout: pullTimeoutDefault, cpuPeriod: cpuPeriodDefault}
	var wrong error // the first value that is of the right type and makes no sense
	reject := func(err error) {
		if wrong == nil && err != nil {
			wrong = err
		}
	}
	o.image, o.load, o.command, o.args = c.String("image"), c.String("load"), c.String("command"), c.Strings("args")
	if _, isText := t.Config["entrypoint"].(string); isText {
		o.entrypoint = []string{c.String("entrypoint")}
	} else {
		o.entrypoint = c.Strings("entrypoint")
	}
	o.workDir, o.networkMode = c.String("work_dir"), c.String("network_mode")
	o.forcePull, o.authSoftFail, o.privileged, o.tty = c.Bool("force_pull"), c.Bool("auth_soft_fail"), c.Bool("privileged"), c.Bool("tty")
	if s := c.String("image_pull_timeout"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			reject(fmt.Errorf("image_pull_timeout must be a duration such as 5m, not %q", s))
		}
		o.pullTimeout = d
	}
	c.Blocks("auth", func(a *driver.Options) {
		o.auth = registry.AuthConfig{Username: a.String("username"), Password: a.String("password"), ServerAddress: a.String("server_address")}
		a.Ignore("email") // registries stopped asking for it
	})
	o.ports, o.portMap = c.Strings("ports"), c.Map("port_map")
	o.volumes, o.volumeDriver = c.Strings("volumes"), c.String("volume_driver")
	for _, name := range []string{"mount", "mounts"} {
		c.Blocks(name, func(m *driver.Options) { o.mounts = append(o.mounts, parseMount(m)) })
	}
	o.capAdd, o.capDrop = c.Strings("cap_add"), c.Strings("cap_drop")
	o.memoryHardMB, _ = c.Int("memory_hard_limit")
	o.cpuHardLimit = c.Bool("cpu_hard_limit")
	if n, set := c.Int("cpu_cfs_period"); set {
		o.cpuPeriod = n
	}
	reject(o.parseHost(c))
	c.Ignore("isolation") // of another operating system
	if err := c.Err(); err != nil {
		return nil, err
	}
	switch {
	case wrong != nil:
	case o.image == "":
		wrong = errors.New(`option "image" is required`)
	case len(o.ports) > 0 && len(o.portMap) > 0:
		wrong = errors.New(`"ports" and "port_map" cannot both be set; use "ports"`)
	case o.load != "" && !filepath.IsLocal(o.load):
		wrong = fmt.Errorf("load must name a file in the task's local directory, not %q", o.load)
	}
	if wrong == nil {
		_, wrong = normal(o.image)
	}
	if wrong != nil {
		return nil, driver.Invalid{Err: wrong}
	}
	return o, nil
}

// parseHost reads what the daemon gets as it is written.
func (o *options) parseHost(c *driver.Options) (wrong error) {
	reject := func(err error) {
		if wrong == nil && err != nil {
			wrong = err
		}
	}
	o.config.Labels = c.Map("labels")
	o.config.Hostname = c.String("hostname")
	o.config.OpenStdin = c.Bool("interactive")
	h := &o.host
	for _, s := range c.Strings("dns_servers") {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			reject(fmt.Errorf("dns_servers: %q is not an IP address", s))
			continue
		}
		h.DNS = append(h.DNS, ip)
	}
	h.DNSSearch, h.DNSOptions, h.ExtraHosts = c.Strings("dns_search_domains"), c.Strings("dns_options"), c.Strings("extra_hosts")
	h.SecurityOpt, h.GroupAdd, h.Runtime = c.Strings("security_opt"), c.Strings("group_add"), c.String("runtime")
	h.Sysctls, h.StorageOpt = c.Map("sysctl"), c.Map("storage_opt")
	h.ReadonlyRootfs = c.Bool("readonly_rootfs")
	if c.Bool("init") {
		on := true
		h.Init = &on
	}
	h.PidMode, h.IpcMode = container.PidMode(c.String("pid_mode")), container.IpcMode(c.String("ipc_mode"))
	h.UTSMode, h.UsernsMode = container.UTSMode(c.String("uts_mode")), container.UsernsMode(c.String("userns_mode"))
	h.CgroupnsMode, h.CpusetCpus = container.CgroupnsMode(c.String("cgroupns")), c.String("cpuset_cpus")
	if n, set := c.Int("shm_size"); set {
		h.ShmSize = int64(n)
	}
	if n, set := c.Int("pids_limit"); set {
		limit := int64(n)
		h.PidsLimit = &limit
	}
	if n, set := c.Int("oom_score_adj"); set {
		h.OomScoreAdj = n
	}
	limits := c.Map("ulimit")
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		soft, hard, two := strings.Cut(limits[name], ":")
		if !two {
			hard = soft
		}
		low, errLow := strconv.ParseInt(soft, 10, 64)
		high, errHigh := strconv.ParseInt(hard, 10, 64)
		if errLow != nil || errHigh != nil {
			reject(fmt.Errorf("ulimit %s must be a number or soft:hard, not %q", name, limits[name]))
			continue
		}
		h.Ulimits = append(h.Ulimits, &container.Ulimit{Name: name, Soft: low, Hard: high})
	}
	c.Blocks("devices", func(d *driver.Options) {
		m := container.DeviceMapping{
			PathOnHost: d.String("host_path"), PathInContainer: d.String("container_path"), CgroupPermissions: d.String("cgroup_permissions"),
		}
		if m.PathOnHost == "" {
			reject(errors.New("devices: host_path is required"))
		}
		if m.PathInContainer == "" {
			m.PathInContainer = m.PathOnHost
		}
		if m.CgroupPermissions == "" {
			m.CgroupPermissions = "rwm"
		}
		h.Devices = append(h.Devices, m)
	})
	h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-file": logFilesKept, "max-size": logBytesKept}}
	c.Blocks("logging", func(l *driver.Options) {
		kind := l.String("type")
		if name := l.String("driver"); name != "" {
			kind = name
		}
		settings := l.Map("config")
		if kind == "" {
			kind = h.LogConfig.Type
		}
		h.LogConfig = container.LogConfig{Type: kind, Config: settings}
	})
	c.Blocks("healthchecks", func(l *driver.Options) {
		if l.Bool("disable") {
			o.config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		}
	})
	o.net.Aliases = c.Strings("network_aliases")
	for _, name := range []string{"ipv4_address", "ipv6_address"} {
		s := c.String(name)
		if s == "" {
			continue
		}
		ip, err := netip.ParseAddr(s)
		if err != nil {
			reject(fmt.Errorf("%s: %q is not an IP address", name, s))
			continue
		}
		if o.net.IPAMConfig == nil {
			o.net.IPAMConfig = &network.EndpointIPAMConfig{}
		}
		if name == "ipv4_address" {
			o.net.IPAMConfig.IPv4Address = ip
		} else {
			o.net.IPAMConfig.IPv6Address = ip
		}
	}
	if s := c.String("mac_address"); s != "" {
		reject(o.net.MacAddress.UnmarshalText([]byte(s)))
	}
	return wrong
}

func parseMount(m *driver.Options) mount.Mount {
	out := mount.Mount{Type: mount.Type(m.String("type")), Source: m.String("source"), Target: m.String("target"), ReadOnly: m.Bool("readonly")}
	if out.Type == "" {
		out.Type = mount.TypeVolume
	}
	m.Blocks("bind_options", func(b *driver.Options) {
		out.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(b.String("propagation"))}
	})
	m.Blocks("volume_options", func(v *driver.Options) {
		out.VolumeOptions = &mount.VolumeOptions{NoCopy: v.Bool("no_copy"), Labels: v.Map("labels"), Subpath: v.String("subpath")}
		v.Blocks("driver_config", func(d *driver.Options) {
			out.VolumeOptions.DriverConfig = &mount.Driver{Name: d.String("name"), Options: d.Map("options")}
		})
	})
	m.Blocks("tmpfs_options", func(t *driver.Options) {
		out.TmpfsOptions = &mount.TmpfsOptions{}
		if n, set := t.Int("size"); set {
			out.TmpfsOptions.SizeBytes = int64(n)
		}
		if n, set := t.Int("mode"); set {
			out.TmpfsOptions.Mode = os.FileMode(n)
		}
	})
	return out
}

// container is the whole order to the daemon.
func (d *Driver) container(t *driver.Task, o *options) (client.ContainerCreateOptions, error) {
	config, host := o.config, o.host
	config.Tty, config.WorkingDir, config.User, config.Entrypoint = o.tty, o.workDir, t.User, o.entrypoint
	if o.command != "" {
		config.Cmd = append(config.Cmd, o.command)
	}
	config.Cmd = append(config.Cmd, o.args...)
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		config.Env = append(config.Env, name+"="+t.Env[name])
	}
	config.Labels = d.labels(t, o.config.Labels)
	host.NetworkMode = container.NetworkMode(o.networkMode)
	for _, step := range []func(*driver.Task, *options, *container.Config, *container.HostConfig) error{d.isolate, d.mount, d.limit, publish} {
		if err := step(t, o, &config, &host); err != nil {
			return client.ContainerCreateOptions{}, err
		}
	}
	create := client.ContainerCreateOptions{Name: t.Name + "-" + t.AllocID.String(), Config: &config, HostConfig: &host}
	if len(o.net.Aliases) > 0 || o.net.IPAMConfig != nil || len(o.net.MacAddress) > 0 {
		if o.networkMode == "" {
			return create, driver.Invalid{Err: errors.New("network_aliases and fixed addresses need a network_mode that names a network")}
		}
		create.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{o.networkMode: &o.net}}
	}
	return create, nil
}

// labels are the task's own and those by which the container is known.
func (d *Driver) labels(t *driver.Task, own map[string]string) map[string]string {
	labels := maps.Clone(own)
	for name, variable := range map[string]string{
		"job_name": "NOMAD_JOB_NAME", "job_id": "NOMAD_JOB_ID", "parent_job_id": "NOMAD_JOB_PARENT_ID",
		"task_group_name": "NOMAD_GROUP_NAME", "task_name": "NOMAD_TASK_NAME", "namespace": "NOMAD_NAMESPACE",
	} {
		for _, pattern := range d.cfg.ExtraLabels {
			if ok, err := path.Match(pattern, name); err == nil && ok && t.Env[variable] != "" {
				labels[labelPrefix+name] = t.Env[variable]
			}
		}
	}
	labels[labelAlloc], labels[labelTask] = t.AllocID.String(), t.ID
	if d.cfg.Owner != "" {
		labels[labelOwner] = d.cfg.Owner
	}
	return labels
}

// defaultCaps are the capabilities that tasks have and may ask for, in the field's drivers.
var defaultCaps = []string{
	"audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "setfcap", "setgid",
	"setpcap", "setuid", "sys_chroot",
}

// isolate decides what of the machine the container may touch.
func (d *Driver) isolate(_ *driver.Task, o *options, _ *container.Config, host *container.HostConfig) error {
	refuse := func(format string, args ...any) error {
		return driver.Unrecoverable{Err: fmt.Errorf(format, args...)}
	}
	if o.privileged && !d.cfg.AllowPrivileged {
		return refuse("Docker privileged mode is disabled on this node; the operator allows it by allow_privileged of plugin \"docker\"")
	}
	host.Privileged = o.privileged
	for name, mode := range map[string]string{
		"pid_mode": string(host.PidMode), "ipc_mode": string(host.IpcMode), "uts_mode": string(host.UTSMode), "userns_mode": string(host.UsernsMode),
		"cgroupns": string(host.CgroupnsMode),
	} {
		if (mode == "host" || strings.HasPrefix(mode, "container:")) && !d.cfg.AllowPrivileged {
			return refuse("%s %q is disabled on this node; the operator allows it by allow_privileged of plugin \"docker\"", name, mode)
		}
	}
	if len(host.Devices) > 0 && !d.cfg.AllowPrivileged && !d.cfg.VolumesEnabled {
		return refuse("devices of the machine are disabled on this node; the operator allows them by volumes.enabled of plugin \"docker\"")
	}
	if o.privileged {
		return nil
	}
	plain := func(name string) string { return strings.TrimPrefix(strings.ToLower(name), "cap_") }
	allowed := d.cfg.AllowCaps
	if allowed == nil {
		allowed = defaultCaps
	}
	may := func(name string) bool {
		return slices.ContainsFunc(allowed, func(a string) bool { return plain(a) == name || plain(a) == "all" })
	}
	drop := map[string]bool{}
	for _, name := range append(slices.Clone(defaultCaps), "net_raw") { // what the daemon gives by itself
		drop[name] = !may(name)
	}
	for _, name := range o.capDrop {
		drop[plain(name)] = true
	}
	for _, name := range o.capAdd {
		if !may(plain(name)) {
			return refuse("capability %q is not among those that this node allows (allow_caps of plugin \"docker\")", name)
		}
		drop[plain(name)] = false
		host.CapAdd = append(host.CapAdd, strings.ToUpper(plain(name)))
	}
	for _, name := range slices.Sorted(maps.Keys(drop)) {
		if drop[name] {
			host.CapDrop = append(host.CapDrop, strings.ToUpper(name))
		}
	}
	return nil
}

// mount gives the task its directories and what else it asks for.
func (d *Driver) mount(t *driver.Task, o *options, _ *container.Config, host *container.HostConfig) error {
	bind := func(source, target string, readOnly bool) mount.Mount {
		return mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly}
	}
	host.Mounts = append(host.Mounts, bind(t.SharedDir, driver.SharedMount, false), bind(t.LocalDir, driver.LocalMount, false),
		bind(t.SecretsDir, driver.SecretsMount, false))
	if rel, err := filepath.Rel(t.SharedDir, t.LogDir); err == nil && filepath.IsLocal(rel) {
		host.Mounts = append(host.Mounts, bind(t.LogDir, path.Join(driver.SharedMount, rel), true))
	}
	host.VolumeDriver = o.volumeDriver
	for _, v := range o.volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
			return driver.Invalid{Err: fmt.Errorf("volume %q must be source:target or source:target:mode", v)}
		}
		if o.volumeDriver == "" {
			source, err := d.source(t, parts[0])
			if err != nil {
				return err
			}
			parts[0] = source
		} else if !d.cfg.VolumesEnabled {
			return driver.Unrecoverable{Err: fmt.Errorf("volumes are not enabled; cannot use volume driver %q", o.volumeDriver)}
		}
		host.Binds = append(host.Binds, strings.Join(parts, ":"))
	}
	for _, m := range o.mounts {
		switch m.Type {
		case mount.TypeBind:
			source, err := d.source(t, m.Source)
			if err != nil {
				return err
			}
			m.Source = source
		case mount.TypeVolume:
			if !d.cfg.VolumesEnabled && m.VolumeOptions != nil && m.VolumeOptions.DriverConfig != nil {
				return driver.Unrecoverable{Err: errors.New("volumes are not enabled; a mount cannot name a volume driver")}
			}
		case mount.TypeTmpfs:
			m.Source = ""
		default:
			return driver.Invalid{Err: fmt.Errorf("mount type must be bind, volume or tmpfs, not %q", m.Type)}
		}
		host.Mounts = append(host.Mounts, m)
	}
	for _, v := range t.Mounts { // the operator offers them, whatever volumes.enabled says
		m := bind(v.Source, v.Target, v.ReadOnly)
		switch v.Propagation {
		case "", "private":
			m.BindOptions = &mount.BindOptions{Propagation: mount.PropagationRPrivate}
		case "host-to-task":
			m.BindOptions = &mount.BindOptions{Propagation: mount.PropagationRSlave}
		case "bidirectional":
			m.BindOptions = &mount.BindOptions{Propagation: mount.PropagationRShared}
		}
		host.Mounts = append(host.Mounts, m)
	}
	return nil
}

// source is the path on the machine of a mount: relative ones are the task's own. What leads out of the allocation, also
// by a link that a task has put there, is for the operator to allow.
func (d *Driver) source(t *driver.Task, name string) (string, error) {
	full := filepath.Clean(name)
	if !filepath.IsAbs(full) {
		full = filepath.Join(t.TaskDir, full)
	}
	if d.cfg.VolumesEnabled {
		return full, nil
	}
	alloc, err := filepath.EvalSymlinks(filepath.Dir(t.TaskDir))
	if err != nil {
		return "", fmt.Errorf("mount %q: %w", name, err)
	}
	real := full
	for rest := ""; ; {
		found, err := filepath.EvalSymlinks(real)
		if err == nil {
			real = filepath.Join(found, rest)
			break
		}
		if !errors.Is(err, os.ErrNotExist) || real == filepath.Dir(real) {
			return "", fmt.Errorf("mount %q: %w", name, err)
		}
		// A link that leads nowhere is not followed either: the daemon would make what it leads to.
		if info, err := os.Lstat(real); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return "", driver.Unrecoverable{Err: fmt.Errorf("volumes are not enabled; cannot mount host path: %q is a link", name)}
		}
		rest = filepath.Join(filepath.Base(real), rest)
		real = filepath.Dir(real)
	}
	if rel, err := filepath.Rel(alloc, real); err != nil || !filepath.IsLocal(rel) {
		return "", driver.Unrecoverable{Err: fmt.Errorf("volumes are not enabled; cannot mount host path: %q", name)}
	}
	return real, nil
}

// limit sets memory and processor.
func (d *Driver) limit(t *driver.Task, o *options, _ *container.Config, host *container.HostConfig) error {
	const mb = 1 << 20
	soft, hard := t.MemoryMB, max(t.MemoryMB, t.MemoryMaxMB, int64(o.memoryHardMB))
	if hard > 0 {
		host.Memory, host.MemorySwap = hard*mb, hard*mb // as much with swap as without: none
	}
	if hard > soft {
		host.MemoryReservation = soft * mb
	}
	host.CPUShares = max(t.CPUMHz, cpuSharesMin)
	if o.cpuHardLimit {
		if o.cpuPeriod < 1000 || o.cpuPeriod > 1_000_000 {
			return driver.Invalid{Err: fmt.Errorf("cpu_cfs_period must be from 1000 to 1000000 microseconds, not %d", o.cpuPeriod)}
		}
		if t.NodeMHz <= 0 {
			return errors.New("cpu_hard_limit: the compute capacity of this node is not known")
		}
		host.CPUPeriod = int64(o.cpuPeriod)
		host.CPUQuota = max(host.CPUPeriod*t.CPUMHz*int64(runtime.NumCPU())/t.NodeMHz, 1000)
	}
	return nil
}

// publish makes ports of the allocation lead into the container, for both protocols.
func publish(t *driver.Task, o *options, config *container.Config, host *container.HostConfig) error {
	inside := map[string]int{} // label -> port of the container, 0 for what the job's network says
	for _, label := range o.ports {
		inside[label] = 0
	}
	for label, number := range o.portMap {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 65535 {
			return driver.Invalid{Err: fmt.Errorf("port_map: %q must lead to a port number, not %q", label, number)}
		}
		inside[label] = n
	}
	for _, label := range slices.Sorted(maps.Keys(inside)) {
		i := slices.IndexFunc(t.Ports, func(p driver.Port) bool { return p.Label == label })
		if i < 0 {
			return driver.Unrecoverable{Err: fmt.Errorf("Port %q not found, check network block", label)}
		}
		p, to := t.Ports[i], inside[label]
		if to == 0 {
			to = p.To
		}
		if to <= 0 {
			to = p.Host
		}
		if host.NetworkMode.IsHost() || host.NetworkMode.IsContainer() {
			continue // there is nothing between the container and the machine's ports
		}
		for _, protocol := range []network.IPProtocol{network.TCP, network.UDP} {
			port, ok := network.PortFrom(uint16(to), protocol)
			if !ok {
				return driver.Invalid{Err: fmt.Errorf("port %q: %d is not a port number", label, to)}
			}
			if config.ExposedPorts == nil {
				config.ExposedPorts, host.PortBindings = network.PortSet{}, network.PortMap{}
			}
			ip, _ := netip.ParseAddr(p.HostIP) // none is every address of the machine
			config.ExposedPorts[port] = struct{}{}
			host.PortBindings[port] = append(host.PortBindings[port], network.PortBinding{HostIP: ip, HostPort: strconv.Itoa(p.Host)})
		}
	}
	return nil
}
