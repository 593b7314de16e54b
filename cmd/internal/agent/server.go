package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"drover/cmd/internal/agentconfig"
	"drover/commands"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/api"
	"drover/projections/rest"
	"drover/scheduler"
)

// replicaID of the one server that this version knows how to start.
const replicaID = 1

// server is the part of an agent that takes part in the cluster's decisions.
type server struct {
	cfg       agentconfig.Config
	version   string
	logger    *slog.Logger
	log       *eventlog.Log
	bridge    logBridge
	store     *projections.Store
	committer *commands.Committer
	files     *eventlog.Checkpoints
	reads     *api.API
	writes    *commands.HTTP
	metrics   *metrics
	workers   *scheduler.Workers
	// configured is what the files said last of the workers; reload's own.
	configured scheduler.Lineup

	// beats keeps the heartbeat deadlines while this server commits; nil else.
	beats atomic.Pointer[scheduler.Heartbeats]
	// collector collects garbage while this server commits; nil else.
	collector atomic.Pointer[scheduler.Collector]
}

// openServer opens the log and makes the parts; nothing runs yet.
func openServer(cfg agentconfig.Config, version string, logger *slog.Logger, facts api.Agent) (_ *server, err error) {
	s := &server{cfg: cfg, version: version, logger: logger, metrics: newMetrics()}
	s.log, err = eventlog.Open(eventlog.Config{
		Dir: filepath.Join(cfg.DataDir, "server"), ClusterName: cfg.Region, ReplicaID: replicaID,
		RaftAddress: cfg.Advertise.Raft, ListenAddress: cfg.Bind.Raft, Logger: named(logger, "eventlog"),
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.log.Close())
		}
	}()
	s.bridge = logBridge{s.log}
	if s.files, err = s.log.Checkpoints(); err != nil {
		return nil, err
	}
	state, err := latestCheckpoint(s.files, named(logger, "checkpoint"))
	if err != nil {
		return nil, err
	}
	if head := s.log.Head(); state.Index() > head.Index {
		// Raft has acknowledged records that its log still has to hand to the store.
		ctx, cancel := context.WithTimeout(context.Background(), appendPatience)
		defer cancel()
		if _, err := s.log.Barrier(ctx); err != nil {
			return nil, fmt.Errorf("the newest checkpoint is at record %d, the log ends at %d: %w", state.Index(), head.Index, err)
		}
	}
	s.store = projections.NewStore(state)
	s.metrics.state, s.metrics.gauges = s.store.Snapshot, s.gauges
	s.committer = commands.NewCommitter(commands.CommitterConfig{
		Log: s.bridge, Store: s.store, Now: time.Now,
		ServerName: cfg.Name + "." + cfg.Region, Version: version, ReplicaID: replicaID,
		Region: cfg.Region, ClusterID: newID, Scheduler: schedulerOf(&cfg.Server.Scheduler), Logger: named(logger, "committer"),
		Hooks: commands.CommitterHooks{Leading: s.leading, Resting: s.resting, Appended: s.metrics.appended},
	})
	s.workers = &scheduler.Workers{
		Source: s.committer.Tip(), Committer: measuredPlans{planCommitter{s.committer, s.cfg.Name}, s.metrics},
		Count: s.cfg.Server.NumSchedulers, Types: s.cfg.Server.EnabledSchedulers, Log: named(s.logger, "scheduler"), Decided: s.metrics.decided, Overtaken: s.metrics.overtaken,
	}
	s.configured = s.workers.Lineup()
	if cfg.Live != nil {
		cfg.Live.OnReload(s.reload)
	}
	return s, s.makeHandlers(facts)
}

// reload takes on what of a configuration that was read again can change in a server that runs: its workers. What was set
// by command stays unless the files say something else than before.
func (s *server) reload(cfg agentconfig.Config) error {
	now := scheduler.Lineup{Count: cfg.Server.NumSchedulers, Types: cfg.Server.EnabledSchedulers}
	if now.Count == s.configured.Count && slices.Equal(now.Types, s.configured.Types) {
		return nil
	}
	if err := s.workers.Arrange(now); err != nil {
		return err
	}
	s.configured = now
	return nil
}

// schedulerOf is a new cluster's first configuration.
func schedulerOf(c *agentconfig.Scheduler) event.SchedulerConfigured {
	return event.SchedulerConfigured{
		Algorithm: c.Algorithm, MemoryOversubscribed: c.MemoryOversubscribed, RejectJobs: c.RejectJobs, PauseEvaluations: c.Pause,
		NodeLimit: c.NodeLimit, PreemptSystem: c.PreemptSystem, PreemptSysBatch: c.PreemptSysBatch,
		PreemptBatch: c.PreemptBatch, PreemptService: c.PreemptService,
	}
}

func newID() event.ID { return event.ID(uuid.New()) }

