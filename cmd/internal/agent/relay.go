package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
	"drover/executor"
	"drover/projections"
	"drover/projections/rest"
)

// clientRoutes answers the routes that only a node can answer (/v1/client/...):
// itself when the node is this one, else by asking the node's own HTTP API, or
// a server, which knows it.
type clientRoutes struct {
	node    *executor.Agent    // nil when this agent runs no tasks
	store   *projections.Store // nil when this agent is no server
	servers *toServers         // nil when this agent is a server
	relay   *httputil.ReverseProxy
}

// relayedHeader counts how often a request was passed on: by an agent to a
// server, and by that to the node. A third hop would mean that two agents each
// take the other for the node.
const (
	relayedHeader = "X-Drover-Relayed"
	relayedMax    = 2
	// metadataBodyMax bounds what is read of a request to find its node: a node takes far less.
	metadataBodyMax = 1 << 20
)

// relayed is how often a request was passed on.
func relayed(r *http.Request) int {
	hops, err := strconv.Atoi(r.Header.Get(relayedHeader))
	if err != nil {
		return 0
	}
	return hops
}

func newClientRoutes(node *executor.Agent, store *projections.Store, logger *slog.Logger) *clientRoutes {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 4,
	}
	return &clientRoutes{node: node, store: store, relay: &httputil.ReverseProxy{
		Rewrite:       func(*httputil.ProxyRequest) {},
		Transport:     transport,
		FlushInterval: -1, // logs and files are followed live
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			refuse(w, r, http.StatusNotFound, "No path to node: %v", err)
		},
	}}
}

// refuse answers a request with an error, in the way of what was asked for.
func refuse(w http.ResponseWriter, r *http.Request, status int, format string, args ...any) {
	if executor.IsExec(r) {
		executor.RefuseExec(w, r, status, fmt.Sprintf(format, args...))
		return
	}
	rest.Fail(w, rest.Errorf(status, format, args...))
}

func (c *clientRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == metadataPath {
		var err error
		if r, err = aimByBody(w, r); err != nil {
			rest.Fail(w, err)
			return
		}
	}
	if c.store == nil {
		if relayed(r) > 0 || c.here(r) {
			c.local(w, r)
		} else {
			c.servers.ServeHTTP(w, r)
		}
		return
	}
	if relayed(r) >= relayedMax {
		c.local(w, r)
		return
	}
	id, known := c.nodeOf(r)
	switch node := c.store.Snapshot().Node(id); {
	case !known && r.URL.Query().Get("node_id") != "":
		refuse(w, r, http.StatusNotFound, "Unknown node %q", r.URL.Query().Get("node_id"))
	case !known && c.node != nil:
		c.local(w, r) // it says what it does not know
	case !known:
		refuse(w, r, http.StatusNotFound, "Unknown allocation or node in %q", r.URL.Path)
	case c.node != nil && id == c.node.NodeID():
		c.local(w, r)
	case node == nil:
		refuse(w, r, http.StatusNotFound, "Unknown node %q", id)
	case node.Status == event.NodeDown || node.Info.HTTPAddr == "":
		refuse(w, r, http.StatusNotFound, "No path to node: node %q is %v", id, node.Status)
	default:
		passOn(c.relay, w, r, node.Info.HTTPAddr)
	}
}

// metadataPath is the route whose requests name their node in the body.
const metadataPath = "/v1/client/metadata"

// aimByBody is the request with the node that its body names as a parameter, by which it finds its way.
func aimByBody(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	q := r.URL.Query()
	if q.Has("node_id") {
		return r, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, metadataBodyMax))
	if err != nil {
		return nil, rest.Errorf(http.StatusBadRequest, "read the request's body: %v", err)
	}
	aimed := r.Clone(r.Context())
	aimed.Body = io.NopCloser(bytes.NewReader(body))
	aimed.ContentLength = int64(len(body))
	if node := executor.PeekMetadataNode(body); node != "" {
		q.Set("node_id", node)
		aimed.URL.RawQuery = q.Encode()
	}
	return aimed, nil
}

func (c *clientRoutes) local(w http.ResponseWriter, r *http.Request) {
	if c.node == nil {
		refuse(w, r, http.StatusNotImplemented, "this agent runs no tasks")
		return
	}
	c.node.Handler().ServeHTTP(w, r)
}

// here reports whether a request that names a node or an allocation names this
// node or one of its allocations. One that names none is about this node.
func (c *clientRoutes) here(r *http.Request) bool {
	if text := r.URL.Query().Get("node_id"); text != "" {
		return text == c.node.NodeID().String()
	}
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		if id, err := event.ParseID(part); err == nil && !id.IsZero() {
			return c.node.Has(id)
		}
	}
	return true
}

// nodeOf is the node that a request is about: the one it names, or the one that
// its allocation is on.
func (c *clientRoutes) nodeOf(r *http.Request) (event.ID, bool) {
	if text := r.URL.Query().Get("node_id"); text != "" {
		id, err := event.ParseID(text)
		return id, err == nil
	}
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		if id, err := event.ParseID(part); err == nil && !id.IsZero() {
			if a := c.store.Snapshot().Allocation(id); a != nil {
				return a.NodeID, true
			}
		}
	}
	return event.ID{}, false
}

func passOn(proxy *httputil.ReverseProxy, w http.ResponseWriter, r *http.Request, address string) {
	out := r.Clone(r.Context())
	out.URL = &url.URL{Scheme: "http", Host: address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	out.Header.Set(relayedHeader, strconv.Itoa(relayed(r)+1))
	out.Header.Del("Origin") // who passes it on has answered for the page
	proxy.ServeHTTP(w, out)
}

// toServers passes every request on to a server: what an agent without a server
// part answers all other routes with.
type toServers struct {
	servers func() []string // host:port, those of the moment
	next    atomic.Uint64
	relay   *httputil.ReverseProxy
}

func newToServers(servers func() []string, logger *slog.Logger) *toServers {
	t := &toServers{servers: servers}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	t.relay = &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {},
		Transport: &http.Transport{
			// Any server will do, so the name asked for is not the one dialled.
			DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
				start, servers := t.next.Add(1), t.servers()
				for i := range servers {
					if conn, err = dialer.DialContext(ctx, network, servers[(start+uint64(i))%uint64(len(servers))]); err == nil {
						return conn, nil
					}
				}
				return nil, err
			},
			MaxIdleConnsPerHost: 16,
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			rest.Fail(w, rest.Errorf(http.StatusInternalServerError, "No server answers: %v", err))
		},
	}
	return t
}

func (t *toServers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if relayed(r) > 0 {
		rest.Fail(w, rest.Errorf(http.StatusLoopDetected, "the request came back to an agent that is no server"))
		return
	}
	passOn(t.relay, w, r, "servers")
}
