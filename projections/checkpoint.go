package projections

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"drover/eventlog/event"
)

// A checkpoint is the canonical encoding of a state: a magic text, a head, and
// each table's rows in key order, every part a length and its CBOR; allocations,
// of which there may be millions, are packed (see writeAllocations). The same
// state has the same bytes on every server, so their SHA-256 is its checksum.

const checkpointMagic = "drover state\n"

const checkpointTables = 9

// partBytesMax bounds one part of a checkpoint that is read back: a larger
// length is damage. A row is at most a blob with its chunks.
const partBytesMax = 64 << 20

// ErrDamagedCheckpoint marks bytes that are no whole checkpoint of this fold version.
var ErrDamagedCheckpoint = errors.New("damaged checkpoint")

type checkpointHead struct {
	FoldVersion uint32                    `cbor:"1,keyasint"`
	Index       uint64                    `cbor:"2,keyasint"`
	Hash        event.Hash                `cbor:"3,keyasint"`
	Time        int64                     `cbor:"4,keyasint"`
	Epoch       uint64                    `cbor:"5,keyasint"`
	Cluster     Cluster                   `cbor:"6,keyasint"`
	Scheduler   event.SchedulerConfigured `cbor:"7,keyasint"`
	Indexes     []uint64                  `cbor:"8,keyasint"`
	Counts      []uint64                  `cbor:"9,keyasint"` // rows of each table, in the order of encoding

	SchedulerCreated  uint64 `cbor:"10,keyasint,omitempty"` // indexes of Scheduler's first and last record
	SchedulerModified uint64 `cbor:"11,keyasint,omitempty"`
}