func (s *server) makeHandlers(facts api.Agent) (err error) {
	s.reads, err = api.New(api.Config{
		Store: s.store, Region: s.cfg.Region,
		Barrier: func(ctx context.Context) (uint64, error) {
			// While this server commits, and no other can (it is the only one that
			// starts its log), whatever was
			// acknowledged has been published before.
			if s.beats.Load() != nil {
				return s.store.Snapshot().Index(), nil
			}
			head, err := s.log.Barrier(ctx)
			return head.Index, err
		},
		Contact: func() (time.Duration, bool) { return 0, s.log.Leadership().LeaderID != 0 },
		OpenLog: s.bridge.Tail,
		Verify:  s.verify,
		Agent:   facts,
	})
	if err != nil {
		return err
	}
	s.writes, err = commands.NewHTTP(commands.HTTPConfig{
		Do: s.committer.Do, Store: s.store, Region: s.cfg.Region, Beat: s.beat, NewID: newID,
		Collect: s.collect, Foresee: foresee,
	})
	return err
}

// foresee is the scheduler for plans that nobody records.
func foresee(state *projections.State, eval *event.Evaluation) (commands.Foresight, error) {
	if !scheduler.Supports(eval.Type) {
		return commands.Foresight{}, fmt.Errorf("nothing places jobs of type %q in this version of Drover", eval.Type)
	}
	plan, updates := scheduler.Foresee(state, eval)
	return commands.Foresight{Plan: plan, Updates: updates}, nil
}

func (s *server) verify(ctx context.Context, progress func(done, total uint64)) (api.Verified, error) {
	r, err := s.log.Verify(ctx, progress)
	return verified(r), err
}

// verified says what a walk of the log found in the words of the API.
func verified(r eventlog.VerifyResult) api.Verified {
	v := api.Verified{Records: r.Entries, Index: r.Head.Index, Hash: event.Hash(r.Head.Hash)}
	if r.Bad != nil {
		v.BadIndex, v.Reason = r.Bad.Index, r.Bad.Reason
	}
	return v
}

func (s *server) beat(node event.ID) (time.Duration, error) {
	beats := s.beats.Load()
	if beats == nil {
		return 0, commands.ErrNoLeader
	}
	return beats.Beat(node, time.Now()), nil
}

// collect has all leave the state that may, however young it is.
func (s *server) collect(ctx context.Context) error {
	collector := s.collector.Load()
	if collector == nil {
		return commands.ErrNoLeader
	}
	return collector.Sweep(ctx, true)
}

// register adds the server's routes; the ones of node agents are served to
// agents and servers only.
func (s *server) register(public, internal *rest.Router, facts *facts) {
	for _, rt := range []*rest.Router{public, internal} {
		s.reads.Register(rt)
		s.writes.Register(rt)
		facts.registerOperator(rt)
	}
	s.reads.RegisterNodeAgent(internal)
	s.writes.RegisterNodeAgent(internal)
}

// run sets everything going and returns when ctx has ended and all has stopped,
// or with the error that ended it.
func (s *server) run(ctx context.Context) error {
	g := newGroup(ctx)
	g.run("committer", s.committer.Run)
	g.run("fold", func(ctx context.Context) error { return projections.Follow(ctx, s.store, s.bridge.Tail) })
	g.run("scheduler", s.workers.Run)
	g.run("reactors", s.react)
	checkpoints := &checkpointer{
		store: s.store, files: s.files, record: s.committer.Do, logger: named(s.logger, "checkpoint"), server: s.cfg.Name,
	}
	g.run("checkpointer", checkpoints.run)
	g.run("log", func(ctx context.Context) error {
		select {
		case <-s.log.Failed():
			return s.log.Err()
		case <-ctx.Done():
			return nil
		}
	})
	return g.wait()
}

// close ends the log. Nothing of the server may run any more.
func (s *server) close() error { return s.log.Close() }

// leading and resting bracket an epoch of the committer. The reactors of an
// epoch see their number in the state; react follows it there.
func (s *server) leading(uint64) {
	beats, err := scheduler.NewHeartbeats(scheduler.HeartbeatConfig{
		Source: s.store, Marker: reactorCommands{s}, Epoch: s.store.Snapshot().Epoch(), Now: time.Now,
		Jitter: func(limit time.Duration) time.Duration { return rand.N(limit + 1) },
		TTLMin: s.cfg.Server.MinHeartbeatTTL, Grace: s.cfg.Server.HeartbeatGrace, Log: named(s.logger, "heartbeats"),
	})
	if err != nil {
		panic(fmt.Sprintf("heartbeats of a checked configuration: %v", err))
	}
	gc := s.cfg.Server.GC
	collector, err := scheduler.NewCollector(scheduler.CollectorConfig{
		Source: s.store, Remover: reactorCommands{s}, Epoch: s.store.Snapshot().Epoch(), Now: time.Now,
		Interval: gc.Interval, JobAge: gc.JobThreshold, EvalAge: gc.EvalThreshold, BatchEvalAge: gc.BatchEvalThreshold,
		NodeAge: gc.NodeThreshold, KeptMax: gc.KeptMax, Log: named(s.logger, "collector"),
	})
	if err != nil {
		panic(fmt.Sprintf("collector of a checked configuration: %v", err))
	}
	s.collector.Store(collector)
	s.beats.Store(beats)
}

