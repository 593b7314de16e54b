// Package apiclient talks to an agent's HTTP API on behalf of the command line.
//
// The promise: what the caller asked for is either answered by an agent, or
// comes back as an error that says which address was tried and what to do. A
// write that may or may not have reached the agent is sent once more under the
// same command ID, so it takes effect once.
//
// It holds only what the commands use. Programs are better served by the
// official Go client, which works against the same API.
package apiclient
