// Package commands is what is asked: the requests that callers make, the rules
// by which they are accepted or refused, and the one writer of the log.
//
// The promise of this package: [Decide] is a pure function of the state, the
// time and the command, and nothing reaches the log but the events that it
// answered with, decided on the very head that they were appended to.
//
// The [Committer] is the shell around it: one goroutine on the server that leads
// the log. It decides what has queued up, appends all events in one replicated
// append, folds, publishes and answers, while the next batch gathers.
package commands
