package projections

import (
	"iter"
	"slices"
)

// vector is a persistent sequence: values by ordinal, in pages of fanOut under a
// radix tree. Its meaning is a slice of which every state has its own copy. What
// it does instead is to share pages among states and to copy the ones on the way
// to a value when a draft first changes it; pages that the draft made itself are
// changed in place (transients: Bagwell and Rompf 2011, Clojure's vectors).
//
// Ordinals are handed out in ascending order and not used again, so they can be
// remembered outside: see idIndex and ordinals.
type vector[T any] struct {
	root *page[T]
	len  uint64 // ordinals handed out
}

const (
	fanBits = 6
	fanOut  = 1 << fanBits
	fanMask = fanOut - 1
)

// page is a node of the tree: a leaf has values, an inner page has kids.
type page[T any] struct {
	owner  *owner
	height int // 0 for a leaf
	kids   []*page[T]
	values []T
}

// owner is the right of one draft to change pages and rows in place. It has a
// size so that two of them are never at one address.
type owner struct{ _ byte }

func newPage[T any](o *owner, height int) *page[T] {
	p := &page[T]{owner: o, height: height}
	if height == 0 {
		p.values = make([]T, fanOut)
	} else {
		p.kids = make([]*page[T], fanOut)
	}
	return p
}

// owned is the page itself when the draft made it, else a copy that is the draft's.
func (p *page[T]) owned(o *owner) *page[T] {
	if p.owner == o {
		return p
	}
	c := &page[T]{owner: o, height: p.height}
	if p.height == 0 {
		c.values = make([]T, fanOut)
		copy(c.values, p.values)
	} else {
		c.kids = make([]*page[T], fanOut)
		copy(c.kids, p.kids)
	}
	return c
}

// get is the value at an ordinal, zero when it was never set or was cleared.
func (v *vector[T]) get(at uint64) (value T) {
	if at >= v.len {
		return value
	}
	p := v.root
	for p != nil && p.height > 0 {
		p = p.kids[at>>(uint(p.height)*fanBits)&fanMask]
	}
	if p == nil {
		return value
	}
	return p.values[at&fanMask]
}

// append gives a value the next ordinal.
func (v *vector[T]) append(o *owner, value T) uint64 {
	at := v.len
	v.grow(o, at)
	v.len++
	v.set(o, at, value)
	return at
}

// grow makes the tree high enough for an ordinal.
func (v *vector[T]) grow(o *owner, at uint64) {
	if v.root == nil {
		v.root = newPage[T](o, 0)
	}
	for at>>(uint(v.root.height+1)*fanBits) > 0 {
		above := newPage[T](o, v.root.height+1)
		above.kids[0] = v.root
		v.root = above
	}
}

// set changes the value at an ordinal that was handed out.
func (v *vector[T]) set(o *owner, at uint64, value T) {
	v.root = v.root.owned(o)
	p := v.root
	for p.height > 0 {
		kid := &p.kids[at>>(uint(p.height)*fanBits)&fanMask]
		if *kid == nil {
			*kid = newPage[T](o, p.height-1)
		} else {
			*kid = (*kid).owned(o)
		}
		p = *kid
	}
	p.values[at&fanMask] = value
}

// cut gives up the page of an ordinal, whose values the caller knows to be gone,
// and the pages above it that have nothing else.
func (v *vector[T]) cut(o *owner, at uint64) {
	if v.root.height > 0 {
		v.root = v.root.owned(o)
		v.root.cut(o, at)
	}
}

// cut reports whether nothing is left in the page.
func (p *page[T]) cut(o *owner, at uint64) bool {
	kid := &p.kids[at>>(uint(p.height)*fanBits)&fanMask]
	if *kid == nil {
		return false
	}
	if p.height > 1 {
		*kid = (*kid).owned(o)
	}
	if p.height == 1 || (*kid).cut(o, at) {
		*kid = nil
		return !slices.ContainsFunc(p.kids, func(k *page[T]) bool { return k != nil })
	}
	return false
}

// leaf is the values of the page that an ordinal is on.
func (v *vector[T]) leaf(at uint64) []T {
	p := v.root
	for p != nil && p.height > 0 {
		p = p.kids[at>>(uint(p.height)*fanBits)&fanMask]
	}
	if p == nil {
		return nil
	}
	return p.values
}

// pages visits the leaves in order, each with the ordinal of its first value.
func (v *vector[T]) pages() iter.Seq2[uint64, []T] {
	return func(yield func(uint64, []T) bool) {
		if v.root != nil {
			v.root.visit(0, v.len, yield)
		}
	}
}

// pagesDown is pages, the last page first.
func (v *vector[T]) pagesDown() iter.Seq2[uint64, []T] {
	return func(yield func(uint64, []T) bool) {
		if v.root != nil {
			v.root.visitDown(0, v.len, yield)
		}
	}
}

func (p *page[T]) visitDown(first, end uint64, yield func(uint64, []T) bool) bool {
	if p.height == 0 {
		return yield(first, p.values[:min(uint64(fanOut), end-first)])
	}
	for i, kid := range slices.Backward(p.kids[:]) {
		if kid != nil && !kid.visitDown(first+uint64(i)<<(uint(p.height)*fanBits), end, yield) {
			return false
		}
	}
	return true
}

func (p *page[T]) visit(first, end uint64, yield func(uint64, []T) bool) bool {
	if p.height == 0 {
		return yield(first, p.values[:min(uint64(fanOut), end-first)])
	}
	for i, kid := range p.kids {
		if kid == nil {
			continue
		}
		if !kid.visit(first+uint64(i)<<(uint(p.height)*fanBits), end, yield) {
			return false
		}
	}
	return true
}
