package event

import (
	"slices"
	"strings"
)

// DefaultPool is the pool of nodes and jobs that name none; AllPools in a job means
// every pool.
const (
	DefaultPool = "default"
	AllPools    = "all"
)

// PoolOf is the pool that a node or a job is in that names this one.
func PoolOf(name string) string {
	if name == "" {
		return DefaultPool
	}
	return name
}

// PoolCovers reports whether a job of one pool may use nodes of another.
func PoolCovers(job, node string) bool {
	return PoolOf(job) == AllPools || PoolOf(job) == PoolOf(node)
}

// DatacentersCover reports whether one of the patterns matches the data center.
func DatacentersCover(patterns []string, datacenter string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return MatchGlob(pattern, datacenter) })
}

// Covers reports whether the job may use the node's pool and data center at all.
func (j *Job) Covers(n *Node) bool {
	return PoolCovers(j.NodePool, n.NodePool) && DatacentersCover(j.Datacenters, n.Datacenter)
}

// MatchGlob matches a pattern in which "*" stands for any text, also none.
func MatchGlob(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return strings.HasSuffix(name, parts[last])
}

// EveryNode reports whether jobs of the type run on every node that they can run on,
// instead of as often as their groups say.
func EveryNode(jobType string) bool { return jobType == JobTypeSystem || jobType == JobTypeSysBatch }
