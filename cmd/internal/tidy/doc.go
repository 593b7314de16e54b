// Package tidy holds the rules of this repository that rot silently, as tests:
// which package may import which and why, one package comment each, and that the
// pure core knows no clock, chance, disk, network or goroutine.
package tidy
