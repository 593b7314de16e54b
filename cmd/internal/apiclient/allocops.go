package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
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

// FileInfo is one file of an allocation.
type FileInfo struct {
	Name        string
	IsDir       bool
	Size        int64 // bytes
	FileMode    string
	ModTime     time.Time
	ContentType string // of regular files, when one was asked about
}

// FileStat reads about one file of an allocation.
func (c *Client) FileStat(ctx context.Context, node *Node, allocID, path string) (info *FileInfo, err error) {
	err = c.onNode(node, func(c *Client) error {
		_, err := c.Get(ctx, "/v1/client/fs/stat/"+url.PathEscape(allocID), Query{Values: url.Values{"path": {path}}}, &info)
		return err
	})
	return info, err
}

// FileList reads what is in a directory of an allocation.
func (c *Client) FileList(ctx context.Context, node *Node, allocID, path string) (list []FileInfo, err error) {
	err = c.onNode(node, func(c *Client) error {
		_, err := c.Get(ctx, "/v1/client/fs/ls/"+url.PathEscape(allocID), Query{Values: url.Values{"path": {path}}}, &list)
		return err
	})
	return list, err
}

// File opens a file of an allocation.
func (c *Client) File(ctx context.Context, node *Node, allocID, path string) (io.ReadCloser, error) {
	return c.nodeStream(ctx, node, "/v1/client/fs/cat/"+url.PathEscape(allocID), url.Values{"path": {path}})
}

// StopAllocation has an allocation stopped and replaced, and returns the evaluation that does it.
func (c *Client) StopAllocation(ctx context.Context, id string, noShutdownDelay bool) (evalID string, err error) {
	v := url.Values{}
	if noShutdownDelay {
		v.Set("no_shutdown_delay", "true")
	}
	var resp struct{ EvalID string }
	_, err = c.Put(ctx, "/v1/allocation/"+url.PathEscape(id)+"/stop", Query{Values: v}, nil, &resp)
	return resp.EvalID, err
}
