package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// CheckpointMeta names what a checkpoint holds: the state folded up to a position by one version of the fold.
type CheckpointMeta struct {
	Index       uint64
	Hash        Hash   // the chained hash after the entry at Index
	FoldVersion uint64 // states of different versions are not comparable
	SHA256      Hash   // of the body; zero on Save: not known beforehand
	Bytes       uint64 // of the body; ignored on Save
}

// Position returns the head that the checkpoint was folded to.
func (m CheckpointMeta) Position() Position { return Position{Index: m.Index, Hash: m.Hash} }

// Checkpoints keeps checkpoints in files, each whole or not there. Checkpoints only save time: all of them can be lost and the state
// is still a fold over the log. Safe for use by several goroutines.
type Checkpoints struct {
	fs  vfs.FS
	dir string
	mu  sync.Mutex // serialises Save and thinning
}

// A checkpoint file is a line of JSON (checkpointHeader), the body, and a trailer: the SHA-256 of the body and the
// SHA-256 of all before it. The hashes come last because the body is streamed.
type checkpointHeader struct {
	Format      int    `json:"format"`
	Index       uint64 `json:"index"`
	Hash        string `json:"hash"`
	FoldVersion uint64 `json:"fold_version"`
}

const (
	checkpointFormat = 1
	checkpointSuffix = ".checkpoint"
	// checkpointTrailer is the SHA-256 of the body, then that of everything before it.
	checkpointTrailer = 2 * sha256.Size
)

// Checkpoints returns the checkpoints in the log's data directory.
func (l *Log) Checkpoints() (*Checkpoints, error) {
	return OpenCheckpoints(l.cfg.FS, l.cfg.FS.PathJoin(l.cfg.Dir, checksDir))
}

// OpenCheckpoints returns the checkpoints in dir, which is created if missing, and removes what an interrupted Save left.
// A nil fs means the operating system's.
func OpenCheckpoints(fs vfs.FS, dir string) (*Checkpoints, error) {
	if fs == nil {
		fs = vfs.Default
	}
	if err := makeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("create checkpoint directory %s: %w", dir, err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints in %s: %w", dir, err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".tmp") {
			if err := fs.Remove(fs.PathJoin(dir, n)); err != nil {
				return nil, fmt.Errorf("remove unfinished checkpoint: %w", err)
			}
		}
	}
	return &Checkpoints{fs: fs, dir: dir}, nil
}

func (c *Checkpoints) name(index, foldVersion uint64) string {
	return fmt.Sprintf("%020d-v%d%s", index, foldVersion, checkpointSuffix)
}

// Save stores a checkpoint: after a crash it is there whole or not at all. If meta.SHA256 is not zero the body must have that hash.
// It returns the meta with hash and size filled in, and then thins out older checkpoints.
func (c *Checkpoints) Save(meta CheckpointMeta, body io.Reader) (CheckpointMeta, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.name(meta.Index, meta.FoldVersion)
	saved, err := c.save(meta, body, name)
	if err != nil {
		return CheckpointMeta{}, fmt.Errorf("save checkpoint at entry %d in %s: %w", meta.Index, c.dir, err)
	}
	if err := c.thin(); err != nil {
		return saved, fmt.Errorf("thin out checkpoints in %s: %w", c.dir, err)
	}
	return saved, nil
}

