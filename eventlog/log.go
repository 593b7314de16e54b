package eventlog

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/statemachine"
)

// Names inside the data directory.
const (
	lockFile  = "LOCK"
	storeDir  = "records"
	raftDir   = "raft"
	checksDir = "checkpoints"
)

// Log is one replica of the log. All methods may be called from any goroutine.
type Log struct {
	cfg     Config
	lock    interface{ Close() error }
	store   *store
	recent  *recent
	machine *machine
	lead    *leadership
	peers   *registry
	disk    diskGuard
	hostMu  sync.RWMutex // held for reading around every call of host: it must not be called while it stops
	host    *dragonboat.NodeHost
	session *client.Session

	closing  chan struct{} // closed when Close begins
	ended    chan struct{} // closed when Close begins or the replica fails: readers stop
	raftOne  sync.Once
	hostDown bool // guarded by hostMu
	closeOne sync.Once
	closeErr error
}

// Open opens the replica described by cfg, creating it at the first start, and begins to take part in the log. It returns
// when the local records can be read; whether there is a leader yet is for Leadership and Barrier to tell.
//
// It refuses, before anything is written: a directory of something else (*IdentityError), one that another process
// uses or that cannot be written, a port in use, and damaged data (*CorruptionError).
func Open(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if len(settingsFiles) > 0 {
		return nil, fmt.Errorf("open log: the working directory holds %v, which the Raft library reads and which would change the stored format; start in another directory or remove it", settingsFiles)
	}
	if err := resolvePort(&cfg); err != nil {
		return nil, err
	}
	raftLog.Store(cfg.Logger)

	l := &Log{cfg: cfg, closing: make(chan struct{}), ended: make(chan struct{})}
	if err := l.open(); err != nil {
		close(l.closing)
		l.release()
		return nil, err
	}
	go l.watch()
	return l, nil
}

// watch runs while the log is open: it cuts Raft's log when asked to, and tells the readers of the end.
func (l *Log) watch() {
	defer close(l.ended)
	for {
		select {
		case <-l.closing:
			return
		case <-l.store.failedC:
			l.cfg.Logger.Error("the log failed; this server must stop", "err", l.store.failure)
			return
		case <-l.machine.cut:
			// Refused while another cut is under way, which is as good.
			err := l.withHost(func() error {
				_, err := l.host.RequestSnapshot(l.cfg.ShardID, dragonboat.SnapshotOption{
					OverrideCompactionOverhead: true, CompactionOverhead: raftLogKeep,
				}, appendTimeout)
				return err
			})
			if err != nil {
				l.cfg.Logger.Debug("raft's log was not cut", "err", err)
			}
		}
	}
}

func (l *Log) open() error {
	cfg := l.cfg
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return fmt.Errorf("create data directory %s: %w; check its owner and permissions", cfg.Dir, err)
	}
	if _, err := readIdentity(cfg.FS, cfg.Dir); errors.Is(err, os.ErrNotExist) {
		// In what is somebody else's not even a lock is left.
		if err := refuseForeign(cfg); err != nil {
			return err
		}
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Dir, lockFile))
	if err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("data directory %s cannot be written: %w; check its owner and permissions", cfg.Dir, err)
		}
		return fmt.Errorf("data directory %s is in use by another process: %w; stop that one or give this its own directory", cfg.Dir, err)
	}
	l.lock = lock

	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	id, err := loadIdentity(cfg, host)
	if err != nil {
		return err
	}
	l.cfg = cfg.withTiming(len(id.Members) == 1 && !id.Join)
	if err := l.openStore(!id.Started); err != nil {
		return err
	}
	if err := followHostname(cfg, &id, host); err != nil {
		return err
	}
	if err := l.startRaft(id); err != nil {
		return err
	}
	if !id.Started {
		id.Started = true
		return writeIdentity(cfg.FS, cfg.Dir, id)
	}
	return nil
}

