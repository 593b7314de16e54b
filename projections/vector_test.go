package projections

import (
	"maps"
	"slices"
	"testing"

	"drover/eventlog/event"

	"pgregory.net/rapid"
)

// A vector is held against slices: each version, and each fork of one, stays as it
// was while others go on from it.
func TestVectorIsPersistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			v     vector[int]
			plain []int
		}
		versions := []version{{}}
		for range rapid.IntRange(1, 12).Draw(t, "drafts") {
			from := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")]
			v, plain, o := from.v, slices.Clone(from.plain), new(owner)
			for range rapid.IntRange(0, 200).Draw(t, "changes") {
				value := rapid.IntRange(1, 1<<30).Draw(t, "value")
				if at := rapid.IntRange(0, 2*len(plain)).Draw(t, "at"); at < len(plain) {
					v.set(o, uint64(at), value)
					plain[at] = value
					continue
				}
				for range rapid.SampledFrom([]int{1, 1, 70, 4100}).Draw(t, "appended") {
					if at := v.append(o, value); at != uint64(len(plain)) {
						t.Fatalf("appended at %d, expected %d", at, len(plain))
					}
					plain = append(plain, value)
				}
			}
			if len(plain) > fanOut && rapid.Bool().Draw(t, "cut") {
				at := rapid.IntRange(0, len(plain)/fanOut-1).Draw(t, "page") * fanOut
				v.cut(o, uint64(at))
				clear(plain[at : at+fanOut])
			}
			versions = append(versions, version{v, plain})
		}
		for i, version := range versions {
			seen := make([]int, len(version.plain))
			for first, page := range version.v.pages() {
				copy(seen[first:], page)
			}
			if !slices.Equal(seen, version.plain) {
				t.Fatalf("version %d has changed, or is visited out of order", i)
			}
			for at, want := range version.plain {
				if got := version.v.get(uint64(at)); got != want {
					t.Fatalf("version %d has %d at %d, expected %d", i, got, at, want)
				}
			}
			if version.v.get(version.v.len) != 0 {
				t.Fatalf("version %d has something behind its end", i)
			}
		}
	})
}

// A vector whose values all went gives every page back but the root.
func TestVectorGivesPagesBack(t *testing.T) {
	var v vector[int]
	o := new(owner)
	for i := range 3 * fanOut * fanOut {
		v.append(o, i)
	}
	for at := 0; at < 3*fanOut*fanOut; at += fanOut {
		v.cut(o, uint64(at))
	}
	for i, kid := range v.root.kids {
		if kid != nil {
			t.Errorf("page %d of the root is still there", i)
		}
	}
}

func TestOrdinalsArePersistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := []ordinals{{}}
		plain := [][]uint64{nil}
		for n := range uint64(60) {
			from := rapid.IntRange(max(0, len(lists)-3), len(lists)-1).Draw(t, "from")
			l, p := lists[from], slices.Clone(plain[from])
			if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				odd := func(at uint64) bool { return at%2 == 1 }
				l, p = l.without(odd), slices.DeleteFunc(p, odd)
			} else {
				l.append(n)
				p = append(p, n)
			}
			lists, plain = append(lists, l), append(plain, p)
		}
		for i := range lists {
			if !slices.Equal(lists[i].list, plain[i]) {
				t.Fatalf("list %d is %v, expected %v", i, lists[i].list, plain[i])
			}
		}
	})
}

// An ID that has left the state is forgotten when its shard grows, and only in the
// states to come.
func TestIDIndex(t *testing.T) {
	index := newIDIndex()
	all := make(map[event.ID]uint64)
	for at := range uint64(5000) {
		id := event.AllocationID(event.ID{1}, 7, uint32(at))
		index.add(id, at, func(at uint64) bool { return at%2 == 0 })
		all[id] = at
	}
	before := index
	for at := range uint64(50_000) {
		id := event.AllocationID(event.ID{2}, 7, uint32(at))
		index.add(id, 5000+at, func(at uint64) bool { return at%2 == 0 })
	}
	for id, at := range maps.All(all) {
		if got, ok := index.find(id); ok && got != at || !ok && at%2 == 0 {
			t.Fatalf("%v is at %d (%v), expected %d", id, got, ok, at)
		}
		if got, ok := before.find(id); ok && got != at || !ok && at%2 == 0 {
			t.Fatalf("before: %v is at %d (%v), expected %d", id, got, ok, at)
		}
	}
	if _, ok := index.find(event.ID{3}); ok {
		t.Error("an ID is found that was never added")
	}
}