func (c *Checkpoints) save(meta CheckpointMeta, body io.Reader, name string) (_ CheckpointMeta, err error) {
	tmp := c.fs.PathJoin(c.dir, name+".tmp")
	f, err := c.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return meta, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreNotExist(c.fs.Remove(tmp)))
		}
	}()
	all, sum := sha256.New(), sha256.New()
	header, err := json.Marshal(checkpointHeader{checkpointFormat, meta.Index, meta.Hash.String(), meta.FoldVersion})
	if err != nil {
		return meta, errors.Join(err, f.Close())
	}
	out := io.MultiWriter(all, f) // the file last: a vfs.File may scribble over what it was given
	_, err = out.Write(append(header, '\n'))
	if err == nil {
		var n int64
		n, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(sum, out)}, struct{ io.Reader }{body}, make([]byte, 256<<10))
		meta.Bytes = uint64(n)
	}
	got := Hash(sum.Sum(nil))
	if err == nil && meta.SHA256 != (Hash{}) && meta.SHA256 != got {
		err = fmt.Errorf("the body has SHA-256 %v, %v was announced", got, meta.SHA256)
	}
	meta.SHA256 = got
	if err == nil {
		_, err = out.Write(got[:])
	}
	if err == nil {
		_, err = f.Write(all.Sum(nil))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return meta, err
	}
	if err := c.fs.Rename(tmp, c.fs.PathJoin(c.dir, name)); err != nil {
		return meta, err
	}
	return meta, syncDir(c.fs, c.dir)
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// CheckpointProblem is a checkpoint that was passed over, and why.
type CheckpointProblem struct {
	Path string
	Err  error
}

// List returns the checkpoints whose header can be read, newest first, whatever their fold version. Bodies are not looked at.
func (c *Checkpoints) List() ([]CheckpointMeta, []CheckpointProblem, error) {
	names, err := c.names()
	if err != nil {
		return nil, nil, err
	}
	var (
		out      []CheckpointMeta
		problems []CheckpointProblem
	)
	for _, n := range names {
		path := c.fs.PathJoin(c.dir, n)
		meta, f, err := c.open(path)
		if err != nil {
			problems = append(problems, CheckpointProblem{path, err})
			continue
		}
		f.Close()
		out = append(out, meta)
	}
	return out, problems, nil
}

// names returns the file names, newest first: by index, then by fold version.
func (c *Checkpoints) names() ([]string, error) {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints in %s: %w", c.dir, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, checkpointSuffix) })
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// Latest returns the newest checkpoint of a fold version, its body checked from end to end before anything of it is handed
// out. Damaged ones are passed over and reported. Without a usable one it returns a nil reader and no error. The caller closes the
// reader.
func (c *Checkpoints) Latest(foldVersion uint64) (CheckpointMeta, io.ReadCloser, []CheckpointProblem, error) {
	return c.LatestAtOrBefore(foldVersion, ^uint64(0))
}

// LatestAtOrBefore is Latest for the state as it was at an earlier entry.
func (c *Checkpoints) LatestAtOrBefore(foldVersion, index uint64) (CheckpointMeta, io.ReadCloser, []CheckpointProblem, error) {
	names, err := c.names()
	if err != nil {
		return CheckpointMeta{}, nil, nil, err
	}
	var problems []CheckpointProblem
	for _, n := range names {
		path := c.fs.PathJoin(c.dir, n)
		meta, f, err := c.open(path)
		if err == nil && (meta.FoldVersion != foldVersion || meta.Index > index) {
			f.Close()
			continue
		}
		if err == nil {
			if err = c.check(path, f, meta); err == nil {
				body := &checkpointBody{f: f, Reader: io.LimitReader(f, int64(meta.Bytes))}
				return meta, body, problems, nil
			}
			f.Close()
		}
		problems = append(problems, CheckpointProblem{path, err})
	}
	return CheckpointMeta{}, nil, problems, nil
}

type checkpointBody struct {
	io.Reader
	f vfs.File
}

func (b *checkpointBody) Close() error { return b.f.Close() }

// open reads header and trailer; the file is left at the start of the body.
func (c *Checkpoints) open(path string) (meta CheckpointMeta, _ vfs.File, err error) {
	f, err := c.fs.Open(path)
	if err != nil {
		return meta, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return meta, nil, err
	}
	line, err := readLine(f, 1024)
	if err != nil {
		return meta, nil, &CorruptionError{Path: path, Reason: "it has no header: " + err.Error()}
	}
	var h checkpointHeader
	if err := json.Unmarshal(line, &h); err != nil {
		return meta, nil, &CorruptionError{Path: path, Reason: "its header cannot be read: " + err.Error()}
	}
	if h.Format != checkpointFormat {
		return meta, nil, &CorruptionError{Path: path, Reason: fmt.Sprintf("it has format %d, this version reads %d", h.Format, checkpointFormat)}
	}
	meta.Index, meta.FoldVersion = h.Index, h.FoldVersion
	if n, err := hex.Decode(meta.Hash[:], []byte(h.Hash)); err != nil || n != len(meta.Hash) {
		return meta, nil, &CorruptionError{Path: path, Reason: "its header has no hash"}
	}
	if filepath.Base(path) != c.name(meta.Index, meta.FoldVersion) {
		return meta, nil, &CorruptionError{Path: path, Reason: fmt.Sprintf("its header speaks of entry %d, version %d", meta.Index, meta.FoldVersion)}
	}
	body := info.Size() - int64(len(line)) - 1 - checkpointTrailer
	if body < 0 {
		return meta, nil, &CorruptionError{Path: path, Reason: "it is cut short"}
	}
	meta.Bytes = uint64(body)
	if _, err := f.ReadAt(meta.SHA256[:], info.Size()-checkpointTrailer); err != nil {
		return meta, nil, err
	}
	return meta, f, nil
}

// readLine reads up to a newline, byte by byte so that nothing after it is consumed.
func readLine(r io.Reader, limit int) ([]byte, error) {
	var line []byte
	var b [1]byte
	for len(line) < limit {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, err
		}
		if b[0] == '\n' {
			return line, nil
		}
		line = append(line, b[0])
	}
	return nil, errors.New("it is too long")
}

