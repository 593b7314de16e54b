package eventlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/lni/dragonboat/v4/statemachine"
)

// streamMagic opens a stream of the whole store, followed by the meta it leads to and then by each record: length of its
// data (uvarint), hash, data. Indexes are dense, so they are not written. The end is known from the meta.
const streamMagic = "drover-log-stream-1\n"

// storeView is the store as it was at one moment.
type storeView struct {
	path string
	snap *pebble.Snapshot
	meta meta
}

func (v *storeView) stream(w io.Writer, stop <-chan struct{}) error {
	out := bufio.NewWriterSize(w, 1<<20)
	out.WriteString(streamMagic)
	out.Write(v.meta.encode())
	var n [binary.MaxVarintLen64]byte
	for next := uint64(1); next <= v.meta.head.Index; {
		select {
		case <-stop:
			return statemachine.ErrSnapshotStopped
		default:
		}
		entries, err := readRecords(v.path, v.snap, next, v.meta.head.Index)
		if err != nil {
			return err
		}
		for _, e := range entries {
			out.Write(n[:binary.PutUvarint(n[:], uint64(len(e.Data)))])
			out.Write(e.Hash[:])
			if _, err := out.Write(e.Data); err != nil {
				return statemachine.ErrSnapshotStreaming
			}
		}
		next += uint64(len(entries))
	}
	if err := out.Flush(); err != nil {
		return statemachine.ErrSnapshotStreaming
	}
	return nil
}

// restore takes over a stream: it checks the chain of what it reads, keeps what the store has already, and writes the
// rest. The head moves only with the last batch, so a restore that is cut short leaves the store as it was, with records
// after its head that the next start removes.
func (s *store) restore(r io.Reader, have meta, stop <-chan struct{}) (meta, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	head := make([]byte, len(streamMagic)+1+8+positionSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return meta{}, fmt.Errorf("restore: read the start of the stream: %w", err)
	}
	if string(head[:len(streamMagic)]) != streamMagic {
		return meta{}, errors.New("restore: the stream has an unknown format")
	}
	target, ok := decodeMeta(head[len(streamMagic):])
	if !ok {
		return meta{}, errors.New("restore: the stream has an unknown head")
	}
	if target.head.Index < have.head.Index {
		return meta{}, &CorruptionError{Path: s.path, Index: have.head.Index,
			Reason: fmt.Sprintf("the leader's log ends at %v, before this replica's %v", target.head, have.head)}
	}
	var (
		at    Position
		batch []Entry
		size  int
	)
	for at.Index < target.head.Index {
		e, err := readStreamed(in, at)
		if err != nil {
			return meta{}, err
		}
		at = e.Position()
		if at.Index == have.head.Index && at != have.head {
			return meta{}, &CorruptionError{Path: s.path, Index: at.Index,
				Reason: fmt.Sprintf("this replica has %v where the leader has %v", have.head, at)}
		}
		if at.Index <= have.head.Index {
			continue
		}
		batch = append(batch, e)
		if size += len(e.Data); size >= restoreBatchBytes {
			select {
			case <-stop:
				return meta{}, statemachine.ErrSnapshotStopped
			default:
			}
			if err := s.write(batch, have); err != nil {
				return meta{}, err
			}
			batch, size = nil, 0
		}
	}
	if at != target.head {
		return meta{}, fmt.Errorf("restore: the stream leads to %v, not to the announced %v", at, target.head)
	}
	if err := s.write(batch, target); err != nil {
		return meta{}, err
	}
	return target, s.sync()
}

func readStreamed(in *bufio.Reader, prev Position) (Entry, error) {
	e := Entry{Index: prev.Index + 1}
	n, err := binary.ReadUvarint(in)
	if err == nil && n > AppendBytesMax {
		err = fmt.Errorf("it claims %d bytes", n)
	}
	if err == nil {
		_, err = io.ReadFull(in, e.Hash[:])
	}
	if err == nil {
		e.Data = make([]byte, n)
		_, err = io.ReadFull(in, e.Data)
	}
	if err != nil {
		return e, fmt.Errorf("restore: read entry %d: %w", e.Index, err)
	}
	if Chain(prev.Hash, e.Index, e.Data) != e.Hash {
		return e, fmt.Errorf("restore: entry %d of the stream does not match its hash", e.Index)
	}
	return e, nil
}
