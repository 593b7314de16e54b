package agent

import (
	"net/http"
	"strconv"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// aimed is a route about an agent, whichever one the caller names: by h when it is
// this one, else the request is passed on to it.
func (a *agent) aimed(routes *clientRoutes, h rest.Handler) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q := r.URL.Query()
		node, server := q.Get("node_id"), q.Get("server_id")
		switch {
		case node != "" && server != "":
			return rest.Errorf(http.StatusBadRequest, "cannot target a node and a server simultaneously: name node_id or server_id")
		case node != "":
			id, err := event.ParseID(node)
			if err != nil {
				return rest.Errorf(http.StatusBadRequest, "node_id %q: %v", node, err)
			}
			if routes.node != nil && routes.node.NodeID() == id {
				return h(w, r)
			}
			if routes.store == nil {
				routes.servers.ServeHTTP(w, r)
				return nil
			}
			n := routes.store.Snapshot().Node(id)
			switch {
			case n == nil:
				return rest.Errorf(http.StatusNotFound, "Unknown node %q", node)
			case n.Status == event.NodeDown || n.Info.HTTPAddr == "" || relayed(r) >= relayedMax:
				return rest.Errorf(http.StatusNotFound, "No path to node: node %q is %v", node, n.Status)
			}
			passOn(routes.relay, w, r, n.Info.HTTPAddr)
			return nil
		case server != "" && routes.store == nil:
			routes.servers.ServeHTTP(w, r)
			return nil
		case server != "" && server != "leader" && server != a.cfg.Name && server != a.cfg.Name+"."+a.cfg.Region && server != strconv.Itoa(replicaID):
			return rest.Errorf(http.StatusNotFound, "unknown server %q: this region has %q", server, a.cfg.Name+"."+a.cfg.Region)
		}
		return h(w, r)
	}
}
