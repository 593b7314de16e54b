package api

import (
	"crypto/subtle"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
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
	bell, silence := a.bell.listen(matter{sort: ordersOfNode, id: credentials.NodeID})
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
	out := newOrderWriter(w)
	if err := out.send(frame(state, stream.whole(state))); err != nil {
		return nil // the agent is gone
	}
	heartbeat := time.NewTimer(nextHeartbeat())
	defer heartbeat.Stop()
	for {
		select {
		case <-bell.rung:
			// One plan may concern a thousand nodes. Were their streams all to run at
			// once, whoever asks for anything else would wait for all of them; so
			// they take turns, and what comes meanwhile goes into the same message.
			select {
			case a.turn <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			// First what was touched, then a state that has all of it.
			touched, lost := bell.takeOrders()
			state = a.cfg.Store.Snapshot()
			if checkNode(state, credentials) != nil {
				<-a.turn
				return nil // the agent learns why when it asks again
			}
			var message []byte
			if batch := stream.next(state, touched, lost); batch != nil {
				message = frame(state, batch)
			}
			<-a.turn
			if message == nil {
				continue
			}
			if err := out.send(message); err != nil {
				return nil
			}
		case <-heartbeat.C:
			state = a.cfg.Store.Snapshot()
			if err := out.send(frame(state, &event.OrderBatch{Generation: stream.generation(state)})); err != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
		heartbeat.Reset(nextHeartbeat())
	}
}

// nextHeartbeat is the time to the next heartbeat of a stream. Thousands of
// them are idle most of the time, and to wake up costs more than to say so; so
// those whose time comes about now go together.
func nextHeartbeat() time.Duration {
	now := time.Now()
	return now.Add(ordersHeartbeat).Truncate(heartbeatsTogether).Sub(now)
}

// frame is one message of the stream: its length in four bytes, then its CBOR.
// Specs go as the state has them encoded.
func frame(s *projections.State, batch *event.OrderBatch) []byte {
	size := 64 + len(batch.Gone)*len(event.ID{}) + len(batch.Orders)*orderBytes
	var specs map[event.Hash][]byte
	for hash := range batch.Specs {
		encoded, ok := s.Blob(hash)
		if !ok {
			panic("spec " + hash.String() + " is in use and not in the state")
		}
		if specs == nil {
			specs = make(map[event.Hash][]byte, len(batch.Specs))
		}
		specs[hash] = encoded
		size += len(encoded) + len(hash)
	}
	data := event.EncodeOrders(make([]byte, 4, size), batch, specs)
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	return data
}

// orderBytes is about what one order takes up in a message.
const orderBytes = 192

// orderWriter writes messages to an agent and gives up on one that does not read.
// It does what sendAll does without setting a deadline for each message: under
// HTTP/2 that is two turns of the connection's goroutine.
type orderWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	late    *time.Timer
}

func newOrderWriter(w http.ResponseWriter) *orderWriter {
	control := http.NewResponseController(w)
	late := time.AfterFunc(writeTimeout, func() { _ = control.SetWriteDeadline(time.Now()) })
	late.Stop()
	return &orderWriter{w, control, late}
}

func (o *orderWriter) send(message []byte) error {
	o.late.Reset(writeTimeout)
	defer o.late.Stop()
	if _, err := o.w.Write(message); err != nil {
		return err
	}
	return o.control.Flush()
}

// orderStream makes the messages of one stream out of states. It remembers
// next to nothing of what the agent was told: the state knows it, and there are
// thousands of streams.
type orderStream struct {
	node        event.ID
	incarnation uint64 // of the cluster's restores
	full        uint64 // index of the state that was listed whole
	specs       []sentSpec
}

// sentSpec is a spec that the agent has for as long as this allocation uses it
// and has not ended.
type sentSpec struct {
	spec event.Hash
	user event.ID
}

func newOrderStream(node event.ID, incarnation uint64) *orderStream {
	return &orderStream{node: node, incarnation: incarnation}
}

func (o *orderStream) generation(s *projections.State) event.Generation {
	return event.Generation{Incarnation: o.incarnation, Index: s.Index()}
}

// whole lists every allocation of the node that the state has. Those that have
// ended are listed too, so that the agent keeps their directories.
func (o *orderStream) whole(s *projections.State) *event.OrderBatch {
	batch := &event.OrderBatch{Generation: o.generation(s), Full: true}
	for a := range s.AllocationsOn(o.node) {
		o.add(batch, s, a)
	}
	o.full = s.Index()
	return batch
}

// next lists the allocations that were touched, as they are in s; nil when it has
// nothing to tell. When some were lost, everything is listed anew.
//
// s may be newer than what has been rung for: then an order comes once more when
// its turn comes, as it was or newer. To leave out what was told already one would
// have to remember it; an index does not say it, since s may hold a commit whose
// orders have yet to be rung for.
func (o *orderStream) next(s *projections.State, touched []touchedOrder, lost bool) *event.OrderBatch {
	if lost {
		return o.whole(s)
	}
	batch := &event.OrderBatch{Generation: o.generation(s)}
	listed := make(map[event.ID]bool, len(touched))
	for _, t := range touched {
		if t.at <= o.full || listed[t.allocation] {
			continue
		}
		listed[t.allocation] = true
		if a := s.Allocation(t.allocation); a == nil {
			batch.Gone = append(batch.Gone, t.allocation)
		} else {
			o.add(batch, s, a)
		}
	}
	if len(batch.Orders)+len(batch.Gone) == 0 {
		return nil
	}
	return batch
}

// add puts an order into a batch. A spec goes with the first order that names
// it; an agent may forget one that nothing on it uses any more, so it is sent
// again unless it is sure that something does.
func (o *orderStream) add(batch *event.OrderBatch, s *projections.State, a *projections.Allocation) {
	batch.Orders = append(batch.Orders, newOrder(s, a))
	// From now on the agent need not keep another spec for this allocation, even
	// if it comes back to that one some time.
	o.specs = slices.DeleteFunc(o.specs, func(sent sentSpec) bool { return sent.user == a.ID && sent.spec != a.SpecHash })
	if batch.Specs[a.SpecHash] != nil {
		return
	}
	at := slices.IndexFunc(o.specs, func(sent sentSpec) bool { return sent.spec == a.SpecHash })
	if at >= 0 {
		user := s.Allocation(o.specs[at].user)
		if user != nil && user.SpecHash == a.SpecHash && !user.Client.Terminal() {
			return
		}
		o.specs = slices.Delete(o.specs, at, at+1)
	}
	if len(o.specs) >= specsNotedMax {
		o.specs = slices.Delete(o.specs, 0, 1)
	}
	o.specs = append(o.specs, sentSpec{a.SpecHash, a.ID})
	if batch.Specs == nil {
		batch.Specs = make(map[event.Hash]*event.Job)
	}
	batch.Specs[a.SpecHash] = a.Spec.Job
}

func newOrder(s *projections.State, a *projections.Allocation) event.Order {
	return event.Order{
		ID: a.ID, EvalID: a.EvalID, Job: a.Job, JobVersion: a.JobVersion, Spec: a.SpecHash,
		Group: a.Group, NameIndex: a.NameIndex, Desired: a.Desired, ModifyIndex: a.AllocModifyIndex,
		Ports: a.Ports(), Previous: a.Previous(), WaitFor: a.WaitFor(), CreateTime: a.CreateTime,
		ClientStatus: a.Client, KnownTerminal: a.Client.Terminal(),
		MemoryOversubscribed: a.Spec.AsksMemoryMax() && s.MemoryOversubscribed(a.Spec.Job.NodePool),
		NoShutdownDelay:      a.NoShutdownDelay(),
	}
}
