package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
)

// fleet is the simulated nodes. They speak the protocol of node agents as those
// do: they register, send heartbeats, hold a stream of orders open each, and
// report back under an incarnation and a sequence number.
type fleet struct {
	nodes   []*node
	server  string // host:port of the servers' side for agents
	started time.Time

	// behave says what a node does about the orders that it has not seen yet.
	behave behaviour
	// placed is called for each order to run an allocation that its node did not
	// know, from many goroutines; at is the time since the fleet's start.
	placed func(n *node, o *order, at time.Duration) *job
	// ran is called when the servers have recorded that an allocation runs.
	ran func(a *running, at time.Duration)

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	received atomic.Int64 // orders to run allocations, each counted once
	recorded atomic.Int64 // allocations that the servers have recorded as running
	ended    atomic.Int64 // allocations that the servers have recorded as ended
	stopped  atomic.Int64 // orders to stop, each counted once
	lastEnd  atomic.Int64 // when the last of the ended was acknowledged, nanoseconds since the fleet's start
	beats    atomic.Int64 // heartbeats that were answered
	// troubled counts requests that had to be repeated and streams that broke; a
	// server that is loaded should not show it.
	troubled atomic.Int64
	// disowned counts nodes that were told to register again: the servers had
	// declared them down. Unless a shape silenced them that is an error.
	disowned    atomic.Int64
	mu          sync.Mutex
	lastTrouble string
}

// behaviour is what simulated tasks do.
type behaviour struct {
	// report: nodes say that tasks run. Otherwise they only take orders in, and
	// say when a task that they were told to stop has ended.
	report bool
	// lifetime of a task, after which it ends by itself with success; nil: it
	// runs until it is stopped.
	lifetime func(a event.ID) time.Duration
}

// running is an allocation on a node.
type running struct {
	id      event.ID
	job     *job // nil: of somebody else
	status  event.ClientStatus
	started int64 // Unix nanoseconds
	stop    bool  // was told to
}

// node is one simulated node.
type node struct {
	fleet  *fleet
	number int
	info   *event.Node
	who    event.NodeCredentials
	client *http.Client

	mu       sync.Mutex
	sequence uint64
	allocs   map[event.ID]*running
	waiting  []event.AllocDelta
	sent     *event.NodeReport // the one on its way; repeated under its number until the servers have it
	ready    bool              // the next report says so
	wake     chan struct{}
	silent   context.CancelFunc // ends all that the node does
	isReady  chan struct{}      // closed when the servers know that it is ready
	once     sync.Once
}

// newFleet makes nodes; nothing is sent yet.
func newFleet(ctx context.Context, server string, infos []*event.Node) *fleet {
	f := &fleet{server: server, started: time.Now(), placed: func(*node, *order, time.Duration) *job { return nil }, ran: func(*running, time.Duration) {}}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	var client *http.Client
	for i, info := range infos {
		if i%nodesPerConnection == 0 {
			client = newAgentClient()
		}
		n := &node{
			fleet: f, number: i, info: info, client: client, allocs: make(map[event.ID]*running), wake: make(chan struct{}, 1), isReady: make(chan struct{}),
			who: event.NodeCredentials{NodeID: info.ID, Secret: newID(), Incarnation: 1},
		}
		f.nodes = append(f.nodes, n)
	}
	return f
}

// newAgentClient makes the client of some nodes. All its requests share one
// connection of HTTP/2 in clear text.
func newAgentClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{Protocols: protocols, DialContext: dialer.DialContext, DisableCompression: true}}
}

