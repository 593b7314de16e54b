package container

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/executor/driver"
)

func TestWhereControlGroupsAre(t *testing.T) {
	const (
		v1 = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
			"31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
			"32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n" +
			"33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
			"34 30 0:30 / /elsewhere/memory rw - cgroup cgroup rw,memory\n"
		v2 = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	)
	for _, c := range []struct {
		name, table string
		version     int
		dirs        []string
	}{
		{"version 1 beside 2", v1, 1, []string{"/sys/fs/cgroup/memory/drover/a.t.1", "/sys/fs/cgroup/cpu,cpuacct/drover/a.t.1", "/sys/fs/cgroup/unified/drover/a.t.1"}},
		{"version 2", v2, 2, []string{"/sys/fs/cgroup/drover.slice/a.t.1.scope"}},
		{"none", "1 1 0:1 / / rw - ext4 /dev/vda rw\n\nx - \n", 0, nil},
	} {
		got := cgroupsOf(c.table)
		if got.Version != c.version || !slices.Equal(got.dirs("a/t/1"), c.dirs) {
			t.Errorf("%s: version %d, %q", c.name, got.Version, got.dirs("a/t/1"))
		}
	}
	for table, want := range map[string]string{
		"9:pids:/x\n5:memory:/system.slice/a:b\n0::/y\n":       "/sys/fs/cgroup/memory/system.slice/a:b",
		"4:memory:/../x\n3:cpu,cpuacct:/\n1:name=systemd:/z\n": "/sys/fs/cgroup/cpu,cpuacct",
		"7:pids:/\nnothing\n":                                  "",
	} {
		if got := cgroupsOf(v1).own(table); got != want {
			t.Errorf("%q: own group %q, want %q", table, got, want)
		}
	}
	if got := cgroupsOf(v2).own("0::/user.slice/s.scope\n"); got != "/sys/fs/cgroup/user.slice/s.scope" {
		t.Errorf("own group %q", got)
	}
	names := map[string]bool{}
	for _, id := range []string{"a/t t/1", "a/t_t/1", "a/t\nt/1", "a/" + strings.Repeat("x", 300) + "/1", "a/" + strings.Repeat("x", 300) + "/2"} {
		path := cgroupsOf(v1).path(id)
		if names[path] || len(path) > 250 || strings.ContainsAny(path, "\n ") {
			t.Errorf("%q stands at %q", id, path)
		}
		names[path] = true
	}
}

// The figures of both versions of control groups go by the same names.
func TestUsageByControlGroups(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		memory driver.MemoryUsage
		cpu    driver.CPUUsage
	}{
		"version 1": {
			map[string]string{
				"memory.stat":           "cache 1\nrss 2\nswap 9\nactive_anon 4\ntotal_cache 10\ntotal_rss 20\ntotal_mapped_file 30\ntotal_swap 40\n",
				"memory.usage_in_bytes": "50\n", "memory.max_usage_in_bytes": "60\n", "memory.kmem.usage_in_bytes": "70\n", "memory.kmem.max_usage_in_bytes": "80\n",
				"cpuacct.stat": "user 3\nsystem 4\n", "cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 5000\n",
			},
			driver.MemoryUsage{RSS: 20, Cache: 10, Swap: 40, MappedFile: 30, Usage: 50, MaxUsage: 60, KernelUsage: 70, KernelMaxUsage: 80,
				Measured: []string{"RSS", "Cache", "Swap", "Usage", "Max Usage", "Kernel Usage", "Kernel Max Usage"}},
			driver.CPUUsage{User: 30 * time.Millisecond, System: 40 * time.Millisecond, Limited: true, ThrottledPeriods: 2, ThrottledTime: 5 * time.Microsecond},
		},
		"version 2, of an older kernel": {
			map[string]string{
				"memory.stat": "anon 20\nfile 10\nfile_mapped 30\n", "memory.current": "50\n", "memory.swap.current": "40\n",
				"cpu.stat": "usage_usec 7\nuser_usec 3\nsystem_usec 4\nnr_periods 9\nnr_throttled 2\nthrottled_usec 5\n",
			},
			driver.MemoryUsage{RSS: 20, Cache: 10, Swap: 40, MappedFile: 30, Usage: 50, Measured: []string{"RSS", "Cache", "Swap", "Usage"}},
			driver.CPUUsage{User: 3 * time.Microsecond, System: 4 * time.Microsecond, Limited: true, ThrottledPeriods: 2, ThrottledTime: 5 * time.Microsecond},
		},
		"a hierarchy without controllers": {
			map[string]string{"cpu.stat": "usage_usec 7\nuser_usec 3\nsystem_usec 4\n"}, driver.MemoryUsage{}, driver.CPUUsage{User: 3 * time.Microsecond, System: 4 * time.Microsecond},
		},
	} {
		dir := t.TempDir()
		for file, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var memory driver.MemoryUsage
		var cpu driver.CPUUsage
		if sampleMemory(&memory, dir); !reflect.DeepEqual(memory, c.memory) {
			t.Errorf("%s: memory %+v, want %+v", name, memory, c.memory)
		}
		if sampleCPU(&cpu, dir); cpu != c.cpu {
			t.Errorf("%s: processor %+v, want %+v", name, cpu, c.cpu)
		}
	}
}

