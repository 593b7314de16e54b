package eventlog

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Raft's log (Tan) is a file of 32 KiB blocks; a block holds chunks, each with a checksum (4 bytes), a length (2) and a
// type (1); a record is one full chunk, or a first, some middle and a last. Numbers are little endian.
const (
	tanBlockBytes  = 32 << 10
	tanHeaderBytes = 7

	tanFull  = 1
	tanFirst = 2
	tanLast  = 4
)

// cutTornRaftLog removes the last record of Raft's log if it was only half written when the power went. Tan does so
// itself when the rest is missing, but refuses to start when the rest is there and wrong, which is how it looks when
// later blocks reached the disk before earlier ones. It returns what was cut, or "".
//
// Only a record that nothing follows is cut: it was never acknowledged, because its fsync did not return. Should it have
// been, and be damaged since, the comparison with the store tells.
func cutTornRaftLog(root string) (string, error) {
	dirs, err := filepath.Glob(filepath.Join(root, "*", "*", "tandb", "node-*"))
	if err != nil {
		return "", err
	}
	var cut []string
	for _, dir := range dirs {
		path, err := openEndedLog(dir)
		if err != nil {
			return "", err
		}
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		at, torn := tornTail(b)
		if !torn {
			continue
		}
		if err := truncateSync(path, int64(at)); err != nil {
			return "", err
		}
		cut = append(cut, fmt.Sprintf("%s at byte %d of %d", path, at, len(b)))
	}
	return strings.Join(cut, ", "), nil
}

// openEndedLog returns the newest log file in dir if it was not closed in order (it has no index then), or "".
func openEndedLog(dir string) (string, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		return "", err
	}
	path := slices.Max(logs) // the numbers have leading zeros
	_, err = os.Stat(strings.TrimSuffix(path, ".log") + ".index")
	if os.IsNotExist(err) {
		return path, nil
	}
	return "", err
}

// tornTail returns where the record starts that holds the first chunk with a wrong checksum, and whether it is torn: no
// other record starts after it.
func tornTail(b []byte) (record int, torn bool) {
	pos := 0
	for {
		pos = tanSkipPadding(pos)
		if pos+tanHeaderBytes > len(b) {
			return 0, false // in order to the end, or cut short: Tan sees that itself
		}
		size, kind, good := tanChunk(b, pos)
		if kind == tanFull || kind == tanFirst {
			record = pos
		}
		if !good {
			if size == 0 || kind == 0 && size == tanHeaderBytes {
				return 0, false // missing or zero: Tan sees that too
			}
			break
		}
		pos += size
	}
	// Where the next chunk starts cannot be told from a bad one, so every place is tried.
	for pos++; pos+tanHeaderBytes <= len(b); pos++ {
		if _, kind, good := tanChunk(b, pos); good && (kind == tanFull || kind == tanFirst) {
			return 0, false
		}
	}
	return record, true
}

// tanSkipPadding moves to the next block if no header fits into the rest of this one.
func tanSkipPadding(pos int) int {
	if left := tanBlockBytes - pos%tanBlockBytes; left < tanHeaderBytes {
		return pos + left
	}
	return pos
}

// tanChunk reads the chunk at pos, where at least a header is left. Size is 0 if the chunk does not fit into block and file.
func tanChunk(b []byte, pos int) (size int, kind byte, good bool) {
	size = tanHeaderBytes + int(binary.LittleEndian.Uint16(b[pos+4:]))
	kind = b[pos+6]
	if size > tanBlockBytes-pos%tanBlockBytes || pos+size > len(b) {
		return 0, kind, false
	}
	if kind < tanFull || kind > tanLast || size == tanHeaderBytes {
		return size, kind, false
	}
	return size, kind, uint32(xxhash.Sum64(b[pos+6:pos+size])) == binary.LittleEndian.Uint32(b[pos:])
}

func truncateSync(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
