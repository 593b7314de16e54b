package api

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// Headers of a node agent's stream of orders.
const (
	nodeIDHeader          = "X-Drover-Node-ID"
	nodeSecretHeader      = "X-Drover-Node-Secret"
	nodeIncarnationHeader = "X-Drover-Node-Incarnation"
)

// nodeCredentials reads the headers of a node agent.
func nodeCredentials(r *http.Request) (c event.NodeCredentials, err error) {
	bad := func(header string) error {
		return rest.Errorf(http.StatusBadRequest, "header %s is missing or malformed", header)
	}
	if c.NodeID, err = event.ParseID(r.Header.Get(nodeIDHeader)); err != nil || c.NodeID.IsZero() {
		return c, bad(nodeIDHeader)
	}
	if c.Secret, err = event.ParseID(r.Header.Get(nodeSecretHeader)); err != nil || c.Secret.IsZero() {
		return c, bad(nodeSecretHeader)
	}
	if c.Incarnation, err = strconv.ParseUint(r.Header.Get(nodeIncarnationHeader), 10, 64); err != nil {
		return c, bad(nodeIncarnationHeader)
	}
	return c, nil
}

// checkNode says whether the agent with these credentials may have the node's
// orders as of s.
func checkNode(s *projections.State, c event.NodeCredentials) error {
	n := s.Node(c.NodeID)
	if n == nil {
		return rest.Errorf(http.StatusNotFound, "node %v is not registered", c.NodeID)
	}
	hash := event.HashOf(c.Secret[:])
	if subtle.ConstantTimeCompare(hash[:], n.SecretHash[:]) != 1 {
		return rest.Errorf(http.StatusForbidden, "node %v is registered with another secret", c.NodeID)
	}
	switch {
	case c.Incarnation < n.Incarnation:
		return rest.Errorf(http.StatusConflict, "node %v is at incarnation %d; this agent is an older one, %d", c.NodeID, n.Incarnation, c.Incarnation)
	case c.Incarnation > n.Incarnation:
		return rest.Errorf(http.StatusNotFound, "incarnation %d of node %v is not registered", c.Incarnation, c.NodeID)
	}
	return nil
}

// nodeOrders streams to a node agent what it is to run, until the agent goes,
// or a newer incarnation of it registers, or the node is gone.
func (a *API) nodeOrders(w http.ResponseWriter, r *http.Request) error {
	credentials, err := nodeCredentials(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	// A registration that this server has not folded yet must not look like an
	// unknown node.
	if err := a.catchUp(ctx); err != nil {
		return rest.Errorf(http.StatusServiceUnavailable, "not ready to give orders: %v", err)
	}
	rung, silence := a.orders.listen(credentials.NodeID)
	defer silence()
	state := a.cfg.Store.Snapshot()
	if err := checkNode(state, credentials); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/cbor-seq")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)

	stream := newOrderStream(credentials.NodeID, a.cfg.RestoreIncarnation)
	control := http.NewResponseController(w)
	send := func(batch *event.OrderBatch) error { return sendAll(w, control, frame(batch)) }
	if err := send(stream.full(state)); err != nil {
		return nil // the agent is gone
	}
	heartbeat := time.NewTimer(ordersHeartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-rung:
			state = a.cfg.Store.Snapshot()
			if checkNode(state, credentials) != nil {
				return nil // the agent learns why when it asks again
			}
			batch := stream.next(state)
			if batch == nil {
				continue
			}
			if err := send(batch); err != nil {
				return nil
			}
		case <-heartbeat.C:
			if err := send(&event.OrderBatch{Generation: stream.generation(a.cfg.Store.Snapshot())}); err != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
		heartbeat.Reset(ordersHeartbeat)
	}
}

// frame is one message of the stream: its length in four bytes, then its CBOR.
func frame(batch *event.OrderBatch) []byte {
	body, err := event.Marshal(batch)
	if err != nil {
		panic("encode orders: " + err.Error())
	}
	data := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(data, uint32(len(body)))
	return append(data, body...)
}

// orderStream makes the messages of one stream out of states.
type orderStream struct {
	node        event.ID
	incarnation uint64            // of the cluster's restores
	index       uint64            // of the state that the last message was made from
	orders      uint64            // the node's OrdersIndex then
	known       map[event.ID]bool // allocations that the agent was told of
}

func newOrderStream(node event.ID, incarnation uint64) *orderStream {
	return &orderStream{node: node, incarnation: incarnation, known: make(map[event.ID]bool)}
}

func (o *orderStream) generation(s *projections.State) event.Generation {
	return event.Generation{Incarnation: o.incarnation, Index: s.Index()}
}

// full lists every allocation of the node that the state has. Those that have
// ended are listed too, so that the agent keeps their directories.
func (o *orderStream) full(s *projections.State) *event.OrderBatch {
	batch := &event.OrderBatch{Generation: o.generation(s), Full: true}
	o.fill(batch, s, 0)
	return batch
}

// next lists what changed since the last message; nil when nothing did.
func (o *orderStream) next(s *projections.State) *event.OrderBatch {
	if n := s.Node(o.node); n == nil || n.OrdersIndex <= o.orders {
		return nil
	}
	batch := &event.OrderBatch{Generation: o.generation(s)}
	seen := o.fill(batch, s, o.index)
	if seen < len(o.known) {
		for id := range o.known {
			if a := s.Allocation(id); a == nil || a.NodeID != o.node {
				batch.Gone = append(batch.Gone, id)
				delete(o.known, id)
			}
		}
		slices.SortFunc(batch.Gone, event.ID.Compare)
	}
	return batch
}

// fill adds the orders that changed after an index, and counts the node's
// allocations. A spec goes with the first order that names it; an agent may
// forget one that nothing on it uses any more, so it is sent again then.
func (o *orderStream) fill(batch *event.OrderBatch, s *projections.State, after uint64) (seen int) {
	var news []*projections.Allocation
	inUse := make(map[event.Hash]bool)
	for a := range s.AllocationsOn(o.node) {
		seen++
		if a.AllocModifyIndex > after || !o.known[a.ID] {
			news = append(news, a)
		} else if !a.Client.Terminal() {
			inUse[a.SpecHash] = true
		}
	}
	for _, a := range news {
		o.known[a.ID] = true
		batch.Orders = append(batch.Orders, newOrder(a))
		if !inUse[a.SpecHash] {
			inUse[a.SpecHash] = true
			if batch.Specs == nil {
				batch.Specs = make(map[event.Hash]*event.Job)
			}
			batch.Specs[a.SpecHash] = a.Spec.Job
		}
	}
	o.index = s.Index()
	if n := s.Node(o.node); n != nil {
		o.orders = n.OrdersIndex
	}
	return seen
}

func newOrder(a *projections.Allocation) event.Order {
	return event.Order{
		ID: a.ID, EvalID: a.EvalID, Job: a.Job, JobVersion: a.JobVersion, Spec: a.SpecHash,
		Group: a.Group, NameIndex: a.NameIndex, Desired: a.Desired, ModifyIndex: a.AllocModifyIndex,
		Ports: a.Ports(), Previous: a.Previous(), WaitFor: a.WaitFor(), CreateTime: a.CreateTime,
		ClientStatus: a.Client, KnownTerminal: a.Client.Terminal(),
	}
}

// orderBell wakes the streams of the nodes that a commit concerns, and no
// others: with thousands of nodes and thousands of commits per second, waking
// every stream at every commit would be most of the server's work. One goroutine
// reads the commits while there is any stream.
type orderBell struct {
	store *projections.Store

	mu      sync.Mutex
	streams map[event.ID]map[chan struct{}]bool
	stop    context.CancelFunc
}

// listen gets the channel that is rung when the node's orders, or its
// registration, may have changed after the call.
func (b *orderBell) listen(node event.ID) (rung <-chan struct{}, silence func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.streams) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		b.streams, b.stop = make(map[event.ID]map[chan struct{}]bool), cancel
		go b.run(ctx, b.store.Snapshot().Index())
	}
	bell := make(chan struct{}, 1)
	if b.streams[node] == nil {
		b.streams[node] = make(map[chan struct{}]bool)
	}
	b.streams[node][bell] = true
	return bell, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.streams[node], bell)
		if len(b.streams[node]) == 0 {
			delete(b.streams, node)
		}
		if len(b.streams) == 0 {
			b.stop()
		}
	}
}

