package event

import (
	"encoding/binary"
	"fmt"
)

// Collected says that ended work left the state, because nothing asks for it any
// more. It is a fact about the state alone: the records that made what left
// stay, and a fold up to the record before this one still has it.
//
// Names are short, since a busy cluster writes as many of them as it ends tasks:
// a job stands for all that it had, an evaluation for the allocations that it
// made.
type Collected struct {
	// Jobs were dead. Their evaluations and their allocations left with them.
	Jobs []CollectedJobs `cbor:"1,keyasint,omitempty"`
	// Work is a part of what a job had that stays, or that was purged before.
	Work []CollectedWork `cbor:"2,keyasint,omitempty"`
	// Nodes had been down for long, and nothing was left on them.
	Nodes []ID `cbor:"3,keyasint,omitempty"`
	// Blobs had been stored for a job that then never came.
	Blobs []Hash `cbor:"4,keyasint,omitempty"`
}

// CollectedJobs names jobs of one namespace.
type CollectedJobs struct {
	_         struct{} `cbor:",toarray"`
	Namespace string
	IDs       []string
}

// CollectedWork names ended work of one job.
type CollectedWork struct {
	_         struct{} `cbor:",toarray"`
	Namespace string
	JobID     string
	// Evaluations are named by the indexes of the records that created them,
	// ascending. All allocations that they made left too.
	Evaluations Indexes
	// Allocations are those whose evaluation stays.
	Allocations []ID
}

// Job is the key of the work's job.
func (w *CollectedWork) Job() JobKey { return JobKey{Namespace: w.Namespace, ID: w.JobID} }

// Kind implements Event.
func (*Collected) Kind() Kind { return KindCollected }

// Indexes is a list of record indexes. Its encoding is the difference of each to
// the one before it, in as few bytes as it needs: one or two for neighbours.
type Indexes []uint64

// MarshalBinary is the differences as varints; CBOR uses it. A list that does not
// ascend has an encoding too, a longer one: differences wrap around.
func (x Indexes) MarshalBinary() ([]byte, error) {
	var data []byte
	var last uint64
	for _, index := range x {
		data = binary.AppendUvarint(data, index-last)
		last = index
	}
	return data, nil
}

// UnmarshalBinary is the inverse of MarshalBinary. A difference that is not in
// its shortest form is refused: a list has one encoding.
func (x *Indexes) UnmarshalBinary(data []byte) error {
	*x = nil
	var last uint64
	for len(data) > 0 {
		difference, n := binary.Uvarint(data)
		if n <= 0 || n > 1 && data[n-1] == 0 {
			return fmt.Errorf("a list of indexes is malformed %d bytes before its end", len(data))
		}
		last += difference
		*x = append(*x, last)
		data = data[n:]
	}
	return nil
}
