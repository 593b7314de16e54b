package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	hcli "github.com/hashicorp/cli"

	"drover/cmd/internal/agentconfig"
	"drover/executor"
	"drover/projections/api"
	"drover/projections/rest"
)

// Version is what the agent calls itself; main sets it.
var Version = "0.1.0-dev"

// startPatience is how long the log is held back for the banner. A start takes
// far less, so one that takes longer waits for something that the log may name.
const startPatience = 5 * time.Second

// Run starts an agent, prints its banner once it serves, and returns the exit
// code when ctx has ended and everything has stopped.
func Run(ctx context.Context, cfg agentconfig.Config, ui hcli.Ui) int {
	fail := func(err error) int {
		ui.Error("==> Error starting agent: " + err.Error())
		return 1
	}
	cleanUp, err := prepareDirs(&cfg)
	if err != nil {
		return fail(err)
	}
	defer cleanUp()
	held := &heldBack{out: uiWriter{ui}}
	var logTo io.Writer = held
	if cfg.Log.File != "" {
		file, err := openLogFile(cfg.Log.File)
		if err != nil {
			return fail(err)
		}
		defer func() { _ = file.Close() }()
		logTo = io.MultiWriter(held, file)
	}
	tap := newLogTap()
	logger := tap.logger(newLogger(logTo, cfg.Log))
	a, err := open(cfg, logger, tap)
	if err != nil {
		return fail(err)
	}
	// A start that does not come to its end must not keep the reason to itself.
	defer held.atMost(startPatience)()
	err = a.run(ctx, func() {
		extra := map[string]string{"Version": Version}
		if a.facts.server != nil {
			extra["Node Id"] = a.facts.server.store.Snapshot().Cluster().ID.String()
		}
		ui.Output(strings.TrimRight(agentconfig.Banner(cfg, extra), "\n") + "\n")
		held.release()
	})
	held.release()
	if err != nil {
		ui.Error("==> Agent ended: " + err.Error())
		return 1
	}
	return 0
}

// agent is everything that one process runs.
type agent struct {
	cfg       agentconfig.Config
	logger    *slog.Logger
	tap       *logTap
	facts     *facts
	listeners []listener
}

type listener struct {
	net.Listener
	handler http.Handler
}

// open makes all parts and takes the ports; nothing runs yet.
func open(cfg agentconfig.Config, logger *slog.Logger, tap *logTap) (_ *agent, err error) {
	a := &agent{cfg: cfg, logger: logger, tap: tap, facts: &facts{cfg: cfg, version: Version}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	public, internal := rest.NewRouter(), rest.NewRouter()
	if err := a.listen(public, internal); err != nil {
		return nil, err
	}
	servers := cfg.Client.Servers
	if cfg.Server.Enabled {
		tune()
		if a.facts.server, err = openServer(cfg, Version, logger, a.facts); err != nil {
			return nil, err
		}
		a.facts.server.register(public, internal, a.facts)
		if len(servers) == 0 {
			servers = []string{reachable(cfg.Bind.RPC)}
		}
	}
	if cfg.Client.Enabled {
		if a.facts.node, err = openNode(cfg, Version, logger, servers); err != nil {
			return nil, err
		}
	}
	return a, a.route(public, internal, servers)
}

// route adds what is answered by neither the log nor the fold.
func (a *agent) route(public, internal *rest.Router, servers []string) error {
	routes := newClientRoutes(a.facts.node, nil, a.logger)
	known := func() []string { return servers }
	if a.facts.node != nil {
		known = a.facts.node.Servers
	}
	measured := newMetrics()
	if a.facts.server != nil {
		measured = a.facts.server.metrics
	}
	measured.host = a.cfg.Telemetry.Host
	if a.facts.node != nil {
		measured.node = &nodeMetrics{node: a.facts.node, host: a.cfg.Telemetry.Node, allocations: a.cfg.Telemetry.Allocations}
	}
	if a.facts.server != nil {
		routes.store = a.facts.server.store
	} else {
		routes.servers = newToServers(known, a.logger)
	}
	for _, rt := range []*rest.Router{public, internal} {
		rt.Handle(http.MethodGet, "/v1/agent/pprof/{name}", a.aimed(routes, profile(a.cfg.EnableDebug)))
		rt.Handle(http.MethodGet, "/v1/agent/monitor", a.aimed(routes, monitor(a.tap)))
		rt.Handle(http.MethodGet, "/v1/agent/host", a.aimed(routes, describeHost(a.cfg.EnableDebug, a.facts.agentID)))
		api.RegisterSelf(rt, a.facts)
		if a.cfg.Reload != nil {
			rt.Handle("PUT POST", "/v1/agent/reload", a.reload)
		}
		if a.facts.node != nil {
			rt.Handle(http.MethodGet, "/v1/agent/servers", listServers(a.facts.node))
			rt.Handle("PUT POST", "/v1/agent/servers", setServers(a.facts.node))
		}
		for _, pattern := range clientPatterns {
			rt.Handle("GET HEAD PUT POST", pattern, rest.Plain(routes))
		}
		rt.Handle(http.MethodGet, "/v1/metrics", measured.show)
		if a.facts.server == nil {
			rt.Otherwise(routes.servers)
		} else {
			rt.FillUnbuilt()
		}
	}
	return nil
}

// reload reads the configuration again; see agentconfig.Config.Reload.
func (a *agent) reload(w http.ResponseWriter, _ *http.Request) error {
	said, err := a.cfg.Reload()
	if err != nil {
		return rest.Errorf(http.StatusInternalServerError, "%v", err)
	}
	a.logger.Info("the configuration was read again", "outcome", said)
	w.WriteHeader(http.StatusOK)
	return nil
}

// listServers answers which servers this node agent talks to.
func listServers(node *executor.Agent) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error { return rest.JSON(w, r, node.Servers()) }
}