// Encode writes the canonical encoding.
func (s *State) Encode(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	if _, err := out.WriteString(checkpointMagic); err != nil {
		return err
	}
	head := checkpointHead{
		FoldVersion: FoldVersion, Index: s.index, Hash: s.hash, Time: s.time, Epoch: s.epoch,
		Cluster: s.cluster, Scheduler: s.scheduler.SchedulerConfigured, Indexes: s.indexes[:],
		SchedulerCreated: s.scheduler.CreateIndex, SchedulerModified: s.scheduler.ModifyIndex,
	}
	for _, n := range []int{
		s.blobs.len(), s.specs.len(), s.jobs.len(), s.evaluations.len(), s.nodes.len(),
		s.commands.len(), s.pools.len(), s.namespaces.len(), s.allocationCount,
	} {
		head.Counts = append(head.Counts, uint64(n))
	}
	if err := writePart(out, &head); err != nil {
		return err
	}
	specs := func(yield func(event.Hash) bool) {
		for spec := range s.specs.all() {
			if !yield(spec.Hash) {
				return
			}
		}
	}
	for _, write := range []func() error{
		func() error { return writeParts(out, s.blobs.all()) },
		func() error { return writeParts(out, specs) },
		func() error { return writeParts(out, s.jobs.all()) },
		func() error { return writeParts(out, s.evaluations.all()) },
		func() error { return writeParts(out, s.nodes.all()) },
		func() error { return writeParts(out, s.commands.all()) },
		func() error { return writeParts(out, s.pools.all()) },
		func() error { return writeParts(out, s.namespaces.all()) },
		func() error { return s.writeAllocations(out) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Checksum is the SHA-256 of the canonical encoding. Two servers that folded the
// same records have the same one, within one fold version.
func (s *State) Checksum() event.Hash {
	h := sha256.New()
	if err := s.Encode(h); err != nil {
		panic("checksum of the state at " + fmt.Sprint(s.index) + ": " + err.Error())
	}
	var sum event.Hash
	h.Sum(sum[:0])
	return sum
}

func writePart(w *bufio.Writer, v any) error {
	data, err := event.Marshal(v)
	if err != nil {
		return err
	}
	return writeBytes(w, data)
}

func writeBytes(w *bufio.Writer, data []byte) error {
	var size [binary.MaxVarintLen64]byte
	if _, err := w.Write(size[:binary.PutUvarint(size[:], uint64(len(data)))]); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func writeParts[V any](w *bufio.Writer, rows iter.Seq[V]) error {
	for v := range rows {
		if err := writePart(w, v); err != nil {
			return err
		}
	}
	return nil
}

// Decode reads a canonical encoding back, checks what can be checked, and
// rebuilds every derived index.
func Decode(r io.Reader) (s *State, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	magic := make([]byte, len(checkpointMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != checkpointMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrDamagedCheckpoint)
	}
	var head checkpointHead
	if err := readPart(in, &head); err != nil {
		return nil, err
	}
	if head.FoldVersion != FoldVersion {
		return nil, fmt.Errorf("%w: fold version %d, this version folds as %d", ErrDamagedCheckpoint, head.FoldVersion, FoldVersion)
	}
	if len(head.Indexes) != int(tableCount) || len(head.Counts) != checkpointTables {
		return nil, fmt.Errorf("%w: wrong number of tables", ErrDamagedCheckpoint)
	}
	// Rows that contradict one another make the rebuilding panic as a fold
	// would; here that is damage, not a bug.
	defer func() {
		if bug := recover(); bug != nil {
			s, err = nil, fmt.Errorf("%w: %v", ErrDamagedCheckpoint, bug)
		}
	}()
	s = New()
	s.owner = new(owner)
	s.index, s.hash, s.time, s.epoch = head.Index, head.Hash, head.Time, head.Epoch
	s.cluster, s.scheduler = head.Cluster, Scheduler{head.Scheduler, head.SchedulerCreated, head.SchedulerModified}
	copy(s.indexes[:], head.Indexes)
	if err := s.readTables(in, head.Counts); err != nil {
		return nil, err
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: bytes after its end", ErrDamagedCheckpoint)
	}
	s.updateFleet()
	s.owner, s.touched = nil, nil
	return s, nil
}

func (s *State) readTables(in *bufio.Reader, counts []uint64) error {
	for _, read := range []func() error{
		func() error {
			return readParts(in, counts[0], func(b *blob) { s.blobs.put(b.Hash, b) })
		},
		func() error {
			return readParts(in, counts[1], func(hash *event.Hash) { s.specOf(&event.Record{}, *hash) })
		},
		func() error {
			return readParts(in, counts[2], func(j *Job) {
				j.Spec = s.mustSpec(j.SpecHash)
				for i := range j.Older {
					j.Older[i].Spec = s.mustSpec(j.Older[i].SpecHash)
				}
				s.jobs.put(j.Key, j)
				s.noteJob(j)
				s.noteVersions(j.Key, nil, j.blobs())
			})
		},
		func() error { return readParts(in, counts[3], s.indexEvaluation) },
		func() error {
			return readParts(in, counts[4], func(n *Node) {
				n.derive()
				n.owner = s.owner
				s.nodes.put(n.Info.ID, n)
				s.enterFleet(n)
			})
		},
		func() error {
			return readParts(in, counts[5], func(c *Remembered) {
				s.commands.put(c.ID, *c)
				s.commandAge.put(agedCommand{c.Time, c.ID}, c.ID)
			})
		},
		func() error {
			return readParts(in, counts[6], func(p *NodePool) { s.pools.put(p.Name, p) })
		},
		func() error {
			return readParts(in, counts[7], func(n *Namespace) { s.namespaces.put(n.Name, n) })
		},
		func() error { return s.readAllocations(in, counts[8]) },
	} {
		if err := read(); err != nil {
			return err
		}
	}
	s.rebuildUnnamed()
	return nil
}

func (s *State) mustSpec(hash event.Hash) *Spec {
	spec := s.Spec(hash)
	if spec == nil {
		panic(fmt.Sprintf("spec %v is named and not there", hash))
	}
	return spec
}

func (s *State) indexEvaluation(e *event.Evaluation) {
	s.evaluations.put(e.ID, e)
	s.evaluationsOfJob.put(jobOrder{e.Job(), e.CreateIndex, e.ID}, e)
	s.evaluationAge.put(aged{e.CreateIndex, e.ID}, e.ID)
	s.noteEvaluation(e)
	switch e.Status {
	case event.EvalPending:
		s.pending.put(queueOrderOf(e), e)
	case event.EvalBlocked:
		s.blocked.put(e.Job(), e)
	}
}

func readPart(in *bufio.Reader, v any) error {
	data, err := readBytes(in)
	if err != nil {
		return err
	}
	if err := event.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %v", ErrDamagedCheckpoint, err)
	}
	return nil
}

func readBytes(in *bufio.Reader) ([]byte, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, fmt.Errorf("%w: it ends early", ErrDamagedCheckpoint)
	}
	if size > partBytesMax {
		return nil, fmt.Errorf("%w: a part of %d bytes", ErrDamagedCheckpoint, size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, fmt.Errorf("%w: it ends early", ErrDamagedCheckpoint)
	}
	return data, nil
}

func readParts[V any](in *bufio.Reader, count uint64, take func(*V)) error {
	for range count {
		v := new(V)
		if err := readPart(in, v); err != nil {
			return err
		}
		take(v)
	}
	return nil
}
