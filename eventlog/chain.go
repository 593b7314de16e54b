package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Hash is the chained hash of an entry: it covers the entry and everything before it. The hash before the first entry is
// the zero Hash.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Position names a head of the log: the index of its last entry and the chained hash after it. The zero Position is the
// head of the empty log.
type Position struct {
	Index uint64
	Hash  Hash
}

// String returns the index and the first bytes of the hash, enough to tell two histories apart when read.
func (p Position) String() string { return fmt.Sprintf("%d/%x", p.Index, p.Hash[:4]) }

// Entry is one entry of the log as read back. Data is shared between readers and must not be changed.
type Entry struct {
	Index uint64
	Hash  Hash // the chained hash after this entry
	Data  []byte
}

// Position returns the head that the log had right after this entry.
func (e Entry) Position() Position { return Position{Index: e.Index, Hash: e.Hash} }

// Chain returns the hash after an entry: SHA-256 over the hash before it, its index (8 bytes, big endian) and its data.
func Chain(prev Hash, index uint64, data []byte) Hash {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], index)
	h.Write(prev[:])
	h.Write(n[:])
	h.Write(data)
	var out Hash
	h.Sum(out[:0])
	return out
}
