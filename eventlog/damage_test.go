package eventlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestDamage tells what a server says when its directory is not what it left, in testdata/damage and testdata/faults.
// Each file is one directory of one replica.
func TestDamage(t *testing.T) {
	for _, dir := range []string{"damage", "faults"} {
		datadriven.Walk(t, filepath.Join("testdata", dir), func(t *testing.T, path string) {
			b := &bench{dir: filepath.Join(t.TempDir(), "data")}
			b.cfg = testConfig(t, b.dir)
			t.Cleanup(func() {
				if b.log != nil {
					b.log.Close()
				}
			})
			datadriven.RunTest(t, path, b.run)
		})
	}
}

// bench is a replica on the workbench: opened, closed, and tampered with in between.
type bench struct {
	dir string
	cfg Config
	log *Log
	mem *vfs.MemFS // the store's disk, for faults; else the real one

	acked uint64 // the last entry acknowledged before a write failed
}

var volatile = regexp.MustCompile(`\d{6}\.(sst|log)|MANIFEST-\d+|127\.0\.0\.1:\d+|has \d+ bytes|append after \d+/[0-9a-f]+|file \d+: block .* != [0-9a-f]+`)

// say makes a message the same on every run.
func (b *bench) say(err error) string {
	if err == nil {
		return "ok"
	}
	kind := ""
	var bad *CorruptionError
	var id *IdentityError
	switch {
	case errors.As(err, &bad):
		kind = "corruption: "
	case errors.As(err, &id):
		kind = "identity: "
	}
	text := strings.ReplaceAll(err.Error(), b.dir, "DIR")
	text, _, _ = strings.Cut(text, "\n")
	return kind + volatile.ReplaceAllString(text, "#")
}

func (b *bench) verified(res VerifyResult, err error) string {
	if err != nil {
		return b.say(err)
	}
	if res.Bad != nil {
		return fmt.Sprintf("good up to %d; %s", res.Head.Index, b.say(res.Bad))
	}
	if b.acked > 0 {
		return "all entries are good" // how many were written before the fault is chance
	}
	return fmt.Sprintf("all %d entries are good", res.Entries)
}

func (b *bench) open(ctx context.Context) error {
	l, err := Open(b.cfg)
	if err != nil {
		return err
	}
	b.log = l
	_, err = l.Barrier(ctx)
	return err
}