func newID() (id event.ID) {
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// start brings all nodes up and returns when the servers know every one as
// ready.
func (f *fleet) start(ctx context.Context) error {
	slots := make(chan struct{}, registerParallel)
	for _, n := range f.nodes {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		nodeCtx, cancel := context.WithCancel(f.ctx)
		n.silent = cancel
		f.work.Go(func() { n.live(nodeCtx, func() { <-slots }) })
	}
	for _, n := range f.nodes {
		select {
		case <-n.isReady:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case <-time.After(stallPatience):
			return fmt.Errorf("node %d is not ready after %v; last trouble: %s", n.number, stallPatience, f.trouble())
		}
	}
	return nil
}

// stop ends all nodes. The servers are not told: they would notice by the
// missing heartbeats.
func (f *fleet) stop() {
	f.cancel(errFleetStopped)
	f.work.Wait()
	for i, n := range f.nodes {
		if i%nodesPerConnection == 0 {
			n.client.CloseIdleConnections()
		}
	}
}

var errFleetStopped = errors.New("the fleet was stopped")

func (f *fleet) note(what string, err error) {
	if f.ctx.Err() != nil {
		return
	}
	f.troubled.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastTrouble = what + ": " + err.Error()
}

func (f *fleet) trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastTrouble
}

// Errors that a node acts on.
var errUnknown = errors.New("the servers do not know this node")

func (n *node) request(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.fleet.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header["X-Drover-Node-Id"] = []string{n.info.ID.String()}
	req.Header["X-Drover-Node-Secret"] = []string{n.who.Secret.String()}
	req.Header["X-Drover-Node-Incarnation"] = []string{strconv.FormatUint(n.who.Incarnation, 10)}
	res, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // what came of it is all there is to say
	_ = res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s", errUnknown, text)
	}
	return nil, fmt.Errorf("%s answered %s: %s", path, res.Status, text)
}

func (n *node) call(ctx context.Context, path string, message any) (answer event.NodeAnswer, err error) {
	body, err := event.Marshal(message)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := n.request(ctx, http.MethodPost, path, body)
	if err != nil {
		return answer, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return answer, err
	}
	return answer, event.Unmarshal(data, &answer)
}

// live is the node's life: it registers, and then its heartbeats, its stream and
// its reports go on at the same time, until ctx ends. A node that the servers
// have given up registers again.
func (n *node) live(ctx context.Context, registered func()) {
	for ctx.Err() == nil {
		if !n.register(ctx) {
			return
		}
		registered()
		registered = func() {}
		life, end := context.WithCancel(ctx)
		var parts sync.WaitGroup
		parts.Go(func() { n.heartbeats(life, end) })
		parts.Go(func() { n.follow(life, end) })
		parts.Go(func() { n.report(life, end) })
		parts.Wait()
		end()
		if ctx.Err() == nil {
			n.fleet.disowned.Add(1)
		}
	}
}

// again repeats a request until it succeeds; false when ctx ended, or the node
// has to register.
func (n *node) again(ctx context.Context, what string, try func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 15*time.Second) {
		err := try()
		if err == nil || errors.Is(err, errUnknown) || ctx.Err() != nil {
			return err
		}
		n.fleet.note(fmt.Sprintf("node %d: %s", n.number, what), err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *node) register(ctx context.Context) bool {
	for {
		err := n.again(ctx, "register", func() error {
			_, err := n.call(ctx, "/v1/node-agent/register", &event.NodeRegistration{NodeCredentials: n.who, Node: n.info})
			return err
		})
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
	}
}

// heartbeats says that the node lives whenever that is due.
func (n *node) heartbeats(ctx context.Context, end func()) {
	body := &event.NodeHeartbeat{NodeCredentials: n.who}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		var answer event.NodeAnswer
		err := n.again(ctx, "heartbeat", func() (err error) {
			answer, err = n.call(ctx, "/v1/node-agent/heartbeat", body)
			return err
		})
		if err != nil || answer.Register {
			end()
			return
		}
		n.fleet.beats.Add(1)
		timer.Reset(time.Duration(answer.HeartbeatTTL))
	}
}

// buffers are shared by all streams: they are as large as the largest message,
// and a node reads one a second.
var buffers = sync.Pool{New: func() any { return new(streamBuffer) }}

type streamBuffer struct {
	data  []byte
	batch batch
}

// follow holds a stream of orders open and takes in what it says.
func (n *node) follow(ctx context.Context, end func()) {
	for ctx.Err() == nil {
		err := n.again(ctx, "stream of orders", func() error { return n.stream(ctx) })
		if errors.Is(err, errUnknown) {
			end()
			return
		}
	}
}

