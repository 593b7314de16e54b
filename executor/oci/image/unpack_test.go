package image

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever a layer says, nothing is written beside its directory.
func FuzzUnpack(f *testing.F) {
	add := func(headers ...tar.Header) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if h.Typeflag == tar.TypeReg {
				h.Size = 1
			}
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := w.Write([]byte("x")); err != nil {
					f.Fatal(err)
				}
			}
		}
		f.Add(b.Bytes())
	}
	add(tar.Header{Name: "../beside", Typeflag: tar.TypeReg, Mode: 0o644})
	add(tar.Header{Name: "out", Linkname: "..", Typeflag: tar.TypeSymlink}, tar.Header{Name: "out/beside", Typeflag: tar.TypeReg})
	add(tar.Header{Name: "hard", Linkname: "../outside", Typeflag: tar.TypeLink}, tar.Header{Name: "hard", Typeflag: tar.TypeReg})
	add(tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o1777}, tar.Header{Name: "d/.wh..wh..opq", Typeflag: tar.TypeReg}, tar.Header{Name: "d/.wh...", Typeflag: tar.TypeReg})
	f.Fuzz(func(t *testing.T, layer []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "layer")
		for _, path := range []string{dir, filepath.Join(parent, "outside")} {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := Unpack(bytes.NewReader(layer), dir); err != nil {
			t.Log(err)
		}
		entries, err := os.ReadDir(parent)
		if err != nil || len(entries) != 2 {
			t.Fatalf("written beside the layer: %v, %v", entries, err)
		}
		if inside, err := os.ReadDir(filepath.Join(parent, "outside")); err != nil || len(inside) != 0 {
			t.Fatalf("written elsewhere: %v, %v", inside, err)
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"busybox", "docker://a/b:1", "/path:tag@sha256:00", "oci:local/x:y", "local/x.tar", "", "@", "oci::", "./:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err == nil && (r.Path == "") == (r.Name == "") {
			t.Fatalf("%q is neither on disk nor in a registry, or both: %+v", text, r)
		}
	})
}

func TestUnusedLayersLeave(t *testing.T) {
	s := OpenStore(t.TempDir())
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	start, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	for _, layer := range []string{"used", "unused", "orphaned"} {
		if err := os.Mkdir(filepath.Join(s.LayersDir(), layer), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.LayersDir(), layer+".used"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.use(start, []string{"used"}); err != nil {
		t.Fatal(err)
	}
	if err := s.use(gone, []string{"orphaned"}); err != nil {
		t.Fatal(err)
	}
	have := func() int {
		names, err := filepath.Glob(filepath.Join(s.LayersDir(), "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if err := s.collect(time.Now()); err != nil || have() != 6 {
		t.Errorf("%d files after a moment, %v", have(), err)
	}
	if err := s.collect(time.Now().Add(unusedKept + time.Minute)); err != nil || have() != 2 {
		t.Errorf("%d files after an hour, %v", have(), err)
	}
	if err := s.Release(start); err != nil {
		t.Fatal(err)
	}
	if err := s.collect(time.Now().Add(unusedKept + time.Minute)); err != nil || have() != 0 {
		t.Errorf("%d files when nobody uses them, %v", have(), err)
	}
}
