//go:build !amd64 && !arm64

package seccomp

// There are no lists for this machine: nothing is refused.
var native, foreign *abi