func (n *node) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(streamSilenceMax, cancel)
	defer silence.Stop()
	res, err := n.request(ctx, http.MethodGet, "/v1/node-agent/orders", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var head [1]byte
	for {
		// Wait without holding a buffer: nearly all streams are idle at a time.
		if _, err := io.ReadFull(res.Body, head[:]); err != nil {
			return fmt.Errorf("read orders: %w", err)
		}
		silence.Reset(streamSilenceMax)
		b := buffers.Get().(*streamBuffer)
		b.data, err = readFrame(io.MultiReader(bytes.NewReader(head[:]), res.Body), b.data)
		if err == nil {
			err = decodeOrders(b.data, &b.batch)
		}
		if err == nil {
			n.take(&b.batch, time.Since(n.fleet.started))
		}
		buffers.Put(b)
		if err != nil {
			return err
		}
	}
}

// take does what a message says.
func (n *node) take(b *batch, at time.Duration) {
	f := n.fleet
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range b.Orders {
		o := &b.Orders[i]
		known := n.allocs[o.ID]
		switch {
		case o.Desired == event.DesiredRun && known == nil && !o.Client.Terminal():
			a := &running{id: o.ID, status: event.ClientPending}
			n.allocs[o.ID] = a
			f.received.Add(1)
			a.job = f.placed(n, o, at)
			if f.behave.report {
				n.runs(a)
			}
		case o.Desired != event.DesiredRun && known != nil && !known.stop:
			known.stop = true
			f.stopped.Add(1)
			n.ends(known, event.TaskKilled)
		}
	}
	for _, id := range b.Gone {
		delete(n.allocs, id)
	}
	if b.Full {
		n.ready = true
	}
	n.ring()
}

// ring wakes the reporter when there is something to say.
func (n *node) ring() {
	if len(n.waiting) > 0 || n.ready || n.sent != nil {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// task is the name of the one task of every group that the shapes submit.
const task = "task"

// runs says of an allocation what a node agent says once its task has started.
func (n *node) runs(a *running) {
	now := time.Now().UnixNano()
	a.status, a.started = event.ClientRunning, now
	n.waiting = append(n.waiting, event.AllocDelta{ID: a.id, Client: event.ClientRunning, Tasks: map[string]*event.TaskState{task: {
		State: event.TaskRunning, StartedAt: event.Stamp(now),
		Events: []event.TaskEvent{{Type: event.TaskReceived, Time: now - 2}, {Type: event.TaskSetup, Time: now - 1}, {Type: event.TaskStarted, Time: now}},
	}}})
	if f := n.fleet; f.behave.lifetime != nil {
		time.AfterFunc(f.behave.lifetime(a.id), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if f.ctx.Err() == nil && !a.status.Terminal() {
				n.ends(a, event.TaskTerminated)
				n.ring()
			}
		})
	}
}

// ends says of an allocation that its task has ended, by itself or because it
// was told to.
func (n *node) ends(a *running, how event.TaskEventType) {
	if a.status.Terminal() {
		return
	}
	now := time.Now().UnixNano()
	a.status = event.ClientComplete
	state := &event.TaskState{State: event.TaskDead, StartedAt: event.Stamp(a.started), FinishedAt: event.Stamp(now)}
	if how == event.TaskKilled {
		state.Events = append(state.Events, event.TaskEvent{Type: event.TaskKilling, Time: now - 1})
	}
	state.Events = append(state.Events, event.TaskEvent{Type: how, Time: now, Details: map[string]string{event.DetailExitCode: "0"}})
	n.waiting = append(n.waiting, event.AllocDelta{ID: a.id, Client: event.ClientComplete, Tasks: map[string]*event.TaskState{task: state}})
}

// next is the report to send, or nil.
func (n *node) next() *event.NodeReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sent != nil {
		return n.sent
	}
	if len(n.waiting) == 0 && !n.ready {
		return nil
	}
	n.sequence++
	r := &event.NodeReport{NodeCredentials: n.who, Sequence: n.sequence, Deltas: n.waiting}
	n.waiting, n.sent = nil, r
	if len(r.Deltas) > reportDeltasMax {
		n.waiting = r.Deltas[reportDeltasMax:]
		r.Deltas = r.Deltas[:reportDeltasMax]
		n.ring()
		return r
	}
	r.Ready, n.ready = n.ready, false
	return r
}