// setServers has this node agent talk to others.
func setServers(node *executor.Agent) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var addresses []string
		for _, address := range r.URL.Query()["address"] {
			addresses = append(addresses, agentconfig.ServerAddress(address))
		}
		if len(addresses) == 0 {
			return rest.Errorf(http.StatusBadRequest, "missing server address")
		}
		if err := node.SetServers(addresses); err != nil {
			return rest.Errorf(http.StatusInternalServerError, "%v", err)
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
}

// clientPatterns are the routes that a node answers.
var clientPatterns = []string{
	"/v1/client/fs/ls/{id}", "/v1/client/fs/stat/{id}", "/v1/client/fs/cat/{id}", "/v1/client/fs/readat/{id}",
	"/v1/client/fs/stream/{id}", "/v1/client/fs/logs/{id}", "/v1/client/stats", "/v1/client/allocation/{id}/stats",
	"/v1/client/allocation/{id}/exec", "/v1/client/allocation/{id}/restart", "/v1/client/allocation/{id}/signal",
	"/v1/client/gc", "/v1/client/allocation/{id}/gc", "/v1/client/metadata",
}

// reachable is an address at which this machine reaches its own listener.
func reachable(bind string) string {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return bind
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (a *agent) listen(public, internal *rest.Router) error {
	headers := a.cfg.HTTPResponseHeaders
	add := func(address string, handler http.Handler) error {
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("address %s is in use by another process; stop it, or choose another port (ports block, or bind_addr)", address)
		}
		if err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		a.listeners = append(a.listeners, listener{l, withHeaders(headers, handler)})
		return nil
	}
	for _, address := range a.cfg.Bind.HTTP {
		if err := add(address, withOrigins(public)); err != nil {
			return err
		}
	}
	if a.cfg.Server.Enabled {
		return add(a.cfg.Bind.RPC, internal)
	}
	return nil
}

func withHeaders(headers map[string]string, h http.Handler) http.Handler {
	if len(headers) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for key, value := range headers {
			w.Header().Set(key, value)
		}
		h.ServeHTTP(w, r)
	})
}

// run serves until ctx ends, then stops the parts in the order of their need of
// one another: the node agent, the HTTP servers, the server.
func (a *agent) run(ctx context.Context, started func()) error {
	defer a.close()
	g := newGroup(ctx)
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	httpServers := a.serveHTTP(g)
	serverEnded := make(chan error, 1)
	if a.facts.server != nil {
		go func() {
			err := a.facts.server.run(serverCtx)
			if err != nil {
				g.cancel(err)
			}
			serverEnded <- err
		}()
		if err := a.facts.server.awaitServing(g.ctx); err != nil && ctx.Err() == nil {
			return errors.Join(context.Cause(g.ctx), g.wait())
		}
	}
	if a.facts.node != nil {
		g.run("node agent", a.facts.node.Run)
	}
	started()
	<-g.ctx.Done()
	err := g.wait()
	for _, s := range httpServers {
		_ = s.Close() //nolint:errcheck // streams have no end of their own; nothing acknowledged depends on them
	}
	stopServer()
	if a.facts.server != nil {
		err = errors.Join(err, <-serverEnded)
	}
	return err
}

// streamsPerConnection bounds what one HTTP/2 connection may ask at the same time.
// Each node holds a stream of orders open for ever; whoever speaks for many nodes
// over one connection, a proxy or a bench, needs room for them and their reports.
const streamsPerConnection = 1000

func (a *agent) serveHTTP(g *group) []*http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	var servers []*http.Server
	for _, l := range a.listeners {
		s := &http.Server{
			Handler: l.handler, Protocols: protocols,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streamsPerConnection},
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          slog.NewLogLogger(named(a.logger, "http").Handler(), slog.LevelDebug),
		}
		servers = append(servers, s)
		go func() {
			if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				g.cancel(fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err))
			}
		}()
	}
	return servers
}

func (a *agent) close() {
	for _, l := range a.listeners {
		_ = l.Close() //nolint:errcheck // closed by its server already, as a rule
	}
	if a.facts.server != nil {
		if err := a.facts.server.close(); err != nil {
			a.logger.Error("close the log", "error", err)
		}
		a.facts.server = nil
	}
}

// prepareDirs makes the temporary directory of -dev, or checks that the data
// directory can be written, and fills in what lies below it.
func prepareDirs(cfg *agentconfig.Config) (cleanUp func(), err error) {
	cleanUp = func() {}
	if cfg.DataDir == "" {
		if cfg.DataDir, err = os.MkdirTemp("", "drover-dev-"); err != nil {
			return cleanUp, err
		}
		dir := cfg.DataDir
		cleanUp = func() { _ = os.RemoveAll(dir) } //nolint:errcheck // a temporary directory
	}
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return cleanUp, fmt.Errorf("data directory %s cannot be made: %w; choose another with -data-dir", cfg.DataDir, err)
	}
	probe, err := os.CreateTemp(cfg.DataDir, ".writable-")
	if err != nil {
		return cleanUp, fmt.Errorf("data directory %s cannot be written: %w; give it to this user or choose another with -data-dir", cfg.DataDir, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return cleanUp, err
	}
	if cfg.Client.StateDir == "" {
		cfg.Client.StateDir = filepath.Join(cfg.DataDir, "client")
	}
	if cfg.Client.AllocDir == "" {
		cfg.Client.AllocDir = filepath.Join(cfg.DataDir, "alloc")
	}
	return cleanUp, nil
}

func openLogFile(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") {
		path = filepath.Join(path, "drover.log")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return file, nil
}
