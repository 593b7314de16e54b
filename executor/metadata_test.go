package executor

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"pgregory.net/rapid"

	"drover/eventlog/event"
)

func stringp(s string) *string { return &s }

// The field's client changes metadata; the servers hear of it, jobs can ask for it, and it outlasts the agent.
func TestMetadataIsSetWhileANodeRuns(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.Meta = map[string]string{"rack": "r1", "role": "spare"}
	a, stop := startAgent(t, cfg)
	ask := func(a *Agent) *api.NodeMeta {
		web := httptest.NewServer(a.Handler())
		t.Cleanup(web.Close)
		c, err := api.NewClient(&api.Config{Address: web.URL})
		if err != nil {
			t.Fatal(err)
		}
		return c.Nodes().Meta()
	}
	node := func() *event.Node {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.node
	}
	s.until("registration", func() bool { return s.node != nil })
	class := node().ComputedClass
	told := func(want map[string]string) {
		t.Helper()
		s.until("metadata at the servers", func() bool { return reflect.DeepEqual(s.node.Meta, want) })
	}
	told(map[string]string{"rack": "r1", "role": "spare"})
	got, err := ask(a).Apply(&api.NodeMetaApplyRequest{NodeID: a.NodeID().String(), Meta: map[string]*string{"role": stringp("db"), "ready": stringp(""), "rack": nil}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &api.NodeMetaResponse{
		Meta:    map[string]string{"role": "db", "ready": ""},
		Dynamic: map[string]*string{"role": stringp("db"), "ready": stringp(""), "rack": nil},
		Static:  map[string]string{"rack": "r1", "role": "spare"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answered %+v", got)
	}
	told(want.Meta)
	if node().ComputedClass == class {
		t.Error("a node with other metadata has the same class")
	}
	registered := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.registered
	}
	before := registered()
	if again, err := ask(a).Apply(&api.NodeMetaApplyRequest{Meta: map[string]*string{"role": stringp("db")}}, nil); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("the same again: %+v (%v)", again, err)
	}

	stop()
	if now := registered(); now != before {
		t.Errorf("%d registrations of what is as it was", now-before)
	}
	a, stop = startAgent(t, cfg)
	if got, err := ask(a).Read("", nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after a start: %+v (%v)", got, err)
	}
	s.until("registration of the next agent", func() bool { return s.registered > before })
	told(want.Meta)

	// What is taken back is what is configured again, by the next agent's configuration.
	stop()
	cfg.Meta = map[string]string{"role": "spare", "rack": "r2", "zone": "z"}
	a, _ = startAgent(t, cfg)
	if _, err := ask(a).Apply(&api.NodeMetaApplyRequest{Meta: map[string]*string{"ready": nil, "rack": stringp("r3")}}, nil); err != nil {
		t.Fatal(err)
	}
	told(map[string]string{"role": "db", "rack": "r3", "zone": "z"})
}

func TestMetadataThatCannotBe(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	web := httptest.NewServer(a.Handler())
	t.Cleanup(web.Close)
	for _, c := range []struct {
		method, body string
		code         int
		want         string
	}{
		{"POST", ``, 400, "missing required Meta object"},
		{"POST", `{"Meta":{}}`, 400, "missing required Meta object"},
		{"POST", `{"Meta":{"a..b":"x"}}`, 400, `invalid client meta key: "a..b"`},
		{"POST", `{"Meta":{"":"x"}}`, 400, `invalid client meta key: ""`},
		{"POST", `{"Meta":{"a":5}}`, 400, "not understood"},
		{"POST", `{"Meta":{"a":"` + strings.Repeat("x", metadataBytesMax) + `"}}`, 400, "more than 65536"},
		{"POST", `{"NodeID":"00000000-0000-0000-0000-000000000001","Meta":{"a":"x"}}`, 404, "Unknown node"},
		{"PUT", `{"Meta":{"a":"x"}}`, 405, "Invalid method"},
		{"GET", ``, 200, `{"Meta":{},"Dynamic":{},"Static":{}}`},
	} {
		req, err := http.NewRequest(c.method, web.URL+"/v1/client/metadata", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.code || !strings.Contains(string(b), c.want) {
			t.Errorf("%s %.80s: %d %s (%v)", c.method, c.body, res.StatusCode, b, err)
		}
	}
}

// Metadata against a twin that keeps every word and asks for the last one about each key.
func TestMetadataOfManyWords(t *testing.T) {
	keys := rapid.SampledFrom([]string{"a", "b", "c", "d.e"})
	values := rapid.SampledFrom([]string{"", "1", "2"})
	rapid.Check(t, func(t *rapid.T) {
		static := rapid.MapOf(keys, values).Draw(t, "static")
		m := metadata{static: static, dynamic: map[string]*string{}}
		want := map[string]string{}
		for key, value := range static {
			want[key] = value
		}
		for range rapid.IntRange(0, 8).Draw(t, "words") {
			said := rapid.MapOf(keys, rapid.Ptr(values, true)).Draw(t, "said")
			kept := m.answer()
			m = m.with(said)
			if !reflect.DeepEqual(kept.Static, static) {
				t.Fatal("the configuration changed")
			}
			for key, value := range said {
				if delete(want, key); value != nil {
					want[key] = *value
				}
			}
			if got := m.effective(); !reflect.DeepEqual(got, want) {
				t.Fatalf("%v after %v, want %v", got, said, want)
			}
		}
	})
}

// A node goes over to the servers that an operator names, and to none that does not answer.
func TestServersAreReplaced(t *testing.T) {
	first := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, first))
	// The second address leads to the same cluster.
	to, err := url.Parse(first.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	relay := httputil.NewSingleHostReverseProxy(to)
	relay.FlushInterval = -1
	opened := make(chan struct{}, 100)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == pathOrders {
			opened <- struct{}{}
		}
		relay.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	second := strings.TrimPrefix(web.URL, "http://")
	first.until("registration", func() bool { return first.node != nil })
	if err := a.SetServers(nil); err == nil {
		t.Error("no servers at all were taken")
	}
	if err := a.SetServers([]string{"nowhere"}); err == nil {
		t.Error("an address without a port was taken")
	}
	dead := newFakeServer(t)
	dead.http.Close()
	if err := a.SetServers([]string{dead.address()}); err == nil || !strings.Contains(err.Error(), "none of these servers answers") {
		t.Errorf("a server that does not answer: %v", err)
	}
	if got := a.Servers(); !reflect.DeepEqual(got, []string{first.address()}) {
		t.Fatalf("refused lists left %v", got)
	}
	if err := a.SetServers([]string{dead.address(), second}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
	case <-time.After(30 * time.Second):
		t.Fatal("no stream of orders by way of the second address")
	}
	if got := a.Stats()["known_servers"]; got != dead.address()+","+second {
		t.Errorf("known servers %s", got)
	}
}
