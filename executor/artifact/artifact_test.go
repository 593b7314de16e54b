package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/executor/memdir"
)

// entry is one of an archive: a file with content, or a link.
type entry struct {
	name, content, link string
	mode                int64
}

func tgz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: max(e.mode, 0o644), Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// target is an empty task directory.
func target(t *testing.T) Target {
	t.Helper()
	root := filepath.Join(t.TempDir(), "task")
	for _, dir := range []string{"local", "private"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Target{Root: root, Staging: "private"}
}

var limits = Limits{HTTPTimeout: time.Minute, GitTimeout: time.Minute, HTTPBytesMax: 1 << 20, UnpackedBytesMax: 1 << 20, UnpackedFilesMax: 10}

// listing is every file below dir with its mode and content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		lines = append(lines, fmt.Sprintf("%s %v %q", rel, info.Mode(), b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestFetch(t *testing.T) {
	archive := tgz(t, entry{name: "bin/tool", content: "tool", mode: 0o6755}, entry{name: "README", content: "read"})
	var many []entry
	for i := range 20 {
		many = append(many, entry{name: fmt.Sprint(i)})
	}
	served := map[string][]byte{
		"/plain": []byte("hello"), "/tool.tar.gz": archive, "/unnamed": archive,
		"/up.tar.gz":   tgz(t, entry{name: "../out", content: "x"}),
		"/many.tar.gz": tgz(t, many...), "/big": make([]byte, 2<<20),
		"/bomb.tar.gz": tgz(t, entry{name: "zeros", content: string(make([]byte, 2<<20))}),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/secret" && r.Header.Get("X-Key") == "k" {
			w.Write([]byte("open"))
			return
		}
		b, ok := served[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	defer server.Close()
	sum := sha256.Sum256(served["/plain"])
	good := "sha256:" + hex.EncodeToString(sum[:])
	bad := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name string
		a    Artifact
		want string // listing of the task's directory
		err  string
	}{
		{"file", Artifact{Source: "/plain", Dest: "local"}, `local/plain -rw-r--r-- "hello"`, ""},
		{"file under a name", Artifact{Source: "/plain", Dest: "local/a/b", Mode: "file"}, `local/a/b -rw-r--r-- "hello"`, ""},
		{"archive", Artifact{Source: "/tool.tar.gz", Dest: "local/x"}, "local/x/README -rw-r--r-- \"read\"\nlocal/x/bin/tool -rwxr-xr-x \"tool\"", ""},
		{"part of an archive", Artifact{Source: "/tool.tar.gz//bin", Dest: "local"}, `local/tool -rwxr-xr-x "tool"`, ""},
		{"archive by option", Artifact{Source: "/unnamed", Options: map[string]string{"archive": "tar.gz"}, Dest: "local"},
			"local/README -rw-r--r-- \"read\"\nlocal/bin/tool -rwxr-xr-x \"tool\"", ""},
		{"checksum", Artifact{Source: "/plain", Options: map[string]string{"checksum": good}, Dest: "local"}, `local/plain -rw-r--r-- "hello"`, ""},
		{"header", Artifact{Source: "/secret", Headers: map[string]string{"x-key": "k"}, Dest: "local"}, `local/secret -rw-r--r-- "open"`, ""},
		{"wrong checksum", Artifact{Source: "/plain", Options: map[string]string{"checksum": bad}, Dest: "local"}, "", "the checksum differs: expected 000"},
		{"no such file", Artifact{Source: "/none", Dest: "local"}, "", "bad response code: 404"},
		{"no header", Artifact{Source: "/secret", Dest: "local"}, "", "404"},
		{"outside", Artifact{Source: "/plain", Dest: "../x"}, "", "outside of the task's directory"},
		{"archive that climbs", Artifact{Source: "/up.tar.gz", Dest: "local"}, "", "'..'"},
		{"archive of too many files", Artifact{Source: "/many.tar.gz", Dest: "local"}, "", "too many files"},
		{"archive that grows", Artifact{Source: "/bomb.tar.gz", Dest: "local"}, "", "larger than limit"},
		{"unknown mode", Artifact{Source: "/plain", Dest: "local", Mode: "link"}, "", `mode "link"`},
		{"file of the node", Artifact{Source: "file:///etc/hostname", Dest: "local"}, "", "only where raw_exec is enabled"},
		{"unknown scheme", Artifact{Source: "s3::https://s3.amazonaws.com/b/k", Dest: "local"}, "", "not one of http, https and git"},
		{"checksum file", Artifact{Source: "/plain", Options: map[string]string{"checksum": "file:/plain"}, Dest: "local"}, "", "is written out"},
	} {
		to := target(t)
		if strings.HasPrefix(c.a.Source, "/") {
			c.a.Source = server.URL + c.a.Source
		}
		err := Fetch(t.Context(), c.a, to, limits)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if got := listing(t, to.Root); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	if err := Fetch(t.Context(), Artifact{Source: server.URL + "/big", Dest: "local"}, target(t), limits); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error("a file above the limit was fetched")
	}
}

