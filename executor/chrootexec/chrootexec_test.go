package chrootexec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/container"
	"drover/executor/driver"
	"drover/executor/driver/drivertest"
	"drover/executor/shim/cgroup"
	"drover/executor/shim/proctree"
	"drover/executor/shim/shimtest"
)

var programs shimtest.Programs

func TestMain(m *testing.M) { shimtest.Main(m, &programs) }

func config() Config {
	return Config{Runtime: container.Runtime{Shim: programs.Shim, Maker: programs.ContainerMaker}}
}

func sh(script string) map[string]any {
	return map[string]any{"command": "/bin/sh", "args": []any{"-c", script}}
}

func TestExecContract(t *testing.T) {
	// The first process of a PID namespace takes no signal that it has not asked for, so what is to end by one shares the
	// machine's.
	forever := sh("echo ready; exec sleep 1000")
	forever["pid_mode"] = "host"
	drivertest.Run(t, drivertest.Subject{
		Driver:   func() driver.Driver { return &Exec{config()} },
		Forever:  forever,
		Stubborn: sh("trap '' TERM; echo ready; exec sleep 1000"),
		Ends:     func(code int) map[string]any { return sh("exit " + strconv.Itoa(code)) },
		Says: func(stdout, stderr string) map[string]any {
			return map[string]any{"command": "/bin/sh", "args": []any{"-c", `printf "$0"; printf "$1" >&2`, stdout, stderr}}
		},
		Invalid:  map[string]any{"command": "sleep", "no_such_option": true},
		Missing:  map[string]any{"command": "/no/such/program"},
		Filtered: true,
		Shell:    "/bin/sh",
		Left: func(t *driver.Task) []string {
			groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + t.AllocID.String() + "*")
			return groups
		},
	})
}

var starts uint64

