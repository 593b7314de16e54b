package memlog

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"drover/eventlog"
)

// TestTwin does the same things to the log in memory and to a real one, and asks that both answer the same: what is
// tested against the first will hold for the second.
func TestTwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	real, err := eventlog.Open(eventlog.Config{Dir: t.TempDir(), ClusterName: "twin", ReplicaID: 1, RaftAddress: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	twin := New()
	if _, err := real.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	heads := []eventlog.Position{{}}
	for range 300 {
		after := heads[len(heads)-1]
		switch rng.IntN(6) {
		case 0:
			after = heads[rng.IntN(len(heads))]
		case 1:
			after.Hash[0] ^= 1
		case 2:
			after.Index += uint64(rng.IntN(3))
		}
		var data [][]byte
		for range rng.IntN(4) {
			data = append(data, bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(200)))
		}
		if rng.IntN(50) == 0 {
			data = append(data, make([]byte, eventlog.AppendBytesMax+1))
		}
		a, aerr := real.Append(ctx, after, data)
		b, berr := twin.Append(ctx, after, data)
		if a != b || class(aerr) != class(berr) {
			t.Fatalf("append after %v of %d entries: the real log answers %v, %v, the one in memory %v, %v", after, len(data), a, aerr, b, berr)
		}
		if real.Head() != twin.Head() {
			t.Fatalf("heads %v and %v", real.Head(), twin.Head())
		}
		if aerr == nil {
			heads = append(heads, a)
		}
	}
	for _, from := range []uint64{1, 2, heads[len(heads)-1].Index} {
		if a, b := readAll(t, ctx, real.Tail(from), real.Head()), readAll(t, ctx, twin.Tail(from), twin.Head()); !slices.EqualFunc(a, b, func(x, y eventlog.Entry) bool {
			return x.Position() == y.Position() && bytes.Equal(x.Data, y.Data)
		}) {
			t.Fatalf("from %d the logs differ", from)
		}
	}
	a, aerr := real.Verify(ctx, nil)
	b, berr := twin.Verify(ctx, nil)
	if a != b || aerr != nil || berr != nil {
		t.Fatalf("verify: %+v, %v and %+v, %v", a, aerr, b, berr)
	}
}

// class is what a caller may tell errors apart by.
func class(err error) string {
	var stale *eventlog.StaleError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &stale):
		return stale.Error()
	case errors.Is(err, eventlog.ErrTooLarge):
		return "too large"
	}
	return "other"
}

func readAll(t *testing.T, ctx context.Context, r *eventlog.Reader, head eventlog.Position) (all []eventlog.Entry) {
	defer r.Close()
	for len(all) == 0 || all[len(all)-1].Index < head.Index {
		entries, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	return all
}
