// Package bench loads a cluster and measures it: what `drover bench` does.
//
// Its promise: what is under load is the program as it is shipped, a process of
// its own with the real log and its fsyncs, reached only through the interfaces
// that users and node agents have; its CPU and memory are read from outside, so
// that the load's own cost is not counted; and no figure is shown of a run whose
// outcome was not checked by other means: through the API and by a walk of the
// log with arithmetic of its own.
//
// A shape (shape_*.go) says which nodes and jobs there are and what is waited
// for. Around it stand the server (server.go), the simulated nodes (fleet.go),
// the clients (client.go), the walk (ledger.go) and the table (result.go).
package bench