// A repository, at a commit that is named; with what must not be in it.
func TestFetchRepository(t *testing.T) {
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q", "-b", "main")
	write("conf", "one")
	git("add", ".")
	git("commit", "-qm", "one")
	git("tag", "v1")
	write("conf", "two")
	git("commit", "-qam", "two")
	to := target(t)
	to.Local = true
	if err := Fetch(t.Context(), Artifact{Source: "git::file://" + repo, Options: map[string]string{"ref": "v1"}, Dest: "local/r"}, to, limits); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to.Root, "local/r/conf")); err != nil || string(b) != "one" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := Fetch(t.Context(), Artifact{Source: "git::file://" + repo, Options: map[string]string{"ref": "--x"}, Dest: "local/r"}, to, limits); err == nil || !strings.Contains(err.Error(), "dash") {
		t.Errorf("a name that is an option: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(repo, "link")); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-qm", "link")
	to = target(t)
	to.Local = true
	if err := Fetch(t.Context(), Artifact{Source: "git::file://" + repo, Dest: "local/r"}, to, limits); err == nil || !strings.Contains(err.Error(), "leads out of it") {
		t.Errorf("a link out of the repository: %v", err)
	}
	if got := listing(t, to.Root); got != "" {
		t.Errorf("it left\n%s", got)
	}
	to.Local = false
	if err := Fetch(t.Context(), Artifact{Source: "git::file://" + repo, Dest: "local/r"}, to, limits); err == nil {
		t.Error("a repository of the node was cloned")
	}
}

// Links that the task has put where its directories were lead nowhere.
func TestDestinationIsALink(t *testing.T) {
	outside := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	to := target(t)
	to.Local = true
	if err := os.Symlink(outside, filepath.Join(to.Root, "local/link")); err != nil {
		t.Fatal(err)
	}
	if err := Fetch(t.Context(), Artifact{Source: file, Dest: "local/link"}, to, limits); err == nil {
		t.Error("it was written through a link")
	}
	if got := listing(t, outside); got != "" {
		t.Errorf("outside stands %s", got)
	}
	if err := Fetch(t.Context(), Artifact{Source: file, Dest: "local"}, to, limits); err != nil {
		t.Error(err)
	}
}

// A server that says nothing is not waited for longer than the limit, and no longer than anybody wants to know.
func TestFetchEnds(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	l := limits
	l.HTTPTimeout = 20 * time.Millisecond
	if err := Fetch(t.Context(), Artifact{Source: server.URL + "/x", Dest: "local"}, target(t), l); err == nil || !strings.Contains(err.Error(), "longer than 20ms") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fetch(ctx, Artifact{Source: server.URL + "/x", Dest: "local"}, target(t), limits); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A part of the task's directory may be a file system of its own: what is fetched gets there all the same.
func TestFetchAcrossFileSystems(t *testing.T) {
	archive := tgz(t, entry{name: "local/tool", content: "tool", mode: 0o755}, entry{name: "local/sub/key", content: "new"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(archive) }))
	defer server.Close()
	to := target(t)
	local := filepath.Join(to.Root, "local")
	if inMemory, err := memdir.New(slog.New(slog.DiscardHandler)).Mount(local, 1); err != nil || !inMemory {
		t.Fatal(inMemory, err)
	}
	t.Cleanup(func() {
		if err := memdir.Unmount(local); err != nil {
			t.Error(err)
		}
	})
	outside := filepath.Join(t.TempDir(), "key")
	if err := errors.Join(os.Mkdir(filepath.Join(local, "sub"), 0o755), os.Symlink(outside, filepath.Join(local, "sub/key"))); err != nil {
		t.Fatal(err)
	}
	to.Chown, to.UID, to.GID = true, os.Getuid(), os.Getgid()
	if err := Fetch(t.Context(), Artifact{Source: server.URL + "/a.tar.gz", Dest: "."}, to, limits); err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, to.Root), "local/sub/key -rw-r--r-- \"new\"\nlocal/tool -rwxr-xr-x \"tool\""; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := os.Lstat(outside); !os.IsNotExist(err) {
		t.Errorf("a link was followed: %v", err)
	}
}
