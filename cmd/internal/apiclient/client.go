package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// DefaultAddress is where an agent listens unless it was told otherwise.
const DefaultAddress = "http://127.0.0.1:4646"

// AllNamespaces asks a reading route for objects of every namespace.
const AllNamespaces = "*"

// CommandIDHeader carries the ID under which a write takes effect once, however
// often it is sent.
const CommandIDHeader = "X-Drover-Command-ID"

// Config says which agent to talk to, and as whom. The zero value talks to
// DefaultAddress.
type Config struct {
	Address   string // http://host:port, https://host:port or unix:///path; empty = DefaultAddress
	Region    string // empty = the agent's own
	Namespace string // empty = "default"; AllNamespaces on reading routes
	Token     string // secret of an ACL token; empty = none
	HTTPAuth  string // "user:password" for a proxy in front of the agent; empty = none
	TLS       TLS
}

// TLS is how an https address is verified and how the client identifies itself.
type TLS struct {
	CACert     string // file with PEM certificates; empty = the system's
	CAPath     string // directory with such files; used when CACert is empty
	ClientCert string // PEM file; empty = no client certificate
	ClientKey  string // PEM file that belongs to ClientCert
	ServerName string // name to verify instead of the address's host
	SkipVerify bool   // accept any certificate
}

// Client sends requests to one agent. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base *url.URL // scheme and host of every request
	http *http.Client
	tls  *tls.Config
}

// New checks cfg and makes a client. It does not connect.
func New(cfg Config) (*Client, error) {
	if cfg.Address == "" {
		cfg.Address = DefaultAddress
	}
	if !strings.Contains(cfg.Address, "://") {
		cfg.Address = "http://" + cfg.Address
	}
	u, err := url.Parse(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("invalid address %q: %w", cfg.Address, err)
	}
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, tls: tlsConfig}
	dialer := &net.Dialer{Timeout: dialTimeout}
	dial := dialer.DialContext
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, fmt.Errorf("invalid address %q: it names no host", cfg.Address)
		}
		c.base = &url.URL{Scheme: u.Scheme, Host: u.Host}
	case "unix":
		socket := u.Host + u.Path
		if socket == "" {
			return nil, fmt.Errorf("invalid address %q: it names no socket", cfg.Address)
		}
		c.base = &url.URL{Scheme: "http", Host: "127.0.0.1"}
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	default:
		return nil, fmt.Errorf("invalid address %q: the scheme must be http, https or unix", cfg.Address)
	}
	c.http = newHTTP(dial, tlsConfig)
	return c, nil
}

func newHTTP(dial func(context.Context, string, string) (net.Conn, error), t *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dial,
		TLSClientConfig: t,
		// A client lives for one command: idle connections serve its polls.
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,
	}}
}

func (t TLS) load() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify}
	if t.CACert != "" || t.CAPath != "" {
		files := []string{t.CACert}
		if t.CACert == "" {
			entries, err := os.ReadDir(t.CAPath)
			if err != nil {
				return nil, fmt.Errorf("read CA certificates: %w", err)
			}
			files = nil
			for _, e := range entries {
				if !e.IsDir() {
					files = append(files, filepath.Join(t.CAPath, e.Name()))
				}
			}
		}
		cfg.RootCAs = x509.NewCertPool()
		for _, file := range files {
			pem, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("read CA certificate: %w", err)
			}
			if !cfg.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("read CA certificate: %s holds no PEM certificate", file)
			}
		}
	}
	switch {
	case t.ClientCert != "" && t.ClientKey != "":
		pair, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	case t.ClientCert != "" || t.ClientKey != "":
		return nil, errors.New("a client certificate and its key must be given together")
	}
	return cfg, nil
}

// Address is the address that requests go to, as the user wrote it.
func (c *Client) Address() string { return c.cfg.Address }

// Namespace is the namespace that requests speak of; never empty.
func (c *Client) Namespace() string {
	if c.cfg.Namespace == "" {
		return "default"
	}
	return c.cfg.Namespace
}

// InNamespace is the same client for another namespace. An empty one is the
// client itself.
func (c *Client) InNamespace(namespace string) *Client {
	if namespace == "" || namespace == c.cfg.Namespace {
		return c
	}
	other := *c
	other.cfg.Namespace = namespace
	return &other
}

// InRegion is the same client for another region. An empty one is the client
// itself.
func (c *Client) InRegion(region string) *Client {
	if region == "" || region == c.cfg.Region {
		return c
	}
	other := *c
	other.cfg.Region = region
	return &other
}

// StatusError is an answer with any code but 200.
type StatusError struct {
	Code    int
	Message string // the body
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("Unexpected response code: %d (%s)", e.Code, e.Message)
}