func (b *bench) run(t *testing.T, d *datadriven.TestData) string {
	ctx := testContext(t)
	var n uint64
	d.MaybeScanArgs(t, "n", &n)
	d.MaybeScanArgs(t, "entry", &n)
	if b.log == nil && slices.Contains([]string{"write", "settle", "close", "failed", "verify", "tail", "barrier"}, d.Cmd) {
		return "not open"
	}
	switch d.Cmd {
	case "open": // open [cluster=NAME] [replica=N] [members=N] [address=HOST:PORT]
		cfg := b.cfg
		var members uint64
		d.MaybeScanArgs(t, "cluster", &cfg.ClusterName)
		d.MaybeScanArgs(t, "replica", &cfg.ReplicaID)
		d.MaybeScanArgs(t, "members", &members)
		if members > 0 {
			cfg.Members = map[uint64]string{}
			for id := range members {
				cfg.Members[id+1] = freeAddress(t)
			}
			cfg.RaftAddress = cfg.Members[cfg.ReplicaID]
		}
		if d.HasArg("port-in-use") {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			cfg.RaftAddress = ln.Addr().String()
		}
		l, err := Open(cfg)
		if err != nil {
			return b.say(err)
		}
		b.log = l
		if len(cfg.Members) > 1 {
			return "ok, alone of several"
		}
		head, err := l.Barrier(ctx)
		if err != nil {
			return b.say(err)
		}
		if b.acked > 0 {
			return "ok" // how much was written before the fault is chance
		}
		return fmt.Sprintf("head %d", head.Index)

	case "write": // write n=N: appends N entries, 20 at a time
		head := b.log.Head()
		for done := uint64(0); done < n; {
			var batch [][]byte
			for ; done < n && len(batch) < 20; done++ {
				batch = append(batch, fmt.Appendf(nil, "this is what entry %d says", head.Index+uint64(len(batch))+1))
			}
			before := head.Index
			var err error
			if head, err = b.log.Append(ctx, head, batch); err != nil {
				b.acked = before
				if errors.Is(err, ErrUnknownOutcome) {
					return "unknown outcome: " + b.say(errors.New(err.Error()))
				}
				return b.say(err)
			}
		}
		return fmt.Sprintf("head %d", head.Index)

	case "settle": // settle: the store's own log is turned into its final files
		return b.say(b.log.store.guard(b.log.store.db.Flush))

	case "close":
		err := b.log.Close()
		b.log = nil
		return b.say(err)

	case "failed": // failed: waits until the log says that it cannot go on
		select {
		case <-b.log.Failed():
			return b.say(b.log.Err())
		case <-ctx.Done():
			return "it goes on"
		}

	case "abandon": // abandon: the process ends; what the disk has is what was synced
		if b.log != nil {
			b.log.Close()
			b.log = nil
		}
		b.mem = b.mem.CrashClone(vfs.CrashCloneCfg{})
		b.cfg.FS = b.mem
		return "ok"

	case "at-least-acknowledged": // after a failed write and a restart
		if head := b.log.Head(); head.Index < b.acked || b.acked == 0 {
			return fmt.Sprintf("acknowledged up to %d, now there are %d", b.acked, head.Index)
		}
		return "ok"

	case "barrier":
		_, err := b.log.Barrier(ctx)
		return b.say(err)

	case "verify":
		return b.verified(b.log.Verify(ctx, nil))

	case "verify-dir":
		return b.verified(VerifyDir(ctx, b.dir, nil))

	case "tail": // tail entry=N: reads from there until it cannot
		r := b.log.Tail(n)
		defer r.Close()
		var last uint64
		for last < b.log.Head().Index {
			entries, err := r.Next(ctx)
			if err != nil && b.acked > 0 {
				return b.say(err)
			}
			if err != nil {
				return fmt.Sprintf("read up to %d; %s", last, b.say(err))
			}
			last = entries[len(entries)-1].Index
		}
		return fmt.Sprintf("read up to %d", last)

	case "forge": // forge entry=N DATA: what a tamperer with the right tools does: the record changes, all checksums are right
		db, err := pebble.Open(filepath.Join(b.dir, storeDir), &pebble.Options{Logger: quiet{}, FormatMajorVersion: storeFormat})
		if err != nil {
			return b.say(err)
		}
		defer db.Close()
		v, closer, err := db.Get(recordKey(n))
		if err != nil {
			return b.say(err)
		}
		forged := append(slices.Clone(v[:len(Hash{})]), d.Input...)
		closer.Close()
		return b.say(errors.Join(db.Set(recordKey(n), forged, pebble.Sync), db.Flush()))

	case "drop": // drop entry=N: the record is gone
		db, err := pebble.Open(filepath.Join(b.dir, storeDir), &pebble.Options{Logger: quiet{}, FormatMajorVersion: storeFormat})
		if err != nil {
			return b.say(err)
		}
		defer db.Close()
		return b.say(db.Delete(recordKey(n), pebble.Sync))

	case "flip": // flip file=GLOB text=WORDS | part=PERCENT: one bit of a file
		var glob, text string
		var part int
		d.ScanArgs(t, "file", &glob)
		d.MaybeScanArgs(t, "text", &text)
		d.MaybeScanArgs(t, "part", &part)
		return b.flip(glob, strings.ReplaceAll(text, "_", " "), part)

	case "remove": // remove path=NAME
		var name string
		d.ScanArgs(t, "path", &name)
		return b.say(os.RemoveAll(filepath.Join(b.dir, name)))

	case "put": // put path=NAME: with the text below
		var name string
		d.ScanArgs(t, "path", &name)
		if err := os.MkdirAll(b.dir, 0o755); err != nil {
			return b.say(err)
		}
		return b.say(os.WriteFile(filepath.Join(b.dir, name), []byte(d.Input), 0o644))

	case "save-aside", "bring-back": // a copy of a part of the directory, kept and brought back later
		var name string
		d.ScanArgs(t, "path", &name)
		from, to := filepath.Join(b.dir, name), filepath.Join(filepath.Dir(b.dir), "aside-"+name)
		if d.Cmd == "bring-back" {
			from, to = to, from
		}
		return b.say(errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))))

	case "tear": // tear: a record that was being written to Raft's log when the power went: its blocks are there, the first is wrong
		path, err := openEndedLog(filepath.Dir(globOne(t, filepath.Join(b.dir, raftDir, "*", "*", "tandb", "*", "CURRENT"))))
		if err != nil || path == "" {
			return fmt.Sprintf("no log that was not closed: %v", err)
		}
		c, err := os.ReadFile(path)
		if err != nil {
			return b.say(err)
		}
		torn := append([]byte{1, 2, 3, 4, 200, 0, tanFull}, make([]byte, 200)...)
		if d.HasArg("followed") { // by a good record: then it is not the last one that is damaged
			i := bytes.LastIndex(c, []byte("this is what entry"))
			c[i] ^= 1
			torn = []byte{0, 0, 0, 0, 4, 0, tanFull, 'g', 'o', 'o', 'd'}
			binary.LittleEndian.PutUint32(torn, uint32(xxhash.Sum64(torn[6:])))
		}
		return b.say(os.WriteFile(path, append(c, torn...), 0o644))

	case "rename-host": // rename-host: as if the machine had had another name until now
		id, err := readIdentity(vfs.Default, b.dir)
		if err != nil {
			return b.say(err)
		}
		raft := filepath.Join(b.dir, raftDir)
		err = os.Rename(filepath.Join(raft, id.Host), filepath.Join(raft, "old-name"))
		id.Host = "old-name"
		return b.say(errors.Join(err, writeIdentity(vfs.Default, b.dir, id)))

	case "faulty-disk": // faulty-disk: from now on the store is on a disk in memory
		b.mem = vfs.NewCrashableMem()
		b.cfg.FS = b.mem
		return "ok"

	case "inject": // inject: the faults below, in errorfs's language, from now on, for what is opened next
		inj, err := errorfs.ParseDSL(strings.ReplaceAll(strings.TrimSpace(d.Input), "DIR", b.dir))
		if err != nil {
			return err.Error()
		}
		toggle := &errorfs.Toggle{Injector: inj}
		if d.HasArg("at-once") {
			toggle.On()
		}
		b.cfg.FS = errorfs.Wrap(b.mem, toggle)
		if err := b.open(ctx); err != nil {
			return b.say(err)
		}
		toggle.On()
		return "ok"

	case "reserve": // reserve mb=N: the free space to keep
		var mb uint64
		d.ScanArgs(t, "mb", &mb)
		b.cfg.DiskReserveBytes = mb << 20
		return "ok"
	}
	d.Fatalf(t, "unknown command")
	return ""
}

