// Package projections is what is: the state of the cluster as a pure fold over
// the log, immutable snapshots of it, and everything that is read from them.
//
// The promise of this package: a [State] depends on the records folded into it
// and on nothing else. Folding the same records gives a state with the same
// canonical encoding ([State.Encode]) on every server and in every replay.
//
// [Evolve] gives the meaning: one state and one record make the next state. A
// [Draft] is the same fold over many records without a copy per record. A State
// that has been handed out is never changed again; it shares structure with its
// neighbours (persistent B-trees), so a snapshot costs a few words and a reader
// never waits for a writer.
package projections
