package projections_test

import (
	"bytes"
	"fmt"
	"testing"

	"drover/eventlog/event"
	"drover/projections"
)

// packed writes the plan of a job of 1,000 on a few of the nodes, as best fit does.
func (s *story) packed(id string, nodes []event.ID, ports bool) *event.Record {
	job := jobSpec(id, 1000, 1)
	if !ports {
		job.TaskGroups[0].Networks = nil
	}
	spec, err := event.Marshal(job)
	if err != nil {
		s.t.Fatal(err)
	}
	eval := s.newEval(id)
	for _, e := range []event.Event{
		&event.BlobStored{Blob: event.HashOf(spec), Of: 1, Data: spec},
		&event.JobSubmitted{Namespace: "default", JobID: id, Spec: event.HashOf(spec)}, eval,
	} {
		r, _, err := encode(s.state, s.now, true, e)
		if err != nil {
			s.t.Fatal(err)
		}
		s.state = projections.Evolve(s.state, r)
	}
	p := &event.PlanCommitted{
		EvalID: eval.Evaluation.ID, Namespace: "default", JobID: id, Basis: s.state.Index(), Nodes: nodes,
		Groups: []event.PlannedGroup{{Name: "g"}}, Outcome: event.EvalComplete,
	}
	for i := range uint32(1000) {
		placement := event.Placement{Ordinal: i, Name: i, Node: i * uint32(len(nodes)) / 1000}
		if ports {
			placement.Ports = []uint16{uint16(20000 + i)}
		}
		p.Groups[0].Placements = append(p.Groups[0].Placements, placement)
	}
	r, _, err := encode(s.state, s.now, true, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func bigFleet(b *testing.B, nodes int) (*story, []event.ID) {
	s := &story{t: b, state: projections.New()}
	var ids []event.ID
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		ids = append(ids, named(name))
		for _, e := range []event.Event{
			&event.NodeRegistered{NodeID: named(name), Incarnation: 1, Node: node(name)}, &event.NodeStatusChanged{NodeID: named(name), Status: event.NodeReady},
		} {
			r, _, err := encode(s.state, s.now, true, e)
			if err != nil {
				b.Fatal(err)
			}
			s.state = projections.Evolve(s.state, r)
		}
	}
	return s, ids
}

// BenchmarkFoldPlan folds plans of 1,000 placements on 8 of 5,000 nodes.
func BenchmarkFoldPlan(b *testing.B) {
	for _, ports := range []bool{false, true} {
		b.Run(fmt.Sprintf("ports=%v", ports), func(b *testing.B) {
			s, nodes := bigFleet(b, 5000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				first := i * 8 % 4992
				r := s.packed(fmt.Sprintf("job%d", i), nodes[first:first+8], ports)
				b.StartTimer()
				s.state = projections.Evolve(s.state, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(1000*b.N), "ns/placement")
		})
	}
}

// BenchmarkCheckpoint writes and reads the state of 200,000 allocations.
func BenchmarkCheckpoint(b *testing.B) {
	s, nodes := bigFleet(b, 5000)
	for i := range 200 {
		s.state = projections.Evolve(s.state, s.packed(fmt.Sprintf("job%d", i), nodes[i*8:i*8+8], false))
	}
	var out bytes.Buffer
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			out.Reset()
			if err := s.state.Encode(&out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(200_000*b.N), "ns/allocation")
		b.ReportMetric(float64(out.Len())/200_000, "B/allocation")
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := projections.Decode(bytes.NewReader(out.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(200_000*b.N), "ns/allocation")
	})
}