// gauges are the metrics of what this server is doing.
func (s *server) gauges() map[string]float64 {
	g := map[string]float64{"nomad.nomad.broker.total_unacked": 0, "nomad.nomad.heartbeat.active": 0, "nomad.nomad.autopilot.healthy": 0, "nomad.nomad.autopilot.failure_tolerance": 0}
	for _, w := range s.workers.States() {
		if w.Busy {
			g["nomad.nomad.broker.total_unacked"]++
		}
	}
	if beats := s.beats.Load(); beats != nil {
		g["nomad.nomad.heartbeat.active"] = float64(beats.Watched())
	}
	if s.log.Leadership().Leader { // as the only server
		g["nomad.nomad.autopilot.healthy"] = 1
	}
	return g
}

func (s *server) resting(uint64) {
	s.beats.Store(nil)
	s.metrics.blocked.Store(0) // who leads counts them
	s.collector.Store(nil)
}

// react runs the reactors of each epoch that this server commits in.
func (s *server) react(ctx context.Context) error {
	for {
		changed := s.store.Changed()
		beats := s.beats.Load()
		if beats != nil {
			epoch := s.store.Snapshot().Epoch()
			s.reactIn(ctx, epoch, beats)
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-time.After(reactorCheck):
		case <-ctx.Done():
			return nil
		}
	}
}

// reactorCheck bounds how long a reactor of an epoch that ended goes on. Its
// commands are refused from the first moment of the next epoch on.
const reactorCheck = 250 * time.Millisecond

func (s *server) reactIn(ctx context.Context, epoch uint64, beats *scheduler.Heartbeats) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := newGroup(ctx)
	g.run("unblocker", (&scheduler.Unblocker{
		Source: s.store, Waker: reactorCommands{s}, Epoch: epoch, Log: named(s.logger, "unblocker"), Looked: s.metrics.looked,
	}).Run)
	g.run("heartbeats", beats.Run)
	if collector := s.collector.Load(); collector != nil {
		g.run("collector", collector.Run)
	}
	g.run("epoch", func(ctx context.Context) error {
		ticker := time.NewTicker(reactorCheck)
		defer ticker.Stop()
		for s.beats.Load() == beats {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
		}
		cancel()
		return nil
	})
	if err := g.wait(); err != nil && ctx.Err() == nil {
		s.logger.Error("a reactor ended", "error", err)
	}
}

// reactorCommands shows the committer to the reactors.
type reactorCommands struct{ s *server }

func (r reactorCommands) do(ctx context.Context, epoch uint64, name string, body commands.Body) (commands.Result, error) {
	return r.s.committer.Do(ctx, commands.Command{
		ID: newID(), Epoch: epoch, Body: body, Caller: event.Caller{Kind: event.CallerReactor, Name: name},
	})
}

// MarkDown declares as many of the nodes down, in their order, as fit into one
// append. Who asks for more asks again, about those that are silent still.
func (r reactorCommands) MarkDown(ctx context.Context, epoch uint64, nodes []event.ID, reason string) error {
	result, err := r.do(ctx, epoch, "heartbeats", commands.MarkNodesDown{IDs: nodes, Reason: reason})
	var down []event.ID
	for _, record := range result.Records {
		if e, ok := record.Event.(*event.NodeStatusChanged); ok {
			down = append(down, e.NodeID)
		}
	}
	for err == nil && len(down) == 1 && len(result.Records) > 1 {
		result, err = r.do(ctx, epoch, "heartbeats", commands.MarkNodesDown{IDs: down, Again: true})
	}
	return err
}

func (r reactorCommands) Unblock(ctx context.Context, epoch uint64, evals []event.ID) error {
	_, err := r.do(ctx, epoch, "unblocker", commands.UnblockEvaluations{IDs: evals})
	return err
}

func (r reactorCommands) Collect(ctx context.Context, epoch uint64, proposed *event.Collected) error {
	_, err := r.do(ctx, epoch, "collector", commands.Collect{Proposed: proposed})
	return err
}

// facts about the wait for a first leader, for the start of the agent.
func (s *server) awaitServing(ctx context.Context) error {
	for s.beats.Load() == nil {
		changed := s.store.Changed()
		if s.beats.Load() != nil {
			break
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
