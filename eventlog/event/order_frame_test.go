package event

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// What is written by hand is what the codec writes.
func TestEncodeOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b OrderBatch
		randomize(t, reflect.ValueOf(&b).Elem(), 4)
		specs := make(map[Hash][]byte)
		for hash, job := range b.Specs {
			data, err := Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			specs[hash] = data
		}
		want, err := Marshal(&b)
		if err != nil {
			t.Fatal(err)
		}
		b.Specs = nil
		if got := EncodeOrders(nil, &b, specs); !bytes.Equal(got, want) {
			t.Fatalf("%+v is written as\n%x\nexpected\n%x", b, got, want)
		}
	})
}

func BenchmarkEncodeOrders(b *testing.B) {
	batch := &OrderBatch{Generation: Generation{Index: 1 << 20}}
	for i := range uint32(8) {
		batch.Orders = append(batch.Orders, Order{
			ID: AllocationID(ID{1}, 7, i), EvalID: ID{2}, Job: JobKey{"default", "web"}, Spec: Hash{3}, Group: "app", NameIndex: i,
			Desired: DesiredRun, ModifyIndex: 1 << 20, CreateTime: 1 << 60, ClientStatus: ClientPending,
		})
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = EncodeOrders(buf[:0], batch, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(8*b.N), "ns/order")
}
