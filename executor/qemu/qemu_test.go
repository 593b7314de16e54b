package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/driver/drivertest"
	"drover/executor/qemu/qemutest"
	"drover/executor/shim/proctree"
	"drover/executor/shim/shimtest"
)

var programs shimtest.Programs

func TestMain(m *testing.M) { shimtest.Main(m, &programs) }

// guests makes configurations of tasks that boot sectors of a directory, which many may at once.
type guests struct{ dir string }

func (g guests) of(t *testing.T, sector []byte, more ...any) map[string]any {
	t.Helper()
	f, err := os.CreateTemp(g.dir, "guest-*")
	if err == nil {
		_, err = f.Write(sector)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{
		"image_path": f.Name(),
		"args": []any{
			"-snapshot", "-machine", "graphics=on", // or the firmware would write on the serial port
			"-serial", "mon:stdio", "-serial", "file:/dev/stderr", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01",
		},
	}
	for i := 0; i < len(more); i += 2 {
		config[more[i].(string)] = more[i+1]
	}
	return config
}

func TestContract(t *testing.T) {
	g := guests{t.TempDir()}
	drivertest.Run(t, drivertest.Subject{
		Driver:  func() driver.Driver { return &Driver{Shim: programs.Shim, Config: Config{ImagePaths: []string{g.dir}}} },
		Forever: g.of(t, qemutest.BootSector("ready\n", "", qemutest.Halt)),
		// This guest knows no power button.
		Stubborn: g.of(t, qemutest.BootSector("ready\n", "", qemutest.Halt), "graceful_shutdown", true),
		Ends:     func(code int) map[string]any { return g.of(t, qemutest.BootSector("", "", qemutest.Exit(code))) },
		Says: func(stdout, stderr string) map[string]any {
			return g.of(t, qemutest.BootSector(stdout, stderr, qemutest.PowerOff))
		},
		Invalid: g.of(t, nil, "no_such_option", true),
		Missing: map[string]any{"image_path": filepath.Join(g.dir, "none")},
		// The emulator takes the signal as a request, whatever its guest does; a guest has no signals; and the emulator warns
		// of an image without a format.
		Graceful: true, NoSignals: true, Noisy: true,
		Left: func(t *driver.Task) []string {
			var left []string
			for _, p := range proctree.All() {
				if !p.Zombie && proctree.HasEnv(p.PID, "NOMAD_ALLOC_ID="+t.AllocID.String()) {
					left = append(left, fmt.Sprintf("process %d", p.PID))
				}
			}
			sockets, _ := filepath.Glob(filepath.Join(t.TaskDir, "*.sock"))
			return append(left, sockets...)
		},
	})
}

var starts uint64

// task is one start, with directories of its own.
func task(t *testing.T, config map[string]any) *driver.Task {
	t.Helper()
	starts++
	id := event.DeriveID(t.Name(), event.ID{3}, uint64(os.Getpid()), starts)
	dir := t.TempDir()
	made := &driver.Task{
		ID: id.String() + "/web/1", AllocID: id, Name: "web", Config: config,
		Env:      map[string]string{"PATH": os.Getenv("PATH"), "NOMAD_ALLOC_ID": id.String(), "NOMAD_TASK_NAME": "web"},
		StateDir: filepath.Join(dir, "state"), SharedDir: filepath.Join(dir, "a/alloc"), LogDir: filepath.Join(dir, "a/alloc/logs"),
		TaskDir: filepath.Join(dir, "a/web"), LocalDir: filepath.Join(dir, "a/web/local"), SecretsDir: filepath.Join(dir, "a/web/secrets"),
		LogBytesMax: 1 << 20, LogFilesMax: 2, CPUMHz: 100, MemoryMB: 128,
	}
	for _, d := range []string{made.LogDir, made.LocalDir, made.SecretsDir} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// What makes no sense, and what the operator has not allowed, is refused before an emulator starts.
func TestRefused(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(elsewhere, qemutest.BootSector("", "", qemutest.Halt), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config map[string]any
		change func(*driver.Task)
		want   string
	}{
		{"no image", map[string]any{}, nil, "image_path must be set"},
		{"image of the machine", map[string]any{"image_path": elsewhere}, nil, "neither in the allocation's directory"},
		{"path that leads out", map[string]any{"image_path": "../../disk"}, nil, "find image"},
		{"link that leads out", map[string]any{"image_path": "local/link"}, nil, "neither in the allocation's directory"},
		{"directory", map[string]any{"image_path": "local"}, nil, "is not a file"},
		{"too little memory", map[string]any{"image_path": "local/disk"}, func(t *driver.Task) { t.MemoryMB = 127 }, "from 128 to 4000000 MB, not 127"},
		{"odd drive", map[string]any{"image_path": "local/disk", "drive_interface": "tape"}, nil, "drive_interface must be one of"},
		{"odd machine", map[string]any{"image_path": "local/disk", "machine_type": "pc,x=y"}, nil, "is not a name"},
		{"odd emulator", map[string]any{"image_path": "local/disk", "emulator": "../x"}, nil, "is not a name"},
		{"no such emulator", map[string]any{"image_path": "local/disk", "emulator": "abacus"}, nil, "not among those that this node allows"},
		{"argument", map[string]any{"image_path": "local/disk", "args": []any{"--drive", "file=/etc/shadow"}}, nil, `argument "--drive" is not among those`},
		{"unknown port", map[string]any{"image_path": "local/disk", "port_map": []any{map[string]any{"ssh": 22}}}, nil, `Port "ssh" not found, check network block`},
		{"odd port", map[string]any{"image_path": "local/disk", "port_map": map[string]any{"web": "x"}}, nil, "must lead to a port number"},
		{"no such user", map[string]any{"image_path": "local/disk"}, func(t *driver.Task) { t.User = "no-such-user" }, "no-such-user"},
	} {
		made := task(t, c.config)
		made.Ports = []driver.Port{{Label: "web", Host: 1}}
		err := errors.Join(os.Symlink(elsewhere, filepath.Join(made.LocalDir, "link")),
			os.WriteFile(filepath.Join(made.LocalDir, "disk"), qemutest.BootSector("", "", qemutest.Halt), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(made)
		}
		d := &Driver{Shim: programs.Shim, Config: Config{ArgsAllowed: []string{"-snapshot"}, EmulatorsAllowed: []string{emulatorDefault}}}
		if _, err := d.Start(t.Context(), made); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The emulator is told all that the job asks for: also a disk whose name would be read as further options.
func TestArguments(t *testing.T) {
	made := task(t, map[string]any{
		"image_path": "local/a,b.img", "drive_interface": "virtio", "machine_type": "q35", "emulator": "x86_64", "guest_agent": true,
		"port_map": []any{map[string]any{"ssh": 22}}, "ports": []any{"web"},
	})
	made.Ports = []driver.Port{{Label: "ssh", HostIP: "10.1.2.3", Host: 22000}, {Label: "web", HostIP: "::1", Host: 22001, To: 80}}
	if err := os.WriteFile(filepath.Join(made.LocalDir, "a,b.img"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := (&Driver{}).spec(made)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(spec.Args, " ")
	for _, want := range []string{
		"qemu-system-x86_64 -machine type=q35,accel=tcg", "-m 128M", "/local/a,,b.img,if=virtio", "-nographic",
		"socket,path=qa.sock,server=on,wait=off", "hostfwd=tcp:10.1.2.3:22000-:22,hostfwd=udp:10.1.2.3:22000-:22", "hostfwd=tcp::22001-:80",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// A guest's memory is what its job asks for, its port is the machine's, and its sockets go with it.
func TestGuest(t *testing.T) {
	g := guests{t.TempDir()}
	made := task(t, g.of(t, qemutest.BootSector("ready\n", "", qemutest.Halt), "guest_agent", true, "graceful_shutdown", true, "port_map", map[string]any{"web": 80}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	made.Ports = []driver.Port{{Label: "web", HostIP: "127.0.0.1", Host: port}}
	made.MemoryMB = 200
	d := &Driver{Shim: programs.Shim, Config: Config{ImagePaths: []string{g.dir}}}
	r, err := d.Start(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); ; <-time.After(2 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(made.LogDir, "web.stdout.0")); err == nil && string(b) == "ready\n" {
			break
		}
		if time.Now().After(until) {
			b, _ := os.ReadFile(filepath.Join(made.LogDir, "web.stderr.0"))
			t.Fatalf("the guest says nothing: %s", b)
		}
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Errorf("the guest's port: %v", err)
	} else {
		conn.Close()
	}
	if got := ask(t, made, "info memory_size_summary\n"); !strings.Contains(got, strconv.Itoa(200<<20)) {
		t.Errorf("memory: %s", got)
	}
	if info, err := os.Stat(filepath.Join(made.TaskDir, agentSocket)); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("socket of the guest's agent: %v", err)
	}
	if err := r.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(made.TaskDir, "*.sock")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
}

// ask asks the monitor of an emulator.
func ask(t *testing.T, made *driver.Task, request string) string {
	t.Helper()
	dir, err := os.Open(made.TaskDir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), monitorSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	for buffer := make([]byte, 4096); strings.Count(said.String(), "(qemu) ") < 2; {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(buffer[:n])
	}
	return said.String()
}
