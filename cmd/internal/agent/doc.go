// Package agent is the wiring: it starts the parts of a Drover agent (the log,
// the committer, the fold, the scheduler, the node agent, the HTTP servers),
// hands each the two or three functions of the others that it uses, and ends
// them in order. No decision is made here.
package agent
