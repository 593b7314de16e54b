package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/driver/drivertest"
)

// shell is the configuration of a task that runs a script.
func shell(script string, more ...any) map[string]any {
	config := map[string]any{
		"image": "busybox:test", "network_mode": "host", "command": "sh", "args": []any{"-c", script},
	}
	for i := 0; i < len(more); i += 2 {
		config[more[i].(string)] = more[i+1]
	}
	return config
}

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return shared.driver(t) },
		Forever:  shell("trap 'exit 143' TERM; echo ready; sleep 1000 & wait"),
		Stubborn: shell("trap '' TERM; echo ready; sleep 1000"),
		Ends:     func(code int) map[string]any { return shell("exit " + strconv.Itoa(code)) },
		Says: func(stdout, stderr string) map[string]any {
			return shell(`printf "$0"; printf "$1" >&2`, "args", []any{"-c", `printf "$0"; printf "$1" >&2`, stdout, stderr})
		},
		Invalid:   shell("true", "no_such_option", true),
		Missing:   map[string]any{"image": "busybox:test", "network_mode": "host", "command": "no-such-program"},
		CodesOnly: true,
		Shell:     "/bin/sh",
		Lingers:   true,
		Left: func(task *driver.Task) []string {
			list, err := shared.API.ContainerList(t.Context(), client.ContainerListOptions{
				All: true, Filters: client.Filters{}.Add("label", labelAlloc+"="+task.AllocID.String()),
			})
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, c := range list.Items {
				left = append(left, "container "+c.ID+" "+string(c.State))
			}
			return left
		},
	})
}

// task is one start, with directories of its own.
func task(t *testing.T, config map[string]any) *driver.Task {
	t.Helper()
	dir := t.TempDir()
	id := event.DeriveID(t.Name(), event.ID{2}, uint64(os.Getpid()), starts.Add(1))
	made := &driver.Task{
		ID: id.String() + "/web/1", AllocID: id, Name: "web", Config: config, Env: map[string]string{"NOMAD_JOB_ID": "shop"},
		StateDir: filepath.Join(dir, "state"), SharedDir: filepath.Join(dir, "a/alloc"), LogDir: filepath.Join(dir, "a/alloc/logs"),
		TaskDir: filepath.Join(dir, "a/web"), LocalDir: filepath.Join(dir, "a/web/local"), SecretsDir: filepath.Join(dir, "a/web/secrets"),
		LogBytesMax: 1 << 20, LogFilesMax: 2, CPUMHz: 100, NodeMHz: 4000, MemoryMB: 64,
	}
	for _, d := range []string{made.LogDir, made.LocalDir, made.SecretsDir} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	said := make(chan string, 100)
	made.Event = func(message string) { said <- message }
	told.Store(made, said)
	return made
}

var (
	starts atomic.Uint64
	told   sync.Map // task -> what the driver said
)

// saying waits for a line of the driver's that contains the text.
func saying(t *testing.T, made *driver.Task, text string) {
	t.Helper()
	said, _ := told.Load(made)
	for {
		select {
		case line := <-said.(chan string):
			if strings.Contains(line, text) {
				return
			}
			t.Logf("event: %s", line)
		case <-t.Context().Done():
			t.Fatalf("no event says %q", text)
		case <-time.After(time.Minute):
			t.Fatalf("no event says %q", text)
		}
	}
}

