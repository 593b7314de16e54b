package agent

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/cmd/internal/agentconfig"
	"drover/eventlog/event"
	"drover/projections/rest"
	"drover/scheduler"
)

// raftServer is one server in /v1/operator/raft/configuration.
type raftServer struct {
	ID           string
	Node         string
	Address      string
	Leader       bool
	Voter        bool
	RaftProtocol string
}

// serverHealth is one server in /v1/operator/autopilot/health.
type serverHealth struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact string // a duration; clients read no number here
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time
}

// registerOperator adds the routes that tell operators about the servers, which
// in this version are one.
func (f *facts) registerOperator(rt *rest.Router) {
	get := func(pattern string, answer func(w http.ResponseWriter, r *http.Request) error) {
		rt.Handle(http.MethodGet, pattern, func(w http.ResponseWriter, r *http.Request) error {
			q, err := rest.ParseQuery(r)
			if err == nil {
				err = q.InRegion(f.cfg.Region)
			}
			if err != nil {
				return err
			}
			return answer(w, r)
		})
	}
	get("/v1/operator/raft/configuration", func(w http.ResponseWriter, r *http.Request) error {
		return rest.JSON(w, r, struct {
			Servers []raftServer
			Index   uint64
		}{[]raftServer{f.raftServer()}, f.server.log.Head().Index})
	})
	get("/v1/operator/autopilot/health", func(w http.ResponseWriter, r *http.Request) error {
		health := f.autopilot()
		code := http.StatusOK
		if !health.Healthy {
			code = http.StatusTooManyRequests
		}
		return rest.JSONCode(w, r, code, health)
	})
	get("/v1/agent/schedulers", func(w http.ResponseWriter, r *http.Request) error {
		return rest.JSON(w, r, f.schedulerWorkers())
	})
	get("/v1/agent/schedulers/config", func(w http.ResponseWriter, r *http.Request) error { return rest.JSON(w, r, f.lineup()) })
	rt.Handle("PUT POST", "/v1/agent/schedulers/config", f.arrange)
	rt.Handle("PUT POST", "/v1/agent/join", f.join)
	rt.Handle("PUT POST", "/v1/agent/force-leave", f.forceLeave)
}

func (f *facts) raftServer() raftServer {
	return raftServer{
		ID: strconv.Itoa(replicaID), Node: f.member().Name, Address: f.cfg.Advertise.RPC,
		Leader: f.server.log.Leadership().Leader, Voter: true, RaftProtocol: f.member().Tags["raft_vsn"],
	}
}

// workersInfo is what /v1/agent/schedulers answers.
type workersInfo struct {
	ServerID   string       `json:"server_id"`
	Schedulers []workerInfo `json:"schedulers"`
}

type workerInfo struct {
	ID             string    `json:"id"`
	Enabled        []string  `json:"enabled_schedulers"`
	Started        time.Time `json:"started"`
	Status         string    `json:"status"`
	WorkloadStatus string    `json:"workload_status"`
}

// schedulerWorkers tells what the workers of this server do.
func (f *facts) schedulerWorkers() workersInfo {
	info := workersInfo{ServerID: f.member().Tags["id"], Schedulers: []workerInfo{}}
	types := typesOf(f.server.workers.Lineup())
	for i, s := range f.server.workers.States() {
		w := workerInfo{ID: strconv.Itoa(i + 1), Enabled: types, Started: s.Started.UTC(), Status: "Started", WorkloadStatus: "WaitingToDequeue"}
		if s.Busy {
			w.WorkloadStatus = "Scheduling"
		}
		info.Schedulers = append(info.Schedulers, w)
	}
	return info
}

// lineup is what /v1/agent/schedulers/config answers, and is told.
type lineup struct {
	ServerID string   `json:"server_id"`
	Count    *int     `json:"num_schedulers"`
	Types    []string `json:"enabled_schedulers"`
}

// lineupBytesMax bounds such a request: it has a number and a few names.
const lineupBytesMax = 64 << 10

func (f *facts) lineup() lineup {
	l := f.server.workers.Lineup()
	return lineup{f.member().Tags["id"], &l.Count, typesOf(l)}
}

