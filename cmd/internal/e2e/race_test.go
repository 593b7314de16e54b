//go:build race

package e2e_test

// raceFlags: under `go test -race` the agents look for races, too.
var raceFlags = []string{"-race"}
