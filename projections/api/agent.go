package api

import (
	"net/http"

	"drover/projections/rest"
)

// Agent tells what only the agent around the handlers knows.
type Agent interface {
	// Self describes this agent.
	Self() Self
	// Members lists the servers of the region as gossip knows them.
	Members() Members
	// Health says whether the agent's parts work. A part that the agent does
	// not have is nil.
	Health() Health
	// Leader is the leader's address for servers among themselves, host:port,
	// equal to its member's Addr and "port" tag; "" when there is none.
	Leader() string
	// Peers lists the same addresses of all voting servers.
	Peers() []string
	// Regions lists the known regions in ascending order.
	Regions() []string
}

// Self is what /v1/agent/self answers.
type Self struct {
	// Config is the effective configuration under the field's names: Region,
	// Datacenter, NodeName, ACL.Enabled, Version.Version, …; no secrets.
	Config map[string]any `json:"config"`
	Member Member         `json:"member"`
	// Stats holds texts by group: nomad, raft, serf, runtime, client.
	Stats map[string]map[string]string `json:"stats"`
}

// Members is what /v1/agent/members answers.
type Members struct {
	ServerName   string
	ServerRegion string
	ServerDC     string
	Members      []Member
}

// Member is one server as gossip knows it.
type Member struct {
	Name        string
	Addr        string            // IP address
	Port        uint16            // of gossip
	Tags        map[string]string // role, region, dc, build, vsn, id, rpc_addr, port, …
	Status      string            // alive, leaving, left or failed
	ProtocolMin uint8
	ProtocolMax uint8
	ProtocolCur uint8
	DelegateMin uint8
	DelegateMax uint8
	DelegateCur uint8
}

// Health is what /v1/agent/health answers.
type Health struct {
	Client *HealthOf `json:"client,omitempty"`
	Server *HealthOf `json:"server,omitempty"`
}

// HealthOf is the health of one part of an agent.
type HealthOf struct {
	Ok      bool   `json:"ok"`
	Message string `json:"message"`
}

func (a *API) registerAgent(rt *rest.Router) {
	get := func(pattern string, fact func() any) { rt.Handle(http.MethodGet, pattern, ofAgent(fact)) }
	inRegion := func(pattern string, fact func() any) {
		rt.Handle(http.MethodGet, pattern, func(w http.ResponseWriter, r *http.Request) error {
			if _, err := a.ask(r); err != nil {
				return err
			}
			return rest.JSON(w, r, fact())
		})
	}
	get("/v1/agent/members", func() any {
		m := a.cfg.Agent.Members()
		m.Members = orEmpty(m.Members)
		return m
	})
	inRegion("/v1/status/leader", func() any { return a.cfg.Agent.Leader() })
	inRegion("/v1/status/peers", func() any { return orEmpty(a.cfg.Agent.Peers()) })
	get("/v1/regions", func() any { return orEmpty(a.cfg.Agent.Regions()) })
}

// RegisterSelf adds the routes that every agent answers about itself, whether it
// is a server or not.
func RegisterSelf(rt *rest.Router, agent Agent) {
	rt.Handle(http.MethodGet, "/v1/agent/self", ofAgent(func() any { return agent.Self() }))
	rt.Handle(http.MethodGet, "/v1/agent/health", func(w http.ResponseWriter, r *http.Request) error {
		return health(agent.Health(), w, r)
	})
}

func ofAgent(fact func() any) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := rest.ParseQuery(r); err != nil {
			return err
		}
		return rest.JSON(w, r, fact())
	}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func health(health Health, w http.ResponseWriter, r *http.Request) error {
	switch kind := r.URL.Query().Get("type"); kind {
	case "":
	case "client":
		health.Server = nil
	case "server":
		health.Client = nil
	default:
		return rest.Errorf(http.StatusBadRequest, "invalid type of health %q: client or server", kind)
	}
	code := http.StatusOK
	for _, part := range []*HealthOf{health.Client, health.Server} {
		if part != nil && !part.Ok {
			code = http.StatusInternalServerError
		}
	}
	return rest.JSONCode(w, r, code, health)
}
