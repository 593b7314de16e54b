package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// RestartAllocation starts tasks of an allocation again: the named one, or with all every task from the beginning, else
// those that run.
func (c *Client) RestartAllocation(ctx context.Context, node *Node, allocID, task string, all bool) error {
	return c.tellNode(ctx, node, clientAllocPath(allocID)+"/restart", struct {
		TaskName string
		AllTasks bool
	}{task, all})
}

// SignalAllocation sends a signal to a task; "" is all that run.
func (c *Client) SignalAllocation(ctx context.Context, node *Node, allocID, task, signal string) error {
	return c.tellNode(ctx, node, clientAllocPath(allocID)+"/signal", struct{ Signal, Task string }{signal, task})
}

func clientAllocPath(id string) string { return "/v1/client/allocation/" + url.PathEscape(id) }

// tellNode writes to a node's own agent, or through the configured one. Unlike a command to the servers it has no ID, so
// it is sent once: a second restart would be one more.
func (c *Client) tellNode(ctx context.Context, node *Node, path string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request for %s: %w", path, err)
	}
	send := func(c *Client) error {
		req, err := c.request(ctx, http.MethodPut, path, url.Values{}, body)
		if err != nil {
			return err
		}
		_, err = c.answer(req, nil)
		return err
	}
	if direct := c.forNode(node); direct != nil {
		if err := send(direct); !IsConnectError(err) || !neverSent(err) {
			return err
		}
	}
	return send(c)
}
