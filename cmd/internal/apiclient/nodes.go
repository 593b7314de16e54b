package apiclient

import (
	"context"
	"net/http"
	"net/url"
)

const metadataPath = "/v1/client/metadata"

// NodeMetadata is a node's metadata.
type NodeMetadata struct {
	Meta    map[string]string  // what holds
	Dynamic map[string]*string // what operators said; nil = not what is configured
	Static  map[string]string  // what is configured
}

// ReadNodeMetadata asks a node for its metadata; without an ID the agent that is asked is the node.
func (c *Client) ReadNodeMetadata(ctx context.Context, nodeID string) (m *NodeMetadata, a Answer, err error) {
	var q Query
	if nodeID != "" {
		q.Values = url.Values{"node_id": {nodeID}}
	}
	a, err = c.Get(ctx, metadataPath, q, &m)
	return m, a, err
}

// ApplyNodeMetadata changes a node's metadata; nil takes a key away.
func (c *Client) ApplyNodeMetadata(ctx context.Context, nodeID string, said map[string]*string) (m *NodeMetadata, a Answer, err error) {
	a, err = c.write(ctx, http.MethodPost, metadataPath, Query{}, map[string]any{"NodeID": nodeID, "Meta": said}, &m)
	return m, a, err
}

// NodeServers lists the servers that the agent, as a node, knows.
func (c *Client) NodeServers(ctx context.Context) (list []string, err error) {
	_, err = c.Get(ctx, "/v1/agent/servers", Query{}, &list)
	return list, err
}

// SetNodeServers has the agent, as a node, talk to these servers.
func (c *Client) SetNodeServers(ctx context.Context, addresses []string) error {
	_, err := c.Put(ctx, "/v1/agent/servers", Query{Values: url.Values{"address": addresses}}, nil, nil)
	return err
}