// openStore opens the records and checks their end.
func (l *Log) openStore(create bool) error {
	path := l.cfg.FS.PathJoin(l.cfg.Dir, storeDir)
	s, err := openStore(l.cfg.FS, path, create, false, l.cfg.Logger)
	if err != nil {
		return err
	}
	l.store = s
	m, err := s.meta()
	if err != nil {
		return err
	}
	if err := s.cutAfter(m.head.Index); err != nil {
		return err
	}
	if err := s.checkTail(m.head); err != nil {
		return err
	}
	l.recent = newRecent(m.head)
	l.machine = &machine{
		store: s, recent: l.recent, meta: m, closing: l.closing,
		onApply: l.cfg.Hooks.OnApply, onSync: l.cfg.Hooks.OnSync,
		cutAt: l.cfg.cutAfter, cut: make(chan struct{}, 1),
	}
	return nil
}

// followHostname moves Dragonboat's files when the machine got another name: it keeps them under the name of the host and
// refuses to start under another.
func followHostname(cfg Config, id *identity, host string) error {
	if id.Host == host {
		return nil
	}
	root := filepath.Join(cfg.Dir, raftDir)
	if err := os.Remove(filepath.Join(root, "dragonboat.ds")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("follow the host's new name: %w", err)
	}
	err := os.Rename(filepath.Join(root, id.Host), filepath.Join(root, host))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("follow the host's new name: %w", err)
	}
	cfg.Logger.Info("the host was renamed", "from", id.Host, "to", host)
	id.Host = host
	return writeIdentity(cfg.FS, cfg.Dir, *id)
}

// startRaft starts Dragonboat and this replica in it.
func (l *Log) startRaft(id identity) error {
	cfg := l.cfg
	l.lead = newLeadership(cfg.ReplicaID, cfg.Logger, cfg.Hooks.OnLeadership)
	l.peers = newRegistry(id.Members)
	for r, addr := range cfg.Members {
		l.peers.set(r, addr)
	}
	l.disk = diskGuard{path: cfg.Dir, reserve: cfg.DiskReserveBytes}
	cut, err := cutTornRaftLog(filepath.Join(cfg.Dir, raftDir))
	if err != nil {
		return fmt.Errorf("look at the end of raft's log: %w", err)
	}
	if cut != "" {
		cfg.Logger.Warn("cut a half written record from the end of raft's log", "where", cut)
	}
	var raft raftLogFactory
	err = protect(cfg, func() (err error) {
		l.host, err = dragonboat.NewNodeHost(hostConfig(cfg, l.lead, l.peers, &raft))
		return err
	})
	if err != nil {
		return fmt.Errorf("start raft in %s at %s: %w", filepath.Join(cfg.Dir, raftDir), cfg.ListenAddress, err)
	}
	err = protect(cfg, func() error {
		known := l.host.HasNodeInfo(cfg.ShardID, cfg.ReplicaID)
		if id.Started && !known {
			return &CorruptionError{Path: filepath.Join(cfg.Dir, raftDir),
				Reason: "Raft's log is missing, and with it this replica's votes; it must join again with an empty directory and a new replica ID"}
		}
		if known {
			if err := raft.check(cfg, l.machine.meta); err != nil {
				return err
			}
		}
		members := map[uint64]dragonboat.Target{}
		if !known && !id.Join {
			for r := range id.Members {
				members[r] = hostID(cfg.ClusterName, r)
			}
		}
		create := func(uint64, uint64) statemachine.IOnDiskStateMachine { return l.machine }
		return l.host.StartOnDiskReplica(members, id.Join && !known, create, replicaConfig(cfg))
	})
	if err != nil {
		return fmt.Errorf("start replica %d: %w", cfg.ReplicaID, err)
	}
	l.session = l.host.GetNoOPSession(cfg.ShardID)
	return nil
}

