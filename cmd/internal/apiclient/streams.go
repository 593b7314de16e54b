package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
)

// Part says which part of a file or log is wanted.
type Part struct {
	Follow  bool  // go on as more is written
	FromEnd bool  // Offset counts back from the end
	Offset  int64 // bytes
}

func (p Part) query() url.Values {
	origin := "start"
	if p.FromEnd {
		origin = "end"
	}
	return url.Values{"origin": {origin}, "follow": {strconv.FormatBool(p.Follow)}, "offset": {strconv.FormatInt(p.Offset, 10)}}
}

// LogRequest says which part of a task's output is wanted.
type LogRequest struct {
	AllocID string
	Task    string
	Type    string // "stdout" or "stderr"
	Part
}

// FrameStream is a file or a task's output as it comes.
type FrameStream struct {
	body    io.ReadCloser
	decoder *json.Decoder
	limit   *io.LimitedReader
}

// Frame is one piece of a log stream. One without data is a sign of life.
type Frame struct {
	Data      []byte
	File      string
	Offset    int64
	FileEvent string // "file deleted" or "file truncated"; empty for data
}

// Logs opens a task's output: on the node's own agent when it can be reached,
// else through the configured one.
func (c *Client) Logs(ctx context.Context, node *Node, r LogRequest) (*FrameStream, error) {
	q := r.query()
	q.Set("task", r.Task)
	q.Set("type", r.Type)
	return c.frames(ctx, node, "/v1/client/fs/logs/"+url.PathEscape(r.AllocID), q)
}

// FileStream opens a file of an allocation to be read as it grows.
func (c *Client) FileStream(ctx context.Context, node *Node, allocID, path string, p Part) (*FrameStream, error) {
	q := p.query()
	q.Set("path", path)
	return c.frames(ctx, node, "/v1/client/fs/stream/"+url.PathEscape(allocID), q)
}

func (c *Client) frames(ctx context.Context, node *Node, path string, q url.Values) (*FrameStream, error) {
	body, err := c.nodeStream(ctx, node, path, q)
	if err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: body}
	return &FrameStream{body: body, decoder: json.NewDecoder(limit), limit: limit}, nil
}

// nodeStream opens an answer of the node's that is read as it comes.
func (c *Client) nodeStream(ctx context.Context, node *Node, path string, q url.Values) (body io.ReadCloser, err error) {
	err = c.onNode(node, func(c *Client) (err error) {
		body, err = c.stream(ctx, path, q)
		return err
	})
	return body, err
}

// Next is the next frame, or io.EOF at the end of the output.
func (s *FrameStream) Next() (Frame, error) {
	s.limit.N = frameMax
	var frame Frame
	err := s.decoder.Decode(&frame)
	switch {
	case err == nil:
		return frame, nil
	case errors.Is(err, io.EOF) && s.limit.N > 0:
		return Frame{}, io.EOF
	case s.limit.N <= 0:
		return Frame{}, fmt.Errorf("a frame of the stream is longer than %d bytes", frameMax)
	}
	return Frame{}, fmt.Errorf("read the stream: %w", err)
}

// Close ends the stream.
func (s *FrameStream) Close() error { return s.body.Close() }

// onNode asks the node's own agent, or the configured one, which relays, when
// that cannot be reached.
func (c *Client) onNode(node *Node, ask func(*Client) error) error {
	if direct := c.forNode(node); direct != nil {
		if err := ask(direct); !IsConnectError(err) {
			return err
		}
	}
	return ask(c)
}

// forNode is a client for a node's own agent, or nil when the node does not say
// where that listens.
func (c *Client) forNode(node *Node) *Client {
	if node == nil || node.HTTPAddr == "" {
		return nil
	}
	direct := *c
	direct.base = &url.URL{Scheme: "http", Host: node.HTTPAddr}
	tlsConfig := c.tls
	if node.TLSEnabled {
		direct.base.Scheme = "https"
		if tlsConfig != nil && tlsConfig.ServerName == "" && c.cfg.Region != "" {
			tlsConfig = tlsConfig.Clone()
			tlsConfig.ServerName = "client." + c.cfg.Region + ".nomad"
		}
	}
	dialer := &net.Dialer{Timeout: nodeDialTimeout}
	direct.http = newHTTP(dialer.DialContext, tlsConfig)
	return &direct
}

// RecordRequest says which records are wanted.
type RecordRequest struct {
	Index  uint64 // the first one
	Follow bool   // go on as new ones come
	Job    string // only those about this job of the client's namespace; empty = all
	Kinds  []string
}

// Records opens the stream of records and calls each with every line, until the
// stream ends, each returns an error, or ctx ends. Signs of life are left out.
func (c *Client) Records(ctx context.Context, r RecordRequest, each func(line []byte) error) error {
	q := url.Values{"index": {strconv.FormatUint(r.Index, 10)}, "follow": {strconv.FormatBool(r.Follow)}}
	if r.Job != "" {
		q.Set("job", r.Job)
	}
	if len(r.Kinds) > 0 {
		q["kind"] = r.Kinds
	}
	return c.lines(ctx, "/v1/event/log", q, each)
}

// VerifyLine is one line of a verification: progress, or at last the outcome.
type VerifyLine struct {
	Done, Total uint64 // progress, in records

	Final   bool   `json:"-"` // the rest is set
	Records uint64 // that the log holds
	Head    struct {
		Index uint64
		Hash  string
	}
	OK     bool
	Index  uint64 // the first bad record
	Reason string // what is wrong with it
}

// Verify has the agent read its log again and check the chain. It calls
// progress along the way and returns the outcome.
func (c *Client) Verify(ctx context.Context, progress func(done, total uint64)) (VerifyLine, error) {
	var outcome VerifyLine
	err := c.lines(ctx, "/v1/event/verify", url.Values{}, func(line []byte) error {
		var probe struct{ OK *bool }
		var v VerifyLine
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("decode the verification: %w", err)
		}
		if err := json.Unmarshal(line, &probe); err != nil {
			return fmt.Errorf("decode the verification: %w", err)
		}
		if probe.OK == nil {
			progress(v.Done, v.Total)
			return nil
		}
		v.Final = true
		outcome = v
		return nil
	})
	if err == nil && !outcome.Final {
		err = errors.New("the agent ended the verification without an outcome")
	}
	return outcome, err
}

// lines reads a stream of JSON lines.
func (c *Client) lines(ctx context.Context, path string, q url.Values, each func([]byte) error) error {
	body, err := c.stream(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	scanner := bufio.NewScanner(body)
	scanner.Buffer(make([]byte, 64<<10), RecordLineMax)
	for scanner.Scan() {
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 || string(line) == "{}" {
			continue
		}
		// A stream that fails after it began can say so only in a line.
		var failure struct{ Error string }
		if bytes.HasPrefix(line, []byte(`{"Error":`)) && json.Unmarshal(line, &failure) == nil {
			return errors.New(failure.Error)
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
