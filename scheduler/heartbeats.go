package scheduler

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// NodeMarker declares nodes down. The command carries the epoch that the reactor
// was born in and is refused in any other, so a leader that slept and wakes cannot
// declare the fleet dead. Nodes that are down already are passed over.
type NodeMarker interface {
	MarkDown(ctx context.Context, epoch uint64, nodes []event.ID, reason string) error
}

// reasonHeartbeat is what a node's record says when it is declared down.
const reasonHeartbeat = "heartbeat missed"

// HeartbeatConfig says how long a node may be silent.
type HeartbeatConfig struct {
	Source Source
	Marker NodeMarker
	Epoch  uint64           // the epoch of the leadership that this reactor serves
	Now    func() time.Time // the clock, with a monotonic reading
	// Jitter draws a duration between 0 and max, so that nodes that started
	// together do not send together for ever.
	Jitter func(max time.Duration) time.Duration
	// TTLMin is the shortest time between two heartbeats of a node; 0 is 10 s.
	TTLMin time.Duration
	// Grace is how late a heartbeat may be; 0 is 10 s.
	Grace time.Duration
	Log   *slog.Logger // nil discards
}

func (c *HeartbeatConfig) validate() error {
	switch {
	case c.Source == nil || c.Marker == nil || c.Now == nil || c.Jitter == nil:
		return fmt.Errorf("heartbeats: Source, Marker, Now and Jitter are needed")
	case c.TTLMin < 0 || c.Grace < 0:
		return fmt.Errorf("heartbeats: TTLMin %v and Grace %v may not be negative", c.TTLMin, c.Grace)
	}
	if c.TTLMin == 0 {
		c.TTLMin = heartbeatTTLMin
	}
	if c.Grace == 0 {
		c.Grace = heartbeatGrace
	}
	return nil
}

// Heartbeats is the reactor that declares silent nodes down. Deadlines live in
// memory alone: heartbeats are no facts about decisions. A node that this reactor
// has not heard from since it began, or since this process stood still, has a
// full grace in which every living node would have sent.
type Heartbeats struct {
	config HeartbeatConfig

	mu      sync.Mutex
	watched map[event.ID]*watch
	queue   deadlines // the same, by deadline: a beat and an expiry cost the logarithm of the fleet
	looked  time.Time // when the deadlines were last looked at
	nodes   uint64    // index of the table of nodes that watched was last compared with
}

// watch is a node with the moment after which it is silent.
type watch struct {
	node     event.ID
	deadline time.Time
	at       int // position in the queue
}

// NewHeartbeats makes the reactor of one leadership.
func NewHeartbeats(config HeartbeatConfig) (*Heartbeats, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Heartbeats{config: config, watched: make(map[event.ID]*watch)}, nil
}

// Beat notes that a node is alive and returns when its next heartbeat is due. A
// registration and a report are signs of life too. The node goes by one answer
// and not by all of them, so a deadline only moves forward: whatever time it was
// given, it has.
func (h *Heartbeats) Beat(node event.ID, now time.Time) (ttl time.Duration) {
	ttl = h.ttl(h.config.Source.Snapshot().NodeCount())
	ttl += h.config.Jitter(ttl)
	deadline := now.Add(ttl + h.config.Grace)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch(node, deadline)
	return ttl
}

// Watched is how many nodes are waited for.
func (h *Heartbeats) Watched() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watched)
}

// ttl is the time between heartbeats before jitter: longer the more nodes there
// are, so that all of them together stay below a fixed rate.
func (h *Heartbeats) ttl(nodes int) time.Duration {
	return max(h.config.TTLMin, time.Duration(nodes)*time.Second/heartbeatsPerSecond)
}

// fullGrace is the longest time that a living node can be silent: the longest
// TTL that any leader gave it, and the lateness allowed.
func (h *Heartbeats) fullGrace(nodes int) time.Duration { return 2*h.ttl(nodes) + h.config.Grace }

// watch gives a node until the deadline, or longer if it has longer.
func (h *Heartbeats) watch(node event.ID, deadline time.Time) {
	w := h.watched[node]
	switch {
	case w == nil:
		w = &watch{node: node, deadline: deadline}
		h.watched[node] = w
		heap.Push(&h.queue, w)
	case deadline.After(w.deadline):
		w.deadline = deadline
		heap.Fix(&h.queue, w.at)
	}
}

// Run looks at the deadlines until ctx ends. What expires within a tick is
// declared down together, so that a job is looked at once for all of it.
func (h *Heartbeats) Run(ctx context.Context) error {
	ticker := time.NewTicker(heartbeatTick)
	defer ticker.Stop()
	for {
		for last := 0; ; {
			silent := h.look(h.config.Source.Snapshot(), h.config.Now())
			if len(silent) == 0 || len(silent) == last || !h.markDown(ctx, silent) {
				break
			}
			last = len(silent) // one command may not have taken all
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look lists the nodes whose time is up, by ID.
func (h *Heartbeats) look(s *projections.State, now time.Time) []event.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	paused := !h.looked.IsZero() && now.Sub(h.looked) >= pauseMin
	h.looked = now
	if paused {
		if h.config.Log != nil {
			h.config.Log.Warn("this server stood still; every node gets a full grace")
		}
		clear(h.watched)
		h.queue, h.nodes = nil, 0
	}
	// A node that came without a word to this reactor is watched too. Only when
	// a node has changed can there be one.
	if index := s.TableIndex(projections.TableNodes); index != h.nodes {
		h.nodes = index
		grace := now.Add(h.fullGrace(s.NodeCount()))
		for n := range s.Nodes() {
			if n.Status != event.NodeDown && h.watched[n.Info.ID] == nil {
				h.watch(n.Info.ID, grace)
			}
		}
	}
	var late []*watch
	var silent []event.ID
	for len(h.queue) > 0 && now.After(h.queue[0].deadline) {
		w := heap.Pop(&h.queue).(*watch)
		if n := s.Node(w.node); n == nil || n.Status == event.NodeDown {
			delete(h.watched, w.node)
			continue
		}
		late = append(late, w)
		silent = append(silent, w.node)
	}
	for _, w := range late {
		heap.Push(&h.queue, w) // until it is down, or speaks
	}
	slices.SortFunc(silent, event.ID.Compare)
	return silent
}

// markDown declares nodes down, as many as one command takes, and reports whether
// it went well. What fails is tried again at the next tick, as long as the nodes
// stay silent.
func (h *Heartbeats) markDown(ctx context.Context, nodes []event.ID) bool {
	nodes = nodes[:min(len(nodes), markDownMax)]
	err := h.config.Marker.MarkDown(ctx, h.config.Epoch, nodes, reasonHeartbeat)
	if h.config.Log != nil && ctx.Err() == nil {
		if err != nil {
			h.config.Log.Warn("silent nodes were not declared down", "count", len(nodes), "error", err)
		} else {
			h.config.Log.Info("silent nodes declared down", "count", len(nodes), "first", nodes[0])
		}
	}
	// The wait for the log was no pause of this process: heartbeats were taken
	// in meanwhile.
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = h.config.Now()
	return err == nil
}

// deadlines is a heap of nodes, the next to fall silent first.
type deadlines []*watch

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline.Before(d[j].deadline) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = i, j
}
func (d *deadlines) Push(x any) {
	w := x.(*watch)
	w.at = len(*d)
	*d = append(*d, w)
}
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
