package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// asked is one request with what the reference says of its answer. $J, $A, $N and $P are a job, an allocation, a node and
// a scaling policy; $U is an ID that nothing has.
type asked struct {
	request string // method and path
	body    string
	code    int
	text    string // in the body; "-" = there is no body
	headers string // in the answer: R of a read, W of a write, none
}

// codesOfTheField go through the routes of namespaces, node pools, the scheduler, scaling, search, lists for consoles,
// agents and nodes. Each changes nothing, or what the next needs.
var codesOfTheField = []asked{
	{"GET /v1/namespaces", "", 200, `"Name":"default"`, "R"},
	{"GET /v1/namespaces?prefix=team", "", 200, `"Name":"team-red"`, "R"},
	{"GET /v1/namespaces?prefix=zz", "", 200, "[]", "R"},
	{"GET /v1/namespaces?index=x", "", 400, "Invalid index", ""},
	{"GET /v1/namespaces?index=1&wait=5x", "", 400, "Invalid wait time", ""},
	{"GET /v1/namespaces?stale=maybe", "", 400, "stale", ""},
	{"GET /v1/namespaces?region=mars", "", 500, "No path to region", ""},
	{"PATCH /v1/namespaces", "", 405, "Invalid method", ""},
	{"GET /v1/namespace/nosuch", "", 404, "not found", ""},
	{"PUT /v1/namespace", `{"Name":"codes","Description":"d"}`, 200, "-", "W"},
	{"POST /v1/namespace/codes", `{"Name":"codes","Description":"e"}`, 200, "-", "W"},
	{"GET /v1/namespace/codes", "", 200, `"Description":"e"`, "R"},
	{"PUT /v1/namespace/codes", `{"Name":"other"}`, 400, "does not match request path", ""},
	{"PUT /v1/namespace", `{"Name":"not a name"}`, 400, "invalid namespace name", ""},
	{"PUT /v1/namespace", `{`, 400, "decode", ""},
	{"DELETE /v1/namespace/default", "", 500, "can not be deleted", ""},
	{"DELETE /v1/namespace/codes", "", 200, "-", "W"},
	{"DELETE /v1/namespace/codes", "", 404, "not found", ""},

	{"GET /v1/node/pools?per_page=1", "", 200, `"Name":"all"`, "R"},
	{"GET /v1/node/pools?per_page=1&reverse=true", "", 200, `"Name":"racks"`, "R"},
	{"GET /v1/node/pools?filter=Name+==+racks", "", 200, `"Name":"racks"`, "R"},
	{"GET /v1/node/pools?filter=((", "", 400, "failed to create result paginator", ""},
	{"GET /v1/node/pools?filter=Nope+==+3", "", 400, "failed to read result page", ""},
	{"GET /v1/node/pools?per_page=x", "", 400, "per_page", ""},
	{"PUT /v1/node/pools", `{"Name":"codes","Meta":{"k":"v"}}`, 200, "-", "W"},
	{"PUT /v1/node/pool/codes", `{"Name":"codes","Description":"e"}`, 200, "-", "W"},
	{"PUT /v1/node/pool/codes", `{"Name":"other"}`, 400, "does not match request path", ""},
	{"PUT /v1/node/pools", `{"Name":"default","Description":"x"}`, 400, "default", ""},
	{"GET /v1/node/pool/codes", "", 200, `"Description":"e"`, "R"},
	{"GET /v1/node/pool/nosuch", "", 404, "not found", ""},
	{"GET /v1/node/pool/racks/nodes", "", 200, `"ID":"$N"`, "R"},
	{"GET /v1/node/pool/racks/nodes?prefix=a", "", 400, "prefix", ""},
	{"GET /v1/node/pool/racks/nodes?filter=((", "", 400, "failed to create result paginator", ""},
	{"GET /v1/node/pool/racks/jobs?namespace=*", "", 200, `"ID":"$J"`, "R"},
	{"GET /v1/node/pool/racks/jobs?prefix=a", "", 400, "prefix", ""},
	{"GET /v1/node/pool/nosuch/jobs", "", 404, "not found", ""},
	{"DELETE /v1/node/pool/all", "", 400, "all", ""},
	{"DELETE /v1/node/pool/codes", "", 200, "-", "W"},

	{"PUT /v1/node/$U/evaluate", "", 500, "node not found", ""}, // what is read by ID is 404
	{"PUT /v1/node/nonsense/evaluate", "", 500, "UUID", ""},
	{"GET /v1/node/$U", "", 404, "not found", ""},

	{"GET /v1/operator/scheduler/configuration", "", 200, `"SchedulerAlgorithm":"binpack"`, "R"},
	{"PUT /v1/operator/scheduler/configuration", `{"SchedulerAlgorithm":"best"}`, 400, "scheduler algorithm", ""},
	{"PUT /v1/operator/scheduler/configuration?cas=1", `{"SchedulerAlgorithm":"spread"}`, 200, `"Updated":false`, "W"},
	{"PUT /v1/operator/scheduler/configuration?cas=x", `{"SchedulerAlgorithm":"spread"}`, 400, "cas", ""},

	{"GET /v1/scaling/policies?type=horizontal&job=$J", "", 200, `"ID":"$P"`, "R"},
	{"GET /v1/scaling/policies?type=vertical", "", 200, "[]", "R"},
	{"GET /v1/scaling/policy/$P", "", 200, `"Max":5`, "R"},
	{"GET /v1/scaling/policy/$U", "", 404, "not found", ""},
	{"GET /v1/scaling/policy/nosuch", "", 500, "UUID", ""},
	{"GET /v1/job/$J/scale", "", 200, `"Desired":2`, "R"},
	{"GET /v1/job/nosuch/scale", "", 404, "not found", ""},
	{"PUT /v1/job/nosuch/scale", `{"Count":1,"Target":{"Group":"group"}}`, 404, "not found", ""},
	{"PUT /v1/job/$J/scale", `{"Count":9,"Target":{"Group":"group"}}`, 400, "greater than scaling policy maximum", ""},
	{"PUT /v1/job/$J/scale", `{"Count":1,"Target":{"Group":"nosuch"}}`, 400, "nosuch", ""},
	{"PUT /v1/job/$J/scale", `{"Count":1,"JobModifyIndex":1,"Target":{"Group":"group"}}`, 500, "Enforcing job modify index", ""},
	{"POST /v1/job/$J/scale", `{"Message":"noted","Target":{"Group":"group"}}`, 200, `"EvalID":""`, "W"},

	{"PUT /v1/search", `{"Prefix":"sur","Context":"jobs"}`, 200, `"jobs":["$J"]`, "R"},
	{"POST /v1/search", `{"Prefix":"$P","Context":"scaling_policy"}`, 200, `["$P"]`, "R"},
	{"PUT /v1/search", `{"Prefix":"sur","Context":"nosuch"}`, 500, "context must be one of", ""},
	{"PUT /v1/search/fuzzy", `{"Text":"urf"}`, 200, `"ID":"$J"`, "R"},
	{"PUT /v1/search/fuzzy", `{"Text":"u"}`, 500, "at least 2 characters", ""},

	{"GET /v1/jobs/statuses?namespace=*", "", 200, `"ID":"$J"`, "R"},
	{"POST /v1/jobs/statuses", `{"Jobs":[{"ID":"$J","Namespace":"default"}]}`, 200, `"ID":"$J"`, "R"},
	{"POST /v1/jobs/statuses", `{"Jobs":[{"ID":"nosuch"}]}`, 200, "[]", "R"},
	{"POST /v1/jobs/statuses", `{`, 400, "decode", ""},
	{"PUT /v1/jobs/statuses", `{}`, 405, "Invalid method", ""},
	{"GET /v1/jobs/statuses?filter=((", "", 500, "failed to create result paginator", ""}, // 400 in every other list
	{"GET /v1/jobs/statuses?filter=Nope+==+1", "", 500, "failed to read result page", ""},
	{"GET /v1/jobs/statuses?next_token=x", "", 400, "failed to create result paginator", ""},

	{"GET /v1/agent/members", "", 200, `"Status":"alive"`, ""},
	{"GET /v1/agent/servers", "", 200, `[`, ""},
	{"PUT /v1/agent/servers", "", 400, "address", ""},
	{"PUT /v1/agent/join", "", 400, "address", ""},
	{"PUT /v1/agent/join?address=127.0.0.1:9", "", 200, `"num_joined":0`, ""},
	{"PUT /v1/agent/force-leave", "", 400, "node", ""},
	{"GET /v1/agent/health", "", 200, `"server":{"ok":true`, ""},
	{"GET /v1/agent/health?type=client", "", 200, `{"client":{"ok":true`, ""},
	{"GET /v1/agent/health?type=x", "", 400, "type", ""},
	{"GET /v1/agent/host", "", 403, "Permission denied", ""},
	{"GET /v1/agent/host?node_id=$N&server_id=leader", "", 400, "node_id", ""},
	{"GET /v1/agent/pprof/heap", "", 403, "Permission denied", ""},
	{"GET /v1/agent/monitor?log_level=loud", "", 400, "Unknown log level", ""},
	{"GET /v1/agent/schedulers", "", 200, `"schedulers":[`, ""},
	{"GET /v1/agent/schedulers/config", "", 200, `"num_schedulers":`, ""},
	{"GET /v1/status/leader", "", 200, `"127.0.0.1:`, ""},
	{"GET /v1/status/peers", "", 200, `["127.0.0.1:`, ""},
	{"GET /v1/regions", "", 200, `["global"]`, ""},
	{"POST /v1/system/gc", "", 405, "Invalid method", ""},
	{"PUT /v1/system/gc", "", 200, "-", ""},
	{"PUT /v1/system/reconcile/summaries", "", 200, "-", "W"},
	{"GET /v1/metrics?format=xml", "", 400, "format", ""},

	{"GET /v1/client/stats", "", 200, `"Memory":{`, ""},
	{"GET /v1/client/stats?node_id=$N", "", 200, `"Memory":{`, ""},
	{"GET /v1/client/stats?node_id=$U", "", 404, `Unknown node "$U"`, ""},
	{"GET /v1/client/stats?node_id=nonsense", "", 404, `Unknown node "nonsense"`, ""},
	{"GET /v1/client/gc?node_id=nonsense", "", 404, `Unknown node "nonsense"`, ""},
	{"GET /v1/client/metadata?node_id=nonsense", "", 404, `Unknown node "nonsense"`, ""},
	{"PUT /v1/client/metadata", `{"Meta":{}}`, 405, "Invalid method", ""},
	{"POST /v1/client/metadata", ``, 400, "Meta", ""},
	{"POST /v1/client/metadata", `{"NodeID":"$U","Meta":{"a":"b"}}`, 404, "Unknown node", ""},
	{"GET /v1/client/allocation/$U/stats", "", 404, `Unknown allocation "$U"`, ""},
	{"GET /v1/client/allocation/nonsense/stats", "", 404, `Unknown allocation "nonsense"`, ""},
	{"GET /v1/client/allocation/$A/stats?task=nosuch", "", 400, "nosuch", ""},
	{"PUT /v1/client/allocation/$A/restart", `{"TaskName":"nosuch"}`, 400, "nosuch", ""},
	{"PUT /v1/client/allocation/$A/signal", `{"Task":"task","Signal":"SIGNOSUCH"}`, 400, "SIGNOSUCH", ""},
	{"GET /v1/client/allocation/$A/exec?task=task&command=[]", "", 500, "websocket", ""},
	{"GET /v1/client/fs/ls/$A?path=../../..", "", 400, "escapes", ""},
	{"GET /v1/client/fs/stat/$A?path=nosuch", "", 404, "nosuch", ""},
	{"GET /v1/client/fs/cat/$A", "", 400, "file name", ""},
	{"GET /v1/client/fs/logs/$A?type=stdout", "", 400, "task name", ""},
	{"GET /v1/client/fs/logs/$A?task=task", "", 400, "log type", ""},
	{"GET /v1/client/fs/logs/$A?task=nosuch&type=stdout", "", 400, "nosuch", ""},
	{"GET /v1/client/fs/logs/$U?task=task&type=stdout", "", 404, "$U", ""},
}