// What is done ahead of a move into a control group can be done here, and moves nothing.
func TestExpectMove(t *testing.T) {
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	groups, err := FindCgroups()
	if err != nil {
		t.Fatal(err)
	}
	if err := groups.expectMove(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile("/proc/self/cgroup"); err != nil || string(after) != string(before) {
		t.Errorf("control groups %s became %s, %v", before, after, err)
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		name             string
		allow, add, drop []string
		want, err        string
	}{
		{name: "default", want: strings.Join(defaultCapabilities, " ")},
		{name: "none", drop: []string{"ALL"}},
		{name: "all but some", drop: []string{"all"}, add: []string{"chown", "CAP_KILL"}, want: "CAP_CHOWN CAP_KILL"},
		{name: "added and dropped", drop: []string{"chown", "kill"}, add: []string{"chown"}, allow: []string{"chown", "kill"}, want: "CAP_CHOWN"},
		{name: "refused", add: []string{"sys_admin", "net_raw"}, err: "driver does not allow the following capabilities: sys_admin, net_raw"},
		{name: "unknown", add: []string{"fly"}, err: `"CAP_FLY" is not a capability`},
		{name: "allowed by all", allow: []string{"all"}, drop: []string{"all"}, add: []string{"net_admin"}, want: "CAP_NET_ADMIN"},
		{name: "fewer allowed", allow: []string{"kill"}, want: "CAP_KILL"},
	} {
		got, err := Capabilities(c.allow, c.add, c.drop)
		if strings.Join(got, " ") != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestLimits(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		task               driver.Task
		limit, reservation int64 // 0: not set
		shares             uint64
	}{
		{task: driver.Task{}},
		{task: driver.Task{MemoryMB: 64, CPUMHz: 500}, limit: 64 * mb, shares: 500},
		{task: driver.Task{MemoryMB: 64, MemoryMaxMB: 128, CPUMHz: 1}, limit: 128 * mb, reservation: 64 * mb, shares: 2},
		{task: driver.Task{MemoryMB: 64, MemoryMaxMB: -1}, reservation: 64 * mb},
	} {
		r := resources(&c.task, 2)
		var limit, reservation int64
		var shares uint64
		if r.Memory != nil && r.Memory.Limit != nil {
			limit = *r.Memory.Limit
		}
		if r.Memory != nil && r.Memory.Reservation != nil {
			reservation = *r.Memory.Reservation
		}
		if r.CPU != nil {
			shares = *r.CPU.Shares
		}
		if limit != c.limit || reservation != c.reservation || shares != c.shares {
			t.Errorf("%+v: limit %d, reservation %d, shares %d", c.task, limit, reservation, shares)
		}
	}
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		policy   Policy
		pid, ipc string
		want     [2]bool
		err      string
	}{
		{},
		{pid: "host", want: [2]bool{true, false}},
		{policy: Policy{PIDMode: "host", IPCMode: "host"}, ipc: "private", want: [2]bool{true, false}},
		{ipc: "mine", err: `ipc_mode must be "private" or "host", got "mine"`},
	} {
		pid, ipc, err := c.policy.Modes(c.pid, c.ipc)
		if [2]bool{pid, ipc} != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%+v: %t, %t, %v", c, pid, ipc, err)
		}
	}
}

// The container that is asked for on a machine of version 2: its group, its limits, what it shares, and what it does not see.
func TestSpecification(t *testing.T) {
	made := &driver.Task{ID: "a/t/1", SharedDir: "/a/alloc", LogDir: "/a/alloc/logs", MemoryMB: 64, CPUMHz: 500}
	c := &Container{Root: "/a/t", Masked: []string{"/private"}, Args: []string{"x"}, User: User{UID: 7, GID: 8, Groups: []uint32{9}}, Caps: []string{"CAP_KILL"}}
	spec := specOf(made, c, Cgroups{Version: 2, mounts: []string{cgroupRoot}})
	if spec.Linux.CgroupsPath != "/drover.slice/a.t.1.scope" || *spec.Linux.Resources.Memory.Limit != 64<<20 || *spec.Linux.Resources.CPU.Shares != 500 ||
		spec.Linux.Resources.Memory.Swappiness != nil || spec.Linux.Resources.Devices[0].Allow {
		t.Errorf("group %s, limits %+v", spec.Linux.CgroupsPath, spec.Linux.Resources)
	}
	for _, path := range []string{"/private", "/proc/kcore", "/proc/keys", "/sys/firmware"} {
		if !slices.Contains(spec.Linux.MaskedPaths, path) {
			t.Errorf("%s is seen", path)
		}
	}
	if !slices.Contains(spec.Linux.ReadonlyPaths, "/proc/sys") || slices.Contains(maskedPaths, "/private") {
		t.Errorf("read-only %q, masked for all %q", spec.Linux.ReadonlyPaths, maskedPaths)
	}
	caps := spec.Process.Capabilities
	if !slices.Equal(caps.Bounding, c.Caps) || !slices.Equal(caps.Ambient, c.Caps) || spec.Process.User.AdditionalGids[0] != 9 {
		t.Errorf("capabilities %+v, user %+v", caps, spec.Process.User)
	}
	if n := len(spec.Linux.Namespaces); n != 3 {
		t.Errorf("%d namespaces", n)
	}
	c.HostPID, c.HostIPC = true, true
	if n := len(specOf(made, c, Cgroups{Version: 2}).Linux.Namespaces); n != 1 {
		t.Errorf("%d namespaces of a container that shares the machine's", n)
	}
}
