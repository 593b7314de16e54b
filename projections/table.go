package projections

import (
	"iter"

	"github.com/tidwall/btree"
)

// table is a persistent map in key order. A copy costs a few words; the copy and
// the original share their nodes and each copies what it changes (copy on
// write). Copying marks the original, so only its one owner may copy it; reading
// is free for all.
type table[K, V any] struct {
	tree *btree.BTreeG[row[K, V]]
}

type row[K, V any] struct {
	key   K
	value V
}

func newTable[K, V any](compare func(a, b K) int) table[K, V] {
	less := func(a, b row[K, V]) bool { return compare(a.key, b.key) < 0 }
	return table[K, V]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 32})}
}

func (t table[K, V]) copy() table[K, V] { return table[K, V]{t.tree.Copy()} }

func (t table[K, V]) get(key K) (V, bool) {
	found, ok := t.tree.Get(row[K, V]{key: key})
	return found.value, ok
}

func (t table[K, V]) put(key K, value V) { t.tree.Set(row[K, V]{key, value}) }

func (t table[K, V]) remove(key K) { t.tree.Delete(row[K, V]{key: key}) }

func (t table[K, V]) len() int { return t.tree.Len() }

// all visits every value in key order.
func (t table[K, V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		t.tree.Scan(func(r row[K, V]) bool { return yield(r.value) })
	}
}

// down visits every value against key order.
func (t table[K, V]) down() iter.Seq[V] {
	return func(yield func(V) bool) {
		t.tree.Reverse(func(r row[K, V]) bool { return yield(r.value) })
	}
}

// downFrom visits values against key order, beginning with the last whose key is
// not greater than start.
func (t table[K, V]) downFrom(start K) iter.Seq[V] {
	return func(yield func(V) bool) {
		t.tree.Descend(row[K, V]{key: start}, func(r row[K, V]) bool { return yield(r.value) })
	}
}

// from visits values in key order, beginning with the first whose key is not
// less than start, for as long as within holds.
func (t table[K, V]) from(start K, within func(K) bool) iter.Seq[V] {
	return func(yield func(V) bool) {
		t.tree.Ascend(row[K, V]{key: start}, func(r row[K, V]) bool {
			return within(r.key) && yield(r.value)
		})
	}
}