// begin starts a task and destroys it with the test.
func begin(t *testing.T, d *Driver, made *driver.Task) driver.Running {
	t.Helper()
	r, err := d.Start(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// output runs a task to its end and returns what it wrote.
func output(t *testing.T, d *Driver, made *driver.Task) (string, driver.Exit) {
	t.Helper()
	r := begin(t, d, made)
	exit, err := r.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(made.LogDir, "web.stdout.0"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), exit
}

func TestInside(t *testing.T) {
	outside := t.TempDir()
	for _, c := range []struct {
		name   string
		config map[string]any
		user   string
		change func(*Config)
		want   string
	}{
		{"directories", shell(`echo l > /local/x; echo s > /secrets/x; echo a > /alloc/x; cat /local/x /secrets/x /alloc/x; echo no > /alloc/logs/x || echo ro`),
			"", nil, "l\ns\na\nro\n"},
		{"environment", shell(`env | grep NOMAD_`), "", nil, "NOMAD_JOB_ID=shop\n"},
		{"user", shell(`id -u`), "web", nil, "1000\n"},
		{"working directory", shell(`echo $PWD`, "work_dir", "/etc"), "", nil, "/etc\n"},
		{"entrypoint", shell("", "command", "two", "args", []any{"three"}, "entrypoint", []any{"printf", "%s.", "one"}), "", nil, "one.two.three."},
		{"hosts", shell(`grep shop /etc/hosts`, "extra_hosts", []any{"shop:10.1.2.3"}, "network_mode", "none"), "", nil, "10.1.2.3\tshop\n"},
		{"name of the host", shell(`hostname`, "hostname", "shop", "network_mode", "none"), "", nil, "shop\n"},
		{"open files", shell(`ulimit -n`, "ulimit", []any{map[string]any{"nofile": "77:78"}}), "", nil, "77\n"},
		{"volume of the task", shell(`echo hi > /v/x; cat /local/v/x`, "volumes", []any{"local/v:/v"}), "", nil, "hi\n"},
		{"volume of the machine", shell(`ls -d /v`, "volumes", []any{outside + ":/v:ro"}), "", func(c *Config) { c.VolumesEnabled = true }, "/v\n"},
		{"memory for files", shell(`grep -c ' /m tmpfs' /proc/mounts`, "mount", []any{map[string]any{"type": "tmpfs", "target": "/m",
			"tmpfs_options": []any{map[string]any{"size": 100000}}}}), "", nil, "1\n"},
		{"terminal", shell(`ls -d /tmp`, "tty", true), "", nil, "/tmp\r\n"},
		{"no raw sockets", shell(`grep CapEff /proc/self/status`, "cap_drop", []any{"chown"}), "", nil, "CapEff:\t00000000a80405fa\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var change []func(*Config)
			if c.change != nil {
				change = append(change, c.change)
			}
			made := task(t, c.config)
			made.User = c.user
			if got, exit := output(t, shared.driver(t, change...), made); got != c.want || !exit.Successful() {
				b, _ := os.ReadFile(filepath.Join(made.LogDir, "web.stderr.0"))
				t.Errorf("said %q, want %q; %+v; %s", got, c.want, exit, b)
			}
		})
	}
}

// What the operator offers is mounted whatever jobs may mount by themselves.
func TestHostVolumes(t *testing.T) {
	volume := t.TempDir()
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	made := task(t, shell(`echo kept > /srv/data/file; cat /local/seen/file; echo x > /local/seen/other || echo read-only`))
	made.Mounts = []driver.Mount{{Source: volume, Target: "/srv/data"}, {Source: volume, Target: "/local/seen", ReadOnly: true}}
	if got, exit := output(t, shared.driver(t), made); got != "kept\nread-only\n" || !exit.Successful() {
		t.Errorf("said %q; %+v", got, exit)
	}
	if b, err := os.ReadFile(filepath.Join(volume, "file")); string(b) != "kept\n" {
		t.Errorf("in the volume: %q %v", b, err)
	}
}

// What a node's operator has not allowed, and what makes no sense, is refused before a container is made.
func TestRefused(t *testing.T) {
	outside := t.TempDir()
	for _, c := range []struct {
		name   string
		config map[string]any
		want   string
	}{
		{"no image", map[string]any{"command": "true"}, `option "image" is required`},
		{"bad image", shell("", "image", "UPPER case"), "invalid reference format"},
		{"privileged", shell("", "privileged", true), "privileged mode is disabled"},
		{"processes of the machine", shell("", "pid_mode", "host"), `pid_mode "host" is disabled`},
		{"capability", shell("", "cap_add", []any{"SYS_ADMIN"}), "not among those that this node allows"},
		{"path of the machine", shell("", "volumes", []any{outside + ":/v"}), "volumes are not enabled; cannot mount host path"},
		{"path that leads out", shell("", "volumes", []any{"../../../x:/v"}), "volumes are not enabled; cannot mount host path"},
		{"link that leads out", shell("", "volumes", []any{"local/link/x:/v"}), "volumes are not enabled; cannot mount host path"},
		{"link that leads nowhere", shell("", "volumes", []any{"local/nowhere:/v"}), "is a link"},
		{"mount of the machine", shell("", "mount", []any{map[string]any{"type": "bind", "source": "/etc", "target": "/v"}}), "volumes are not enabled"},
		{"odd mount", shell("", "mount", []any{map[string]any{"type": "tape", "target": "/v"}}), "mount type must be"},
		{"odd option of a mount", shell("", "mount", []any{map[string]any{"tape": true}}), `option "mount.tape" is not known`},
		{"unknown port", shell("", "ports", []any{"http"}), `Port "http" not found, check network block`},
		{"odd port", shell("", "port_map", []any{map[string]any{"web": "x"}}), "port number"},
		{"both forms of ports", shell("", "ports", []any{"web"}, "port_map", map[string]any{"web": 1}), "cannot both be set"},
		{"odd timeout", shell("", "image_pull_timeout", "soon"), "image_pull_timeout must be a duration"},
		{"odd limit", shell("", "ulimit", map[string]any{"nofile": "many"}), "ulimit nofile"},
		{"odd name server", shell("", "dns_servers", []any{"x"}), "not an IP address"},
		{"archive elsewhere", shell("", "load", "../x.tar"), "local directory"},
		{"no archive", shell("", "load", "x.tar"), "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := task(t, c.config)
			made.Ports = []driver.Port{{Label: "web", Host: 20000}}
			for link, to := range map[string]string{"link": outside, "nowhere": outside + "/none"} {
				if err := os.Symlink(to, filepath.Join(made.LocalDir, link)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := shared.driver(t).Start(t.Context(), made)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &driver.Unrecoverable{}) && !errors.As(err, &driver.Invalid{}) {
				t.Errorf("start: %v, want %q", err, c.want)
			}
			if _, err := os.Stat(made.StateDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused task has a state directory: %v", err)
			}
		})
	}
}

// Both ways of writing ports make the same order to the daemon.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		name   string
		config map[string]any
		want   string
	}{
		{"ports", map[string]any{"image": "x:1", "ports": []any{"web", "db"}}, "5432/tcp<-10.0.0.1:20001 5432/udp<-10.0.0.1:20001 20000/tcp<-10.0.0.1:20000 20000/udp<-10.0.0.1:20000"},
		{"port_map", map[string]any{"image": "x:1", "port_map": []any{map[string]any{"web": 80}}}, "80/tcp<-10.0.0.1:20000 80/udp<-10.0.0.1:20000"},
		{"network of the machine", map[string]any{"image": "x:1", "ports": []any{"web"}, "network_mode": "host"}, ""},
	} {
		made := task(t, c.config)
		made.Ports = []driver.Port{{Label: "web", HostIP: "10.0.0.1", Host: 20000}, {Label: "db", HostIP: "10.0.0.1", Host: 20001, To: 5432}}
		o, err := parse(made)
		if err != nil {
			t.Fatal(err)
		}
		create, err := shared.driver(t).container(made, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for port, bindings := range create.HostConfig.PortBindings {
			for _, b := range bindings {
				got = append(got, fmt.Sprintf("%s<-%s:%s", port, b.HostIP, b.HostPort))
			}
		}
		slices.SortFunc(got, func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.Index(a, "/"), strings.Index(b, "/")), cmp.Compare(a, b))
		})
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	made := task(t, shell("tail /dev/zero"))
	made.MemoryMB = 16
	r := begin(t, shared.driver(t), made)
	exit, err := r.Wait(t.Context())
	if err != nil || !exit.OOMKilled || exit.Successful() {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

// An agent that comes back goes on with the output where the one before was.
func TestOutputOverAgents(t *testing.T) {
	made := task(t, shell("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; trap 'echo end; exit 0' TERM; sleep 1000 & wait"))
	first := begin(t, shared.driver(t), made).(*running)
	log := filepath.Join(made.LogDir, "web.stdout.0")
	until(t, func() bool { b, _ := os.ReadFile(log); return strings.Contains(string(b), "line 100\n") })
	first.cancel() // as the death of its agent would
	<-first.logs
	again, err := shared.driver(t).Recover(t.Context(), made, first.Handle())
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { b, _ := os.ReadFile(log); return strings.Contains(string(b), "line 299\n") })
	if err := again.Stop(t.Context(), time.Minute, ""); err != nil {
		t.Fatal(err)
	}
	if exit, err := again.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	var want strings.Builder
	for i := range 300 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if b, err := os.ReadFile(log); err != nil || string(b) != want.String()+"end\n" {
		t.Errorf("%v: %s", err, b)
	}
	if err := again.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	first.finish(driver.Exit{}, nil) // its agent is dead
}