// TestCodesOfTheField sends each of them and looks at code, text and headers.
func TestCodesOfTheField(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	there := strings.NewReplacer("$J", w.job, "$A", w.alloc, "$N", w.node, "$P", w.policy, "$U", "00000000-0000-4000-8000-000000000001")
	for _, c := range codesOfTheField {
		method, path, _ := strings.Cut(there.Replace(c.request), " ")
		req, err := http.NewRequestWithContext(t.Context(), method, w.a.url()+path, strings.NewReader(there.Replace(c.body)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if closing := resp.Body.Close(); err == nil {
			err = closing
		}
		got := fmt.Sprintf("%s %s: %d %v\n%s", c.request, c.body, resp.StatusCode, resp.Header, body)
		if err != nil || resp.StatusCode != c.code || c.text == "-" && len(body) > 0 || c.text != "-" && !strings.Contains(string(body), there.Replace(c.text)) {
			t.Errorf("%s (%v)\nwant %d %s", got, err, c.code, c.text)
		}
		index, leader, contact := resp.Header.Get("X-Nomad-Index"), resp.Header.Get("X-Nomad-KnownLeader"), resp.Header.Get("X-Nomad-LastContact")
		switch kind := resp.Header.Get("Content-Type"); {
		case c.code != http.StatusOK && (kind != "text/plain; charset=utf-8" || len(body) == 0),
			c.code == http.StatusOK && c.text != "-" && kind != "application/json",
			c.headers == "R" && (index == "" || index == "0" || leader != "true" || contact != "0"),
			c.headers == "W" && (index == "" || index == "0" || leader+contact != ""),
			c.headers == "" && c.code == http.StatusOK && index+leader+contact != "":
			t.Errorf("headers of %s", got)
		}
	}
}

// TestPagesOfOtherOriginsReadNodes: a console that is served elsewhere reads logs and files.
func TestPagesOfOtherOriginsReadNodes(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	node := newAgent(t, agentConfig{client: true, name: "beta", servers: []string{w.a.rpc()}})
	awaitNodes(t, w.c, 2)
	ask := func(url, method, origin string, preflight bool) (int, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		if preflight {
			req.Header.Set("Access-Control-Request-Method", "GET")
			req.Header.Set("Access-Control-Request-Headers", "x-nomad-token")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	const elsewhere, allowed = "http://console.example", "Access-Control-Allow-Origin"
	for _, url := range []string{w.a.url(), node.url()} { // beta passes on what is alpha's
		path := url + "/v1/client/fs/ls/" + w.alloc
		if code, h := ask(path, http.MethodGet, elsewhere, false); code != 200 || len(h.Values(allowed)) != 1 || h.Get(allowed) != "*" {
			t.Errorf("%s: %d %v", path, code, h)
		}
		if code, h := ask(path, http.MethodOptions, elsewhere, true); code != 204 || h.Get(allowed) != "*" || h.Get("Access-Control-Allow-Methods") != "GET, HEAD" ||
			h.Get("Access-Control-Allow-Headers") != "x-nomad-token" {
			t.Errorf("%s may be asked: %d %v", path, code, h)
		}
		if code, h := ask(path, http.MethodGet, "", false); code != 200 || h.Get(allowed) != "" {
			t.Errorf("%s without an origin: %d %v", path, code, h)
		}
		for _, other := range []string{"/v1/client/gc", "/v1/jobs", "/v1/agent/self"} {
			if _, h := ask(url+other, http.MethodGet, elsewhere, false); h.Get(allowed) != "" {
				t.Errorf("%s may be read from elsewhere: %v", other, h)
			}
		}
	}
}