// report sends what there is to report, one report at a time, each until the
// servers have it.
func (n *node) report(ctx context.Context, end func()) {
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(reportWindow):
		case <-ctx.Done():
			return
		}
		for r := n.next(); r != nil; r = n.next() {
			err := n.again(ctx, "report", func() error {
				_, err := n.call(ctx, "/v1/node-agent/report", r)
				return err
			})
			if err != nil {
				end()
				return
			}
			n.acknowledged(r)
		}
	}
}

func (n *node) acknowledged(r *event.NodeReport) {
	f := n.fleet
	at := time.Since(f.started)
	if r.Ready {
		n.once.Do(func() { close(n.isReady) })
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = nil
	for i := range r.Deltas {
		a := n.allocs[r.Deltas[i].ID]
		if r.Deltas[i].Client == event.ClientRunning {
			f.recorded.Add(1)
			if a != nil {
				f.ran(a, at)
			}
			continue
		}
		f.ended.Add(1)
		f.lastEnd.Store(int64(at))
	}
}

// silence ends all that a node does, at once and without a word: what the servers
// see of a machine that has lost its power.
func (n *node) silence() { n.silent() }

// holds is how many allocations the node runs, as far as it knows.
func (n *node) holds() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.allocs {
		if !a.stop && !a.status.Terminal() {
			count++
		}
	}
	return count
}

// newNodeInfo makes the fingerprint of a simulated node; number makes it unique.
func newNodeInfo(number int, size nodeSize) *event.Node {
	id := event.DeriveID("drover bench node", size.run, uint64(number))
	name := fmt.Sprintf("bench-%05d", number)
	address := fmt.Sprintf("10.%d.%d.%d", number>>16&255, number>>8&255, number&255)
	kind := number % 5 // a fleet has a few kinds of machine, bought at a time
	return &event.Node{
		ID: id, Name: name, Datacenter: "dc1", NodePool: "default", NodeClass: fmt.Sprintf("kind-%d", kind), HTTPAddr: address + ":4646",
		Attributes: map[string]string{
			"unique.hostname": name, "unique.network.ip-address": address, "unique.advertise.address": address + ":4646",
			"nomad.version": "2.0.5", "nomad.service_discovery": "true",
			"kernel.name": "linux", "kernel.version": "6.8.0-" + strconv.Itoa(50+kind), "kernel.arch": "x86_64", "os.name": "debian", "os.version": "12",
			"cpu.arch": "amd64", "cpu.numcores": "64", "cpu.totalcompute": strconv.FormatInt(size.mhz, 10),
			"memory.totalbytes": strconv.FormatInt(size.mb<<20, 10), "unique.storage.bytestotal": strconv.FormatInt(size.diskMB<<20, 10),
			"driver.raw_exec": "1", "driver.exec": "1",
		},
		Meta:    map[string]string{"rack": fmt.Sprintf("r%02d", number%20), "bench": size.run.Short()},
		Drivers: map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true, HealthDescription: "Healthy"}, "exec": {Detected: true, Healthy: true, HealthDescription: "Healthy"}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: size.mhz, TotalCpuCores: 64}, Memory: event.NodeMemory{MemoryMB: size.mb}, Disk: event.NodeDisk{DiskMB: size.diskMB},
			NodeNetworks:   []event.NodeNetwork{{Mode: "host", Device: "eth0", Speed: 10000, Addresses: []event.NodeNetworkAddress{{Family: "ipv4", Alias: "default", Address: address}}}},
			MinDynamicPort: 20000, MaxDynamicPort: 32000,
		},
		ReservedResources: &event.NodeReservedResources{},
		ComputedClass:     "bench:" + size.run.Short() + hex.EncodeToString([]byte{byte(kind), byte(number % 20)}),
	}
}

// nodeSize is how large each simulated node is.
type nodeSize struct {
	run             event.ID // makes node IDs unique to a run
	mhz, mb, diskMB int64
}
