package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says which replica of which log to open, and where.
type Config struct {
	// Dir is the data directory. It is created if it does not exist and belongs to one replica alone.
	Dir string
	// ClusterName tells clusters apart: a directory or a peer of another cluster is refused. Required.
	ClusterName string
	// ShardID names the log within the cluster; 0 means 1.
	ShardID uint64
	// ReplicaID names this server within the log, from 1. A server that lost its disk needs a new one.
	ReplicaID uint64
	// RaftAddress is the host:port at which other replicas reach this one. Port 0 takes any free port, which only makes
	// sense for a single replica.
	RaftAddress string
	// ListenAddress is the host:port to listen on; empty means RaftAddress.
	ListenAddress string
	// Members are the addresses of the replicas that start the log together, by replica ID, this one among them. Empty
	// means this one alone, or what was decided at the first start. After the first start the IDs cannot
	// change here, the addresses may.
	Members map[uint64]string
	// Join says that this replica was added to a running log by its leader: it starts empty and receives the log.
	Join bool
	// RTTMillisecond is the tick of Raft's clock, in ms; 0 chooses one that is long enough for a busy network, and that
	// costs an idle server little: each tick passes through half a dozen goroutines, and every 20 ms that was 4 % of a core.
	RTTMillisecond uint64
	// ElectionTicks is how many ticks without a leader start an election (one to two times it, at random); 0 chooses: few
	// for a single replica, which waits for nobody, by the members of the first start: a log that has grown since needs both set.
	ElectionTicks uint64
	// DiskReserveBytes is the free space below which appends are refused, because Raft's log cannot survive a failed
	// write. 0 means 128 MiB.
	DiskReserveBytes uint64
	// FS is the file system of our own store; nil means the operating system's. Raft's own log always
	// uses the operating system's.
	FS vfs.FS
	// Logger receives one line per transition; nil discards. Dragonboat has one logger per process, so its lines go
	// to the logger of the log opened last.
	Logger *slog.Logger
	// Hooks are called with durations and counts, for metrics. Nil functions are not called.
	Hooks Hooks

	// snapshotEvery and cutAfter override snapshotEntries and the limit of Raft's log in tests.
	snapshotEvery uint64
	cutAfter      int
}

// Hooks report what the log did. They are called on the log's own goroutines and must return at once.
type Hooks struct {
	// OnAppend is called after each append with its duration, entries and bytes, and its error.
	OnAppend func(d time.Duration, entries, bytes int, err error)
	// OnApply is called after each batch that was written to the store.
	OnApply func(d time.Duration, head Position)
	// OnBarrier is called after each read-index round.
	OnBarrier func(d time.Duration, err error)
	// OnSync is called after each fsync of the store.
	OnSync func(d time.Duration, err error)
	// OnLeadership is called after each change of leader or term.
	OnLeadership func(Leadership)
}

// withDefaults returns the configuration with every zero that has a meaning replaced by it.
func (c Config) withDefaults() Config {
	if c.ShardID == 0 {
		c.ShardID = 1
	}
	if len(c.Members) == 0 && !c.Join {
		c.Members = map[uint64]string{c.ReplicaID: c.RaftAddress}
	}
	if c.DiskReserveBytes == 0 {
		c.DiskReserveBytes = 128 << 20
	}
	if c.snapshotEvery == 0 {
		c.snapshotEvery = snapshotEntries
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = discardLogger
	}
	if c.ListenAddress == "" {
		c.ListenAddress = c.RaftAddress
	}
	return c
}

// withTiming fills in the clock of Raft and the length of its log. A single replica waits for nobody, so it may elect itself
// at once, within 150 to 300 ms.
func (c Config) withTiming(single bool) Config {
	if c.RTTMillisecond == 0 {
		c.RTTMillisecond = 50
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 20
		if single {
			c.ElectionTicks = 3
		}
	}
	if c.cutAfter == 0 {
		c.cutAfter = raftLogBytesMax
		if single {
			c.cutAfter = raftLogBytesMaxSingle
		}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("open log: no data directory given")
	case c.ClusterName == "":
		return errors.New("open log: no cluster name given")
	case strings.ContainsAny(c.ClusterName, "\x00\n"):
		return fmt.Errorf("open log: cluster name %q contains a control character", c.ClusterName)
	case c.ReplicaID == 0:
		return errors.New("open log: replica ID must be 1 or more")
	case c.Join && len(c.Members) > 0 && c.Members[c.ReplicaID] == "":
		return nil // the addresses of the others, known beforehand
	}
	for id, addr := range c.Members {
		if id == 0 {
			return errors.New("open log: a member has replica ID 0")
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("open log: address of member %d: %w", id, err)
		}
	}
	if _, ok := c.Members[c.ReplicaID]; !ok && !c.Join {
		return fmt.Errorf("open log: replica %d is not among the members", c.ReplicaID)
	}
	if _, _, err := net.SplitHostPort(c.RaftAddress); err != nil {
		return fmt.Errorf("open log: raft address: %w", err)
	}
	if c.ElectionTicks > 0 && c.ElectionTicks < 3 {
		return fmt.Errorf("open log: election ticks are %d, must be 3 or more", c.ElectionTicks)
	}
	return nil
}

var discardLogger = slog.New(slog.DiscardHandler)
