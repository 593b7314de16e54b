package api

import (
	"iter"
	"net/http"
	"strconv"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// Register adds every reading route of the HTTP API.
func (a *API) Register(rt *rest.Router) {
	get := func(pattern string, v view) { rt.Handle(http.MethodGet, pattern, a.read(v)) }

	get("/v1/jobs", jobsView)
	get("/v1/job/{id...}", jobView)
	get("/v1/job/{id...}/summary", jobSummaryView)
	get("/v1/job/{id...}/versions", jobVersionsView)
	get("/v1/job/{id...}/submission", jobSubmissionView)
	get("/v1/job/{id...}/allocations", jobAllocationsView)
	get("/v1/job/{id...}/evaluations", jobEvaluationsView)
	get("/v1/job/{id...}/deployment", noLatestDeploymentView)
	get("/v1/job/{id...}/scale", jobScaleView)
	get("/v1/operator/scheduler/configuration", schedulerConfigView)
	get("/v1/scaling/policies", scalingPoliciesView)
	get("/v1/scaling/policy/{id}", scalingPolicyView)
	rt.Handle("GET POST", "/v1/jobs/statuses", a.jobStatuses)
	rt.Handle(http.MethodPut, "/v1/system/reconcile/summaries", a.reconcileSummaries)

	get("/v1/allocations", allocationsView)
	get("/v1/allocation/{id}", allocationView)

	get("/v1/evaluations", evaluationsView)
	get("/v1/evaluations/count", evaluationsCountView)
	get("/v1/evaluation/{id}", evaluationView)
	get("/v1/evaluation/{id}/allocations", evaluationAllocationsView)

	get("/v1/nodes", nodesView)
	get("/v1/node/{id}", nodeView)
	get("/v1/node/{id}/allocations", nodeAllocationsView)

	get("/v1/node/pools", nodePoolsView)
	get("/v1/node/pool/{id}", nodePoolView)
	get("/v1/node/pool/{id}/nodes", nodePoolNodesView)
	get("/v1/node/pool/{id}/jobs", nodePoolJobsView)

	get("/v1/namespaces", namespacesView)
	get("/v1/namespace/{id}", namespaceView)

	a.registerAgent(rt)
	a.registerSearch(rt)
	rt.Handle(http.MethodGet, "/v1/event/stream", a.topics)
	rt.Handle(http.MethodGet, "/v1/event/log", a.auditLog)
	rt.Handle(http.MethodGet, "/v1/event/verify", a.verify)
}

// RegisterNodeAgent adds the reading route of node agents, which is served to
// agents and servers among themselves.
func (a *API) RegisterNodeAgent(rt *rest.Router) {
	rt.Handle(http.MethodGet, "/v1/node-agent/orders", a.nodeOrders)
}

func tableIndex(t projections.Table) func(*ask) uint64 {
	return func(k *ask) uint64 { return k.state.TableIndex(t) }
}

func table(s sort) func(*ask) matter { return func(*ask) matter { return matter{sort: s} } }

var (
	jobsIndex        = tableIndex(projections.TableJobs)
	allocationsIndex = tableIndex(projections.TableAllocations)
	evaluationsIndex = tableIndex(projections.TableEvaluations)
	nodesIndex       = tableIndex(projections.TableNodes)

	jobsMatter        = table(jobsTable)
	allocationsMatter = table(allocationsTable)
	evaluationsMatter = table(evaluationsTable)
	nodesMatter       = table(nodesTable)
)

// firstIndex is the index of what never changes: 0 would mean "do not block".
func firstIndex(*ask) uint64 { return 1 }

// nothing never changes.
func nothing(*ask) matter { return matter{sort: never} }

// newestAllocation is the last change of any of these, or 1 when there are none.
func newestAllocation(list iter.Seq[*projections.Allocation]) uint64 {
	newest := uint64(1)
	for a := range list {
		newest = max(newest, a.ModifyIndex)
	}
	return newest
}

func notFound(what string) error { return rest.Errorf(http.StatusNotFound, "%s not found", what) }

// object is the ID in the path.
func (k *ask) object() event.ID {
	id, err := event.ParseID(k.id)
	if err != nil {
		panic("the ID in the path was not checked: " + err.Error())
	}
	return id
}

func (k *ask) jobKey() event.JobKey { return event.JobKey{Namespace: k.Namespace, ID: k.id} }

func (k *ask) job() *projections.Job { return k.state.Job(k.jobKey()) }

// Jobs.

var jobsView = view{
	index: jobsIndex, matter: jobsMatter,
	show: func(k *ask) (any, error) {
		return listJobs(k, jobsIn(k))
	},
}

func listJobs(k *ask, jobs iter.Seq[*projections.Job]) ([]*JobStub, error) {
	meta, err := k.Bool("meta", false, http.StatusInternalServerError)
	if err != nil {
		return nil, err
	}
	return list(k, rest.KeyScopedID, jobs, jobKey,
		func(j *projections.Job) any { return NewJob(j) },
		func(j *projections.Job) *JobStub { return NewJobStub(j, meta) })
}

func jobMatter(k *ask) matter {
	if k.job() == nil {
		return jobsMatter(k)
	}
	return matter{sort: oneJob, job: k.jobKey()}
}

var jobView = view{
	index: func(k *ask) uint64 {
		if j := k.job(); j != nil {
			return j.ModifyIndex
		}
		return jobsIndex(k)
	},
	matter: jobMatter,
	show: func(k *ask) (any, error) {
		if j := k.job(); j != nil {
			return NewJob(j), nil
		}
		return nil, notFound("job")
	},
}

var jobSummaryView = view{
	index: func(k *ask) uint64 {
		if j := k.job(); j != nil {
			return j.SummaryIndex
		}
		return jobsIndex(k)
	},
	matter: jobMatter,
	show: func(k *ask) (any, error) {
		if j := k.job(); j != nil {
			return NewJobSummary(j), nil
		}
		return nil, notFound("job")
	},
}

var jobVersionsView = view{
	index: jobView.index, matter: jobMatter,
	show: func(k *ask) (any, error) {
		diffs, err := k.Bool("diffs", false, http.StatusInternalServerError)
		if err != nil {
			return nil, err
		}
		j := k.job()
		if j == nil {
			return nil, notFound("job versions")
		}
		versions := NewJobVersions(j)
		base, tag := k.Get("diff_version"), k.Get("diff_tag")
		switch {
		case base != "" && tag != "":
			return nil, rest.Errorf(http.StatusBadRequest, "diff_version and diff_tag are exclusive")
		case tag != "":
			number, ok := j.Tagged(tag)
			if !ok {
				return nil, notFound("job version with tag " + strconv.Quote(tag))
			}
			versions.diffFrom(number)
		case base != "":
			number, err := strconv.ParseUint(base, 10, 64)
			if err != nil {
				return nil, rest.Errorf(http.StatusBadRequest, "failed to parse value of %q (%q) as a version number", "diff_version", base)
			}
			if !versions.diffFrom(number) {
				return nil, notFound("job version " + base)
			}
		case diffs:
			versions.diffEach()
		}
		return versions, nil
	},
}

var jobSubmissionView = view{
	index: jobView.index, matter: jobMatter,
	show: func(k *ask) (any, error) {
		version, err := strconv.ParseUint(k.Get("version"), 10, 64)
		if err != nil {
			return nil, rest.Errorf(http.StatusBadRequest, "failed to parse value of %q (%q) as a version number", "version", k.Get("version"))
		}
		if j := k.job(); j != nil {
			submission, err := submissionOf(k.state, j, version)
			if submission != nil || err != nil {
				return submission, err
			}
		}
		return nil, notFound("job source")
	},
}

var jobAllocationsView = view{
	index:  func(k *ask) uint64 { return newestAllocation(k.state.AllocationsOf(k.jobKey())) },
	matter: func(k *ask) matter { return matter{sort: allocationsOfJob, job: k.jobKey()} },
	show: func(k *ask) (any, error) {
		all, err := k.Bool("all", false, http.StatusBadRequest)
		if err != nil {
			return nil, err
		}
		resources, err := k.Bool("resources", false, http.StatusBadRequest)
		if err != nil {
			return nil, err
		}
		// Allocations that are older than the job are those of an earlier job
		// of that name.
		var since uint64
		if j := k.job(); j != nil && !all {
			since = j.CreateIndex
		}
		rows := []*AllocationStub{}
		for alloc := range k.state.AllocationsOf(k.jobKey()) {
			if alloc.CreateIndex >= since {
				rows = append(rows, NewAllocationStub(k.state, alloc, resources, true))
			}
		}
		return rows, nil
	},
}

var jobEvaluationsView = view{
	index: func(k *ask) uint64 {
		newest := uint64(1)
		for e := range k.state.EvaluationsOf(k.jobKey()) {
			newest = max(newest, e.ModifyIndex)
		}
		return newest
	},
	matter: func(k *ask) matter { return matter{sort: evaluationsOfJob, job: k.jobKey()} },
	show: func(k *ask) (any, error) {
		rows := []*Evaluation{}
		for e := range k.state.EvaluationsOf(k.jobKey()) {
			rows = append(rows, NewEvaluation(k.state, e, false))
		}
		return rows, nil
	},
}

// There are no deployments in this version: a changed job is replaced at once, and
// the routes about them are not built. Only this one is: the tools of the field ask
// it whenever they show a job, and its "null" is true.

var noLatestDeploymentView = view{
	index: firstIndex, matter: nothing,
	show: func(*ask) (any, error) { return nil, nil },
}

// Allocations.

var allocationsView = view{
	index: allocationsIndex, matter: allocationsMatter,
	show: func(k *ask) (any, error) {
		resources, err := k.Bool("resources", false, http.StatusBadRequest)
		if err != nil {
			return nil, err
		}
		states, err := k.Bool("task_states", true, http.StatusBadRequest)
		if err != nil {
			return nil, err
		}
		objects, form, key, err := allocationsIn(k)
		if err != nil {
			return nil, err
		}
		return list(k, form, objects, key,
			func(a *projections.Allocation) any { return NewAllocation(k.state, a, true) },
			func(a *projections.Allocation) *AllocationStub {
				return NewAllocationStub(k.state, a, resources, states)
			})
	},
}

var allocationView = view{
	object: "alloc",
	index: func(k *ask) uint64 {
		if alloc := k.state.Allocation(k.object()); alloc != nil {
			return alloc.ModifyIndex
		}
		return allocationsIndex(k)
	},
	matter: func(k *ask) matter {
		if k.state.Allocation(k.object()) == nil {
			return allocationsMatter(k)
		}
		return matter{sort: oneAllocation, id: k.object()}
	},
	show: func(k *ask) (any, error) {
		if alloc := k.state.Allocation(k.object()); alloc != nil {
			return NewAllocation(k.state, alloc, true), nil
		}
		return nil, notFound("alloc")
	},
}

// Evaluations.

var evaluationsView = view{
	index: evaluationsIndex, matter: evaluationsMatter,
	show: func(k *ask) (any, error) {
		objects, form, key, err := evaluationsIn(k)
		if err != nil {
			return nil, err
		}
		return list(k, form, objects, key,
			func(e *event.Evaluation) any { return e },
			func(e *event.Evaluation) *Evaluation { return NewEvaluation(k.state, e, false) })
	},
}

var evaluationsCountView = view{
	index: evaluationsIndex, matter: evaluationsMatter,
	show: func(k *ask) (any, error) {
		k.NextToken = "" // they are counted all
		objects, _, _, err := evaluationsIn(k)
		if err != nil {
			return nil, err
		}
		var count struct{ Count int }
		for e := range objects {
			ok, err := k.Filter.Match(e)
			if err != nil {
				return nil, err
			}
			if ok {
				count.Count++
			}
		}
		return count, nil
	},
}

var evaluationView = view{
	object: "eval",
	index: func(k *ask) uint64 {
		if e := k.state.Evaluation(k.object()); e != nil {
			return e.ModifyIndex
		}
		return evaluationsIndex(k)
	},
	matter: func(k *ask) matter {
		if k.state.Evaluation(k.object()) == nil {
			return evaluationsMatter(k)
		}
		return matter{sort: oneEvaluation, id: k.object()}
	},
	show: func(k *ask) (any, error) {
		related, err := k.Bool("related", false, http.StatusBadRequest)
		if err != nil {
			return nil, err
		}
		if e := k.state.Evaluation(k.object()); e != nil {
			return NewEvaluation(k.state, e, related), nil
		}
		return nil, notFound("eval")
	},
}

// ofEvaluation visits the allocations that an evaluation placed.
func ofEvaluation(s *projections.State, e *event.Evaluation) iter.Seq[*projections.Allocation] {
	return where(s.AllocationsOf(e.Job()), func(a *projections.Allocation) bool { return a.EvalID == e.ID })
}

var evaluationAllocationsView = view{
	object: "eval",
	index: func(k *ask) uint64 {
		if e := k.state.Evaluation(k.object()); e != nil {
			return newestAllocation(ofEvaluation(k.state, e))
		}
		return allocationsIndex(k)
	},
	matter: func(k *ask) matter {
		if e := k.state.Evaluation(k.object()); e != nil {
			return matter{sort: allocationsOfJob, job: e.Job()}
		}
		return allocationsMatter(k)
	},
	show: func(k *ask) (any, error) {
		rows := []*AllocationStub{}
		e := k.state.Evaluation(k.object())
		if e == nil {
			return rows, nil
		}
		for alloc := range ofEvaluation(k.state, e) {
			rows = append(rows, NewAllocationStub(k.state, alloc, false, true))
		}
		return rows, nil
	},
}

// Nodes.

var nodesView = view{
	index: nodesIndex, matter: nodesMatter,
	show: func(k *ask) (any, error) {
		objects := either(k, k.state.Nodes(), k.state.NodesDown())
		if k.Prefix != "" {
			prefix, err := rest.ParseIDPrefix(k.Prefix)
			if err != nil {
				return nil, err
			}
			objects = turned(k, k.state.NodesByPrefix(prefix))
		}
		return listNodes(k, objects)
	},
}

func listNodes(k *ask, nodes iter.Seq[*projections.Node]) ([]*NodeStub, error) {
	resources, err := k.Bool("resources", false, http.StatusBadRequest)
	if err != nil {
		return nil, err
	}
	os, err := k.Bool("os", false, http.StatusBadRequest)
	if err != nil {
		return nil, err
	}
	return list(k, rest.KeyID, nodes,
		func(n *projections.Node) rest.Key { return byID(n.Info.ID) },
		func(n *projections.Node) any { return &NewNode(n).Node },
		func(n *projections.Node) *NodeStub { return NewNodeStub(n, resources, os) })
}

var nodeView = view{
	object: "node",
	index: func(k *ask) uint64 {
		if n := k.state.Node(k.object()); n != nil {
			return n.ModifyIndex
		}
		return nodesIndex(k)
	},
	matter: func(k *ask) matter {
		if k.state.Node(k.object()) == nil {
			return nodesMatter(k)
		}
		return matter{sort: oneNode, id: k.object()}
	},
	show: func(k *ask) (any, error) {
		if n := k.state.Node(k.object()); n != nil {
			return NewNode(n), nil
		}
		return nil, notFound("node")
	},
}

var nodeAllocationsView = view{
	object: "node",
	index:  func(k *ask) uint64 { return newestAllocation(k.state.AllocationsOn(k.object())) },
	matter: func(k *ask) matter { return matter{sort: allocationsOnNode, id: k.object()} },
	show: func(k *ask) (any, error) {
		rows := []*Allocation{}
		for alloc := range sortedAllocations(k.state.AllocationsOn(k.object()), 1) {
			rows = append(rows, NewAllocation(k.state, alloc, true))
		}
		return rows, nil
	},
}
