// Package dockertest runs a Docker Engine of its own for tests, with an image that needs no registry.
package dockertest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// Image is the image that every Engine has: busybox with a few of its applets.
const Image = "busybox:test"

// Engine is a Docker Engine and what belongs to it: a directory with all its data, mounts below that, and processes.
type Engine struct {
	API *client.Client

	dir  string
	lock *os.File // held as long as the process lives that made the engine
	cmd  *exec.Cmd
}

// dirPrefix is short because the path of a socket must stay below 108 bytes.
const dirPrefix = "/tmp/drover-dockerd-"

// New starts an engine. It wants Debian's docker.io and busybox-static, and root.
func New() (*Engine, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(dirPrefix), filepath.Base(dirPrefix))
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir}
	if e.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if e.API, err = client.New(client.WithHost(e.Endpoint())); err != nil {
		return nil, err
	}
	image, err := Busybox()
	if err == nil {
		err = e.Start()
	}
	if err == nil {
		err = e.Import(image, Image)
	}
	if err != nil {
		return nil, errors.Join(err, e.Remove())
	}
	return e, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return f, nil
}

// sweep removes the engines of test processes that were killed.
func sweep() error {
	dirs, err := filepath.Glob(dirPrefix + "*")
	if err != nil {
		return err
	}
	var all []error
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
			continue // somebody is about to lock it
		}
		f, err := lockDir(dir)
		if err != nil {
			continue // it is in use
		}
		if pid, ok := daemonOf(dir); ok {
			if err := syscall.Kill(pid, syscall.SIGTERM); err == nil {
				untilGone(pid)
			}
		}
		all = append(all, removeDir(dir))
		f.Close()
	}
	return errors.Join(all...)
}

// daemonOf finds the daemon that works in dir.
func daemonOf(dir string) (pid int, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, false
	}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return pid, err == nil && bytes.Contains(line, []byte(dir+"/"))
}

// stopTimeout bounds the wait for a daemon that was asked to end; it gives its containers 10 s of that.
const stopTimeout = 30 * time.Second

func untilGone(pid int) {
	for deadline := time.Now().Add(stopTimeout); syscall.Kill(pid, 0) == nil; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			return
		}
	}
}

// removeDir unmounts what is mounted below dir and removes it. The daemon leaves its network namespaces mounted.
func removeDir(dir string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			points = append(points, f[1])
		}
	}
	slices.SortFunc(points, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the inner ones first
	var all []error
	for _, p := range points {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil {
			all = append(all, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	if err := errors.Join(all...); err != nil {
		return err // what is mounted is not ours to remove
	}
	return os.RemoveAll(dir)
}

// Endpoint is the address of the daemon.
func (e *Engine) Endpoint() string { return "unix://" + filepath.Join(e.dir, "sock") }

// Import makes an image of a root file system.
func (e *Engine) Import(rootfs []byte, name string) error {
	source := client.ImageImportSource{Source: bytes.NewReader(rootfs), SourceName: "-"}
	answer, err := e.API.ImageImport(context.Background(), source, name, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

// Start starts the daemon, which has no network of its own: its containers have the machine's or none.
func (e *Engine) Start() error {
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e.cmd = exec.Command("dockerd", "--iptables=false", "--bridge=none", "--data-root", filepath.Join(e.dir, "root"),
		"--exec-root", filepath.Join(e.dir, "exec"), "--pidfile", filepath.Join(e.dir, "pid"), "--host", e.Endpoint())
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		e.cmd = nil
		return fmt.Errorf("start dockerd (apt-get install docker.io busybox-static): %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, err := e.API.Ping(ctx, client.PingOptions{})
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

// Stop ends the daemon, and with it its containers.
func (e *Engine) Stop() {
	if e.cmd == nil {
		return
	}
	e.cmd.Process.Signal(syscall.SIGTERM)
	e.cmd.Wait()
	e.cmd = nil
}

// Remove ends the daemon and leaves nothing of it.
func (e *Engine) Remove() error {
	if list, err := e.API.ContainerList(context.Background(), client.ContainerListOptions{All: true}); err == nil {
		for _, c := range list.Items {
			e.API.ContainerRemove(context.Background(), c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
	// A bridge of the machine would outlive the daemon that made it.
	_, pruneErr := e.API.NetworkPrune(context.Background(), client.NetworkPruneOptions{})
	e.Stop()
	e.API.Close()
	err := removeDir(e.dir)
	e.lock.Close()
	return errors.Join(pruneErr, err)
}

// Busybox is the root file system of the image.
func Busybox() ([]byte, error) {
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
	for _, applet := range []string{
		"sh", "sleep", "cat", "printf", "env", "id", "ls", "dd", "tail", "hostname", "head", "tr", "grep", "httpd", "stty", "true",
	} {
		put(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"}, nil)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}
