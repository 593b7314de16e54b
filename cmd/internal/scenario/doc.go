// Package scenario runs a whole cluster in one goroutine and in virtual time: the
// rules (commands.Decide), the fold (projections) and the scheduler
// (scheduler.Schedule) as they are, around a log in memory and nodes that do what
// a script says.
//
// The promise: the same script gives the same records, byte for byte. So the
// scripts in testdata/scenarios read as stories that an operator can follow, and
// a changed decision shows as a changed line.
package scenario