// typesOf are the types of jobs that workers take.
func typesOf(l scheduler.Lineup) []string {
	if len(l.Types) == 0 {
		return scheduledTypes()
	}
	return l.Types
}

// arrange changes how many workers this server has, and what they take, until the agent ends.
func (f *facts) arrange(w http.ResponseWriter, r *http.Request) error {
	q, err := rest.ParseQuery(r)
	if err == nil {
		err = q.InRegion(f.cfg.Region)
	}
	if err != nil {
		return err
	}
	var asked lineup
	if err := rest.DecodeJSON(w, r, lineupBytesMax, &asked); err != nil {
		return err
	}
	types := slices.DeleteFunc(asked.Types, func(kind string) bool { return kind == agentconfig.CoreScheduler })
	slices.Sort(types)
	types = slices.Compact(types)
	switch {
	case asked.Count == nil:
		return rest.Errorf(http.StatusBadRequest, "num_schedulers is missing: how many workers this server is to have")
	case len(types) == 0 && *asked.Count > 0:
		return rest.Errorf(http.StatusBadRequest, "enabled_schedulers is missing: which of %s they are to take", strings.Join(scheduledTypes(), ", "))
	}
	if slices.Equal(types, scheduledTypes()) {
		types = nil
	}
	if err := f.server.workers.Arrange(scheduler.Lineup{Count: *asked.Count, Types: types}); err != nil {
		return rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	f.server.logger.Info("the scheduler's workers were changed", "count", *asked.Count, "types", typesOf(f.server.workers.Lineup()))
	return rest.JSON(w, r, f.lineup())
}

// scheduledTypes are the types of jobs that workers can place.
func scheduledTypes() []string {
	all := []string{event.JobTypeBatch, event.JobTypeService, event.JobTypeSysBatch, event.JobTypeSystem}
	return slices.DeleteFunc(all, func(kind string) bool { return !scheduler.Supports(kind) })
}

type autopilotHealth struct {
	Healthy          bool
	FailureTolerance int // how many servers may fail
	Servers          []serverHealth
	Leader           string
	Voters           []string
}

func (f *facts) autopilot() autopilotHealth {
	lead, raft := f.server.log.Leadership(), f.raftServer()
	s := serverHealth{
		ID: raft.ID, Name: raft.Node, Address: raft.Address, SerfStatus: f.member().Status, Version: f.version,
		Leader: lead.Leader, LastContact: "0s", LastTerm: lead.Term, LastIndex: f.server.log.Head().Index,
		Healthy: lead.Leader, Voter: true, StableSince: f.server.metrics.began.UTC(),
	}
	health := autopilotHealth{Healthy: s.Healthy, Servers: []serverHealth{s}, Voters: []string{s.ID}}
	if s.Leader {
		health.Leader = s.ID
	}
	return health
}

// join answers a request to gossip with other servers: this version's servers
// stand alone, so none but itself can be joined.
func (f *facts) join(w http.ResponseWriter, r *http.Request) error {
	var answer struct {
		NumJoined int    `json:"num_joined"`
		Error     string `json:"error"`
		Warning   string `json:"warning"`
	}
	addresses := r.URL.Query()["address"]
	if len(addresses) == 0 {
		return rest.Errorf(http.StatusBadRequest, "missing address to join")
	}
	answer.Error = "failed to join " + strings.Join(addresses, ", ") + ": a cluster of this version of Drover has one server"
	return rest.JSON(w, r, answer)
}

// forceLeave answers a request to forget a server that failed.
func (f *facts) forceLeave(_ http.ResponseWriter, r *http.Request) error {
	node := r.URL.Query().Get("node")
	switch node {
	case "":
		return rest.Errorf(http.StatusBadRequest, "missing node to force leave")
	case f.cfg.Name, f.member().Name:
		return rest.Errorf(http.StatusInternalServerError, "server %q is alive and answers this request: stop it instead", node)
	}
	return rest.Errorf(http.StatusInternalServerError, "there is no member %q", node)
}
