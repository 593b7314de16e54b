package api

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// reconcileSummaries counts every job's allocations again and compares: counts
// are a part of the fold, so there is nothing that they could be set right from
// but the log itself. A difference is a fault in the fold, and named.
func (a *API) reconcileSummaries(w http.ResponseWriter, r *http.Request) error {
	k, err := a.ask(r)
	if err != nil {
		return err
	}
	if err := a.catchUp(r.Context()); err != nil {
		return err
	}
	k.state = a.cfg.Store.Snapshot()
	for j := range k.state.Jobs() {
		type live struct{ starting, running, unknown int }
		counted := make(map[string]live)
		for alloc := range k.state.AllocationsOf(j.Key) {
			of := counted[alloc.Group]
			switch alloc.Client {
			case event.ClientPending:
				of.starting++
			case event.ClientRunning:
				of.running++
			case event.ClientUnknown:
				of.unknown++
			}
			counted[alloc.Group] = of
		}
		for group, sum := range j.Summary {
			if got, want := (live{sum.Starting, sum.Running, sum.Unknown}), counted[group]; got != want {
				return fmt.Errorf("the summary of group %q of job %q in namespace %q says starting, running, unknown = %v, its allocations %v: the fold is damaged, restart the server without its checkpoints",
					group, j.Key.ID, j.Key.Namespace, got, want)
			}
		}
	}
	rest.SetIndex(w, k.state.Index())
	return rest.Empty(w)
}

// jobStatuses answers user interfaces, which ask for all jobs or name some.
func (a *API) jobStatuses(w http.ResponseWriter, r *http.Request) error {
	k, err := a.ask(r)
	if err != nil {
		return ofFilter(err)
	}
	if k.PerPage == 0 {
		k.PerPage = statusesPerPage
	}
	var asked struct {
		Jobs            []struct{ ID, Namespace string }
		IncludeChildren bool
	}
	if r.Method == http.MethodPost {
		if err := rest.DecodeJSON(w, r, statusesBytesMax, &asked); err != nil {
			return err
		}
	}
	children, err := k.Bool("include_children", asked.IncludeChildren, http.StatusBadRequest)
	if err != nil {
		return err
	}
	var named []event.JobKey
	for _, j := range asked.Jobs {
		if j.Namespace == "" {
			j.Namespace = k.Namespace
		}
		named = append(named, event.JobKey{Namespace: j.Namespace, ID: j.ID})
	}
	slices.SortFunc(named, event.JobKey.Compare)
	named = slices.Compact(named)
	return a.answer(w, k, view{
		index: jobsIndex, matter: jobsMatter,
		show: func(k *ask) (any, error) {
			jobs := where(k.state.Jobs(), func(j *projections.Job) bool {
				return k.InNamespace(j.Key.Namespace) && strings.HasPrefix(j.Key.ID, k.Prefix) &&
					(children || j.Spec.Job.ParentID == "")
			})
			if len(named) > 0 {
				jobs = jobsNamed(k.state, named)
			}
			// Newest first is the order of this list; "reverse" turns it.
			k.Reverse = !k.Reverse
			page, err := statusPage(k, jobs)
			return page, ofFilter(err)
		},
	})
}

// ofFilter gives a complaint about a filter the code that it has in this list alone.
func ofFilter(err error) error {
	for _, about := range []string{"failed to create result paginator: failed to read filter", "failed to read result page"} {
		if err != nil && strings.HasPrefix(err.Error(), about) {
			return rest.Errorf(http.StatusInternalServerError, "%v", err)
		}
	}
	return err
}

func jobsNamed(s *projections.State, keys []event.JobKey) iter.Seq[*projections.Job] {
	return func(yield func(*projections.Job) bool) {
		for _, key := range keys {
			if j := s.Job(key); j != nil && !yield(j) {
				return
			}
		}
	}
}

// statusKey is a job's place in the list: the last that changed comes first.
func statusKey(j *projections.Job) rest.Key {
	return rest.Key{Number: j.ModifyIndex, ID: j.Key.Namespace + "/" + j.Key.ID}
}

// statusPage shows one page of jobs by their last change. Jobs stand in no such
// order, since each change of one would move it; so a page is picked out of all
// of them, in one pass that sorts no more than the page.
func statusPage(k *ask, jobs iter.Seq[*projections.Job]) ([]*JobStatus, error) {
	sign := 1
	if !k.Reverse {
		sign = -1
	}
	var failed error
	start, err := rest.KeyCreation.Parse(k.NextToken)
	begun := err != nil // there is no token, or one that the page refuses
	candidates := where(jobs, func(j *projections.Job) bool {
		if !begun && sign*statusKey(j).Compare(start) > 0 || failed != nil {
			return false
		}
		if k.Filter == nil {
			return true
		}
		ok, err := k.Filter.Match(NewJob(j))
		failed = err
		return ok
	})
	page := greatest(k.PerPage+1, candidates, func(a, b *projections.Job) int {
		if a.ModifyIndex != b.ModifyIndex {
			return sign * cmp.Compare(a.ModifyIndex, b.ModifyIndex)
		}
		return sign * statusKey(a).Compare(statusKey(b))
	})
	if failed != nil {
		return nil, failed
	}
	k.Filter = nil // all of these match
	return list(k, rest.KeyCreation, slices.Values(page), statusKey,
		func(j *projections.Job) any { return NewJob(j) },
		func(j *projections.Job) *JobStatus { return NewJobStatus(k.state, j) })
}
