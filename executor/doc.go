// Package executor is what runs: the node agent. It tells the servers what the machine is, takes their orders, runs
// tasks through drivers, and reports how they go.
//
// The promise of this package: what the servers ordered runs once, and what became of it is reported. An agent may be
// killed at any moment; its tasks run on, the next agent finds them again, and neither their output nor their exit status
// is missed. Orders are taken from servers that know at least as much as those that the node has heard before; what an
// older server does not list is left alone.
//
// The rules of an allocation are one pure function, allocState.step: observations in, actions out, with time and chance
// as parameters. Around it are shells that own a goroutine each: runner.go per allocation, agent.go for the servers,
// report.go for what goes back to them (its rules are in outbox.go). Package driver is the contract with what runs tasks;
// drivers.go lists those that are built in, and package shim keeps their tasks alive without an agent.
//
// On disk, below Config.StateDir:
//
//	client-id, secret-id, incarnation   who the node is, and which life of the agent this is
//	lock, generation                    one agent at a time; the highest generation of orders that was seen
//	bin/drover-<program>-<hash>         the task shim, the maker of containers
//	allocs/<id>/order, job, state       an order, its job, and how it goes
//	allocs/<id>/acked                   the newest events that the servers have
//	allocs/<id>/task-<task>-<n>/        the shim's directory for the n-th start of a task
//
// and below Config.AllocDir one directory per allocation, laid out as job files expect.
package executor
