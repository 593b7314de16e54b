// Package scheduler is what should be: it turns an evaluation into a plan.
//
// The promise of this package: [Schedule] is a pure function of a snapshot and an
// evaluation. It reads no clock, draws no chance and lets no map order reach its
// answer, so the same snapshot and evaluation give the same plan, byte for byte,
// on every server and in every replay. Everything that decided stands in the plan:
// the basis, the seed, the version of the rules, the funnel of nodes and the scores.
//
// A decision has three steps. Reconciling compares what a job wants with what it
// has and says, as data, what must happen to each allocation (reconcile.go).
// Filtering says which nodes may run a group at all (constraint.go, feasible.go,
// fleet.go). Ranking finds the best of those for one placement after the other
// (score.go, place.go, ports.go).
//
// A plan is a proposal. The committer checks it against the head of the log and
// drops what does not fit any more; [Workers] then decide again on a newer
// snapshot. [Unblocker] and [Heartbeats] are the reactors that go with it. These
// three own the goroutines of the package.
package scheduler