func hostConfig(cfg Config, lead *leadership, peers *registry, raft *raftLogFactory) config.NodeHostConfig {
	logdb := config.GetTinyMemLogDBConfig()
	// Tan keeps a buffer of this size per worker; one that is too small grows for the entry that needs it.
	logdb.KVWriteBufferSize = 1 << 20
	name := fnv.New64a()
	name.Write([]byte(cfg.ClusterName))
	return config.NodeHostConfig{
		DeploymentID:        name.Sum64() | 1, // peers of another cluster are not understood; 0 would mean "any"
		NodeHostID:          hostID(cfg.ClusterName, cfg.ReplicaID),
		NodeHostDir:         filepath.Join(cfg.Dir, raftDir),
		RTTMillisecond:      cfg.RTTMillisecond,
		RaftAddress:         cfg.RaftAddress,
		ListenAddress:       cfg.ListenAddress,
		RaftEventListener:   lead,
		MaxSendQueueSize:    raftMemoryBytesMax,
		MaxReceiveQueueSize: raftMemoryBytesMax,
		Expert: config.ExpertConfig{
			LogDBFactory:        raft,
			NodeRegistryFactory: peers,
			LogDB:               logdb,
			// One log per process needs no pools of workers. ExecShards cannot be changed later.
			Engine: config.EngineConfig{ExecShards: 1, CommitShards: 1, ApplyShards: 1, SnapshotShards: 2, CloseShards: 1},
		},
	}
}

func replicaConfig(cfg Config) config.Config {
	return config.Config{
		ShardID:            cfg.ShardID,
		ReplicaID:          cfg.ReplicaID,
		CheckQuorum:        true, // a leader that is cut off steps down
		PreVote:            true, // one that was cut off and returns does not depose a good leader
		ElectionRTT:        cfg.ElectionTicks,
		HeartbeatRTT:       max(1, cfg.ElectionTicks/10),
		SnapshotEntries:    cfg.snapshotEvery,
		CompactionOverhead: cfg.snapshotEvery / 2, // what one that was away for a moment catches up from
		MaxInMemLogSize:    raftMemoryBytesMax,
		WaitReady:          true,
	}
}

// resolvePort finds the port if it is left open, and tells a port in use before anything is written.
func resolvePort(cfg *Config) error {
	ln, err := net.Listen("tcp", cfg.ListenAddress)
	if err != nil {
		return fmt.Errorf("listen for raft on %s: %w; stop what uses the port or set another", cfg.ListenAddress, err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return err
	}
	for _, addr := range []*string{&cfg.ListenAddress, &cfg.RaftAddress} {
		if host, p, err := net.SplitHostPort(*addr); err == nil && p == "0" {
			*addr = net.JoinHostPort(host, port)
		}
	}
	if m, ok := cfg.Members[cfg.ReplicaID]; ok {
		if host, p, err := net.SplitHostPort(m); err == nil && p == "0" {
			cfg.Members = map[uint64]string{cfg.ReplicaID: net.JoinHostPort(host, port)}
		}
	}
	return nil
}

// Append puts data, in this order, right after the given position, if that is still the head, and returns the new head. A nil
// error means that the entries are committed and durable. See the errors of this package for the other outcomes; an error that is none
// of them happened before anything was sent.
func (l *Log) Append(ctx context.Context, after Position, data [][]byte) (Position, error) {
	start := time.Now()
	size := 0
	for _, d := range data {
		size += len(d)
	}
	head, err := l.append(ctx, after, data, size)
	if hook := l.cfg.Hooks.OnAppend; hook != nil {
		hook(time.Since(start), len(data), size, err)
	}
	return head, err
}

func (l *Log) append(ctx context.Context, after Position, data [][]byte, size int) (Position, error) {
	if size > AppendBytesMax || len(data) > AppendEntriesMax {
		return Position{}, fmt.Errorf("%d entries of %d bytes: %w", len(data), size, ErrTooLarge)
	}
	if len(data) == 0 {
		return Position{}, errors.New("append of no entries")
	}
	if err := l.usable(); err != nil {
		return Position{}, err
	}
	if !l.leads() {
		return Position{}, ErrNotLeader
	}
	// The head only grows, so one that has passed the position refuses it for good, without a round.
	if head := l.Head(); head.Index > after.Index || head.Index == after.Index && head.Hash != after.Hash {
		return Position{}, &StaleError{After: after, Head: head}
	}
	if err := l.disk.check(time.Now()); err != nil {
		return Position{}, err
	}
	timeout, err := timeLeft(ctx)
	if err != nil {
		return Position{}, fmt.Errorf("append after %v: %w", after, err)
	}
	cmd := appendCommand{after: after, data: data}.encode()
	var rs *dragonboat.RequestState
	err = l.withHost(func() (err error) {
		rs, err = l.host.Propose(l.session, cmd, timeout)
		return err
	})
	switch {
	case err == nil:
	case errors.Is(err, dragonboat.ErrSystemBusy):
		return Position{}, fmt.Errorf("append after %v: %w", after, ErrBusy)
	case errors.Is(err, dragonboat.ErrPayloadTooBig):
		return Position{}, fmt.Errorf("append after %v: %w", after, ErrTooLarge)
	case errors.Is(err, dragonboat.ErrShardNotReady):
		return Position{}, fmt.Errorf("append after %v: %w", after, ErrNotLeader)
	case errors.Is(err, ErrClosed), errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardNotFound), errors.Is(err, dragonboat.ErrShardClosed):
		return Position{}, fmt.Errorf("append after %v: %w", after, ErrClosed)
	default:
		return Position{}, fmt.Errorf("append after %v: %w", after, err)
	}
	select {
	case r := <-rs.ResultC():
		// A request that was answered may be used again for another, so it is not touched after Release.
		defer rs.Release()
		return appendOutcome(after, r)
	case <-ctx.Done():
		return Position{}, unknown(after, ctx.Err())
	case <-l.store.failedC:
		return Position{}, unknown(after, l.store.failure)
	case <-l.closing:
		return Position{}, unknown(after, ErrClosed)
	}
}

