package agent

import (
	"fmt"
	"net"
	"runtime"
	"strconv"

	"drover/cmd/internal/agentconfig"
	"drover/executor"
	"drover/projections/api"
)

// facts tells the API about this agent.
type facts struct {
	cfg     agentconfig.Config
	version string
	server  *server         // nil when the agent is none
	node    *executor.Agent // nil when the agent runs no tasks
}

func (f *facts) Self() api.Self {
	self := api.Self{
		Config: map[string]any{
			"Region": f.cfg.Region, "Datacenter": f.cfg.Datacenter, "NodeName": f.cfg.Name, "DataDir": f.cfg.DataDir,
			"DevMode": f.cfg.Dev,
			"ACL":     map[string]any{"Enabled": false},
			"Version": map[string]any{"Version": f.version, "VersionPrerelease": "", "VersionMetadata": ""},
			"UI":      map[string]any{"Enabled": false, "ShowCLIHints": false},
			"Ports":   map[string]any{"HTTP": f.cfg.Ports.HTTP, "RPC": f.cfg.Ports.RPC, "Serf": f.cfg.Ports.Serf, "Raft": f.cfg.Ports.Raft},
			"Server":  map[string]any{"Enabled": f.cfg.Server.Enabled},
			"Client":  map[string]any{"Enabled": f.cfg.Client.Enabled},
		},
		Stats: map[string]map[string]string{"runtime": {
			"arch": runtime.GOARCH, "kernel.name": runtime.GOOS, "version": runtime.Version(),
			"cpu_count": strconv.Itoa(runtime.NumCPU()), "goroutines": strconv.Itoa(runtime.NumGoroutine()), "max_procs": strconv.Itoa(runtime.GOMAXPROCS(0)),
		}},
	}
	if f.server != nil {
		self.Member = f.member()
		head, state := f.server.log.Head(), f.server.store.Snapshot()
		lead := f.server.log.Leadership()
		self.Stats["nomad"] = map[string]string{
			"server": "true", "leader": strconv.FormatBool(lead.Leader), "leader_addr": f.Leader(), "known_regions": "1",
			"bootstrap": "true",
		}
		self.Stats["raft"] = map[string]string{
			"term": fmt.Sprint(lead.Term), "last_log_index": fmt.Sprint(head.Index), "applied_index": fmt.Sprint(state.Index()),
			"epoch": fmt.Sprint(state.Epoch()), "num_peers": "0",
		}
		self.Stats["serf"] = map[string]string{"members": "1", "failed": "0", "left": "0"}
	}
	if f.node != nil {
		self.Stats["client"] = f.node.Stats()
	}
	return self
}

// agentID is the agent's ID as a node, or its name as a server.
func (f *facts) agentID() string {
	if f.node != nil {
		return f.node.NodeID().String()
	}
	return f.cfg.Name + "." + f.cfg.Region
}

func (f *facts) member() api.Member {
	host, rpc := hostPort(f.cfg.Advertise.RPC)
	_, serf := hostPort(f.cfg.Advertise.Serf)
	return api.Member{
		Name: f.cfg.Name + "." + f.cfg.Region, Addr: host, Port: uint16(serf), Status: "alive",
		Tags: map[string]string{
			"role": "nomad", "region": f.cfg.Region, "dc": f.cfg.Datacenter, "build": f.version, "vsn": "1", "raft_vsn": "3",
			"id": strconv.Itoa(replicaID), "rpc_addr": host, "port": strconv.Itoa(rpc), "bootstrap": "1",
		},
		ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
	}
}

func (f *facts) Members() api.Members {
	m := api.Members{ServerName: f.cfg.Name, ServerRegion: f.cfg.Region, ServerDC: f.cfg.Datacenter}
	if f.server != nil {
		m.Members = []api.Member{f.member()}
	}
	return m
}

func (f *facts) Health() api.Health {
	var h api.Health
	if f.server != nil {
		h.Server = &api.HealthOf{Ok: f.server.log.Leadership().LeaderID != 0, Message: "ok"}
		if !h.Server.Ok {
			h.Server.Message = "No cluster leader"
		}
	}
	if f.node != nil {
		h.Client = &api.HealthOf{Ok: true, Message: "ok"}
		select {
		case <-f.node.Ready():
		default:
			h.Client.Ok, h.Client.Message = false, "not registered with a server yet"
		}
	}
	return h
}

func (f *facts) Leader() string {
	if f.server == nil || f.server.log.Leadership().LeaderID == 0 {
		return ""
	}
	return f.cfg.Advertise.RPC
}

func (f *facts) Peers() []string {
	if f.server == nil {
		return nil
	}
	return []string{f.cfg.Advertise.RPC}
}

func (f *facts) Regions() []string { return []string{f.cfg.Region} }

func hostPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	port, _ = strconv.Atoi(text) //nolint:errcheck // a checked configuration
	return host, port
}
