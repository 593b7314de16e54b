// Package agentconfig turns an agent's configuration files and flags into one
// checked struct.
//
// The promise: a [Config] that Load returns can be acted on as it stands. Every
// key that the field's operators use is known here; one that nothing acts on yet
// is named in a warning, one that is not known is an error that names its
// nearest neighbour. Nothing is silently ignored.
//
// It works in layers, lowest first: built-in defaults, the defaults of -dev, the
// files in the order given, the flags. A layer is a tree of values whose shape
// the table in schema.go describes; the same table says how two layers merge.
package agentconfig
