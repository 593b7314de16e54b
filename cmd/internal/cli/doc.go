// Package cli is the command line of drover: what a person types, and what they
// see.
//
// The promise: whoever knows the commands of the field's orchestrator knows
// these. Names, flags, layouts and exit codes are the same; only what is named
// after the product differs. Results go to the standard output, errors and
// warnings to the standard error output.
//
// A command is a spec: its name, its help, and a function that defines the flags
// and returns what runs. Everything that a command wants of the process (streams,
// clock, environment, the agent itself) is in [Program], so tests run commands
// as a person would, with nothing behind them replaced but the process.
package cli
