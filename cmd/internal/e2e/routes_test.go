package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// reference lists every route of the field's API: methods, path, and after "is"
// what it may answer beside a body: "empty" (200 without one), "missing" (404
// for want of an object that the test does not make).
// $J, $A, $E, $N are a job, an allocation, an evaluation and a node that are there.
// Where the reference takes PUT and POST alike, W says so.
const reference = `
GET W                 /v1/jobs
W                     /v1/jobs/parse
GET POST              /v1/jobs/statuses
W                     /v1/validate/job
GET W                 /v1/job/$J
W                     /v1/job/$J/plan
W                     /v1/job/$J/evaluate
GET                   /v1/job/$J/allocations
GET                   /v1/job/$J/evaluations
GET                   /v1/job/$J/deployments
GET                   /v1/job/$J/deployment
GET                   /v1/job/$J/summary
GET                   /v1/job/$J/versions
W                     /v1/job/$J/versions/one/tag
DELETE                /v1/job/$J/versions/one/tag is empty
W                     /v1/job/$J/revert
W                     /v1/job/$J/stable
W                     /v1/job/$J/dispatch
W                     /v1/job/$J/dispatch/payload
W                     /v1/job/$J/periodic/force
GET W                 /v1/job/$J/scale
GET                   /v1/job/$J/submission?version=0
GET                   /v1/job/$J/services
GET                   /v1/job/$J/actions
GET                   /v1/job/$J/action
GET                   /v1/scaling/policies
GET                   /v1/scaling/policy/$E              is missing
GET                   /v1/allocations
GET                   /v1/allocation/$A
GET                   /v1/allocation/$A/services
GET                   /v1/allocation/$A/checks
GET                   /v1/client/allocation/$A/checks
GET                   /v1/client/allocation/$A/stats
GET                   /v1/client/allocation/$A/pause
W                     /v1/client/allocation/$A/pause
W                     /v1/client/allocation/$A/signal
W                     /v1/client/allocation/$A/restart
GET W                 /v1/client/allocation/$A/gc        is empty
GET                   /v1/client/allocation/$A/exec
GET                   /v1/client/allocation/$A/snapshot
W                     /v1/allocation/$A/stop
GET                   /v1/client/fs/ls/$A
GET                   /v1/client/fs/stat/$A
GET                   /v1/client/fs/cat/$A?path=alloc/logs/task.stdout.0
GET                   /v1/client/fs/readat/$A?path=alloc/logs/task.stdout.0&offset=0&limit=0
GET                   /v1/client/fs/stream/$A?path=alloc/logs/task.stdout.0
GET                   /v1/client/fs/logs/$A?task=task&type=stdout
GET                   /v1/client/stats
GET W                 /v1/client/gc                      is empty
GET POST              /v1/client/metadata
GET                   /v1/client/identity
W                     /v1/client/identity/renew
GET                   /v1/nodes
GET                   /v1/node/$N
GET                   /v1/node/$N/allocations
W                     /v1/node/$N/drain
W                     /v1/node/$N/eligibility
W                     /v1/node/$N/evaluate
W                     /v1/node/$N/purge
GET W                 /v1/node/pools
GET W                 /v1/node/pool/default
DELETE                /v1/node/pool/nosuch               is missing
GET                   /v1/node/pool/default/nodes
GET                   /v1/node/pool/default/jobs
GET DELETE            /v1/evaluations
GET                   /v1/evaluations/count
GET                   /v1/evaluation/$E
GET                   /v1/evaluation/$E/allocations
GET                   /v1/deployments
GET                   /v1/deployment/$E                  is missing
GET                   /v1/deployment/allocations/$E
W                     /v1/deployment/fail/$E
W                     /v1/deployment/pause/$E
W                     /v1/deployment/promote/$E
W                     /v1/deployment/unblock/$E
W                     /v1/deployment/allocation-health/$E
GET                   /v1/agent/self
GET                   /v1/agent/members
W                     /v1/agent/join
W                     /v1/agent/force-leave
GET W                 /v1/agent/servers
GET                   /v1/agent/health
GET                   /v1/agent/host
W                     /v1/agent/reload                   is empty
GET                   /v1/agent/schedulers
GET W                 /v1/agent/schedulers/config
GET                   /v1/agent/monitor
GET                   /v1/agent/monitor/export
GET                   /v1/agent/pprof/cmdline
GET                   /v1/agent/pprof/profile?seconds=1
GET                   /v1/agent/pprof/trace?seconds=1
GET                   /v1/agent/pprof/heap
GET W DELETE          /v1/agent/keyring/list
GET W DELETE          /v1/agent/keyring/install
GET W DELETE          /v1/agent/keyring/use
GET W DELETE          /v1/agent/keyring/remove
GET                   /v1/status/leader
GET                   /v1/status/peers
GET                   /v1/regions
PUT                   /v1/system/gc                      is empty
PUT                   /v1/system/reconcile/summaries     is empty
GET                   /v1/metrics
GET                   /v1/metrics?format=prometheus
GET                   /v1/operator/raft/configuration
DELETE                /v1/operator/raft/peer
W                     /v1/operator/raft/transfer-leadership
GET PUT               /v1/operator/autopilot/configuration
GET                   /v1/operator/autopilot/health
GET W                 /v1/operator/scheduler/configuration
GET W                 /v1/operator/snapshot
GET                   /v1/operator/keyring/keys
W                     /v1/operator/keyring/rotate
DELETE                /v1/operator/keyring/key/$E
GET                   /v1/operator/upgrade-check/vault-workload-identity
GET PUT               /v1/operator/license
POST                  /v1/operator/utilization
GET                   /v1/namespaces
W                     /v1/namespace                      is empty
GET W                 /v1/namespace/default              is empty
DELETE                /v1/namespace/nosuch               is missing
GET                   /v1/vars
GET W DELETE          /v1/var/a/b
W                     /v1/var/a/b?lock-acquire
W                     /v1/var/a/b?lock-renew
W                     /v1/var/a/b?lock-release
GET                   /v1/services
GET                   /v1/service/web
DELETE                /v1/service/web/id
W                     /v1/search
W                     /v1/search/fuzzy
GET                   /v1/event/stream
GET                   /.well-known/jwks.json
GET                   /.well-known/openid-configuration  is missing
W                     /v1/acl/bootstrap
GET                   /v1/acl/policies
GET                   /v1/acl/policy/self
GET W DELETE          /v1/acl/policy/name
GET                   /v1/acl/tokens
W                     /v1/acl/token
GET                   /v1/acl/token/self
GET W DELETE          /v1/acl/token/$E
W                     /v1/acl/token/onetime
W                     /v1/acl/token/onetime/exchange
GET                   /v1/acl/roles
W                     /v1/acl/role
GET W DELETE          /v1/acl/role/$E
GET                   /v1/acl/role/name/n
GET                   /v1/acl/auth-methods
W                     /v1/acl/auth-method
GET W DELETE          /v1/acl/auth-method/name
GET                   /v1/acl/binding-rules
W                     /v1/acl/binding-rule
GET W DELETE          /v1/acl/binding-rule/$E
W                     /v1/acl/oidc/auth-url
W                     /v1/acl/oidc/complete-auth
W                     /v1/acl/login
W                     /v1/acl/identity/client-introduction-token
GET W                 /v1/volumes
GET                   /v1/volumes/external
GET W DELETE          /v1/volumes/snapshot
GET PUT DELETE        /v1/volume/csi/v
PUT                   /v1/volume/csi/v/create
DELETE                /v1/volume/csi/v/detach
DELETE                /v1/volume/csi/v/delete
GET                   /v1/plugins
GET                   /v1/plugin/csi/p
W                     /v1/volume/host/create
W                     /v1/volume/host/register
GET DELETE            /v1/volume/host/v
GET                   /v1/volumes/claims
DELETE                /v1/volumes/claim/$E
GET W DELETE          /v1/sentinel/policy/p
GET                   /v1/sentinel/policies
GET                   /v1/quotas
W                     /v1/quota
GET W DELETE          /v1/quota/q
GET                   /v1/quota/usage/q
GET                   /v1/quota-usages
GET                   /v1/recommendations
GET DELETE            /v1/recommendation/r
DELETE                /v1/job/$J
`

