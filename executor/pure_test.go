package executor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/fakedriver"
)

// envOf is the environment of a task on a node with known values.
func envOf(change func(*envInput)) *taskEnv {
	task := &event.Task{Name: "main", Resources: event.Resources{CPU: 500, MemoryMB: 256}, Meta: map[string]string{"b-c": "task", "d": "${node.class}"}}
	group := &event.TaskGroup{Name: "app", Tasks: []*event.Task{task}, Meta: map[string]string{"b-c": "group"}}
	in := envInput{
		node: &event.Node{
			ID: event.MustParseID("11111111-2222-3333-4444-555555555555"), Name: "n1", Datacenter: "dc7", NodeClass: "big", NodePool: "default",
			Attributes:    map[string]string{"driver.docker": "1", "driver.docker.version": "28", "kernel.name": "linux"},
			Meta:          map[string]string{"rack": "r1"},
			NodeResources: &event.NodeResources{Networks: []event.NetworkResource{{IP: "10.0.0.1"}}, NodeNetworks: []event.NodeNetwork{{Addresses: []event.NodeNetworkAddress{{Alias: "default", Address: "10.0.0.1"}, {Alias: "public", Address: "192.0.2.1"}}}}},
		},
		region: "global",
		order: &event.Order{
			ID: event.MustParseID("aaaaaaaa-2222-3333-4444-555555555555"), Job: event.JobKey{Namespace: "default", ID: "web"}, Group: "app", NameIndex: 2,
			Ports: []event.AssignedPort{{Label: "http", Value: 21000, To: 80}, {Label: "my-admin", Value: 22000, HostNetwork: "public"}},
		},
		job: &event.Job{ID: "web", Name: "The web", Meta: map[string]string{"a": "job"}}, group: group, task: task,
		dirs:    dirsOf("/allocs", event.MustParseID("aaaaaaaa-2222-3333-4444-555555555555"), "main"),
		hostEnv: []string{"PATH=/bin", "NOMAD_TOKEN=secret", "NOMAD_DC=host", "AWS_SECRET_ACCESS_KEY=x"}, deny: defaultEnvDenied,
	}
	if change != nil {
		change(&in)
	}
	return buildTaskEnv(in)
}

