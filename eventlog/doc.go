// Package eventlog keeps one promise: what it acknowledged stays, in one order, the same on every server, and every
// reader can check that.
//
// The log is a dense sequence of opaque entries, numbered from 1. Each entry is chained to all before it by a hash, so a
// position (index and hash) names not only a length but one exact history. An append says after which position it belongs
// and takes effect only if that position is still the head; whoever decided on another history is refused, however late
// the append arrives.
//
// How: Raft (Dragonboat) orders and replicates append commands and fsyncs them; a state machine compares, chains and writes
// the entries to our own store (Pebble). The store needs no fsync of its own: what it loses is applied again from Raft's
// log. The package runs no rule and knows no event, so a changed rule cannot make replicas differ.
//
// Nothing else in this module may import Dragonboat or Pebble.
package eventlog
