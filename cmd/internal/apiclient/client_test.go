package apiclient

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/eventlog/event"
)

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryRequestSaysWhoAndWhere(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Nomad-Index", "42")
		w.Header().Set("X-Nomad-NextToken", "more")
		io.WriteString(w, "[]")
	}))
	defer server.Close()
	c := newClient(t, Config{Address: server.URL, Region: "west", Namespace: "prod", Token: "secret", HTTPAuth: "user:pass"})
	_, answer, err := c.Jobs(t.Context(), Query{Index: 7, Wait: 1500 * time.Millisecond, Prefix: "we", Filter: `A == "b"`, PerPage: 3, Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "/v1/jobs?filter=A+%3D%3D+%22b%22&index=7&namespace=prod&next_token=x&per_page=3&prefix=we&region=west&wait=1500ms"; got.RequestURI != want {
		t.Errorf("asked for\n%s, want\n%s", got.RequestURI, want)
	}
	if user, password, _ := got.BasicAuth(); got.Header.Get("X-Nomad-Token") != "secret" || user != "user" || password != "pass" {
		t.Errorf("headers %v", got.Header)
	}
	if answer.Index != 42 || answer.NextToken != "more" {
		t.Errorf("answer %+v", answer)
	}
	if _, _, err := c.InNamespace("other").JobEvaluations(t.Context(), "a/b c"); err != nil {
		t.Fatal(err)
	}
	if want := "/v1/job/a%2Fb%20c/evaluations?namespace=other&region=west"; got.RequestURI != want {
		t.Errorf("asked for %s, want %s", got.RequestURI, want)
	}
}

// TestAWriteIsRepeatedUnderItsOwnID: a connection that breaks after the request
// was sent leaves the outcome open; the second try carries the same ID.
func TestAWriteIsRepeatedUnderItsOwnID(t *testing.T) {
	for broken := range 4 {
		var mu sync.Mutex // the two tries are two connections
		var ids []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			mu.Lock()
			ids = append(ids, r.Header.Get(CommandIDHeader))
			abort := len(ids) <= broken
			mu.Unlock()
			if abort {
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, `{"EvalID":"e"}`)
		}))
		c := newClient(t, Config{Address: server.URL})
		resp, err := c.RegisterJob(t.Context(), &JobRegisterRequest{Job: &event.Job{ID: "web"}})
		server.Close()
		switch {
		case broken < 2 && (err != nil || resp.EvalID != "e" || len(ids) != broken+1):
			t.Errorf("%d broken connections: %d tries, %v", broken, len(ids), err)
		case broken >= 2 && (!IsConnectError(err) || len(ids) != 2):
			t.Errorf("%d broken connections: %d tries, %v", broken, len(ids), err)
		}
		for _, id := range ids {
			if id != ids[0] || len(id) != 36 {
				t.Errorf("the tries carry the IDs %v", ids)
			}
		}
	}
}

func TestARefusalIsNotRepeated(t *testing.T) {
	tries := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries++
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	defer server.Close()
	_, err := newClient(t, Config{Address: server.URL}).StopJob(t.Context(), "web", StopOptions{Purge: true, Global: true})
	if err == nil || err.Error() != "Unexpected response code: 500 (no)" || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
	if IsNotFound(err) || !IsNotFound(&StatusError{Code: 404}) {
		t.Error("codes are mixed up")
	}
}

func TestNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, err = newClient(t, Config{Address: address}).StopJob(t.Context(), "web", StopOptions{})
	if !IsConnectError(err) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "drover agent -dev") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := newClient(t, Config{Address: address}).Nodes(ctx, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{"": DefaultAddress, "host:1": "http://host:1", "https://host:1/": "https://host:1/", "unix:///s": "unix:///s"} {
		if got := newClient(t, Config{Address: address}).Address(); got != want {
			t.Errorf("%q is %s, want %s", address, got, want)
		}
	}
	for _, address := range []string{"ftp://host", "http://", "unix://", "http://%zz"} {
		if _, err := New(Config{Address: address}); err == nil {
			t.Errorf("took the address %q", address)
		}
	}
	for _, cfg := range []TLS{{CACert: "/nowhere"}, {CAPath: "/nowhere"}, {ClientCert: "a"}, {ClientCert: "/nowhere", ClientKey: "/nowhere"}} {
		if _, err := New(Config{TLS: cfg}); err == nil {
			t.Errorf("took %+v", cfg)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `[{"ID":"n"}]`) })}
	go server.Serve(listener)
	defer server.Close()
	nodes, _, err := newClient(t, Config{Address: "unix://" + path}).Nodes(t.Context(), Query{})
	if err != nil || len(nodes) != 1 || nodes[0].ID != "n" {
		t.Errorf("got %v, %v", nodes, err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the test
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls TLS
		ok  bool
	}{
		{TLS{}, false}, {TLS{CACert: file}, true}, {TLS{CAPath: dir}, true}, {TLS{SkipVerify: true}, true},
		{TLS{CACert: file, ServerName: "example.com"}, true}, {TLS{CACert: file, ServerName: "elsewhere"}, false},
	} {
		_, _, err := newClient(t, Config{Address: server.URL, TLS: c.tls}).Nodes(t.Context(), Query{})
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.tls, err)
		}
	}
}

// TestLogsComeFromTheNodeItself, and over the configured agent when the node
// cannot be reached. An answer of the node, even a bad one, is an answer.
func TestLogsComeFromTheNodeItself(t *testing.T) {
	say := func(text string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if text == "" {
				http.Error(w, "no such task", http.StatusNotFound)
				return
			}
			frame, _ := json.Marshal(Frame{Data: []byte(text)})
			w.Write(frame)
		}))
	}
	agent, node, refuses := say("agent"), say("node"), say("")
	defer agent.Close()
	defer node.Close()
	defer refuses.Close()
	gone := say("gone")
	gone.Close()
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	c := newClient(t, Config{Address: agent.URL})
	for _, test := range []struct {
		node *Node
		want string
	}{
		{nil, "agent"}, {&Node{}, "agent"}, {&Node{HTTPAddr: host(node)}, "node"}, {&Node{HTTPAddr: host(gone)}, "agent"},
		{&Node{HTTPAddr: host(node), TLSEnabled: true}, "agent"},
		{&Node{HTTPAddr: host(refuses)}, "Unexpected response code: 404 (no such task)"},
	} {
		got := func() string {
			s, err := c.Logs(t.Context(), test.node, LogRequest{AllocID: "a", Task: "t", Type: "stdout"})
			if err != nil {
				return err.Error()
			}
			defer s.Close()
			frame, err := s.Next()
			if err != nil {
				return err.Error()
			}
			if _, err := s.Next(); err != io.EOF {
				t.Errorf("the stream does not end: %v", err)
			}
			return string(frame.Data)
		}()
		if got != test.want {
			t.Errorf("node %+v: %q, want %q", test.node, got, test.want)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"File":%q}`, strings.Repeat("x", 2*frameMax))
	}))
	defer server.Close()
	c := newClient(t, Config{Address: server.URL})
	s, err := c.Logs(t.Context(), nil, LogRequest{AllocID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Next(); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

func TestAStreamOfRecordsStopsWhereItIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{}\n{\"Index\":1}\n\n{\"Index\":2}\n{\"Index\":3}\n")
	}))
	defer server.Close()
	c := newClient(t, Config{Address: server.URL})
	enough := errors.New("enough")
	var lines []string
	err := c.Records(t.Context(), RecordRequest{Index: 1}, func(line []byte) error {
		lines = append(lines, string(line))
		if len(lines) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(lines, " ") != `{"Index":1} {"Index":2}` {
		t.Errorf("got %v, %v", lines, err)
	}
}
