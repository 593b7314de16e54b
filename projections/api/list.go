package api

import (
	"iter"
	"math"
	"net/http"
	"slices"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// list shows one page of objects that come in the order that k asks for: of
// their keys, ascending, or descending when k.Reverse is set. whole is the object
// that filters look at, stub the row that is shown.
func list[T, S any](k *ask, form rest.KeyForm, objects iter.Seq[T], key func(T) rest.Key, whole func(T) any, stub func(T) S) ([]S, error) {
	page, next, err := rest.Page(&k.Query, form, objects, key, func(object T) (bool, error) {
		if k.Filter == nil {
			return true, nil
		}
		return k.Filter.Match(whole(object))
	})
	if err != nil {
		return nil, err
	}
	k.next = next
	rows := make([]S, 0, len(page))
	for _, object := range page {
		rows = append(rows, stub(object))
	}
	return rows, nil
}

// either is the direction that k asks for.
func either[T any](k *ask, up, down iter.Seq[T]) iter.Seq[T] {
	if k.Reverse {
		return down
	}
	return up
}

// turned is a short list in the direction that k asks for; it comes ascending.
func turned[T any](k *ask, objects iter.Seq[T]) iter.Seq[T] {
	return either(k, objects, func(yield func(T) bool) {
		for _, object := range slices.Backward(slices.Collect(objects)) {
			if !yield(object) {
				return
			}
		}
	})
}

// until ends a sequence before the first object that does not hold.
func until[T any](objects iter.Seq[T], holds func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for object := range objects {
			if !holds(object) || !yield(object) {
				return
			}
		}
	}
}

func jobKey(j *projections.Job) rest.Key {
	return rest.Key{Scope: j.Key.Namespace, ID: j.Key.ID}
}

// creation is the place of an object that lists show in the order of creation.
func creation(index uint64, id event.ID) rest.Key { return rest.Key{Number: index, ID: id.String()} }

// begin is where a list in the order of creation begins: at the token, or at the
// end that k.Reverse names. A malformed token is refused by the page.
func (k *ask) begin() (index uint64, id event.ID) {
	start, err := rest.KeyCreation.Parse(k.NextToken)
	if err == nil {
		id, err = event.ParseID(start.ID)
	}
	switch {
	case err == nil:
		return start.Number, id
	case k.Reverse:
		return math.MaxUint64, event.ID{}
	}
	return 0, event.ID{}
}

func byID(id event.ID) rest.Key { return rest.Key{ID: id.String()} }

// where keeps the objects that hold.
func where[T any](objects iter.Seq[T], holds func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for object := range objects {
			if holds(object) && !yield(object) {
				return
			}
		}
	}
}

// jobsIn lists jobs of the asked namespace and prefix, by namespace and ID.
func jobsIn(k *ask) iter.Seq[*projections.Job] {
	asked := func(j *projections.Job) bool {
		return k.InNamespace(j.Key.Namespace) && strings.HasPrefix(j.Key.ID, k.Prefix)
	}
	if k.Namespace == rest.AllNamespaces {
		return where(either(k, k.state.Jobs(), k.state.JobsDown()), asked)
	}
	// They stand together.
	return turned(k, until(k.state.JobsSince(event.JobKey{Namespace: k.Namespace, ID: k.Prefix}), asked))
}

// allocationsIn lists allocations of the asked namespace, by ID when there is a
// prefix and else in the order of creation.
func allocationsIn(k *ask) (objects iter.Seq[*projections.Allocation], form rest.KeyForm, key func(*projections.Allocation) rest.Key, err error) {
	asked := func(a *projections.Allocation) bool { return k.InNamespace(a.Job.Namespace) }
	if k.Prefix != "" {
		prefix, err := rest.ParseIDPrefix(k.Prefix)
		found := slices.SortedFunc(where(k.state.AllocationsByPrefix(prefix), asked), func(a, b *projections.Allocation) int { return a.ID.Compare(b.ID) })
		key := func(a *projections.Allocation) rest.Key { return byID(a.ID) }
		return turned(k, slices.Values(found)), rest.KeyID, key, err
	}
	key = func(a *projections.Allocation) rest.Key { return creation(a.CreateIndex, a.ID) }
	index, _ := k.begin()
	up := where(k.state.Allocations(), func(a *projections.Allocation) bool { return a.CreateIndex >= index && asked(a) })
	down := where(k.state.AllocationsDown(), func(a *projections.Allocation) bool { return a.CreateIndex <= index && asked(a) })
	return either(k, sortedAllocations(up, 1), sortedAllocations(down, -1)), rest.KeyCreation, key, nil
}

// sortedAllocations orders allocations that come in the order of their creation,
// or against it, by create index and ID; sign is 1 for ascending, -1 for
// descending. Its meaning is to sort them all; but only those of one record can be
// out of order, so a page of a million is found without sorting it.
func sortedAllocations(objects iter.Seq[*projections.Allocation], sign int) iter.Seq[*projections.Allocation] {
	return func(yield func(*projections.Allocation) bool) {
		var record []*projections.Allocation // placed by one
		flush := func() bool {
			slices.SortFunc(record, func(a, b *projections.Allocation) int { return sign * a.ID.Compare(b.ID) })
			for _, a := range record {
				if !yield(a) {
					return false
				}
			}
			record = record[:0]
			return true
		}
		for a := range objects {
			if len(record) > 0 && record[0].CreateIndex != a.CreateIndex && !flush() {
				return
			}
			record = append(record, a)
		}
		flush()
	}
}

func evaluationsIn(k *ask) (objects iter.Seq[*event.Evaluation], form rest.KeyForm, key func(*event.Evaluation) rest.Key, err error) {
	status, job := k.Get("status"), k.Get("job")
	if k.Filter != nil && (status != "" || job != "") {
		return nil, 0, nil, rest.Errorf(http.StatusBadRequest, "filter cannot be used together with status or job")
	}
	asked := func(e *event.Evaluation) bool {
		return k.InNamespace(e.Namespace) && (status == "" || e.Status.String() == status) && (job == "" || e.JobID == job)
	}
	if k.Prefix != "" {
		prefix, err := rest.ParseIDPrefix(k.Prefix)
		key := func(e *event.Evaluation) rest.Key { return byID(e.ID) }
		return turned(k, where(k.state.EvaluationsByPrefix(prefix), asked)), rest.KeyID, key, err
	}
	key = func(e *event.Evaluation) rest.Key { return creation(e.CreateIndex, e.ID) }
	if job != "" && k.Namespace != rest.AllNamespaces {
		of := k.state.EvaluationsOf(event.JobKey{Namespace: k.Namespace, ID: job})
		return turned(k, where(of, asked)), rest.KeyCreation, key, nil
	}
	index, id := k.begin()
	objects = either(k, k.state.EvaluationsSince(index, id), k.state.EvaluationsUntil(index, id))
	return where(objects, asked), rest.KeyCreation, key, nil
}

// greatest is the n greatest of objects, in descending order, without sorting all of
// them.
func greatest[T any](n int, objects iter.Seq[T], compare func(a, b T) int) []T {
	if n <= 0 {
		return nil
	}
	var kept []T // at most twice n; the first n of it after each cut
	cut := func() {
		slices.SortFunc(kept, func(a, b T) int { return compare(b, a) })
		kept = kept[:min(n, len(kept))]
	}
	sorted := 0 // length of kept's part that is the n greatest so far, in order
	for object := range objects {
		if sorted == n && compare(object, kept[n-1]) <= 0 {
			continue
		}
		if kept = append(kept, object); len(kept) == 2*n {
			cut()
			sorted = n
		}
	}
	cut()
	return kept
}
