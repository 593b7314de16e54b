package eventlog

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestCheckpoints tells when a checkpoint can be trusted, in testdata/checkpoints.txt.
func TestCheckpoints(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var fs vfs.FS = mem
	var c *Checkpoints
	report := func(problems []CheckpointProblem) string {
		var out strings.Builder
		for _, p := range problems {
			fmt.Fprintf(&out, "\npassed over %s: %v", fs.PathBase(p.Path), strings.TrimPrefix(p.Err.Error(), p.Path+": "))
		}
		return out.String()
	}
	datadriven.RunTest(t, "testdata/checkpoints.txt", func(t *testing.T, d *datadriven.TestData) string {
		var index, version uint64
		d.MaybeScanArgs(t, "index", &index)
		d.MaybeScanArgs(t, "version", &version)
		switch d.Cmd {
		case "open":
			var err error
			if c, err = OpenCheckpoints(fs, "/data/checkpoints"); err != nil {
				return err.Error()
			}
			return "ok"
		case "save": // save index= version= BODY on the next line
			meta, err := c.Save(CheckpointMeta{Index: index, Hash: Hash{byte(index)}, FoldVersion: version}, strings.NewReader(d.Input))
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf("%d bytes, sha256 %x", meta.Bytes, meta.SHA256[:4])
		case "save-announced": // a body that is not what was announced
			_, err := c.Save(CheckpointMeta{Index: index, FoldVersion: version, SHA256: Hash{1}}, strings.NewReader(d.Input))
			return err.Error()
		case "latest":
			meta, body, problems, err := c.Latest(version)
			if err != nil {
				return err.Error()
			}
			if body == nil {
				return "none" + report(problems)
			}
			defer body.Close()
			b, err := io.ReadAll(body)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf("entry %d: %s%s", meta.Index, b, report(problems))
		case "list":
			metas, problems, err := c.List()
			if err != nil {
				return err.Error()
			}
			var out []string
			for _, m := range metas {
				out = append(out, fmt.Sprintf("entry %d version %d, %d bytes", m.Index, m.FoldVersion, m.Bytes))
			}
			return strings.Join(out, "\n") + report(problems)
		case "flip", "truncate": // flip index= version= at=BYTE; truncate index= version= at=BYTE
			var at int
			d.ScanArgs(t, "at", &at)
			path := fs.PathJoin("/data/checkpoints", c.name(index, version))
			b, err := readFile(fs, path)
			if err != nil {
				return err.Error()
			}
			if d.Cmd == "flip" {
				b[at] ^= 0x40
			} else {
				b = b[:at]
			}
			f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
			if err != nil {
				return err.Error()
			}
			if _, err := f.Write(b); err != nil {
				return err.Error()
			}
			return errText(errors.Join(f.Sync(), f.Close()))
		case "power-loss":
			mem = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 1))})
			fs = mem
			return "ok"
		case "inject": // inject: the faults on the next lines, in errorfs's language
			inj, err := errorfs.ParseDSL(strings.TrimSpace(d.Input))
			if err != nil {
				return err.Error()
			}
			fs = errorfs.Wrap(mem, inj)
			c.fs = fs
			return "ok"
		case "recover":
			fs = mem
			c.fs = fs
			return "ok"
		}
		return "unknown command"
	})
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// TestCheckpointsThin saves thousands and asks that few stay, and that every age has one nearby.
func TestCheckpointsThin(t *testing.T) {
	c, err := OpenCheckpoints(vfs.NewMem(), "/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	const step, saves = 10, 600
	for i := uint64(1); i <= saves; i++ {
		if _, err := c.Save(CheckpointMeta{Index: i * step, FoldVersion: 1}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		metas, problems, err := c.List()
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		if len(metas) > checkpointsKeep+30 {
			t.Fatalf("after %d saves there are %d checkpoints", i, len(metas))
		}
		// For each age there is a checkpoint at that age or older, but not much older.
		head := i * step
		for age := uint64(step); age < head/4; age *= 2 {
			best := head
			for _, m := range metas {
				if a := head - m.Index; a >= age {
					best = min(best, a)
				}
			}
			if best > 4*age+checkpointsKeep*step {
				t.Fatalf("after %d saves the best checkpoint for age %d has age %d: %v", i, age, best, metas)
			}
		}
	}
}