// TestEveryRouteOfTheField sends a request to every route of the reference: each
// one is served, or says by name that it is not built. A tool must be able to tell
// "cannot" from "there is none" and from "there are none".
func TestEveryRouteOfTheField(t *testing.T) {
	t.Parallel()
	a, c := newOne(t, agentConfig{keys: "enable_debug = true"})
	registered, _, err := c.Jobs().RegisterOpts(shell("kept", "service", 1, "echo hi; exec sleep 3600"),
		&api.RegisterOptions{Submission: &api.JobSubmission{Source: "job {}", Format: "hcl2"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	alloc := awaitCount(t, c, "kept", "running", 1)[0]
	awaitLog(t, c, alloc.ID, "task", "hi\n")
	there := strings.NewReplacer("$J", "kept", "$A", alloc.ID, "$E", registered.EvalID, "$N", alloc.NodeID)

	served, unbuilt := 0, 0
	for line := range strings.Lines(reference) {
		words, allowed, _ := strings.Cut(line, " is ")
		fields := strings.Fields(words)
		if len(fields) == 0 {
			continue
		}
		path := there.Replace(fields[len(fields)-1])
		for _, method := range strings.Fields(strings.ReplaceAll(strings.Join(fields[:len(fields)-1], " "), "W", "PUT POST")) {
			code, body, err := firstOf(t, method, a.url()+path)
			route := method + " " + fields[len(fields)-1]
			switch {
			case err != nil:
				t.Errorf("%s: %v", route, err)
			case code == http.StatusNotImplemented:
				if unbuilt++; !strings.HasPrefix(body, method+" /") && !strings.Contains(body, "of Drover") {
					t.Errorf("%s: 501 without saying what is not built: %q", route, body)
				}
			case code == http.StatusMethodNotAllowed, code == http.StatusNotFound && (body == "" || !strings.Contains(allowed, "missing")):
				t.Errorf("%s: %d %q", route, code, body)
			case code == http.StatusOK && body == "" && !strings.Contains(allowed, "empty"):
				t.Errorf("%s: an empty answer", route)
			default:
				served++
			}
		}
	}
	t.Logf("%d served, %d not built", served, unbuilt)

	for _, path := range []string{"/v1/nosuch", "/v2/jobs", "/v1/jobs/", "/v1/node/x/y"} {
		if code, body := request(t, http.MethodGet, a.url()+path, ""); code != http.StatusNotFound || body != "" {
			t.Errorf("GET %s, which the field does not know: %d %q", path, code, body)
		}
	}
}

// firstOf sends a request and returns the beginning of its answer, which may never
// end.
func firstOf(t *testing.T, method, url string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sent io.Reader
	if method != http.MethodGet {
		sent = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, url, sent)
	if err != nil {
		return 0, "", err
	}
	// A redirection is an answer too.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, 512)
	n, err := resp.Body.Read(first)
	if err != nil && err != io.EOF {
		return 0, "", fmt.Errorf("%d, then %w", resp.StatusCode, err)
	}
	return resp.StatusCode, string(first[:n]), nil
}
