package bench

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
)

func anyID(t *rapid.T) (id event.ID) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	return id
}

func anyOrders(t *rapid.T) *event.OrderBatch {
	b := &event.OrderBatch{
		Generation: event.Generation{Incarnation: rapid.Uint64().Draw(t, "incarnation"), Index: rapid.Uint64().Draw(t, "index")},
		Full:       rapid.Bool().Draw(t, "full"),
	}
	for range rapid.IntRange(0, 5).Draw(t, "orders") {
		o := event.Order{
			ID: anyID(t), EvalID: anyID(t), Job: event.JobKey{Namespace: "default", ID: rapid.String().Draw(t, "job")},
			JobVersion: rapid.Uint64().Draw(t, "version"), Group: rapid.String().Draw(t, "group"), NameIndex: rapid.Uint32().Draw(t, "name"),
			Desired: event.DesiredStatus(rapid.IntRange(0, 3).Draw(t, "desired")), ModifyIndex: rapid.Uint64().Draw(t, "modify"),
			CreateTime: rapid.Int64().Draw(t, "created"), ClientStatus: event.ClientStatus(rapid.IntRange(0, 6).Draw(t, "client")),
			KnownTerminal: rapid.Bool().Draw(t, "terminal"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "ports") {
			o.Ports = append(o.Ports, event.AssignedPort{Label: "http", Value: rapid.IntRange(1, 65535).Draw(t, "port")})
			o.WaitFor = append(o.WaitFor, anyID(t))
		}
		b.Orders = append(b.Orders, o)
	}
	for range rapid.IntRange(0, 3).Draw(t, "gone") {
		b.Gone = append(b.Gone, anyID(t))
	}
	if rapid.Bool().Draw(t, "specs") {
		b.Specs = map[event.Hash]*event.Job{
			event.HashOf([]byte("x")): {ID: "x", Meta: map[string]string{"a": "b"}, TaskGroups: []*event.TaskGroup{{Name: "g", Count: 3, Tasks: []*event.Task{{
				Name: "t", Config: map[string]any{"n": 1.5, "list": []any{"x", true, nil}},
			}}}}},
		}
	}
	return b
}

// TestDecodeOrders holds the decoder of simulated nodes against the codec.
func TestDecodeOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyOrders(t)
		data, err := event.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got batch
		if err := decodeOrders(data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Full != want.Full || len(got.Orders) != len(want.Orders) || len(got.Gone) != len(want.Gone) {
			t.Fatalf("got %+v of %+v", got, want)
		}
		for i, o := range got.Orders {
			w := want.Orders[i]
			if o.ID != w.ID || string(o.Job) != w.Job.ID || string(o.Group) != w.Group || o.Index != w.NameIndex || o.Desired != w.Desired ||
				o.Client != w.ClientStatus || o.Modified != w.ModifyIndex || o.Created != w.CreateTime {
				t.Fatalf("order %d: got %+v of %+v", i, o, w)
			}
		}
		for i, id := range got.Gone {
			if id != want.Gone[i] {
				t.Fatalf("gone %d: got %v of %v", i, id, want.Gone[i])
			}
		}
		if len(data) > 1 && decodeOrders(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut")], &got) == nil {
			t.Fatal("a message that is cut short is read")
		}
	})
}

func FuzzDecodeOrders(f *testing.F) {
	f.Add([]byte{0xa1, 0x02, 0xf5})
	f.Add([]byte{0xa1, 0x04, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b batch
		if decodeOrders(data, &b) == nil && len(b.Orders) > len(data) {
			t.Errorf("%d orders out of %d bytes", len(b.Orders), len(data))
		}
	})
}

func BenchmarkDecodeOrders(b *testing.B) {
	batchOf := &event.OrderBatch{Generation: event.Generation{Index: 1 << 20}}
	for i := range 200 {
		batchOf.Orders = append(batchOf.Orders, event.Order{
			ID: event.DeriveID("order", event.ID{}, uint64(i)), EvalID: event.DeriveID("eval", event.ID{}), Job: event.JobKey{Namespace: "default", ID: "bench-job-00001"},
			Spec: event.HashOf([]byte("spec")), Group: "group", NameIndex: uint32(i), Desired: event.DesiredRun, ModifyIndex: 1 << 20,
			CreateTime: 1 << 60, ClientStatus: event.ClientPending,
		})
	}
	data, err := event.Marshal(batchOf)
	if err != nil {
		b.Fatal(err)
	}
	var into batch
	b.ReportAllocs()
	for b.Loop() {
		if err := decodeOrders(data, &into); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batchOf.Orders)), "ns/order")
}

func TestReadFrame(t *testing.T) {
	in := bytes.NewReader([]byte{0, 0, 0, 2, 'a', 'b', 0, 0, 0, 9, 'c'})
	buf, err := readFrame(in, nil)
	if err != nil || string(buf) != "ab" {
		t.Errorf("got %q, %v", buf, err)
	}
	if _, err := readFrame(in, buf); err == nil {
		t.Error("a message that is cut short is read")
	}
	if _, err := readFrame(bytes.NewReader([]byte{0xff, 0, 0, 0}), nil); err == nil {
		t.Error("a message of 4 GB is begun")
	}
}
