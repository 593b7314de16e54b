// Package figures holds the benchmarks behind the figures that Drover promises.
//
// Its promise: every figure is measured on the program as it is shipped (built
// anew, run as a process of its own, asked over HTTP) or, for the committer and
// the log, on the very parts that the server is made of, with the disk's real
// fsync; and it is printed with the machine, the date and the commit that it was
// measured on.
//
//	go test -run '^$' -bench . -benchtime 1x ./cmd/internal/figures
//
// Each benchmark takes its own number of samples, so one round of it is enough.
// None runs unless benchmarks are asked for.
package figures
