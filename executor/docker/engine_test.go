package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// engine is a Docker Engine of the test's own.
type engine struct {
	dir, socket string
	cmd         *exec.Cmd
	api         *client.Client
}

// shared is the engine that tests use which do not end it.
var shared *engine

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if shared, err = newEngine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.remove()
	return m.Run()
}

// newEngine starts a daemon with the image busybox:test. It wants Debian's docker.io and busybox-static, and root.
func newEngine() (*engine, error) {
	// The paths of its sockets must stay below 108 bytes.
	dir, err := os.MkdirTemp("/tmp", "drover-dockerd-")
	if err != nil {
		return nil, err
	}
	e := &engine{dir: dir, socket: "unix://" + filepath.Join(dir, "sock")}
	if e.api, err = client.New(client.WithHost(e.socket)); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	image, err := busyboxTar()
	if err != nil {
		e.remove()
		return nil, err
	}
	if err := e.importImage(image, "busybox:test"); err != nil {
		e.remove()
		return nil, err
	}
	return e, nil
}

func (e *engine) importImage(image []byte, name string) error {
	answer, err := e.api.ImageImport(context.Background(), client.ImageImportSource{Source: bytes.NewReader(image), SourceName: "-"}, name, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

func (e *engine) start() error {
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e.cmd = exec.Command("dockerd", "--iptables=false", "--bridge=none", "--data-root", filepath.Join(e.dir, "root"),
		"--exec-root", filepath.Join(e.dir, "exec"), "--pidfile", filepath.Join(e.dir, "pid"), "--host", e.socket)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd (apt-get install docker.io busybox-static): %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, err := e.api.Ping(ctx, client.PingOptions{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(e.dir, "log"))
			return fmt.Errorf("dockerd does not answer: %w\n%s", err, said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (e *engine) stop() {
	e.cmd.Process.Signal(syscall.SIGTERM)
	e.cmd.Wait()
}

func (e *engine) remove() {
	list, err := e.api.ContainerList(context.Background(), client.ContainerListOptions{All: true})
	if err == nil {
		for _, c := range list.Items {
			e.api.ContainerRemove(context.Background(), c.ID, removeAll)
		}
	}
	e.stop()
	e.api.Close()
	os.RemoveAll(e.dir)
}

// busyboxTar is the file system of a tiny image.
func busyboxTar() ([]byte, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("read busybox (apt-get install busybox-static): %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h *tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	for _, dir := range []string{"bin", "etc", "tmp"} {
		put(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	put(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	put(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"))
	for _, applet := range []string{"sh", "sleep", "cat", "printf", "env", "id", "ls", "dd", "tail", "hostname", "head", "tr", "grep"} {
		put(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}, nil)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// newDriver is the driver as one life of an agent has it.
func (e *engine) driver(t *testing.T, change ...func(*Config)) *Driver {
	t.Helper()
	cfg := Config{Endpoint: e.socket}
	for _, f := range change {
		f(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
