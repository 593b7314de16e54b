package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// ExecRequest is a program to run beside a task.
type ExecRequest struct {
	AllocID string
	Task    string
	Command []string
	TTY     bool // in a terminal of its own

	Stdin  io.Reader // nil = there is none, not even an empty one
	Stdout io.Writer
	Stderr io.Writer
	Sizes  <-chan TerminalSize // of the terminal, one after the other
}

// TerminalSize is in characters.
type TerminalSize struct {
	Height int `json:"height"`
	Width  int `json:"width"`
}

type execInput struct {
	Stdin   *execData     `json:"stdin,omitempty"`
	TTYSize *TerminalSize `json:"tty_size,omitempty"`
}

type execOutput struct {
	Stdout *execData `json:"stdout"`
	Stderr *execData `json:"stderr"`
	Exited bool      `json:"exited"`
	Result *struct {
		ExitCode int `json:"exit_code"`
	} `json:"result"`
}

type execData struct {
	Data  []byte `json:"data,omitempty"`
	Close bool   `json:"close,omitempty"`
}

// Exec runs a program beside a task until it ends and returns its exit code.
func (c *Client) Exec(ctx context.Context, node *Node, r ExecRequest) (int, error) {
	command, err := json.Marshal(r.Command)
	if err != nil {
		return 0, err
	}
	q := url.Values{"task": {r.Task}, "command": {string(command)}, "tty": {strconv.FormatBool(r.TTY)}}
	path := "/v1/client/allocation/" + url.PathEscape(r.AllocID) + "/exec"
	var conn *websocket.Conn
	err = c.onNode(node, func(c *Client) (err error) {
		conn, err = c.upgrade(ctx, path, q)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &execSession{ctx: ctx, cancel: cancel, conn: conn, request: r}
	return s.run()
}

// upgrade opens a websocket.
func (c *Client) upgrade(ctx context.Context, path string, q url.Values) (*websocket.Conn, error) {
	req, err := c.request(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, err
	}
	conn, resp, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: req.Header})
	if err == nil {
		conn.SetReadLimit(frameMax)
		return conn, nil
	}
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		message, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyMax))
		return nil, &StatusError{Code: resp.StatusCode, Message: string(message)}
	}
	return nil, c.connectError(req, err)
}

// execSession is one session under way.
type execSession struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	conn    *websocket.Conn
	request ExecRequest
}

func (s *execSession) run() (int, error) {
	go s.sizes()
	if s.request.Stdin != nil {
		go s.input()
	}
	for {
		_, b, err := s.conn.Read(s.ctx)
		if err != nil {
			return 0, s.failure(err)
		}
		var m execOutput
		if err := json.Unmarshal(b, &m); err != nil {
			return 0, fmt.Errorf("decode a message of the session: %w", err)
		}
		for _, part := range []struct {
			data *execData
			to   io.Writer
		}{{m.Stdout, s.request.Stdout}, {m.Stderr, s.request.Stderr}} {
			if part.data == nil {
				continue
			}
			if _, err := part.to.Write(part.data.Data); err != nil {
				return 0, fmt.Errorf("write what the program said: %w", err)
			}
		}
		if m.Exited && m.Result != nil {
			s.conn.Close(websocket.StatusNormalClosure, "")
			return m.Result.ExitCode, nil
		}
	}
}

// failure is why a session ended before its program's end was told.
func (s *execSession) failure(err error) error {
	var closed websocket.CloseError
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case errors.As(err, &closed) && closed.Reason != "":
		return errors.New(closed.Reason)
	}
	return fmt.Errorf("the session broke off: %w", err)
}

func (s *execSession) send(m execInput) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.conn.Write(s.ctx, websocket.MessageText, b)
}

// input sends what is typed; what cannot be sent is told by the reading side.
func (s *execSession) input() {
	buffer := make([]byte, execInputBytes)
	for {
		n, err := s.request.Stdin.Read(buffer)
		if n > 0 && s.send(execInput{Stdin: &execData{Data: buffer[:n]}}) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			s.send(execInput{Stdin: &execData{Close: true}})
			return
		}
		if err != nil {
			s.cancel(err)
			return
		}
	}
}

// sizes sends the sizes of the terminal and signs of life.
func (s *execSession) sizes() {
	ticker := time.NewTicker(execHeartbeat)
	defer ticker.Stop()
	for {
		var m execInput
		select {
		case size := <-s.request.Sizes:
			m.TTYSize = &size
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		if s.send(m) != nil {
			return
		}
	}
}
