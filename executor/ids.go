package executor

import (
	"bytes"
	"crypto/rand"

	"drover/eventlog/event"
)

// newID draws a random UUID (version 4). Node identities are the only IDs that an agent makes up.
func newID() event.ID {
	var id event.ID
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func trim(b []byte) string { return string(bytes.TrimSpace(b)) }
