package api

import (
	"cmp"
	"iter"
	"net/http"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// list shows one page of objects that come in ascending order of key. whole is
// the object that filters look at, stub the row that is shown.
func list[T, S any](k *ask, form rest.KeyForm, objects iter.Seq[T], key func(T) rest.Key, whole func(T) any, stub func(T) S) ([]S, error) {
	if k.Reverse {
		all := slices.Collect(objects)
		slices.Reverse(all)
		objects = slices.Values(all)
	}
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

func jobKey(j *projections.Job) rest.Key {
	return rest.Key{Scope: j.Key.Namespace, ID: j.Key.ID}
}

// creation is the place of an object that lists show in the order of creation.
func creation(index uint64, id event.ID) rest.Key { return rest.Key{Number: index, ID: id.String()} }

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

// allocationsIn lists allocations of the asked namespace, by ID when there is a
// prefix and else in the order of creation.
func allocationsIn(k *ask) (objects iter.Seq[*projections.Allocation], form rest.KeyForm, key func(*projections.Allocation) rest.Key, err error) {
	asked := func(a *projections.Allocation) bool { return k.InNamespace(a.Job.Namespace) }
	if k.Prefix != "" {
		prefix, err := rest.ParseIDPrefix(k.Prefix)
		key := func(a *projections.Allocation) rest.Key { return byID(a.ID) }
		return where(k.state.AllocationsByPrefix(prefix), asked), rest.KeyID, key, err
	}
	key = func(a *projections.Allocation) rest.Key { return creation(a.CreateIndex, a.ID) }
	return sortedAllocations(where(k.state.Allocations(), asked)), rest.KeyCreation, key, nil
}

// sortedAllocations orders allocations that come in the order of their creation
// by create index and ID. Its meaning is to sort them all; but only those of one
// record can be out of order, so a page of a million is found without sorting it.
func sortedAllocations(objects iter.Seq[*projections.Allocation]) iter.Seq[*projections.Allocation] {
	return func(yield func(*projections.Allocation) bool) {
		var record []*projections.Allocation // placed by one
		flush := func() bool {
			slices.SortFunc(record, func(a, b *projections.Allocation) int { return a.ID.Compare(b.ID) })
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
		return where(k.state.EvaluationsByPrefix(prefix), asked), rest.KeyID, key, err
	}
	key = func(e *event.Evaluation) rest.Key { return creation(e.CreateIndex, e.ID) }
	sorted := slices.SortedFunc(where(k.state.Evaluations(), asked), func(a, b *event.Evaluation) int {
		return cmp.Or(cmp.Compare(a.CreateIndex, b.CreateIndex), a.ID.Compare(b.ID))
	})
	return slices.Values(sorted), rest.KeyCreation, key, nil
}
