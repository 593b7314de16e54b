// Package api answers the reading side of the field's HTTP API, and Drover's own
// reading routes, out of the state of the cluster.
//
// The promise of this package: every answer is made from one immutable state
// (projections.State) and from nothing else, so what a client reads is the
// cluster as it was at the index that the answer names. Reading never waits for
// writing.
//
// view_*.go turn
// says which path shows which object. topics.go is the field's event stream,
// audit.go the log itself, orders.go what a node agent is to run.
package api