// task is one start in directories as an agent makes them.
func task(t *testing.T, c map[string]any) *driver.Task {
	t.Helper()
	starts++
	id := event.DeriveID("chrootexec", event.ID{2}, uint64(os.Getpid()), starts)
	dir := t.TempDir()
	made := &driver.Task{
		ID: id.String() + "/web/00000001", AllocID: id, Name: "web", Config: c,
		Env:      map[string]string{"PATH": "/usr/bin:/bin", "NOMAD_ALLOC_ID": id.String(), "NOMAD_TASK_NAME": "web"},
		StateDir: filepath.Join(dir, "state"), SharedDir: filepath.Join(dir, "alloc"), TaskDir: filepath.Join(dir, "web"),
		LocalDir: filepath.Join(dir, "web/local"), SecretsDir: filepath.Join(dir, "web/secrets"),
		LogDir: filepath.Join(dir, "alloc/logs"), LogBytesMax: 1 << 20, LogFilesMax: 2,
	}
	for path, mode := range map[string]os.FileMode{
		made.LocalDir: 0o777, made.SecretsDir: 0o700, filepath.Join(made.TaskDir, "private"): 0o700, made.LogDir: 0o777,
	} {
		if err := os.MkdirAll(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// run runs a task to its end and returns what it said.
func run(t *testing.T, made *driver.Task) (driver.Exit, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := (&Exec{config()}).Start(ctx, made)
	if err != nil {
		t.Fatal(err)
	}
	exit, err := r.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, name := range []string{"web.stdout.0", "web.stderr.0"} {
		b, err := os.ReadFile(filepath.Join(made.LogDir, name))
		if err != nil {
			t.Fatal(err)
		}
		said += string(b)
	}
	if err := r.Destroy(ctx); err != nil {
		t.Error(err)
	}
	return exit, said
}

func TestATaskSeesItsOwnRoot(t *testing.T) {
	made := task(t, sh(`
		id -un; echo pid $$; echo home $HOME
		ls -d /alloc/logs /local /secrets /tmp 2>&1
		touch /local/mine /secrets/mine /alloc/shared && echo own directories can be written
		touch /etc/mine /usr/mine /alloc/logs/mine 2>/dev/null || echo machine and logs cannot
		printf '#!/bin/sh\necho it ran' > /secrets/x; chmod +x /secrets/x; /secrets/x 2>/dev/null || echo secrets are no programs
		ls /private | wc -l
		ls /root /home /var 2>/dev/null || echo nothing else is there
		wc -c < /proc/keys; cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l
		cat /proc/sys/kernel/ostype; test -c /dev/null && echo devices
		unshare -U true 2>/dev/null || echo no user namespace
		grep -E '^(CapEff|Seccomp):' /proc/self/status`))
	if err := os.WriteFile(filepath.Join(made.TaskDir, "private/hidden"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(made.SharedDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(made.TaskDir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	exit, said := run(t, made)
	want := `nobody
pid 1
home /nonexistent
/alloc/logs
/local
/secrets
/tmp
own directories can be written
machine and logs cannot
secrets are no programs
0
nothing else is there
0
0
0
Linux
devices
no user namespace
CapEff:	00000000a80405fb
Seccomp:	2
`
	if !exit.Successful() || said != want {
		t.Errorf("%+v, said:\n%s\nwant:\n%s", exit, said, want)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), made.TaskDir) {
		t.Errorf("mounts of the task are seen outside of it:\n%s", mounts)
	}
}

// What a template or an artifact put below a directory of the machine is seen there, beside what the machine has.
func TestFilesBelowTheMachinesDirectories(t *testing.T) {
	made := task(t, sh("cat /etc/app/app.conf /usr/local/share/data; test -e /etc/passwd && ls /usr/bin/env; echo x > /etc/app/app.conf || echo read-only"))
	for name, text := range map[string]string{"etc/app/app.conf": "configured\n", "usr/local/share/data": "artifact\n"} {
		path := filepath.Join(made.TaskDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // also when it is started again
		exit, said := run(t, made)
		if want := "configured\nartifact\n/usr/bin/env\nread-only\n"; !exit.Successful() || !strings.HasPrefix(said, want) {
			t.Fatalf("%+v, said %q, want %q", exit, said, want)
		}
	}
}

// Directories of the machine stand where the job wants them, in front of what else is there.
func TestVolumes(t *testing.T) {
	volume := t.TempDir()
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	made := task(t, sh("echo kept > /srv/data/file; cat /local/seen/file; echo x > /local/seen/other || echo read-only"))
	made.Mounts = []driver.Mount{{Source: volume, Target: "/srv/data", Propagation: "host-to-task"}, {Source: volume, Target: "/local/seen", ReadOnly: true}}
	exit, said := run(t, made)
	if !exit.Successful() || !strings.HasPrefix(said, "kept\nread-only\n") {
		t.Errorf("%+v, said %q", exit, said)
	}
	if b, err := os.ReadFile(filepath.Join(volume, "file")); string(b) != "kept\n" {
		t.Errorf("in the volume: %q %v", b, err)
	}
	made = task(t, sh("true"))
	made.Mounts = []driver.Mount{{Source: volume, Target: "/data", Propagation: "bidirectional"}}
	if _, err := (&Exec{config()}).Start(t.Context(), made); err == nil || !strings.Contains(err.Error(), `mount /data: propagation mode "bidirectional" is not supported here`) {
		t.Errorf("propagation: %v", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	made := task(t, sh("x=$(head -c 200000000 /dev/zero | tr '\\0' 'a'); echo ${#x}"))
	made.MemoryMB, made.CPUMHz = 32, 500
	exit, said := run(t, made)
	if !exit.OOMKilled || exit.Successful() {
		t.Errorf("%+v, said %q", exit, said)
	}
}

func TestControlGroupsLeaveWithTheTask(t *testing.T) {
	ctx := t.Context()
	made := task(t, sh("echo ready; sleep 1000 & sleep 1000"))
	made.MemoryMB, made.CPUMHz = 64, 500
	d := &Exec{config()}
	r, err := d.Start(ctx, made)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/drover/" + made.AllocID.String() + ".web.*")
	if err != nil || len(groups) == 0 {
		t.Fatalf("no control groups: %v", err)
	}
	limit, shares := uint64(0), uint64(0)
	for _, g := range groups {
		if n, ok := cgroup.Number(g, "memory.limit_in_bytes"); ok {
			limit = n
		}
		if n, ok := cgroup.Number(g, "cpu.shares"); ok {
			shares = n
		}
	}
	if limit != 64<<20 || shares != 500 {
		t.Errorf("limits: %d bytes, %d shares", limit, shares)
	}
	if u, err := r.Usage(ctx); err != nil || len(u.PIDs) == 0 || u.Memory.RSS == 0 || u.Memory.Usage < u.Memory.RSS ||
		!slices.Contains(u.Memory.Measured, "Cache") || !u.CPU.Limited {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := r.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + made.AllocID.String() + "*"); len(groups) > 0 {
		t.Errorf("left: %v", groups)
	}
}

// A shim that is killed leaves nothing running and no control group.
func TestAKilledShimLeavesNothing(t *testing.T) {
	ctx := t.Context()
	made := task(t, sh("env -i setsid sleep 1000 & sleep 1000"))
	d := &Exec{config()}
	r, err := d.Start(ctx, made)
	if err != nil {
		t.Fatal(err)
	}
	st, err := r.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(st.PID) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	parent, err := strconv.Atoi(strings.Fields(string(stat))[3])
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(ctx); !errors.Is(err, driver.ErrLost) {
		t.Errorf("wait: %v", err)
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + made.AllocID.String() + "*"); len(groups) > 0 {
		t.Errorf("left: %v", groups)
	}
	if err := r.Destroy(ctx); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotStart(t *testing.T) {
	with := func(c map[string]any, more map[string]any) map[string]any {
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	for _, c := range []struct {
		name    string
		config  map[string]any
		user    string
		want    string
		invalid bool
	}{
		{name: "no command", config: map[string]any{}, want: `option "command" is required`, invalid: true},
		{name: "absent program", config: map[string]any{"command": "/no/such"}, want: `run "/no/such" in the task's root file system: it is not there`},
		{name: "absent name", config: map[string]any{"command": "no-such-program"}, want: `find program "no-such-program": it is not in the task's directory nor in`},
		{name: "a directory", config: map[string]any{"command": "/usr"}, want: `run "/usr" in the task's root file system: is a directory`},
		{name: "no such user", config: sh("true"), user: "no-such-user", want: `find user "no-such-user"`},
		{name: "mode", config: with(sh("true"), map[string]any{"pid_mode": "mine"}), want: `pid_mode must be "private" or "host"`, invalid: true},
		{name: "capability", config: with(sh("true"), map[string]any{"cap_add": []any{"sys_admin"}}), want: "driver does not allow the following capabilities: sys_admin", invalid: true},
		{name: "relative work_dir", config: with(sh("true"), map[string]any{"work_dir": "local"}), want: "work_dir must be an absolute path", invalid: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := task(t, c.config)
			made.User = c.user
			_, err := (&Exec{config()}).Start(t.Context(), made)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.invalid != errors.As(err, &driver.Invalid{}) || !c.invalid != errors.As(err, &driver.Unrecoverable{}) {
				t.Errorf("%T: %v", err, err)
			}
			if _, err := (&Exec{config()}).Recover(t.Context(), made, nil); !errors.Is(err, driver.ErrNotFound) {
				t.Errorf("recover: %v", err)
			}
			if groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + made.AllocID.String() + "*"); len(groups) > 0 {
				t.Errorf("left: %v", groups)
			}
		})
	}
}

func TestModesAndWorkingDirectory(t *testing.T) {
	c := sh("pwd; test $$ -gt 1 && echo sees the machine; id -u; grep CapBnd /proc/self/status")
	c["pid_mode"], c["ipc_mode"], c["work_dir"], c["cap_drop"] = "host", "host", "/local", []any{"all"}
	made := task(t, c)
	made.User = "root"
	if exit, said := run(t, made); !exit.Successful() || said != "/local\nsees the machine\n0\nCapBnd:\t0000000000000000\n" {
		t.Errorf("%+v, said %q", exit, said)
	}
}

func TestAProgramOfTheTaskItself(t *testing.T) {
	made := task(t, map[string]any{"command": "hello"})
	if err := os.WriteFile(filepath.Join(made.LocalDir, "hello"), []byte("#!/bin/sh\necho hello from $0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if exit, said := run(t, made); !exit.Successful() || said != "hello from /local/hello\n" {
		t.Errorf("%+v, said %q", exit, said)
	}
}

// What runs beside a task is who the task is, where it is, with no more rights; and what was left of it by an agent that
// was killed with all its children is ended by the next.
func TestExecIsWhoTheTaskIs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := sh("echo ready; sleep 1000")
	c["work_dir"], c["cap_drop"] = "/local", []any{"kill"}
	made := task(t, c)
	made.MemoryMB, made.CPUMHz = 64, 500
	d := &Exec{config()}
	r, err := d.Start(ctx, made)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
		if groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + made.AllocID.String() + "*"); len(groups) > 0 {
			t.Errorf("left: %v", groups)
		}
	}()
	execer, ok := driver.ExecerOf(r)
	if !ok {
		t.Fatal("the driver runs no programs beside a task")
	}
	out := drivertest.NewScreen()
	code, err := execer.Exec(ctx, made, &driver.Exec{
		Command: []string{"sh", "-c", `id -un; pwd; echo $HOME; grep CapEff /proc/self/status; for ns in mnt pid ipc net; do
			test "$(readlink /proc/1/ns/$ns)" = "$(readlink /proc/self/ns/$ns)" && echo $ns; done; cut -d: -f2,3 /proc/self/cgroup`},
		Stdin: strings.NewReader(""), Stdout: out, Stderr: out,
	})
	want := "nobody\n/local\n/nonexistent\nCapEff:\t00000000a80405db\nmnt\npid\nipc\nnet\n"
	if code != 0 || err != nil || !strings.HasPrefix(out.String(), want) || !strings.Contains(out.String(), "memory:/drover/"+made.AllocID.String()) {
		t.Errorf("code %d, %v; %q, want %q", code, err, out, want)
	}

	out = drivertest.NewScreen()
	tag := "beside-" + made.AllocID.String()
	ended := make(chan error, 1)
	go func() {
		_, err := execer.Exec(ctx, made, &driver.Exec{
			Command: []string{"sh", "-c", "trap '' HUP; echo ready; : " + tag + "; while :; do sleep 1; done"}, Stdin: strings.NewReader(""), Stdout: out, Stderr: out,
		})
		ended <- err
	}()
	out.Shows(t, "ready")
	between, beside := 0, 0
	for _, p := range proctree.All() {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/cmdline")
		switch {
		case strings.Contains(string(line), "\x00exec\x00"+made.StateDir):
			between = p.PID
		case strings.Contains(string(line), tag):
			beside = p.PID
		}
	}
	if between == 0 || beside == 0 {
		t.Fatalf("processes %d and %d", between, beside)
	}
	stat, err := proctree.ReadStat(beside)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(between, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || errors.Is(err, driver.ErrEnded) {
		t.Errorf("how a program ended is not known: %v", err)
	}
	if _, err := d.Recover(ctx, made, nil); err != nil {
		t.Fatal(err)
	}
	if now, err := proctree.ReadStat(beside); err == nil && now.Start == stat.Start && !now.Zombie {
		t.Error("a program that an earlier agent ran goes on")
	}
	if st, err := r.Inspect(ctx); err != nil || st.Ended {
		t.Errorf("the task ended: %v", err)
	}
}

func TestWhatTheOperatorSays(t *testing.T) {
	c := config()
	c.Policy = container.Policy{
		PIDMode: "host", AllowCaps: []string{"kill"}, NoPivotRoot: true, Denied: driver.DeniedIDs{UIDs: "0,100-200", GIDs: "7"},
	}
	d := &Exec{c}
	made := task(t, sh("test $$ -gt 1 && grep -q 'CapBnd:.0*20$' /proc/self/status && test -d /local && test ! -e /root"))
	r, err := d.Start(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	exit, err := r.Wait(t.Context())
	if err != nil || !exit.Successful() {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := r.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	refused := sh("true")
	refused["cap_add"] = []any{"chown"}
	if _, err := d.Start(t.Context(), task(t, refused)); !errors.As(err, &driver.Invalid{}) {
		t.Errorf("a capability that is not allowed: %v", err)
	}
	for user, want := range map[string]string{"root": "uid 0", "lp": "gid 7"} {
		made := task(t, sh("true"))
		made.User = user
		if _, err := d.Start(t.Context(), made); !errors.As(err, &driver.Unrecoverable{}) || !strings.Contains(err.Error(), "running as "+want+" is not allowed") {
			t.Errorf("user %s: %v", user, err)
		}
	}
}
