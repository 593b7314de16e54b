// Package event is the vocabulary of the cluster: one struct per fact that can
// stand in the log, the entities those facts speak of, and the codec that turns
// a fact into a record and back.
//
// The promise of this package: a record that was ever written in format 1 (see
// [Format]) decodes to the same value in every later version. testdata/golden at
// the top of the project holds one of each kind, and only ever grows.
//
// Events are facts and are named in the past tense; requests ("commands") live
// in package commands and never share a type with facts. Behaviour lives with
// its user: this package holds data, names and bytes.
//
// # State machines
//
// Job. A job is submitted (version 0), submitted again with another spec
// (version + 1), stopped (version + 1, Stop set) and perhaps purged. Its status
// is derived from its allocations and evaluations and is never written:
//
//	pending --first allocation--> running --all ended--> dead
//	   ^                                                  |
//	   +------------------ submitted again ---------------+
//
// Evaluation. A request to bring one job's allocations in line with its spec.
//
//	           +------------ capacity came ------------+
//	           v                                       |
//	created: pending --plan--> complete             blocked --a newer one--> canceled
//	           |                  (nothing failed,
//	           |                   or a blocked one was created for the rest)
//	           +--attempts used--> failed
//	           +--a newer evaluation of the job finished--> canceled
//
// complete, failed and canceled are terminal.
//
// Allocation. One instance of a task group on one node. Two statuses that move
// apart: what the servers want, and what the node says.
//
//	desired:  run --not needed, replaced, node lost--> stop      (run --preempted--> evict)
//	client:   pending --> running --> complete | failed          (node down: lost; unreachable: unknown)
//
// A client status of complete, failed or lost is terminal. An allocation holds
// its room on its node until its client status is terminal, except that one
// whose successor was placed on the same node by the same plan hands its room
// over at once; the successor waits for it on the node.
//
// Node. A machine that runs tasks.
//
//	           registers              first report
//	(absent) ----------> initializing ------------> ready --heartbeat missed--> down
//	                          ^                                                  |
//	                          +-------------------- registers again -------------+
//
// Eligibility (eligible, ineligible) and drain are kept apart from the status.
package event
