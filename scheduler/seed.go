package scheduler

import (
	"encoding/binary"

	"drover/eventlog/event"
	"drover/projections"
)

// seedOf is the seed of a decision. It follows from what is decided on, so the
// decision can be run again.
func seedOf(eval event.ID, basis uint64) uint64 {
	id := event.DeriveID("seed", eval, basis)
	return binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])
}

// mix is one draw from (seed, number): the finalizer of splitmix64 (Steele, Lea,
// Flood 2014). Draws are addressed by what they are for and not taken from a
// stream, so one draw more or less moves no other.
func mix(seed, number uint64) uint64 {
	z := seed + (number+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// tieOf is a node's place among nodes of the same score, lowest first.
func tieOf(seed uint64, node event.ID) uint64 { return mix(seed, projections.DrawOf(node)) }
