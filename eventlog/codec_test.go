package eventlog

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/lni/dragonboat/v4/statemachine"
	"pgregory.net/rapid"
)

// TestChainGolden pins the arithmetic of the chain: logs on disks depend on it.
func TestChainGolden(t *testing.T) {
	h := Chain(Hash{}, 1, []byte("one"))
	h = Chain(h, 2, nil)
	const want = "fa06f9fa98c4521deb92596064067fdc91dfb854eb081d20f18b24dcc494e96e"
	if h.String() != want {
		t.Fatalf("chain of two entries is %v, want %v", h, want)
	}
	first := sha256.Sum256(append(append(make([]byte, 32), 0, 0, 0, 0, 0, 0, 0, 1), "one"...))
	if Chain(Hash{}, 1, []byte("one")) != first {
		t.Fatal("the chain is not what its comment says")
	}
}

// FuzzCommand: a command that can be read is read as it was written; anything else is refused without a panic.
func FuzzCommand(f *testing.F) {
	f.Add(appendCommand{after: Position{Index: 7, Hash: Hash{1}}, data: [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("b"), 300)}}.encode())
	f.Add([]byte{commandFormat})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, err := decodeCommand(b)
		if err != nil {
			return
		}
		again, err := decodeCommand(cmd.encode())
		if err != nil || again.after != cmd.after || !slices.EqualFunc(again.data, cmd.data, bytes.Equal) {
			t.Fatalf("%v is read back as %v, %v", cmd, again, err)
		}
	})
}

// machineInMemory is a state machine over a store in memory, without Raft.
func machineInMemory(t testing.TB) *machine {
	s, err := openStore(vfs.NewMem(), "records", true, false, discardLogger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return &machine{store: s, recent: newRecent(Position{}), closing: make(chan struct{}), cutAt: 1 << 30, cut: make(chan struct{}, 1)}
}

// TestMachineTwin compares the state machine with the obvious one: a slice. Batches of commands, some stale, cut at random.
func TestMachineTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := machineInMemory(t)
		heads := []Position{{}}
		var twin []Entry
		raftIndex := uint64(0)
		for range rapid.IntRange(1, 10).Draw(rt, "batches") {
			var batch []statemachine.Entry
			var want []uint64
			for range rapid.IntRange(1, 5).Draw(rt, "commands") {
				after := heads[len(heads)-1]
				if rapid.IntRange(0, 3).Draw(rt, "stale") == 0 {
					after = rapid.SampledFrom(heads).Draw(rt, "after")
				}
				data := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 1, 4).Draw(rt, "data")
				raftIndex += rapid.Uint64Range(1, 3).Draw(rt, "gap") // Raft's own entries are in between
				batch = append(batch, statemachine.Entry{Index: raftIndex, Cmd: appendCommand{after: after, data: data}.encode()})
				if after != heads[len(heads)-1] {
					want = append(want, resultStale)
					continue
				}
				want = append(want, resultAppended)
				for _, d := range data {
					head := heads[len(heads)-1]
					e := Entry{Index: head.Index + 1, Hash: Chain(head.Hash, head.Index+1, d), Data: d}
					twin = append(twin, e)
					heads = append(heads, e.Position())
				}
			}
			done, err := m.Update(batch)
			if err != nil {
				rt.Fatal(err)
			}
			for i, e := range done {
				if e.Result.Value != want[i] {
					rt.Fatalf("command %d has result %d, want %d", i, e.Result.Value, want[i])
				}
			}
		}
		stored, err := m.store.meta()
		if head := heads[len(heads)-1]; err != nil || stored != (meta{raftIndex, head}) {
			rt.Fatalf("stored %v (%v), want %d %v", stored, err, raftIndex, head)
		}
		if len(twin) == 0 {
			return
		}
		got, err := m.store.read(1, uint64(len(twin)))
		same := slices.EqualFunc(got, twin, func(a, b Entry) bool {
			return a.Position() == b.Position() && bytes.Equal(a.Data, b.Data)
		})
		if err != nil || !same {
			rt.Fatalf("stored %v (%v), want %v", got, err, twin)
		}
		if err := m.store.checkTail(stored.head); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestRestore streams a store into another that has a part of it, none of it, or something else; and cuts the stream short.
func TestRestore(t *testing.T) {
	leader := machineInMemory(t)
	fill := func(m *machine, n int, text string) {
		for range n {
			cmd := appendCommand{after: m.meta.head, data: [][]byte{[]byte(text), make([]byte, 3000)}}
			if _, err := m.Update([]statemachine.Entry{{Index: m.meta.applied + 1, Cmd: cmd.encode()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(leader, 10, "same")
	prefix := machineInMemory(t)
	fill(prefix, 10, "same")
	fill(leader, 1000, "more")
	view, err := leader.PrepareSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	fill(leader, 5, "after the view was taken")
	var stream bytes.Buffer
	if err := leader.SaveSnapshot(view, &stream, nil); err != nil {
		t.Fatal(err)
	}
	target := view.(*storeView).meta

	other := machineInMemory(t)
	fill(other, 3, "other")
	ahead := machineInMemory(t)
	fill(ahead, 1011, "same")

	for _, tc := range []struct {
		name string
		m    *machine
		fits bool
	}{{"empty", machineInMemory(t), true}, {"a prefix", prefix, true}, {"another history", other, false}, {"ahead", ahead, false}} {
		t.Run(tc.name, func(t *testing.T) {
			before := tc.m.meta
			// First a stream that breaks off: nothing may have changed, as far as a restart can tell.
			broken := bytes.NewReader(stream.Bytes()[:stream.Len()-100])
			if err := tc.m.RecoverFromSnapshot(broken, nil); err == nil {
				t.Fatal("a stream that breaks off was taken for whole")
			}
			if m, err := tc.m.store.meta(); err != nil || m != before {
				t.Fatalf("after a stream that broke off the store is at %v (%v), was at %v", m, err, before)
			}
			if err := tc.m.store.cutAfter(before.head.Index); err != nil {
				t.Fatal(err)
			}
			err := tc.m.RecoverFromSnapshot(bytes.NewReader(stream.Bytes()), nil)
			if !tc.fits {
				var bad *CorruptionError
				if !errors.As(err, &bad) {
					t.Fatalf("got %v, want a corruption error", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m, err := tc.m.store.meta(); err != nil || m != target || tc.m.recent.head != target.head {
				t.Fatalf("restored to %v (%v), want %v", m, err, target)
			}
			res, err := VerifySource(t.Context(), offlineSource{tc.m.store}, target.head, nil)
			if err != nil || res.Bad != nil {
				t.Fatal(err, res.Bad)
			}
		})
	}
	flipped := bytes.Clone(stream.Bytes())
	flipped[len(flipped)/2] ^= 1
	if err := machineInMemory(t).RecoverFromSnapshot(bytes.NewReader(flipped), nil); err == nil {
		t.Fatal("a flipped bit in the stream went unnoticed")
	}
}

// FuzzTornTail: whatever Raft's log looks like, what is cut is a suffix that starts at a record and holds damage.
func FuzzTornTail(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 0, tanFull, 'a', 'b', 'c', 'd', 'e'})
	f.Add(make([]byte, 2*tanBlockBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, torn := tornTail(b)
		if !torn {
			return
		}
		if again, still := tornTail(b[:at]); still {
			t.Fatalf("cut at %d, and then again at %d", at, again)
		}
	})
}
