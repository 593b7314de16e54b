package executor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
)

// Connection is how an agent reaches the servers. Calls may be made from several goroutines.
type Connection interface {
	Register(ctx context.Context, r *event.NodeRegistration) (event.NodeAnswer, error)
	Heartbeat(ctx context.Context, h *event.NodeHeartbeat) (event.NodeAnswer, error)
	// Report returns without error only when the report is durably recorded.
	Report(ctx context.Context, r *event.NodeReport) (event.NodeAnswer, error)
	// Orders opens a stream of orders. Its first batch is full.
	Orders(ctx context.Context, c event.NodeCredentials) (OrderStream, error)
}

// OrderStream is an open stream of orders.
type OrderStream interface {
	// Next waits for the next batch; a stream that says nothing for too long fails.
	Next() (*event.OrderBatch, error)
	Close() error
}

// Errors of a Connection that an agent acts on; all others it repeats.
var (
	// ErrUnknownNode says that the servers do not know the node: it must register.
	ErrUnknownNode = errors.New("the servers do not know this node")
	// ErrWrongSecret says that the node's ID belongs to somebody with another secret.
	ErrWrongSecret = errors.New("the servers know this node by another secret")
	// ErrOldReport says that a report with this or a later number was recorded before.
	ErrOldReport = errors.New("a later report of this node was recorded")
)

// Paths and headers of the protocol.
const (
	pathRegister  = "/v1/node-agent/register"
	pathHeartbeat = "/v1/node-agent/heartbeat"
	pathReport    = "/v1/node-agent/report"
	pathOrders    = "/v1/node-agent/orders"

	headerNodeID          = "X-Drover-Node-ID"
	headerNodeSecret      = "X-Drover-Node-Secret"
	headerNodeIncarnation = "X-Drover-Node-Incarnation"

	contentCBOR = "application/cbor"
)

// httpConnection speaks the agent protocol with one of several servers and goes on to the next when one fails.
type httpConnection struct {
	servers func() []string // host:port
	current atomic.Uint64
	client  *http.Client
}

// newHTTPConnection reaches the servers at the addresses that hold at the moment of a call.
func newHTTPConnection(servers func() []string) *httpConnection {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &httpConnection{servers: servers, client: &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Minute, DisableCompression: true,
	}}}
}

// do sends a request to the current server.
func (c *httpConnection) do(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	turn := c.current.Load()
	servers := c.servers()
	server := servers[turn%uint64(len(servers))]
	req, err := http.NewRequestWithContext(ctx, method, "http://"+server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.current.CompareAndSwap(turn, turn+1)
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	res.Body.Close()
	said := strings.TrimSpace(string(text))
	switch res.StatusCode {
	case http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s", ErrWrongSecret, said)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s", ErrUnknownNode, said)
	case http.StatusConflict:
		return nil, fmt.Errorf("%w: %s", ErrOldReport, said)
	}
	c.current.CompareAndSwap(turn, turn+1)
	return nil, fmt.Errorf("server %s answered %s: %s", server, res.Status, said)
}

func (c *httpConnection) call(ctx context.Context, path string, message any) (event.NodeAnswer, error) {
	var answer event.NodeAnswer
	body, err := event.Marshal(message)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := c.do(ctx, http.MethodPost, path, http.Header{"Content-Type": {contentCBOR}}, body)
	if err != nil {
		return answer, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err != nil {
		return answer, fmt.Errorf("read answer of %s: %w", path, err)
	}
	if err := event.Unmarshal(b, &answer); err != nil {
		return answer, fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return answer, nil
}

// Register implements Connection.
func (c *httpConnection) Register(ctx context.Context, r *event.NodeRegistration) (event.NodeAnswer, error) {
	return c.call(ctx, pathRegister, r)
}

// Heartbeat implements Connection.
func (c *httpConnection) Heartbeat(ctx context.Context, h *event.NodeHeartbeat) (event.NodeAnswer, error) {
	return c.call(ctx, pathHeartbeat, h)
}

// Report implements Connection.
func (c *httpConnection) Report(ctx context.Context, r *event.NodeReport) (event.NodeAnswer, error) {
	return c.call(ctx, pathReport, r)
}

// Orders implements Connection.
func (c *httpConnection) Orders(ctx context.Context, who event.NodeCredentials) (OrderStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	silence := time.AfterFunc(streamSilenceMax, cancel)
	res, err := c.do(ctx, http.MethodGet, pathOrders, http.Header{
		headerNodeID:          {who.NodeID.String()},
		headerNodeSecret:      {who.Secret.String()},
		headerNodeIncarnation: {strconv.FormatUint(who.Incarnation, 10)},
	}, nil)
	if err != nil {
		silence.Stop()
		cancel()
		return nil, err
	}
	return &httpOrders{body: res.Body, cancel: cancel, silence: silence}, nil
}

type httpOrders struct {
	body    io.ReadCloser
	cancel  context.CancelFunc
	silence *time.Timer // ends the stream when nothing was heard for too long
}

// Next implements OrderStream.
func (s *httpOrders) Next() (*event.OrderBatch, error) {
	b, err := readFrame(s.body)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	s.silence.Reset(streamSilenceMax)
	batch := new(event.OrderBatch)
	if err := event.Unmarshal(b, batch); err != nil {
		return nil, fmt.Errorf("decode orders: %w", err)
	}
	return batch, nil
}

// Close implements OrderStream.
func (s *httpOrders) Close() error {
	s.silence.Stop()
	s.cancel()
	return s.body.Close()
}

// readFrame reads one frame: four bytes of length, then that many bytes.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > orderBatchBytesMax {
		return nil, fmt.Errorf("frame of %d bytes is too long", n)
	}
	// Grown as bytes arrive: a length alone must not claim memory.
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, fmt.Errorf("frame of %d bytes is cut short: %w", n, err)
	}
	return b.Bytes(), nil
}