// IsNotFound reports whether the agent answered that there is no such thing.
func IsNotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// ConnectError means that no agent answered.
type ConnectError struct {
	Address string // as the user wrote it
	Request string // what was asked, "GET /v1/jobs"
	Err     error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("no agent answered at %s (%s): %v\n"+
		"Start one with 'drover agent -dev', or name a running one with -address or DROVER_ADDR.", e.Address, e.Request, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// IsConnectError reports whether no agent answered at all.
func IsConnectError(err error) bool {
	var connect *ConnectError
	return errors.As(err, &connect)
}

// Query is what a reading route understands beyond its path. The zero value asks
// for everything, now.
type Query struct {
	Index   uint64        // wait for something newer than this; 0 = answer now
	Wait    time.Duration // how long at most; 0 = the server's default
	Prefix  string
	Filter  string
	PerPage int
	Token   string // where the next page begins
	Values  url.Values
}

func (q Query) values() url.Values {
	v := url.Values{}
	for key, list := range q.Values {
		v[key] = list
	}
	if q.Index > 0 {
		v.Set("index", strconv.FormatUint(q.Index, 10))
		if q.Wait > 0 {
			v.Set("wait", strconv.FormatInt(q.Wait.Milliseconds(), 10)+"ms")
		}
	}
	for key, value := range map[string]string{"prefix": q.Prefix, "filter": q.Filter, "next_token": q.Token} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.PerPage > 0 {
		v.Set("per_page", strconv.Itoa(q.PerPage))
	}
	return v
}

// Answer is what came back beside the object.
type Answer struct {
	Index     uint64 // of the state that the answer shows; 0 when the route has none
	NextToken string // where the next page begins; empty on the last page
	Body      []byte // the JSON as sent
}

// Get reads path into out, which may be nil when only the body counts.
func (c *Client) Get(ctx context.Context, path string, q Query, out any) (Answer, error) {
	req, err := c.request(ctx, http.MethodGet, path, q.values(), nil)
	if err != nil {
		return Answer{}, err
	}
	return c.answer(req, out)
}

// Put writes in to path and reads the answer into out. It makes up a command ID
// and sends the request a second time under the same ID when the connection
// broke before an answer came.
func (c *Client) Put(ctx context.Context, path string, q Query, in, out any) (Answer, error) {
	return c.write(ctx, http.MethodPut, path, q, in, out)
}

// Delete removes path. It repeats itself as Put does.
func (c *Client) Delete(ctx context.Context, path string, q Query, out any) (Answer, error) {
	return c.write(ctx, http.MethodDelete, path, q, nil, out)
}

func (c *Client) write(ctx context.Context, method, path string, q Query, in, out any) (Answer, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return Answer{}, fmt.Errorf("encode request for %s: %w", path, err)
		}
	}
	commandID := uuid.NewString()
	send := func() (Answer, error) {
		req, err := c.request(ctx, method, path, q.values(), body)
		if err != nil {
			return Answer{}, err
		}
		req.Header.Set(CommandIDHeader, commandID)
		return c.answer(req, out)
	}
	answer, err := send()
	if IsConnectError(err) && !neverSent(err) && ctx.Err() == nil {
		// The agent may have taken the command and lost the connection before it
		// could say so. The ID makes a second try harmless.
		return send()
	}
	return answer, err
}

// neverSent reports whether the connection did not even come about, so that
// trying again would only repeat the same error.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// request makes a request with everything that each of them carries.
func (c *Client) request(ctx context.Context, method, path string, q url.Values, body []byte) (*http.Request, error) {
	if c.cfg.Region != "" && q.Get("region") == "" {
		q.Set("region", c.cfg.Region)
	}
	if c.cfg.Namespace != "" && q.Get("namespace") == "" {
		q.Set("namespace", c.cfg.Namespace)
	}
	raw, err := url.Parse(c.base.String() + path)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	raw.RawQuery = q.Encode()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, raw.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		req.Header.Set("X-Nomad-Token", c.cfg.Token)
	}
	if user, password, ok := strings.Cut(c.cfg.HTTPAuth, ":"); ok {
		req.SetBasicAuth(user, password)
	} else if c.cfg.HTTPAuth != "" {
		req.SetBasicAuth(c.cfg.HTTPAuth, "")
	}
	return req, nil
}

// do sends the request; an answer with another code than 200 is a StatusError.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.connectError(req, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		message, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyMax))
		return nil, &StatusError{Code: resp.StatusCode, Message: strings.TrimSpace(string(message))}
	}
	return resp, nil
}

func (c *Client) connectError(req *http.Request, err error) error {
	if ctxErr := req.Context().Err(); ctxErr != nil {
		return ctxErr
	}
	// The URL stands in our own message already.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &ConnectError{Address: c.cfg.Address, Request: req.Method + " " + req.URL.Path, Err: err}
}

func (c *Client) answer(req *http.Request, out any) (Answer, error) {
	resp, err := c.do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, c.connectError(req, fmt.Errorf("read the answer: %w", err))
	}
	a := Answer{NextToken: resp.Header.Get("X-Nomad-NextToken"), Body: body}
	a.Index, _ = strconv.ParseUint(resp.Header.Get("X-Nomad-Index"), 10, 64)
	if out == nil {
		return a, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return a, fmt.Errorf("decode the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	return a, nil
}

// stream opens a response that is read as it comes.
func (c *Client) stream(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
