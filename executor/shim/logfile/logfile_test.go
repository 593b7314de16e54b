package logfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Read in order, the files hold what was written, less whole files at the front; no file is too long, no line is split
// without need, and however often the writer is opened again does not matter.
func TestRotation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "logfile")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		bytesMax := int64(rapid.IntRange(1, 64).Draw(t, "bytes max"))
		filesMax := rapid.IntRange(1, 4).Draw(t, "files max")
		var w *Writer
		open := func() {
			var err error
			if w, err = Open(dir, "web.stdout", bytesMax, filesMax); err != nil {
				t.Fatal(err)
			}
		}
		open()
		var written bytes.Buffer
		for range rapid.IntRange(0, 40).Draw(t, "writes") {
			if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
				w.Close()
				open()
			}
			line := strings.Repeat("x", rapid.IntRange(0, 50).Draw(t, "length"))
			if rapid.IntRange(0, 20).Draw(t, "huge") == 0 {
				line = strings.Repeat("y", OvershootBytesMax+rapid.IntRange(-100, 100).Draw(t, "more"))
			}
			if rapid.Bool().Draw(t, "newline") {
				line += "\n"
			}
			n, err := w.Write([]byte(line))
			if err != nil || n != len(line) {
				t.Fatalf("wrote %d of %d: %v", n, len(line), err)
			}
			written.WriteString(line)
		}
		w.Close()
		indexes := Indexes(dir, "web.stdout")
		if len(indexes) > filesMax {
			t.Fatalf("%d files are kept, %d wanted", len(indexes), filesMax)
		}
		var kept []byte
		for i, n := range indexes {
			if i > 0 && n != indexes[i-1]+1 {
				t.Fatalf("numbers %v have gaps", indexes)
			}
			b, err := os.ReadFile(Path(dir, "web.stdout", n))
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, b...)
			if int64(len(b)) > bytesMax+OvershootBytesMax {
				t.Fatalf("file %d has %d bytes", n, len(b))
			}
			if i == len(indexes)-1 {
				continue
			}
			if int64(len(b)) < bytesMax {
				t.Fatalf("file %d was left with %d of %d bytes", n, len(b), bytesMax)
			}
			if b[len(b)-1] != '\n' && int64(len(b)) < bytesMax+OvershootBytesMax {
				t.Fatalf("file %d splits a line after %d bytes", n, len(b))
			}
			if over := b[max(bytesMax-1, 0) : len(b)-1]; bytes.IndexByte(over, '\n') >= 0 {
				t.Fatalf("file %d goes on after the end of a line beyond its limit", n)
			}
		}
		if !bytes.HasSuffix(written.Bytes(), kept) {
			t.Fatal("the files do not hold the end of what was written")
		}
		if len(indexes) > 0 && indexes[0] == 0 && len(kept) != written.Len() {
			t.Fatalf("%d of %d bytes are there although no file was dropped", len(kept), written.Len())
		}
	})
}

// A link that the task laid where the next file is to be is replaced, not followed.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir, "web.stdout", 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.Symlink(target, Path(dir, "web.stdout", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
		t.Errorf("the link's target holds %q, %v", b, err)
	}
	if b, err := os.ReadFile(Path(dir, "web.stdout", 1)); err != nil || string(b) != "two\n" {
		t.Errorf("the second file holds %q, %v", b, err)
	}
}
