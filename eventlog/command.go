package eventlog

import (
	"encoding/binary"
	"errors"
)

// commandFormat is the first byte of every replicated command. A replica that meets a byte it does not know stops: to skip it would
// make its log differ from the others'.
const commandFormat = 1

// errCommand says that a replicated command cannot be read: it was written by a newer version.
var errCommand = errors.New("append command has an unknown format")

// appendCommand is the one replicated command: these entries belong right after this position.
//
// On the wire: format byte, index (8 bytes, big endian), hash (32 bytes), then each entry as length (uvarint) and bytes.
type appendCommand struct {
	after Position
	data  [][]byte
}

func (c appendCommand) encode() []byte {
	size := 1 + 8 + len(Hash{})
	for _, d := range c.data {
		size += binary.MaxVarintLen32 + len(d)
	}
	b := make([]byte, 0, size)
	b = append(b, commandFormat)
	b = appendPosition(b, c.after)
	for _, d := range c.data {
		b = binary.AppendUvarint(b, uint64(len(d)))
		b = append(b, d...)
	}
	return b
}

// decodeCommand reads a command; its entries alias b.
func decodeCommand(b []byte) (appendCommand, error) {
	var c appendCommand
	if len(b) < 1+positionSize || b[0] != commandFormat {
		return c, errCommand
	}
	c.after = readPosition(b[1:])
	b = b[1+positionSize:]
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return c, errCommand
		}
		c.data = append(c.data, b[w:w+int(n):w+int(n)])
		b = b[w+int(n):]
	}
	return c, nil
}

const positionSize = 8 + len(Hash{})

func appendPosition(b []byte, p Position) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Index)
	return append(b, p.Hash[:]...)
}

// readPosition reads a position; b holds at least positionSize bytes.
func readPosition(b []byte) Position {
	p := Position{Index: binary.BigEndian.Uint64(b)}
	copy(p.Hash[:], b[8:positionSize])
	return p
}
