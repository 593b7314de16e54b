package scheduler

import (
	"context"
	"fmt"
	"log/slog"
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

	mu        sync.Mutex
	deadlines map[event.ID]time.Time
	looked    time.Time // when the deadlines were last looked at
}

// NewHeartbeats makes the reactor of one leadership.
func NewHeartbeats(config HeartbeatConfig) (*Heartbeats, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Heartbeats{config: config, deadlines: make(map[event.ID]time.Time)}, nil
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
	if deadline.After(h.deadlines[node]) {
		h.deadlines[node] = deadline
	}
	return ttl
}

// ttl is the time between heartbeats before jitter: longer the more nodes there
// are, so that all of them together stay below a fixed rate.
func (h *Heartbeats) ttl(nodes int) time.Duration {
	return max(h.config.TTLMin, time.Duration(nodes)*time.Second/heartbeatsPerSecond)
}

// fullGrace is the longest time that a living node can be silent: the longest
// TTL that any leader gave it, and the lateness allowed.
func (h *Heartbeats) fullGrace(nodes int) time.Duration { return 2*h.ttl(nodes) + h.config.Grace }

// Run looks at the deadlines until ctx ends.
func (h *Heartbeats) Run(ctx context.Context) error {
	ticker := time.NewTicker(heartbeatTick)
	defer ticker.Stop()
	for {
		if silent := h.look(h.config.Source.Snapshot(), h.config.Now()); len(silent) > 0 {
			h.markDown(ctx, silent)
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
	grace := now.Add(h.fullGrace(s.NodeCount()))
	paused := !h.looked.IsZero() && now.Sub(h.looked) >= pauseMin
	h.looked = now
	if paused {
		if h.config.Log != nil {
			h.config.Log.Warn("this server stood still; every node gets a full grace")
		}
		clear(h.deadlines)
	}
	var silent []event.ID
	watched := make(map[event.ID]time.Time, s.NodeCount())
	for n := range s.Nodes() {
		if n.Status == event.NodeDown {
			continue
		}
		deadline, known := h.deadlines[n.Info.ID]
		if !known {
			deadline = grace
		}
		watched[n.Info.ID] = deadline
		if now.After(deadline) {
			silent = append(silent, n.Info.ID)
		}
	}
	h.deadlines = watched
	return silent
}

// markDown declares nodes down. What fails is tried again at the next tick, as
// long as the nodes stay silent.
func (h *Heartbeats) markDown(ctx context.Context, nodes []event.ID) {
	for len(nodes) > 0 {
		n := min(len(nodes), markDownMax)
		err := h.config.Marker.MarkDown(ctx, h.config.Epoch, nodes[:n], reasonHeartbeat)
		if h.config.Log != nil && ctx.Err() == nil {
			if err != nil {
				h.config.Log.Warn("silent nodes were not declared down", "count", len(nodes), "error", err)
			} else {
				h.config.Log.Info("nodes declared down", "count", n, "first", nodes[0])
			}
		}
		if err != nil {
			break
		}
		nodes = nodes[n:]
	}
	// The wait for the log was no pause of this process: heartbeats were taken
	// in meanwhile.
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = h.config.Now()
}
