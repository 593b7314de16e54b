package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// identityFile says whose data directory this is. It is the first file written, before any other, and it is this
// server's vote for one cluster with one set of first members: a server that has voted starts no other.
const identityFile = "drover-log.json"

// Format is the newest layout of a data directory that this version reads and the one it writes.
const Format = 1

type identity struct {
	Format    int               `json:"format"`
	Cluster   string            `json:"cluster"`
	ShardID   uint64            `json:"shard_id"`
	ReplicaID uint64            `json:"replica_id"`
	Members   map[uint64]string `json:"members,omitempty"` // as voted at the first start, with the addresses of then
	Join      bool              `json:"join,omitempty"`
	// Host is part of the path under which Dragonboat keeps its files; when the machine is renamed they are moved.
	Host string `json:"host"`
	// Started is set once Raft's log and the store exist. From then on their absence is a loss, not a first start.
	Started bool `json:"started"`
}

// loadIdentity reads the identity of dir, or makes and writes that of cfg if dir is new. A directory that is not empty and
// has none is somebody else's.
func loadIdentity(cfg Config, host string) (identity, error) {
	path := cfg.FS.PathJoin(cfg.Dir, identityFile)
	id, err := readIdentity(cfg.FS, cfg.Dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := refuseForeign(cfg); err != nil {
			return identity{}, err
		}
		id = identity{
			Format: Format, Cluster: cfg.ClusterName, ShardID: cfg.ShardID, ReplicaID: cfg.ReplicaID,
			Members: cfg.Members, Join: cfg.Join, Host: host,
		}
		if cfg.Join {
			id.Members = nil
		}
		return id, writeIdentity(cfg.FS, cfg.Dir, id)
	}
	if err != nil {
		return identity{}, err
	}
	if id.Cluster != cfg.ClusterName || id.ShardID != cfg.ShardID {
		return id, &IdentityError{Path: path,
			Reason: fmt.Sprintf("the data directory belongs to cluster %q, log %d, not to cluster %q, log %d", id.Cluster, id.ShardID, cfg.ClusterName, cfg.ShardID),
			Advice: "give this server its own data directory"}
	}
	if id.ReplicaID != cfg.ReplicaID {
		return id, &IdentityError{Path: path,
			Reason: fmt.Sprintf("the data directory belongs to replica %d, this server is replica %d", id.ReplicaID, cfg.ReplicaID),
			Advice: "start it with its own replica ID, or with an empty data directory under a new one"}
	}
	if voted, asked := memberIDs(id.Members), memberIDs(cfg.Members); !id.Join && !cfg.Join && !slices.Equal(voted, asked) {
		// One that grew asks for nothing: its default is itself alone.
		if !slices.Equal(asked, []uint64{cfg.ReplicaID}) {
			return id, &IdentityError{Path: path,
				Reason: fmt.Sprintf("this server has voted for a log with replicas %v, now it is told %v", voted, asked),
				Advice: "start it with the replicas it voted for; later changes are made through the running log"}
		}
	}
	return id, nil
}

func memberIDs(m map[uint64]string) []uint64 { return slices.Sorted(maps.Keys(m)) }

func readIdentity(fs vfs.FS, dir string) (identity, error) {
	path := fs.PathJoin(dir, identityFile)
	b, err := readFile(fs, path)
	if err != nil {
		return identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	// The format is read alone first: a newer one may have changed everything else.
	var format struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &format); err != nil {
		return identity{}, &CorruptionError{Path: path, Reason: err.Error()}
	}
	if format.Format > Format || format.Format < 1 {
		return identity{}, &IdentityError{Path: path,
			Reason: fmt.Sprintf("the data directory has format %d, this version reads up to %d", format.Format, Format),
			Advice: "start it with the version that wrote it, or a newer one"}
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, &CorruptionError{Path: path, Reason: err.Error()}
	}
	return id, nil
}

func writeIdentity(fs vfs.FS, dir string, id identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFileAtomic(fs, dir, identityFile, append(b, '\n'))
}

// refuseForeign refuses a directory that holds files of something else.
func refuseForeign(cfg Config) error {
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return fmt.Errorf("list data directory %s: %w", cfg.Dir, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == lockFile || strings.HasPrefix(n, identityFile) })
	if len(names) > 0 {
		slices.Sort(names)
		return &IdentityError{Path: cfg.Dir,
			Reason: fmt.Sprintf("the directory is not empty (%s, ...) and has no %s, so it is not a data directory of this program", names[0], identityFile),
			Advice: "give an empty or a new directory"}
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// writeFileAtomic replaces dir/name: after a crash the file is either the old or the new one, whole.
func writeFileAtomic(fs vfs.FS, dir, name string, data []byte) error {
	tmp := fs.PathJoin(dir, name+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", tmp, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, name)); err != nil {
		return fmt.Errorf("rename %s: %w", tmp, err)
	}
	return syncDir(fs, dir)
}

// makeDir creates dir and what is missing above it, so that it is still there after a loss of power.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir && parent != "." {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
