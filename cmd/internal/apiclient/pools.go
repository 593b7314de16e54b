package apiclient

import (
	"context"
	"net/url"

	"drover/eventlog/event"
)

// NodePool is a set of nodes that jobs are kept to.
type NodePool struct {
	Name                   string
	Description            string
	Meta                   map[string]string
	NodeIdentityTTL        string // a duration; "" = none
	SchedulerConfiguration *event.NodePoolScheduler
	CreateIndex            uint64
	ModifyIndex            uint64
}

// Namespace is a scope for the names of jobs.
type Namespace struct {
	Name                  string
	Description           string
	Quota                 string
	Capabilities          *event.NamespaceCapabilities
	NodePoolConfiguration *event.NamespaceNodePools
	Meta                  map[string]string
	CreateIndex           uint64
	ModifyIndex           uint64
}

// NodePools lists node pools.
func (c *Client) NodePools(ctx context.Context, q Query) (list []*NodePool, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/node/pools", q, &list)
	return list, a, err
}

// NodePool reads one node pool.
func (c *Client) NodePool(ctx context.Context, name string) (p *NodePool, a Answer, err error) {
	a, err = c.Get(ctx, poolPath(name), Query{}, &p)
	return p, a, err
}

// SetNodePool makes a node pool, or changes it.
func (c *Client) SetNodePool(ctx context.Context, p *NodePool) error {
	_, err := c.Put(ctx, "/v1/node/pools", Query{}, p, nil)
	return err
}

// DeleteNodePool ends a node pool that nothing is in.
func (c *Client) DeleteNodePool(ctx context.Context, name string) error {
	_, err := c.Delete(ctx, poolPath(name), Query{}, nil)
	return err
}

// NodePoolNodes lists the nodes of a pool.
func (c *Client) NodePoolNodes(ctx context.Context, name string, q Query) (list []*NodeStub, a Answer, err error) {
	a, err = c.Get(ctx, poolPath(name)+"/nodes", q, &list)
	return list, a, err
}

// NodePoolJobs lists the jobs of a pool.
func (c *Client) NodePoolJobs(ctx context.Context, name string, q Query) (list []*JobStub, a Answer, err error) {
	a, err = c.Get(ctx, poolPath(name)+"/jobs", q, &list)
	return list, a, err
}

// Namespaces lists namespaces.
func (c *Client) Namespaces(ctx context.Context, q Query) (list []*Namespace, a Answer, err error) {
	a, err = c.Get(ctx, "/v1/namespaces", q, &list)
	return list, a, err
}

// ReadNamespace reads one namespace.
func (c *Client) ReadNamespace(ctx context.Context, name string) (n *Namespace, a Answer, err error) {
	a, err = c.Get(ctx, namespacePath(name), Query{}, &n)
	return n, a, err
}

// SetNamespace makes a namespace, or changes it.
func (c *Client) SetNamespace(ctx context.Context, n *Namespace) error {
	_, err := c.Put(ctx, "/v1/namespace", Query{}, n, nil)
	return err
}

// DeleteNamespace ends a namespace in which nothing runs.
func (c *Client) DeleteNamespace(ctx context.Context, name string) error {
	_, err := c.Delete(ctx, namespacePath(name), Query{}, nil)
	return err
}

func poolPath(name string) string { return "/v1/node/pool/" + url.PathEscape(name) }

func namespacePath(name string) string { return "/v1/namespace/" + url.PathEscape(name) }
