package docker

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"drover/executor/docker/dockertest"
	"drover/executor/driver"
)

// registryOf serves one image under any name, to whoever knows the password.
func registryOf(t *testing.T, rootfs []byte, user, password string) (address string) {
	t.Helper()
	var layer bytes.Buffer
	z := gzip.NewWriter(&layer)
	if _, err := z.Write(rootfs); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	config := encode(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"sh", "-c", "echo pulled"}, "Labels": map[string]string{"of": t.Name()}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(rootfs)}},
	})
	const manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": layer.Len(), "digest": digest(layer.Bytes())}},
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		switch {
		case r.URL.Path == "/v2/":
		case strings.HasSuffix(r.URL.Path, "/manifests/1") || strings.HasSuffix(r.URL.Path, "/manifests/"+digest(manifest)):
			w.Header().Set("Content-Type", manifestType)
			w.Header().Set("Docker-Content-Digest", digest(manifest))
			w.Write(manifest)
		case strings.HasSuffix(r.URL.Path, digest(config)):
			w.Write(config)
		case strings.HasSuffix(r.URL.Path, digest(layer.Bytes())):
			w.Write(layer.Bytes())
		default:
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// An image is pulled once for all that wait for it, and goes some time after its last task; local images stay.
func TestPull(t *testing.T) {
	rootfs, err := dockertest.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	address := registryOf(t, rootfs, "shop", "secret")
	name := address + "/shop/web:1"
	state := filepath.Join(t.TempDir(), "images")
	d := shared.driver(t, func(c *Config) { c.StateFile, c.ImageDelay = state, time.Hour })
	config := func(image string, more ...any) map[string]any {
		c := shell("", append([]any{"image", image, "command", "", "args", []any{}}, more...)...)
		return c
	}
	auth := []any{"auth", []any{map[string]any{"username": "shop", "password": "secret", "server_address": address}}}

	for _, c := range []struct {
		name   string
		config map[string]any
		want   string
	}{
		{"no credentials", config(name), "Failed to pull"},
		{"no such image", config(address+"/shop/none:2", auth...), "manifest unknown"},
	} {
		_, err := d.Start(t.Context(), task(t, c.config))
		if final := (driver.Unrecoverable{}); err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &final) {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	one, other := task(t, config(name, auth...)), task(t, config(name, auth...))
	said := make(chan string, 2)
	for _, made := range []*driver.Task{one, other} {
		go func() {
			r, err := d.Start(t.Context(), made)
			if err == nil {
				_, err = r.Wait(t.Context())
			}
			b, _ := os.ReadFile(filepath.Join(made.LogDir, "web.stdout.0"))
			if err == nil {
				err = r.Destroy(t.Context())
			}
			said <- fmt.Sprint(string(b), err)
		}()
	}
	for range 2 {
		if got := <-said; got != "pulled\n<nil>" {
			t.Errorf("task: %s", got)
		}
	}
	saying(t, one, "Downloading image")

	// The next agent remembers whose the image is, and counts the tasks that it finds.
	there := func() bool {
		_, err := shared.API.ImageInspect(t.Context(), name)
		if err != nil && !cerrdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	d.images.cfg.KeepImages = true
	short := shared.driver(t, func(c *Config) { c.StateFile, c.ImageDelay = state, time.Hour })
	user := task(t, config(name, "command", "sleep", "args", []any{"1000"}))
	r, err := short.Start(t.Context(), user) // the image is here, so nobody asks for a password
	if err != nil {
		t.Fatal(err)
	}
	image := r.(*running).image
	short.images.remove(image)
	if !there() {
		t.Error("an image in use was removed")
	}
	if err := r.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	if !there() {
		t.Error("an image was removed before its time")
	}
	short.images.remove(image)
	if there() {
		t.Error("an image that was pulled stays for ever")
	}
	if b, err := os.ReadFile(state); err != nil || string(b) != "{}" {
		t.Errorf("state %s, %v", b, err)
	}
	if _, err := shared.API.ImageInspect(t.Context(), "busybox:test"); err != nil {
		t.Error("an image that was there before:", err)
	}
}

func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"auths": {"shop.example": {"auth": "dTpwOnc="}, "bad.example": {"auth": "###"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := authFromFile(file, []string{"x", "shop.example"})
	if err != nil || a == nil || a.Username != "u" || a.Password != "p:w" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := authFromFile(file, []string{"none.example"}); a != nil || err != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := authFromFile(file, []string{"bad.example"}); err == nil {
		t.Error("what is not base64 was taken")
	}
	helper := t.TempDir()
	script := "#!/bin/sh\nread server\necho '{\"Username\":\"u@'$server'\",\"Secret\":\"s\"}'\n"
	if err := os.WriteFile(filepath.Join(helper, "docker-credential-shop"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", helper+":"+os.Getenv("PATH"))
	if a, err := authFromHelper(t.Context(), "shop", "shop.example"); err != nil || a.Username != "u@shop.example" || a.Password != "s" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := authFromHelper(t.Context(), "none", "shop.example"); err == nil {
		t.Error("a helper that is not there gave credentials")
	}
}

// A pull goes on for as long as one task waits for it.
func TestPullIsGivenUp(t *testing.T) {
	asked, gone := make(chan struct{}, 100), make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // the daemon has hung up
		gone <- struct{}{}
	}))
	t.Cleanup(server.Close)
	d := shared.driver(t)
	name := strings.TrimPrefix(server.URL, "http://") + "/shop/slow:1"
	start := func() (cancel context.CancelFunc, ended chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		ended = make(chan error, 1)
		made := task(t, shell("", "image", name))
		go func() {
			_, err := d.Start(ctx, made)
			ended <- err
		}()
		return cancel, ended
	}
	waiting := func(n int) {
		for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
			d.images.mu.Lock()
			p := d.images.pulls[name]
			ok := p == nil && n == 0 || p != nil && len(p.waiting) == n
			d.images.mu.Unlock()
			if ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("it is not %d tasks that wait", n)
			}
		}
	}
	cancelOne, one := start()
	waiting(1)
	cancelOther, other := start()
	waiting(2)
	<-asked
	cancelOne()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	waiting(1)
	select {
	case err := <-other:
		t.Fatalf("the second went with the first: %v", err)
	case <-gone:
		t.Fatal("the pull was given up while a task waits for it")
	default:
	}
	cancelOther()
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Errorf("the second: %v", err)
	}
	waiting(0)
	<-gone
}
