// Package e2e holds the end-to-end tests. What it promises: every test builds
// nothing up but real processes, the program as users get it, on loopback ports
// and temporary directories; it drives them through the command line and the
// official Go client only, waits for events and never for time to pass, and
// leaves neither process nor file behind.
package e2e
