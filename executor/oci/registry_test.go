package oci

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"drover/executor/driver"
	"drover/executor/oci/image"
)

// push makes an image of layers and puts it into a registry.
func push(t *testing.T, to string, auth authn.Authenticator, layers ...[]entry) {
	t.Helper()
	dir := t.TempDir()
	digest, _ := writeLayout(t, dir, v1.Config{Entrypoint: []string{"/bin/guest"}}, layers...)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(hash)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithAuth(auth)); err != nil {
		t.Fatal(err)
	}
}

// A slow download holds up nobody but those that want the same layer, and these do not fetch it again.
func TestImagesAreFetchedSideBySide(t *testing.T) {
	served, reached, release := map[string]int{}, make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var slow string // part of the path of what is held back
	all := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			mu.Lock()
			served[r.URL.Path]++
			hold := slow != "" && strings.HasSuffix(r.URL.Path, slow) && served[r.URL.Path] == 1
			mu.Unlock()
			if hold {
				close(reached)
				<-release
			}
		}
		all.ServeHTTP(w, r)
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	big := []entry{{name: "data/"}, {name: "data/big", content: "big"}}
	_, bigDigest, _ := packLayer(t, big)
	push(t, at+"/slow:1", authn.Anonymous, big)
	push(t, at+"/quick:1", authn.Anonymous, []entry{{name: "data/"}, {name: "data/small", content: "small"}})
	mu.Lock()
	slow = bigDigest
	mu.Unlock()

	store := image.OpenStore(t.TempDir())
	get := func(what string) error {
		_, err := store.Get(t.Context(), image.Reference{Name: at + "/" + what + ":1"}, filepath.Join(t.TempDir(), "state"), func(string) {})
		return err
	}
	results := make(chan error, 2)
	go func() { results <- get("slow") }()
	<-reached
	go func() { results <- get("slow") }()
	if err := get("quick"); err != nil {
		t.Errorf("beside a download that is held back: %v", err)
	}
	select {
	case err := <-results:
		t.Errorf("an image was ready without its layer: %v", err)
	default:
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := served["/v2/slow/blobs/"+bigDigest]; n != 1 {
		t.Errorf("the layer of two tasks was fetched %d times", n)
	}
}

// A registry is told what the job says, or else what the machine's own configuration does.
func TestRegistryWithPasswords(t *testing.T) {
	all := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "shop" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		all.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push(t, host+"/guest:1", &authn.Basic{Username: "shop", Password: "secret"}, guest(t))
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", home)
	start := func(auth ...any) error {
		made := task(t, map[string]any{"image": host + "/guest:1", "args": []any{"out=in"}, "auth": auth})
		r, err := open(t.TempDir()).Start(t.Context(), made)
		if err != nil {
			return err
		}
		_, err = r.Wait(t.Context())
		return errors.Join(err, r.Destroy(t.Context()))
	}
	if err := start(map[string]any{"username": "shop", "password": "secret"}); err != nil {
		t.Errorf("with the job's credentials: %v", err)
	}
	for name, auth := range map[string][]any{
		"none": nil, "others": {map[string]any{"username": "shop", "password": "wrong"}},
	} {
		if err := start(auth...); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") || !errors.As(err, &driver.Unrecoverable{}) {
			t.Errorf("credentials: %s: %v", name, err)
		}
	}
	if err := start(map[string]any{"password": "secret"}); !errors.As(err, &driver.Invalid{}) {
		t.Errorf("a password without a name: %v", err)
	}
	config := `{"auths": {"` + host + `": {"auth": "c2hvcDpzZWNyZXQ="}}}`
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil {
		t.Errorf("with the machine's credentials: %v", err)
	}
}