func (b *orderBell) run(ctx context.Context, after uint64) {
	for {
		commits, changed := b.store.CommitsAfter(after)
		if len(commits) > 0 {
			b.ring(commits, after)
			after = commits[len(commits)-1].State.Index()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// ring wakes whom the commits concern, or everybody when commits after that
// index are missing.
func (b *orderBell) ring(commits []projections.Commit, after uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range commits {
		if len(c.Records) == 0 || c.Records[0].Index != after+1 {
			b.ringAll()
			return
		}
		after = c.State.Index()
		for _, r := range c.Records {
			all, nodes := ordersTouched(c.State, r)
			if all {
				b.ringAll()
				return
			}
			for _, node := range nodes {
				b.ringOne(node)
			}
		}
	}
}

func (b *orderBell) ringAll() {
	for node := range b.streams {
		b.ringOne(node)
	}
}

func (b *orderBell) ringOne(node event.ID) {
	for bell := range b.streams[node] {
		select {
		case bell <- struct{}{}:
		default: // it is ringing already
		}
	}
}

// ordersTouched names the nodes whose orders, or whose right to them, a record
// may have changed. A kind that is not known here may concern all.
func ordersTouched(s *projections.State, r *event.Record) (all bool, nodes []event.ID) {
	allocation := func(id event.ID) {
		if a := s.Allocation(id); a != nil {
			nodes = append(nodes, a.NodeID)
		} else {
			all = true
		}
	}
	switch e := r.Event.(type) {
	case *event.PlanCommitted:
		nodes = append(nodes, e.Nodes...)
		for i := range e.Stops {
			allocation(e.Stops[i].ID)
		}
		for _, id := range e.InPlace {
			allocation(id)
		}
	case *event.NodeRegistered:
		nodes = append(nodes, e.NodeID)
	case *event.NodeChanged, *event.NodeStatusChanged, *event.AllocationsReported:
	case *event.ClusterCreated, *event.CommitterStarted, *event.SchedulerConfigured, *event.BlobStored, *event.CheckpointTaken:
	case *event.JobSubmitted, *event.JobStopped:
	case *event.EvaluationCreated, *event.EvaluationUnblocked, *event.EvaluationEnded:
	default:
		all = true
	}
	return all, nodes
}
