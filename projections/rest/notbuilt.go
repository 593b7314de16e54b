package rest

import "strings"

// known lists the routes of the field's API: methods, then path. Where the
// reference knows a second parameter, the first one takes in the rest of the
// path. A tool must be able to tell "this server cannot do that" (501) from
// "there is no such thing" (404) and from "there are none" (an empty list).
const known = `
GET PUT POST            /v1/jobs
PUT POST                /v1/jobs/parse
GET POST                /v1/jobs/statuses
PUT POST                /v1/validate/job
GET PUT POST DELETE     /v1/job/{id...}
PUT POST                /v1/job/{id...}/plan
PUT POST                /v1/job/{id...}/evaluate
GET                     /v1/job/{id...}/allocations
GET                     /v1/job/{id...}/evaluations
GET                     /v1/job/{id...}/deployments
GET                     /v1/job/{id...}/deployment
GET                     /v1/job/{id...}/summary
GET                     /v1/job/{id...}/versions
PUT POST DELETE         /v1/job/{id...}/tag
PUT POST                /v1/job/{id...}/revert
PUT POST                /v1/job/{id...}/stable
PUT POST                /v1/job/{id...}/dispatch
PUT POST                /v1/job/{id...}/dispatch/payload
PUT POST                /v1/job/{id...}/periodic/force
GET PUT POST            /v1/job/{id...}/scale
GET                     /v1/job/{id...}/submission
GET                     /v1/job/{id...}/services
GET                     /v1/job/{id...}/actions
GET                     /v1/job/{id...}/action
GET                     /v1/scaling/policies
GET                     /v1/scaling/policy/{id}
GET                     /v1/allocations
GET                     /v1/allocation/{id}
PUT POST                /v1/allocation/{id}/stop
GET                     /v1/allocation/{id}/services
GET                     /v1/allocation/{id}/checks
GET                     /v1/client/allocation/{id}/checks
GET                     /v1/client/allocation/{id}/stats
PUT POST                /v1/client/allocation/{id}/restart
PUT POST                /v1/client/allocation/{id}/signal
GET PUT POST            /v1/client/allocation/{id}/pause
GET PUT POST            /v1/client/allocation/{id}/gc
GET                     /v1/client/allocation/{id}/exec
GET                     /v1/client/allocation/{id}/snapshot
GET                     /v1/client/fs/ls/{id}
GET                     /v1/client/fs/stat/{id}
GET                     /v1/client/fs/cat/{id}
GET                     /v1/client/fs/readat/{id}
GET                     /v1/client/fs/stream/{id}
GET                     /v1/client/fs/logs/{id}
GET                     /v1/client/stats
GET PUT POST            /v1/client/gc
GET POST                /v1/client/metadata
GET                     /v1/client/identity
PUT POST                /v1/client/identity/renew
GET                     /v1/nodes
GET                     /v1/node/{id}
GET                     /v1/node/{id}/allocations
PUT POST                /v1/node/{id}/drain
PUT POST                /v1/node/{id}/eligibility
PUT POST                /v1/node/{id}/evaluate
PUT POST                /v1/node/{id}/purge
GET PUT POST            /v1/node/pools
GET PUT POST DELETE     /v1/node/pool/{name}
GET                     /v1/node/pool/{name}/nodes
GET                     /v1/node/pool/{name}/jobs
GET DELETE              /v1/evaluations
GET                     /v1/evaluations/count
GET                     /v1/evaluation/{id}
GET                     /v1/evaluation/{id}/allocations
GET                     /v1/deployments
GET                     /v1/deployment/{id}
GET                     /v1/deployment/allocations/{id}
PUT POST                /v1/deployment/fail/{id}
PUT POST                /v1/deployment/pause/{id}
PUT POST                /v1/deployment/promote/{id}
PUT POST                /v1/deployment/unblock/{id}
PUT POST                /v1/deployment/allocation-health/{id}
GET                     /v1/agent/self
GET                     /v1/agent/members
PUT POST                /v1/agent/join
PUT POST                /v1/agent/force-leave
GET PUT POST            /v1/agent/servers
GET                     /v1/agent/health
GET                     /v1/agent/host
PUT POST                /v1/agent/reload
GET                     /v1/agent/schedulers
GET PUT POST            /v1/agent/schedulers/config
GET                     /v1/agent/monitor
GET                     /v1/agent/monitor/export
GET                     /v1/agent/pprof/{name}
GET PUT POST DELETE     /v1/agent/keyring/{operation}
GET                     /v1/status/leader
GET                     /v1/status/peers
GET                     /v1/regions
PUT                     /v1/system/gc
PUT                     /v1/system/reconcile/summaries
GET                     /v1/metrics
GET                     /v1/operator/raft/configuration
DELETE                  /v1/operator/raft/peer
PUT POST                /v1/operator/raft/transfer-leadership
GET PUT                 /v1/operator/autopilot/configuration
GET                     /v1/operator/autopilot/health
GET PUT POST            /v1/operator/scheduler/configuration
GET PUT POST            /v1/operator/snapshot
GET                     /v1/operator/keyring/keys
PUT POST                /v1/operator/keyring/rotate
DELETE                  /v1/operator/keyring/key/{id}
GET                     /v1/operator/upgrade-check/vault-workload-identity
GET PUT                 /v1/operator/license
POST                    /v1/operator/utilization
GET                     /v1/namespaces
PUT POST                /v1/namespace
GET PUT POST DELETE     /v1/namespace/{name}
GET                     /v1/vars
GET PUT POST DELETE     /v1/var/{path...}
GET                     /v1/services
GET DELETE              /v1/service/{name...}
PUT POST                /v1/search
PUT POST                /v1/search/fuzzy
GET                     /v1/event/stream
GET                     /.well-known/jwks.json
GET                     /.well-known/openid-configuration
PUT POST                /v1/acl/bootstrap
GET                     /v1/acl/policies
GET PUT POST DELETE     /v1/acl/policy/{name}
GET                     /v1/acl/tokens
PUT POST                /v1/acl/token
GET PUT POST DELETE     /v1/acl/token/{accessor...}
GET                     /v1/acl/roles
PUT POST                /v1/acl/role
GET PUT POST DELETE     /v1/acl/role/{id...}
GET                     /v1/acl/auth-methods
PUT POST                /v1/acl/auth-method
GET PUT POST DELETE     /v1/acl/auth-method/{name}
GET                     /v1/acl/binding-rules
PUT POST                /v1/acl/binding-rule
GET PUT POST DELETE     /v1/acl/binding-rule/{id}
PUT POST                /v1/acl/oidc/{step}
PUT POST                /v1/acl/login
PUT POST                /v1/acl/identity/client-introduction-token
GET PUT POST            /v1/volumes
GET                     /v1/volumes/external
GET PUT POST DELETE     /v1/volumes/snapshot
GET                     /v1/volumes/claims
DELETE                  /v1/volumes/claim/{id}
GET PUT DELETE          /v1/volume/csi/{id...}
PUT POST                /v1/volume/host/create
PUT POST                /v1/volume/host/register
GET DELETE              /v1/volume/host/{id}
GET                     /v1/plugins
GET                     /v1/plugin/csi/{id}
GET PUT POST DELETE     /v1/sentinel/{rest...}
GET                     /v1/quotas
PUT POST                /v1/quota
GET PUT POST DELETE     /v1/quota/{rest...}
GET                     /v1/quota-usages
GET                     /v1/recommendations
PUT POST                /v1/recommendation
GET PUT POST DELETE     /v1/recommendation/{rest...}
POST                    /v1/recommendations/apply
`

// FillUnbuilt gives every route of the field's API that has no handler yet one
// that answers 501 and names the route. Call it after all handlers are there.
func (rt *Router) FillUnbuilt() {
	for line := range strings.Lines(known) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		pattern := fields[len(fields)-1]
		for _, method := range fields[:len(fields)-1] {
			rt.add(method, pattern, notBuilt(method, pattern))
		}
	}
}
