package event

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// PlannedGroups is what a plan decided, group by group. A job may have thousands
// of groups, for which the walks over the nodes were nearly all alike; each
// different one is written once:
//
//	[[walk...], [group...]]
//
// A walk is an AllocMetric without scores and coalesced failures; a group's metric
// names the position of its walk and has those two itself. Walks stand in the
// order in which groups first name them, none twice.
type PlannedGroups []PlannedGroup

type groupsForm struct {
	_      struct{} `cbor:",toarray"`
	Walks  []cbor.RawMessage
	Groups []groupForm
}

type groupForm struct {
	Name       string      `cbor:"1,keyasint"`
	Placements Placements  `cbor:"2,keyasint,omitzero"`
	Metric     *metricForm `cbor:"3,keyasint,omitempty"`
	Failed     *metricForm `cbor:"4,keyasint,omitempty"`
}

type metricForm struct {
	Walk      uint32     `cbor:"1,keyasint,omitempty"`
	Coalesced int        `cbor:"2,keyasint,omitempty"`
	Scores    NodeScores `cbor:"3,keyasint,omitzero"`
}

// MarshalCBOR writes the list as above.
func (l PlannedGroups) MarshalCBOR() ([]byte, error) {
	form := groupsForm{Walks: []cbor.RawMessage{}, Groups: make([]groupForm, len(l))}
	positions := make(map[string]uint32)
	metric := func(m *AllocMetric) (*metricForm, error) {
		if m == nil {
			return nil, nil
		}
		bare := *m
		bare.ScoreMetaData, bare.CoalescedFailures = nil, 0
		walk, err := encMode.Marshal(&bare)
		if err != nil {
			return nil, err
		}
		position, known := positions[string(walk)]
		if !known {
			position = uint32(len(form.Walks))
			positions[string(walk)] = position
			form.Walks = append(form.Walks, walk)
		}
		return &metricForm{Walk: position, Coalesced: m.CoalescedFailures, Scores: m.ScoreMetaData}, nil
	}
	for i := range l {
		g := groupForm{Name: l[i].Name, Placements: l[i].Placements}
		var err error
		if g.Metric, err = metric(l[i].Metric); err != nil {
			return nil, err
		}
		if g.Failed, err = metric(l[i].Failed); err != nil {
			return nil, err
		}
		form.Groups[i] = g
	}
	return encMode.Marshal(&form)
}

// UnmarshalCBOR is the inverse of MarshalCBOR. Metrics of one walk share what it
// counted.
func (l *PlannedGroups) UnmarshalCBOR(data []byte) error {
	var form groupsForm
	if err := decMode.Unmarshal(data, &form); err != nil {
		return err
	}
	if len(form.Groups) == 0 {
		return errCompact
	}
	walks := make([]AllocMetric, len(form.Walks))
	seen := make(map[string]bool, len(form.Walks))
	for i, walk := range form.Walks {
		if err := decMode.Unmarshal(walk, &walks[i]); err != nil {
			return err
		}
		if seen[string(walk)] || walks[i].ScoreMetaData != nil || walks[i].CoalescedFailures != 0 {
			return fmt.Errorf("walk %d of a plan is written otherwise than walks are", i)
		}
		seen[string(walk)] = true
	}
	next := uint32(0)
	metric := func(m *metricForm) (*AllocMetric, error) {
		switch {
		case m == nil:
			return nil, nil
		case m.Walk > next || int(m.Walk) >= len(walks):
			return nil, fmt.Errorf("a metric of a plan has walk %d, want %d at most", m.Walk, next)
		case m.Walk == next:
			next++
		}
		whole := walks[m.Walk]
		whole.CoalescedFailures, whole.ScoreMetaData = m.Coalesced, m.Scores
		return &whole, nil
	}
	groups := make(PlannedGroups, len(form.Groups))
	for i, g := range form.Groups {
		groups[i].Name, groups[i].Placements = g.Name, g.Placements
		var err error
		if groups[i].Metric, err = metric(g.Metric); err != nil {
			return err
		}
		if groups[i].Failed, err = metric(g.Failed); err != nil {
			return err
		}
	}
	if int(next) < len(walks) {
		return fmt.Errorf("no metric of a plan has walk %d", next)
	}
	*l = groups
	return nil
}

// IsZero reports whether there is nothing to write.
func (l PlannedGroups) IsZero() bool { return len(l) == 0 }

// NodeScores is how the best nodes ranked. It is written as their number and then,
// for each, its 16 bytes, its mean, the number of its scores, and the scores: a
// number for the scorer, or 0 and its name, and the score. Numbers are varints as
// in Placements, scores zigzag varints.
type NodeScores []NodeScore

// scorers have numbers, by position; a number keeps its meaning for ever.
var scorers = []string{
	"", "binpack", "job-anti-affinity", "node-affinity", "allocation-spread", "node-reschedule-penalty", "devices", "preemption",
}

// IsZero reports whether there is nothing to write.
func (l NodeScores) IsZero() bool { return len(l) == 0 }

// MarshalBinary writes the list as above; CBOR uses it.
func (l NodeScores) MarshalBinary() ([]byte, error) {
	buf := binary.AppendUvarint(make([]byte, 0, 40*len(l)+1), uint64(len(l)))
	for i := range l {
		buf = append(buf, l[i].NodeID[:]...)
		buf = binary.AppendVarint(buf, int64(l[i].NormScore))
		buf = binary.AppendUvarint(buf, uint64(len(l[i].Scores)))
		left := len(l[i].Scores)
		for number, name := range scorers[1:] {
			if score, ok := l[i].Scores[name]; ok {
				buf = binary.AppendVarint(append(buf, byte(number+1)), int64(score))
				left--
			}
		}
		if left == 0 {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(l[i].Scores)) {
			if slices.Index(scorers, name) > 0 {
				continue
			}
			buf = binary.AppendUvarint(append(buf, 0), uint64(len(name)))
			buf = binary.AppendVarint(append(buf, name...), int64(l[i].Scores[name]))
		}
	}
	return buf, nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (l *NodeScores) UnmarshalBinary(data []byte) error {
	r := compactReader{data: data}
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.data)/len(ID{})) {
		return errCompact
	}
	list := make(NodeScores, n)
	for i := range list {
		copy(list[i].NodeID[:], r.take(len(ID{})))
		list[i].NormScore = Score(r.varint())
		count := r.uvarint()
		if r.bad || count > uint64(len(r.data)) {
			return errCompact
		}
		if count > 0 {
			list[i].Scores = make(map[string]Score, count)
		}
		last, lastName := -1, ""
		for range count {
			name, number := "", int(r.byte())
			switch {
			case number == 0: // after all that have one
				name = string(r.take(int(min(r.uvarint(), uint64(len(r.data))))))
				r.bad = r.bad || last == 0 && name <= lastName || slices.Index(scorers, name) > 0
				last, lastName = 0, name
			case number < len(scorers):
				name = scorers[number]
				r.bad = r.bad || number <= last || last == 0
				last = number
			default:
				r.bad = true
			}
			if r.bad {
				return errCompact
			}
			list[i].Scores[name] = Score(r.varint())
		}
	}
	if r.bad || len(r.data) > 0 {
		return errCompact
	}
	*l = list
	return nil
}