// unknownOutcome carries why an outcome is unknown without being that reason: an append that was under way when the
// log closed is not "certainly not written", as ErrClosed alone would say.
type unknownOutcome struct {
	after Position
	why   error
}

func (e *unknownOutcome) Error() string {
	return fmt.Sprintf("append after %v: %v: %v", e.after, ErrUnknownOutcome, e.why)
}
func (e *unknownOutcome) Unwrap() error { return ErrUnknownOutcome }

func unknown(after Position, why error) error { return &unknownOutcome{after: after, why: why} }

func appendOutcome(after Position, r dragonboat.RequestResult) (Position, error) {
	switch {
	case r.Completed():
		res := r.GetResult()
		switch res.Value {
		case resultAppended:
			return readPosition(res.Data), nil
		case resultStale:
			return Position{}, &StaleError{After: after, Head: readPosition(res.Data)}
		default:
			return Position{}, unknown(after, errors.New("this replica failed to write it"))
		}
	case r.Dropped():
		// Dropped before it reached Raft's log: there was no leader to take it.
		return Position{}, fmt.Errorf("append after %v: %w", after, ErrNotLeader)
	case r.Timeout():
		return Position{}, unknown(after, context.DeadlineExceeded)
	default:
		return Position{}, unknown(after, errors.New("the replica is being stopped"))
	}
}

// withHost calls Dragonboat, unless it is being stopped. f must not wait for long, or must give up when the log closes.
func (l *Log) withHost(f func() error) error {
	l.hostMu.RLock()
	defer l.hostMu.RUnlock()
	if l.hostDown {
		return ErrClosed
	}
	return f()
}

// leads asks Raft itself, which knows before Leadership does.
func (l *Log) leads() bool {
	leads := false
	err := l.withHost(func() error {
		leader, _, ok, err := l.host.GetLeaderID(l.cfg.ShardID)
		leads = ok && leader == l.cfg.ReplicaID
		return err
	})
	return err == nil && leads
}

// usable says why the log takes no requests, if so.
func (l *Log) usable() error {
	select {
	case <-l.closing:
		return ErrClosed
	default:
	}
	return l.Err()
}

// timeLeft is the time until the context's deadline, for Raft's own clock.
func timeLeft(ctx context.Context) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return appendTimeout, nil
	}
	// Raft's clock has coarse ticks and refuses less than one.
	return max(time.Until(deadline), time.Second), nil
}