// check compares the whole file with its trailer.
func (c *Checkpoints) check(path string, f vfs.File, meta CheckpointMeta) error {
	all, sum := sha256.New(), sha256.New()
	size, err := fileSize(f)
	if err != nil {
		return err
	}
	start := size - checkpointTrailer - int64(meta.Bytes)
	if err := hashRange(f, all, 0, start); err != nil {
		return err
	}
	if err := hashRange(f, io.MultiWriter(all, sum), start, start+int64(meta.Bytes)); err != nil {
		return err
	}
	var trailer [checkpointTrailer]byte
	if _, err := f.ReadAt(trailer[:], size-checkpointTrailer); err != nil {
		return err
	}
	all.Write(trailer[:sha256.Size])
	if !bytes.Equal(sum.Sum(nil), trailer[:sha256.Size]) || !bytes.Equal(all.Sum(nil), trailer[sha256.Size:]) {
		return &CorruptionError{Path: path, Reason: "its contents do not match its SHA-256"}
	}
	return nil
}

func fileSize(f vfs.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func hashRange(f vfs.File, w io.Writer, from, to int64) error {
	_, err := io.Copy(w, io.NewSectionReader(f, from, to-from))
	return err
}

// thin keeps the newest checkpointsKeep, and of the older ones one in each stretch of the log, stretches growing with
// their distance from the newest: queries about the recent past are common and about the distant past patient. Of a stretch it
// keeps the oldest, because that is the one that lasts: its newest is replaced before it can grow old.
func (c *Checkpoints) thin() error {
	metas, _, err := c.List()
	if err != nil || len(metas) <= checkpointsKeep {
		return err
	}
	removed := false
	kept := map[[3]uint64]bool{}
	for _, m := range slices.Backward(metas[checkpointsKeep:]) {
		age := metas[0].Index - m.Index
		// Two stretches to each doubling: the highest bit of the age, and the one after it.
		stretch := [3]uint64{m.FoldVersion, uint64(bits.Len64(age)), age << (65 - bits.Len64(age)) >> 63}
		if !kept[stretch] {
			kept[stretch] = true
			continue
		}
		if err := c.fs.Remove(c.fs.PathJoin(c.dir, c.name(m.Index, m.FoldVersion))); err != nil {
			return err
		}
		removed = true
	}
	if removed {
		return syncDir(c.fs, c.dir)
	}
	return nil
}
