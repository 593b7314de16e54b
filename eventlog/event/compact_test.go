package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// testPlan is a plan as a scheduler makes it: n placements over n/4 nodes, two
// ports each.
func testPlan(n int) *PlanCommitted {
	p := &PlanCommitted{
		EvalID: HashedID("eval"), Namespace: DefaultNamespace, JobID: "web", JobVersion: 3, Basis: 1 << 20, Seed: 1 << 60,
		SchedulerVersion: 1, Outcome: EvalComplete, Queued: map[string]int{"front": 0}, Groups: []PlannedGroup{{Name: "front"}},
	}
	for i := range (n + 3) / 4 {
		p.Nodes = append(p.Nodes, HashedID(fmt.Sprint("node", i)))
	}
	for i := range uint32(n) {
		p.Groups[0].Placements = append(p.Groups[0].Placements, Placement{
			Ordinal: i, Node: i / 4, Name: i, Score: 650_000 + Score(i*37%1000), Ports: []uint16{uint16(20000 + i), 8080},
		})
	}
	return p
}

// TestCompactLayout shows the bytes of the compact lists. They may only grow
// once the format is version 1.
func TestCompactLayout(t *testing.T) {
	datadriven.RunTest(t, "testdata/compact_layout.txt", func(t *testing.T, d *datadriven.TestData) string {
		var list any
		into := reflect.Value{}
		switch d.Cmd {
		case "placements":
			list, into = new(Placements), reflect.ValueOf(new(Placements))
		case "stops":
			list, into = new(Stops), reflect.ValueOf(new(Stops))
		case "ids":
			list, into = new(IDs), reflect.ValueOf(new(IDs))
		case "groups":
			list, into = new(PlannedGroups), reflect.ValueOf(new(PlannedGroups))
		case "scores":
			list, into = new(NodeScores), reflect.ValueOf(new(NodeScores))
		default:
			d.Fatalf(t, "unknown command %s", d.Cmd)
		}
		if err := json.Unmarshal([]byte("["+strings.Join(strings.Split(strings.TrimSpace(d.Input), "\n"), ",")+"]"), list); err != nil {
			d.Fatalf(t, "%v", err)
		}
		data := mustMarshal(t, reflect.ValueOf(list).Elem().Interface())
		if err := Unmarshal(data, into.Interface()); err != nil {
			d.Fatalf(t, "%v", err)
		}
		if !reflect.DeepEqual(list, into.Interface()) {
			d.Fatalf(t, "%+v was read as %+v", list, into.Interface())
		}
		return hex.EncodeToString(data) + "\n"
	})
}

// Neighbours that have nothing in common, and the ends of all ranges.
func TestPlacementsAtTheEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.SampledFrom([]uint32{0, 1, 2, math.MaxUint32, math.MaxUint32 - 1}), rapid.Uint32())
		score := rapid.OneOf(rapid.SampledFrom([]int64{0, 1, -1, math.MaxInt64, math.MinInt64}), rapid.Int64())
		list := make(Placements, rapid.IntRange(1, 8).Draw(t, "n"))
		for i := range list {
			p := Placement{Ordinal: word.Draw(t, "ordinal"), Node: word.Draw(t, "node"), Name: word.Draw(t, "name"), Score: Score(score.Draw(t, "score"))}
			if ports := rapid.SliceOfN(rapid.Uint16(), 0, 3).Draw(t, "ports"); len(ports) > 0 {
				p.Ports = ports
			}
			if rapid.Bool().Draw(t, "replaces") {
				p.Previous = HashedID("previous")
			}
			list[i] = p
		}
		data, err := list.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Placements
		if err := got.UnmarshalBinary(data); err != nil {
			t.Fatalf("%x: %v", data, err)
		}
		if !reflect.DeepEqual(got, list) {
			t.Fatalf("%+v was read as %+v", list, got)
		}
	})
}

func TestAPlanTakesFewBytes(t *testing.T) {
	plan := testPlan(1000)
	size := len(mustMarshal(t, plan.Groups[0].Placements))
	if size > 9*1000 {
		t.Errorf("1,000 placements with two ports each take %d bytes", size)
	}
	for i := range plan.Groups[0].Placements {
		plan.Groups[0].Placements[i].Ports = nil
	}
	if size := len(mustMarshal(t, plan.Groups[0].Placements)); size > 4*1000 {
		t.Errorf("1,000 placements without ports take %d bytes", size)
	}
}

// A plan's lists look to readers of the audit log as they always did.
func TestCompactListsInJSON(t *testing.T) {
	plan := testPlan(1)
	plan.Nodes = IDs{MustParseID("11111111-2222-3333-4444-555555555555")}
	plan.Stops = Stops{{ID: plan.Nodes[0], Client: ClientLost, Description: "lost"}}
	for _, c := range []struct {
		value any
		want  string
	}{
		{plan.Nodes, `["11111111-2222-3333-4444-555555555555"]`},
		{plan.Groups[0].Placements, `[{"Ordinal":0,"Node":0,"Name":0,"Score":0.65,"Ports":[20000,8080],"Previous":""}]`},
		{plan.Stops, `[{"ID":"11111111-2222-3333-4444-555555555555","Client":"lost","Description":"lost","HandsOver":false}]`},
	} {
		if data, err := json.Marshal(c.value); err != nil || string(data) != c.want {
			t.Errorf("%s, %v", data, err)
		}
	}
}

// FuzzCompact: whatever is taken for one of the compact lists is written as the
// very same bytes.
func FuzzCompact(f *testing.F) {
	plan := testPlan(9)
	plan.Groups[0].Placements[4].Previous = HashedID("previous")
	plan.Groups[0].Placements[5].Ports = nil
	stops := Stops{{ID: HashedID("a"), Client: ClientLost, Description: "x"}, {ID: HashedID("b"), Description: "x", HandsOver: true}, {ID: HashedID("c")}}
	for _, list := range []interface{ MarshalBinary() ([]byte, error) }{plan.Groups[0].Placements, plan.Nodes, stops} {
		data, err := list.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	same := func(t *testing.T, data []byte, list interface{ MarshalBinary() ([]byte, error) }) {
		if again, err := list.MarshalBinary(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x was read as %+v and written as %x, %v", data, list, again, err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		input := slices.Clone(data)
		var placements Placements
		if placements.UnmarshalBinary(data) == nil {
			same(t, data, placements)
		}
		var stops Stops
		if stops.UnmarshalBinary(data) == nil {
			same(t, data, stops)
		}
		var ids IDs
		if ids.UnmarshalBinary(data) == nil {
			same(t, data, ids)
		}
		if !bytes.Equal(input, data) {
			t.Fatal("reading changed what was read")
		}
	})
}

// BenchmarkPlanCodec is what writing and reading the record of a plan of 1,000
// placements costs, by placement.
func BenchmarkPlanCodec(b *testing.B) {
	const n = 1000
	r := &Record{Header: Header{Index: 7, Kind: KindPlanCommitted, Last: true, Previous: HashOf([]byte("before"))}, Event: testPlan(n)}
	data := mustEncode(b, r)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustEncode(b, r)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/placement")
		b.ReportMetric(float64(len(data))/n, "bytes/placement")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeRecord(data); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/placement")
	})
}