// Head returns the newest position applied on this replica. Others may be ahead.
func (l *Log) Head() Position {
	head, _ := l.recent.newest()
	return head
}

// Barrier asks the replicas, by a read-index round, how far the log is, waits until this replica is there, and returns its head: at
// least as new as every append acknowledged anywhere before the call. It waits for a leader as long as the context allows.
func (l *Log) Barrier(ctx context.Context) (Position, error) {
	start := time.Now()
	head, err := l.barrier(ctx)
	if hook := l.cfg.Hooks.OnBarrier; hook != nil {
		hook(time.Since(start), err)
	}
	return head, err
}

func (l *Log) barrier(ctx context.Context) (Position, error) {
	tick := time.Duration(l.cfg.RTTMillisecond) * time.Millisecond
	for {
		if err := l.usable(); err != nil {
			return Position{}, err
		}
		timeout, err := timeLeft(ctx)
		if err != nil {
			return Position{}, fmt.Errorf("barrier: %w", err)
		}
		lead, changed := l.lead.get()
		var rs *dragonboat.RequestState
		err = l.withHost(func() (err error) {
			if lead.LeaderID == 0 {
				return ErrNotLeader // nobody to ask
			}
			rs, err = l.host.ReadIndex(l.cfg.ShardID, min(timeout, time.Second))
			return err
		})
		if err == nil {
			select {
			case r := <-rs.ResultC():
				done := r.Completed()
				rs.Release()
				if done {
					return l.Head(), nil
				}
			case <-ctx.Done():
				return Position{}, fmt.Errorf("barrier: %w", ctx.Err())
			case <-l.store.failedC:
				return Position{}, l.store.failure
			case <-l.closing:
				return Position{}, ErrClosed
			}
		}
		// No leader, or one that has not committed in its term yet: again when that changes, at the latest in a tick.
		select {
		case <-changed:
		case <-time.After(tick):
		case <-ctx.Done():
			return Position{}, fmt.Errorf("barrier: %w", ctx.Err())
		case <-l.closing:
			return Position{}, ErrClosed
		}
	}
}

// Leadership returns who leads, as far as this replica knows.
func (l *Log) Leadership() Leadership {
	now, _ := l.lead.get()
	return now
}

// LeadershipChanged returns a channel that is closed at the next change of Leadership. Get it first, then look.
func (l *Log) LeadershipChanged() <-chan struct{} {
	_, changed := l.lead.get()
	return changed
}

// Failed returns a channel that is closed when this replica can no longer write, because its disk failed. The process should
// end then; Err says why.
func (l *Log) Failed() <-chan struct{} { return l.store.failedC }

// Err returns why the replica failed, or nil.
func (l *Log) Err() error {
	select {
	case <-l.store.failedC:
		return l.store.failure
	default:
		return nil
	}
}

// RaftAddress returns the address at which other replicas reach this one.
func (l *Log) RaftAddress() string { return l.cfg.RaftAddress }

// SetAddress tells where another replica is reached from now on.
func (l *Log) SetAddress(replicaID uint64, addr string) { l.peers.set(replicaID, addr) }

// Close stops the replica: waiting calls return, what was acknowledged stays. It may be called more than once.
func (l *Log) Close() error {
	l.closeOne.Do(func() {
		close(l.closing)
		l.closeErr = l.release()
	})
	return l.closeErr
}

// stopRaft ends Dragonboat; nothing is applied after it.
func (l *Log) stopRaft() error {
	if l.host == nil {
		return nil
	}
	var err error
	l.raftOne.Do(func() {
		l.hostMu.Lock()
		defer l.hostMu.Unlock()
		l.hostDown = true
		err = protect(l.cfg, func() error { l.host.Close(); return nil })
	})
	return err
}

// release gives back whatever open has taken so far.
func (l *Log) release() error {
	var errs []error
	errs = append(errs, l.stopRaft())
	if l.store != nil {
		if l.Err() == nil {
			errs = append(errs, l.store.sync())
		}
		if err := l.store.close(); l.Err() == nil {
			errs = append(errs, err)
		}
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}
