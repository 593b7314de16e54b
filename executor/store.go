package executor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"drover/eventlog/event"
)

// State files hold CBOR behind a short header. They are written to a new file that then takes the old one's place, so a
// reader finds one of the two whole. Syncing is asked for one by one: whatever describes running tasks is worthless
// after a power cut and need not wait for the disk.

// stateMagic and a version in the last byte stand in front of every state file.
var stateMagic = [8]byte{'d', 'r', 'o', 'v', 'e', 'r', 's', 1}

// damagedError says that a state file cannot be understood.
type damagedError struct {
	path   string
	reason string
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("state file %s is damaged: %s", e.path, e.reason)
}

func encodeState(v any) ([]byte, error) {
	payload, err := event.Marshal(v)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, len(stateMagic)+4+len(payload)), stateMagic[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...), nil
}

func decodeState(path string, b []byte, v any) error {
	head := len(stateMagic) + 4
	if len(b) < head || [8]byte(b[:8]) != stateMagic {
		return &damagedError{path, "it has no valid header"}
	}
	payload := b[head:]
	if binary.BigEndian.Uint32(b[8:head]) != crc32.Checksum(payload, castagnoli) {
		return &damagedError{path, "its checksum does not match"}
	}
	if err := event.Unmarshal(payload, v); err != nil {
		return &damagedError{path, err.Error()}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// saveState writes a state file; with sync it survives a power cut once saveState has returned.
func saveState(path string, v any, sync bool) error {
	b, err := encodeState(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return writeFile(path, b, sync)
}

// loadState reads a state file. It is fs.ErrNotExist when there is none and a *damagedError when it makes no sense.
func loadState(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, stateFileBytesMax))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return decodeState(path, b, v)
}

func writeFile(path string, b []byte, sync bool) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil && sync {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// identity is who the agent is.
type identity struct {
	id, secret  event.ID
	incarnation uint64
}

// loadIdentity reads or draws the node's ID and secret and counts one more life of the agent. All of it is on disk
// before it is used: a server that has seen an incarnation refuses lower ones.
func loadIdentity(dir string) (identity, error) {
	var who identity
	for _, f := range []struct {
		name string
		id   *event.ID
	}{{"client-id", &who.id}, {"secret-id", &who.secret}} {
		path := filepath.Join(dir, f.name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			*f.id = newID()
			if err := writeFile(path, []byte(f.id.String()), true); err != nil {
				return who, err
			}
			continue
		}
		if err != nil {
			return who, fmt.Errorf("read node identity: %w", err)
		}
		if *f.id, err = event.ParseID(trim(b)); err != nil || f.id.IsZero() {
			return who, &damagedError{path, "it holds no UUID"}
		}
	}
	return who, who.nextIncarnation(dir)
}

func (who *identity) nextIncarnation(dir string) error {
	path := filepath.Join(dir, "incarnation")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read incarnation: %w", err)
	}
	if err == nil {
		n, err := strconv.ParseUint(trim(b), 10, 63)
		if err != nil {
			return &damagedError{path, "it holds no number"}
		}
		who.incarnation = max(who.incarnation, n)
	}
	who.incarnation++
	return writeFile(path, strconv.AppendUint(nil, who.incarnation, 10), true)
}