func globOne(t *testing.T, pattern string) string {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// flip changes one bit, in the first file that matches and contains the text, or at a part of the largest that matches.
func (b *bench) flip(glob, text string, part int) string {
	files, err := filepath.Glob(filepath.Join(b.dir, glob))
	if err != nil {
		return b.say(err)
	}
	var path string
	var content []byte
	at := -1
	for _, f := range files {
		c, err := os.ReadFile(f)
		if err != nil {
			return b.say(err)
		}
		if text == "" && len(c) > len(content) {
			path, content, at = f, c, len(c)*part/100
		}
		if i := bytes.LastIndex(c, []byte(text)); text != "" && i >= 0 {
			path, content, at = f, c, i
		}
	}
	if at < 0 {
		return fmt.Sprintf("nothing like that in %d files", len(files))
	}
	content[at] ^= 0x10
	return b.say(os.WriteFile(path, content, 0o644))
}

// TestFullDiskIsNoDamage: Dragonboat reports both alike, but only one of them ends by making room.
func TestFullDiskIsNoDamage(t *testing.T) {
	cfg := Config{Dir: "/d"}
	for _, reason := range []any{
		fmt.Errorf("raft dragonboat: %w", syscall.ENOSPC), "raft dragonboat: " + syscall.ENOSPC.Error(), "bad magic",
	} {
		err := protect(cfg, func() error { panic(reason) })
		var damage *CorruptionError
		full := reason != "bad magic"
		if errors.Is(err, ErrDiskFull) != full || errors.As(err, &damage) == full {
			t.Errorf("after %v: %v", reason, err)
		}
	}
}