func TestTaskEnvironment(t *testing.T) {
	e := envOf(func(in *envInput) {
		in.group.Tasks = append(in.group.Tasks, &event.Task{Name: "log-shipper"})
		in.node.CgroupParent = "/drover"
		in.task.Env = map[string]string{
			"ADDR": "http://${NOMAD_ADDR_http}/${NOMAD_META_a}", "PATH": "/opt:${PATH}", "WHERE": "${node.datacenter} ${attr.kernel.name} ${meta.rack}",
			"SHELL_TEXT": "${FOO} $FOO ${env[\"x\"]}", "INDEX": "${NOMAD_ALLOC_INDEX}",
		}
	})
	for name, want := range map[string]string{
		"NOMAD_ALLOC_NAME": "web.app[2]", "NOMAD_SHORT_ALLOC_ID": "aaaaaaaa", "NOMAD_DC": "dc7", "NOMAD_NAMESPACE": "default",
		"NOMAD_TASK_DIR": "/allocs/aaaaaaaa-2222-3333-4444-555555555555/main/local", "NOMAD_CPU_LIMIT": "500", "NOMAD_MEMORY_LIMIT": "256",
		"NOMAD_PORT_http": "80", "NOMAD_HOST_PORT_http": "21000", "NOMAD_ADDR_http": "10.0.0.1:21000", "NOMAD_IP_http": "10.0.0.1",
		"NOMAD_ALLOC_PORT_http": "80", "NOMAD_HOST_IP_http": "10.0.0.1", "NOMAD_HOST_ADDR_http": "10.0.0.1:21000", "NOMAD_IPv4_http": "10.0.0.1",
		"NOMAD_PORT_log_shipper_http": "80", "NOMAD_IP_log_shipper_http": "10.0.0.1", "NOMAD_ADDR_log_shipper_http": "10.0.0.1:21000",
		"NOMAD_PARENT_CGROUP": "/drover",
		"NOMAD_PORT_my_admin": "22000", "NOMAD_ADDR_my_admin": "192.0.2.1:22000",
		"NOMAD_META_a": "job", "NOMAD_META_A": "job", "NOMAD_META_b_c": "task", "NOMAD_META_B_C": "task", "NOMAD_META_d": "big",
		"ADDR": "http://10.0.0.1:21000/job", "PATH": "/opt:/bin", "WHERE": "dc7 linux r1", "SHELL_TEXT": "${FOO} $FOO ${env[\"x\"]}", "INDEX": "2",
	} {
		if got, ok := e.vars[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"NOMAD_TOKEN", "AWS_SECRET_ACCESS_KEY", "NOMAD_MEMORY_MAX_LIMIT", "NOMAD_JOB_PARENT_ID", "NOMAD_PORT_main_http"} {
		if v, ok := e.vars[name]; ok {
			t.Errorf("%s is set to %q", name, v)
		}
	}
}

func TestDriverConfiguration(t *testing.T) {
	e := envOf(nil)
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"$FOO", "$FOO"},
		{"$${FOO}", "${FOO}"},
		{"${NOMAD_PORT_http}", "80"},
		{"${NOMAD_META_b-c}", "task"},
		{`${env["NOMAD_META_b-c"]}`, "task"},
		{"${upper(node.datacenter)}", "DC7"},
		{"${attr.kernel.name}/${node.attr.kernel.name}/${meta.rack}/${node.meta.rack}", "linux/linux/r1/r1"},
		{"${attr.driver.docker.version}", "28"},
		{"${node.unique.name}", "n1"},
		{"${no_such_thing}", "!"},
		{"${attr.none}", "!"},
		{"${", "!"},
		{"%{ if NOMAD_DC == \"dc7\" }yes%{ else }no%{ endif }", "yes"},
	} {
		got, err := evaluateConfig(map[string]any{"x": c.in, "list": []any{c.in, 1, true}}, e)
		if c.want == "!" {
			if invalid := (driver.Invalid{}); !errors.As(err, &invalid) {
				t.Errorf("%s: %v, %v; want an error", c.in, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if list := got["list"].([]any); got["x"] != c.want || list[0] != c.want {
			t.Errorf("%s gives %v, want %s", c.in, got, c.want)
		}
	}
}

// A mistake is told by the option that it is in.
func TestMistakesInConfigurations(t *testing.T) {
	_, err := evaluateConfig(map[string]any{"command": "x", "args": []any{"a", "see ${nope} here"}}, envOf(nil))
	if err == nil || !strings.HasPrefix(err.Error(), `driver configuration: args: Unknown variable in nope: There is no variable named "nope".`) {
		t.Error(err)
	}
}

// machine is a made-up host.
func machine() HostSources {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return HostSources{
		Root: fstest.MapFS{
			"proc/cpuinfo":              file("processor\t: 0\nmodel name\t: Fast 1\ncpu MHz\t\t: 1800.5\n\nprocessor\t: 1\nmodel name\t: Fast 1\ncpu MHz\t\t: 2400.9\n"),
			"proc/meminfo":              file("MemTotal:        2048000 kB\nMemFree: 1 kB\n"),
			"proc/sys/kernel/osrelease": file("6.1.0\n"),
			"etc/os-release":            file("ID=debian\nVERSION_ID=\"12\"\n"),
			"proc/self/mountinfo":       file("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"),
			"proc/net/route":            file("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth1\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n"),
			"sys/class/net/eth1/speed":  file("2500\n"),
			"sys/devices/system/cpu/cpu1/cpufreq/base_frequency": file("2000000\n"),
		},
		Hostname:  func() (string, error) { return "host1", nil },
		DiskBytes: func(string) (uint64, string, error) { return 50 << 30, "/dev/vda1", nil },
		Interfaces: func() ([]HostInterface, error) {
			return []HostInterface{
				{Name: "lo", Up: true, Loopback: true, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
				{Name: "eth0", MAC: "00:01", Up: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}},
				{Name: "eth1", MAC: "00:02", Up: true, Addresses: []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("10.0.0.5")}},
			}, nil
		},
	}
}

func TestFingerprint(t *testing.T) {
	cfg := Config{
		AllocDir: "/a", StateDir: "/s", Servers: []string{"x:1"}, Host: machine(), Meta: map[string]string{"rack": "r1"}, NodeClass: "big",
		Reserved: Reserved{CPUMHz: 400, MemoryMB: 100, Ports: "22,80"}, HTTPAdvertise: "10.0.0.5:4646",
		HostNetworks: map[string]*event.HostNetwork{
			"public": {Name: "public", CIDR: "192.0.2.0/24", ReservedPorts: "443"}, "away": {Name: "away", CIDR: "198.51.100.0/24"},
			"wrong": {Name: "wrong", CIDR: "192.0.2.0/24", Interface: "eth1"},
		},
	}.withDefaults()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	drivers := []driver.Driver{fakedriver.Driver{Machine: new(fakedriver.Machine)}}
	n, err := fingerprint(context.Background(), &cfg, event.ID{1}, drivers)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cpu.numcores": "2", "cpu.totalcompute": "4400", "cpu.usablecompute": "4000", "cpu.frequency": "2400", "cpu.modelname": "Fast 1",
		"kernel.name": "linux", "kernel.version": "6.1.0", "os.name": "debian", "os.version": "12", "os.cgroups.version": "2",
		"memory.totalbytes": "2097152000", "unique.storage.volume": "/dev/vda1", "unique.hostname": "host1",
		"unique.network.ip-address": "10.0.0.5", "unique.advertise.address": "10.0.0.5:4646", "nomad.version": "2.0.5",
		"driver.mock_driver": "1",
	} {
		if n.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, n.Attributes[name], want)
		}
	}
	if n.Attributes["drover.version"] == "" || !strings.Contains(n.Attributes["os.signals"], "SIGHUP") {
		t.Errorf("attributes %v", n.Attributes)
	}
	r := n.NodeResources
	if r.Cpu.CpuShares != 4400 || r.Memory.MemoryMB != 2000 || r.Disk.DiskMB != 50<<10 || r.MinDynamicPort != 20000 || r.MaxDynamicPort != 32000 {
		t.Errorf("resources %+v", r)
	}
	if diff := cmp.Diff([]event.NetworkResource{{Mode: "host", Device: "eth1", IP: "10.0.0.5", CIDR: "10.0.0.5/32", MBits: 2500}}, r.Networks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]event.NodeNetwork{
		{Mode: "host", Device: "eth0", MacAddress: "00:01", Speed: 1000, Addresses: []event.NodeNetworkAddress{{Family: "ipv4", Alias: "public", Address: "192.0.2.9", ReservedPorts: "443"}}},
		{Mode: "host", Device: "eth1", MacAddress: "00:02", Speed: 2500, Addresses: []event.NodeNetworkAddress{{Family: "ipv4", Alias: "default", Address: "10.0.0.5"}}},
	}, r.NodeNetworks); diff != "" {
		t.Error(diff)
	}
	if len(n.HostNetworks) != 1 || n.HostNetworks["public"] == nil {
		t.Errorf("host networks %v: only those with an address are offered", n.HostNetworks)
	}
	if rr := n.ReservedResources; rr.Cpu.CpuShares != 400 || rr.Networks.ReservedHostPorts != "22,80" {
		t.Errorf("reserved %+v", rr)
	}

	// Nodes that differ in what is unique to each are of one class; anything else makes another.
	class := func(change func(*Config)) string {
		c := cfg
		c.Meta = map[string]string{"rack": "r1"}
		change(&c)
		n, err := fingerprint(context.Background(), &c, event.ID{2}, drivers)
		if err != nil {
			t.Fatal(err)
		}
		return n.ComputedClass
	}
	for name, c := range map[string]struct {
		same   bool
		change func(*Config)
	}{
		"name":        {true, func(c *Config) { c.Name = "other" }},
		"unique meta": {true, func(c *Config) { c.Meta["unique.x"] = "1" }},
		"address":     {true, func(c *Config) { c.HTTPAdvertise = "x:1" }},
		"meta":        {false, func(c *Config) { c.Meta["rack"] = "r2" }},
		"class":       {false, func(c *Config) { c.NodeClass = "small" }},
		"pool":        {false, func(c *Config) { c.NodePool = "gpu" }},
	} {
		if same := class(c.change) == n.ComputedClass; same != c.same {
			t.Errorf("another %s: same class %v", name, same)
		}
	}

	hidden := cfg
	hidden.Access.FingerprintsDenied = []string{"env_aws", "storage", "cpu"}
	if n, err = fingerprint(context.Background(), &hidden, event.ID{1}, drivers); err != nil {
		t.Fatal(err)
	}
	for name, told := range map[string]bool{
		"unique.storage.volume": false, "cpu.numcores": false, "cpu.arch": true, "memory.totalbytes": true, "driver.mock_driver": true,
	} {
		if _, ok := n.Attributes[name]; ok != told {
			t.Errorf("%s is told: %v, want %v", name, ok, told)
		}
	}
	if n.NodeResources.Cpu.CpuShares != 4400 {
		t.Errorf("a node that does not tell of its processors has %+v", n.NodeResources.Cpu)
	}
	hidden.Access = Access{FingerprintsAllowed: []string{"memory"}}
	if n, err = fingerprint(context.Background(), &hidden, event.ID{1}, nil); err != nil || len(n.Attributes) != 1 || n.Attributes["memory.totalbytes"] == "" {
		t.Errorf("attributes %v, %v", n.Attributes, err)
	}

	cfg.CPUTotalMHz, cfg.MemoryTotalMB, cfg.DiskTotalMB, cfg.NetworkInterface = 9000, 5000, 7000, "eth0"
	if n, err = fingerprint(context.Background(), &cfg, event.ID{1}, nil); err != nil {
		t.Fatal(err)
	}
	if r := n.NodeResources; r.Cpu.CpuShares != 9000 || r.Memory.MemoryMB != 5000 || r.Disk.DiskMB != 7000 || r.Networks[0].IP != "192.0.2.9" {
		t.Errorf("overridden resources %+v", r)
	}
	cfg.NetworkInterface = "eth9"
	if _, err := fingerprint(context.Background(), &cfg, event.ID{1}, nil); err == nil {
		t.Error("an interface that does not exist was taken")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"state-dir must be given as an absolute path: got x": func(c *Config) { c.StateDir = "x" },
		"at least one server":                                func(c *Config) { c.Servers = nil },
		"server address":                                     func(c *Config) { c.Servers = []string{"host"} },
		"invalid node pool":                                  func(c *Config) { c.NodePool = "all" },
		"datacenter":                                         func(c *Config) { c.Datacenter = "dc*" },
		"invalid client meta":                                func(c *Config) { c.Meta = map[string]string{"a..b": ""} },
		"dynamic port range":                                 func(c *Config) { c.MinDynamicPort, c.MaxDynamicPort = 10, 5 },
		"reserved_ports":                                     func(c *Config) { c.Reserved.Ports = "22,8600-8500" },
		"cannot be negative":                                 func(c *Config) { c.MemoryTotalMB = -1 },
	} {
		c := Config{StateDir: "/s", AllocDir: "/a", Servers: []string{"x:4647"}}
		change(&c)
		c = c.withDefaults()
		if err := c.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzStateFile(f *testing.F) {
	good, err := encodeState(&allocState{Begun: true, Tasks: []*taskState{{Name: "web", Phase: phaseRunning, Start: 3}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("drovers\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := new(allocState)
		err := decodeState("x", b, s)
		if damaged := (*damagedError)(nil); err != nil && !errors.As(err, &damaged) {
			t.Fatalf("unexpected error %v", err)
		}
		if err == nil {
			again, err := encodeState(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := decodeState("x", again, new(allocState)); err != nil {
				t.Fatal(err)
			}
		}
		// Every single flipped bit is noticed.
		if err == nil && bytes.Equal(b, good) {
			for i := range b {
				for bit := range 8 {
					bad := slices.Clone(b)
					bad[i] ^= 1 << bit
					if decodeState("x", bad, new(allocState)) == nil {
						t.Fatalf("bit %d of byte %d was flipped and not noticed", bit, i)
					}
				}
			}
		}
	})
}

func FuzzOrderFrame(f *testing.F) {
	body, err := event.Marshal(&event.OrderBatch{Full: true, Orders: []event.Order{{ID: event.ID{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := readFrame(bytes.NewReader(b)); err == nil {
			event.Unmarshal(body, new(event.OrderBatch))
		}
	})
}

func TestStateFilesAreWrittenWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path+".new", []byte("half of an older attempt"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := &allocState{Begun: true, Tasks: []*taskState{{Name: "web"}}}
	for _, sync := range []bool{false, true} {
		if err := saveState(path, want, sync); err != nil {
			t.Fatal(err)
		}
		got := new(allocState)
		if err := loadState(path, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

// However answers and reports are lost, the servers end up with every event once and with the last state of each task.
func TestOutbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := newOutbox(), time.Unix(1000, 0)
		who := event.NodeCredentials{Incarnation: 1}
		type server struct {
			incarnation, sequence uint64
			status                map[event.ID]event.ClientStatus
			events                map[string][]int64
			ready                 int
		}
		s := server{incarnation: 1, status: map[event.ID]event.ClientStatus{}, events: map[string][]int64{}}
		wantStatus, wantEvents, wantReady := map[event.ID]event.ClientStatus{}, map[string][]int64{}, 0
		var clock int64
		receive := func(r *event.NodeReport) {
			if r.Incarnation != s.incarnation {
				s.incarnation, s.sequence = r.Incarnation, 0
			}
			if r.Sequence <= s.sequence {
				return
			}
			if r.Sequence != s.sequence+1 {
				t.Fatalf("report %d follows %d", r.Sequence, s.sequence)
			}
			s.sequence = r.Sequence
			for _, d := range r.Deltas {
				s.status[d.ID] = d.Client
				for name, task := range d.Tasks {
					key := d.ID.String() + name
					for _, e := range task.Events {
						if n := len(s.events[key]); n == 0 || s.events[key][n-1] < e.Time {
							s.events[key] = append(s.events[key], e.Time)
						}
					}
				}
			}
			if r.Ready {
				s.ready++
			}
		}
		var sent []byte
		try := func(arrives, answered bool) {
			r := b.next(now, who)
			if r == nil {
				return
			}
			body, err := event.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if sent != nil && !bytes.Equal(sent, body) {
				t.Fatal("a report changed between two attempts to send it")
			}
			sent = body
			if arrives {
				receive(r)
				if answered {
					b.acknowledged()
					sent = nil
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				id := event.ID{byte(rapid.IntRange(1, 3).Draw(t, "alloc"))}
				name := fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "task"))
				clock++
				status := event.ClientStatus(rapid.IntRange(1, 4).Draw(t, "status"))
				b.add(event.AllocDelta{ID: id, Client: status, Tasks: map[string]*event.TaskState{
					name: {State: event.TaskRunning, Events: []event.TaskEvent{{Type: event.TaskStarted, Time: clock}}}}}, now)
				wantStatus[id] = status
				wantEvents[id.String()+name] = append(wantEvents[id.String()+name], clock)
			},
			"ready":        func(*rapid.T) { b.becomeReady(now); wantReady++ },
			"time":         func(*rapid.T) { now = now.Add(50 * time.Millisecond) },
			"sent":         func(*rapid.T) { try(true, true) },
			"answer lost":  func(*rapid.T) { try(true, false) },
			"request lost": func(*rapid.T) { try(false, false) },
			"new incarnation": func(*rapid.T) {
				who.Incarnation++
				b.restart(now)
				sent = nil
			},
		})
		for range 100 {
			now = now.Add(eventWindow)
			try(true, true)
		}
		if diff := cmp.Diff(wantStatus, s.status); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(wantEvents, s.events); diff != "" {
			t.Fatal(diff)
		}
		if wantReady > 0 && s.ready == 0 {
			t.Fatal("the servers never heard that the node is ready")
		}
	})
}

// Changes of client status are sent at once, other events wait for company.
func TestOutboxWindows(t *testing.T) {
	b, now := newOutbox(), time.Unix(1000, 0)
	delta := func(s event.ClientStatus) event.AllocDelta { return event.AllocDelta{ID: event.ID{1}, Client: s} }
	b.add(delta(event.ClientRunning), now)
	if wait := b.due.Sub(now); wait != urgentWindow {
		t.Errorf("a new status waits %v", wait)
	}
	now = b.due
	if r := b.next(now, event.NodeCredentials{}); r == nil || len(r.Deltas) != 1 {
		t.Fatalf("report %+v", r)
	}
	b.acknowledged()
	b.add(delta(event.ClientRunning), now)
	if wait := b.due.Sub(now); wait != eventWindow {
		t.Errorf("an event waits %v", wait)
	}
	b.add(delta(event.ClientFailed), now)
	if wait := b.due.Sub(now); wait != urgentWindow {
		t.Errorf("a failure waits %v", wait)
	}
}