// until waits until something is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("it never came to it")
		}
	}
}

// A container of somebody else that has our container's name is left alone; one of an older start gives way.
func TestNameTaken(t *testing.T) {
	d := shared.driver(t)
	made := task(t, shell("sleep 1000"))
	name := "web-" + made.AllocID.String()
	theirs, err := shared.API.ContainerCreate(t.Context(), client.ContainerCreateOptions{Name: name, Config: &container.Config{Image: "busybox:test", Cmd: []string{"sh"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(t.Context(), made); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("start: %v", err)
	}
	if _, err := shared.API.ContainerRemove(t.Context(), theirs.ID, removeAll); err != nil {
		t.Error(err)
	}
	older := begin(t, d, made)
	next := *made
	next.ID, next.StateDir = made.AllocID.String()+"/web/2", made.StateDir+"2"
	newer := begin(t, d, &next)
	if _, err := older.Wait(t.Context()); err != nil && !errors.Is(err, driver.ErrLost) {
		t.Error(err)
	}
	if st, err := newer.Inspect(t.Context()); err != nil || st.Ended {
		t.Errorf("%+v, %v", st, err)
	}
}

// A registry that cannot be reached: the task hears of it, may try again, and an image that is here is used.
func TestNoRegistry(t *testing.T) {
	d := shared.driver(t)
	made := task(t, shell("true", "image", "127.0.0.1:9/shop:1"))
	_, err := d.Start(t.Context(), made)
	if err == nil || !strings.Contains(err.Error(), "Failed to pull `127.0.0.1:9/shop:1`") || errors.As(err, &driver.Unrecoverable{}) {
		t.Errorf("start: %v", err)
	}
	saying(t, made, "Downloading image")
	if _, err := shared.API.ImageTag(t.Context(), client.ImageTagOptions{Source: "busybox:test", Target: "127.0.0.1:9/shop:latest"}); err != nil {
		t.Fatal(err)
	}
	made = task(t, shell("true", "image", "127.0.0.1:9/shop"))
	begin(t, d, made)
	saying(t, made, "using the one that is here")
	made = task(t, shell("true", "image", "127.0.0.1:9/shop", "force_pull", true))
	if _, err := d.Start(t.Context(), made); err == nil {
		t.Error("an image that must be pulled was not pulled and used")
	}
}

// What only a machine with all its rights could run is checked in the order to the daemon.
func TestAllowed(t *testing.T) {
	d := shared.driver(t, func(c *Config) { c.AllowPrivileged, c.AllowCaps = true, []string{"all"} })
	order := func(config map[string]any) client.ContainerCreateOptions {
		made := task(t, config)
		o, err := parse(made)
		if err != nil {
			t.Fatal(err)
		}
		create, err := d.container(made, o)
		if err != nil {
			t.Fatal(err)
		}
		return create
	}
	if h := order(shell("", "privileged", true, "pid_mode", "host")).HostConfig; !h.Privileged || !h.PidMode.IsHost() || h.CapDrop != nil {
		t.Errorf("%+v", h)
	}
	if h := order(shell("", "cap_add", []any{"SYS_ADMIN"}, "cap_drop", []any{"CAP_CHOWN"})).HostConfig; !slices.Equal(h.CapAdd, []string{"SYS_ADMIN"}) ||
		!slices.Equal(h.CapDrop, []string{"CHOWN"}) {
		t.Errorf("%v %v", h.CapAdd, h.CapDrop)
	}
	// 100 MHz of 4000 on this many processors.
	if h := order(shell("", "cpu_hard_limit", true)).HostConfig; h.CPUQuota != int64(2500*runtime.NumCPU()) || h.CPUPeriod != 100000 || h.CPUShares != 100 {
		t.Errorf("quota %d of %d, %d shares", h.CPUQuota, h.CPUPeriod, h.CPUShares)
	}
	if h := order(shell("", "memory_hard_limit", 256)).HostConfig; h.Memory != 256<<20 || h.MemoryReservation != 64<<20 || h.MemorySwap != h.Memory {
		t.Errorf("memory %d, %d, %d", h.Memory, h.MemoryReservation, h.MemorySwap)
	}
}
