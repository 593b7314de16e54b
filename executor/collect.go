package executor

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"drover/eventlog/event"
)

// Collection says when directories of ended allocations are removed. Those that run are never touched, and none is removed before
// the servers have recorded its end. Zero fields are defaults.
type Collection struct {
	// Interval is how often the disk is looked at besides the moments when an allocation ends or comes; 0 is one minute.
	Interval time.Duration
	// Parallel is how many are removed at a time, before the disk is looked at again; 0 is 2.
	Parallel int
	// DiskPercentMax and InodePercentMax bound how full the file system of the allocations may be, whoever fills it; 0 is 80
	// and 70, 100 is never.
	DiskPercentMax, InodePercentMax float64
	// AllocationsMax bounds how many allocations are kept, running ones included; 0 is 50.
	AllocationsMax int
}

func (c Collection) withDefaults() Collection {
	return Collection{
		Interval: cmp.Or(c.Interval, defaultCollectInterval), Parallel: cmp.Or(c.Parallel, defaultCollectParallel),
		DiskPercentMax: cmp.Or(c.DiskPercentMax, defaultDiskPercentMax), InodePercentMax: cmp.Or(c.InodePercentMax, defaultInodePercentMax),
		AllocationsMax: cmp.Or(c.AllocationsMax, defaultAllocationsMax),
	}
}

func (c Collection) validate() error {
	switch {
	case c.Interval < 0 || c.Parallel < 0 || c.AllocationsMax < 0 || c.DiskPercentMax < 0 || c.InodePercentMax < 0:
		return errors.New("limits of the clean-up of ended allocations cannot be negative")
	case c.DiskPercentMax > 100 || c.InodePercentMax > 100:
		return errors.New("the disk cannot be fuller than 100 percent")
	}
	return nil
}

// DiskUse is how full a file system is, in percent.
type DiskUse struct{ Bytes, Inodes float64 }

// limitAllocations is the word for the limit that counts allocations.
const limitAllocations = "number of allocations"

// crowded says which limit is passed; "" when none is.
func (c Collection) crowded(use DiskUse, allocations int) string {
	switch {
	case use.Bytes > c.DiskPercentMax:
		return "disk usage"
	case use.Inodes > c.InodePercentMax:
		return "inode usage"
	case allocations > c.AllocationsMax:
		return limitAllocations
	}
	return ""
}

// collectEnded removes ended allocations, those that ended first first, while a limit is passed.
func (a *Agent) collectEnded(ctx context.Context) {
	timer := time.NewTicker(a.cfg.Collection.Interval)
	defer timer.Stop()
	for {
		a.collectCrowded(ctx)
		select {
		case <-timer.C:
		case <-a.collections:
		case <-ctx.Done():
			return
		}
	}
}

// wakeCollector asks for a look at the limits.
func (a *Agent) wakeCollector() {
	select {
	case a.collections <- struct{}{}:
	default:
	}
}

func (a *Agent) collectCrowded(ctx context.Context) {
	for ctx.Err() == nil {
		ended, all := a.removable()
		if len(ended) == 0 {
			return
		}
		use, err := a.cfg.Host.DiskUse(a.cfg.AllocDir)
		if err != nil {
			a.log.Warn("cannot tell how full the disk of the allocations is", "path", a.cfg.AllocDir, "err", err)
		}
		limit := a.cfg.Collection.crowded(use, all)
		if limit == "" {
			return
		}
		number := min(a.cfg.Collection.Parallel, len(ended))
		if limit == limitAllocations {
			number = min(number, all-a.cfg.Collection.AllocationsMax)
		}
		a.log.Info("removing ended allocations", "reason", limit, "allocations", number, "disk_percent", use.Bytes, "inodes_percent", use.Inodes)
		a.removeEnded(ctx, ended[:number])
	}
}

// removable lists what may be removed, in the order in which it ended, and counts all allocations.
func (a *Agent) removable() (ended []*runner, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	if !a.informed {
		return nil, len(a.runners) // the servers were not told yet what ended while there was no agent
	}
	wanted := make(map[event.ID]bool) // data that successors have not taken over yet
	for _, r := range a.runners {
		r.mu.Lock()
		if r.view.status == event.ClientPending {
			wanted[r.order.Previous] = true
		}
		r.mu.Unlock()
	}
	finished := make(map[*runner]event.Stamp)
	for id, r := range a.runners {
		if !r.hasEnded() || wanted[id] || a.box.holds(id) {
			continue
		}
		r.mu.Lock()
		finished[r] = r.view.finished
		r.mu.Unlock()
		ended = append(ended, r)
	}
	slices.SortFunc(ended, func(x, y *runner) int { return cmp.Or(cmp.Compare(finished[x], finished[y]), x.id.Compare(y.id)) })
	return ended, len(a.runners)
}

// removeEnded returns when nothing of these allocations is left.
func (a *Agent) removeEnded(ctx context.Context, ended []*runner) {
	var all sync.WaitGroup
	slots := make(chan struct{}, a.cfg.Collection.Parallel)
	for _, r := range ended {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			r.send(obsDestroy{})
			select {
			case <-r.gone:
			case <-ctx.Done():
			}
		})
	}
	all.Wait()
}

// hasEnded reports whether nothing of the allocation runs or will run.
func (r *runner) hasEnded() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// serveCollect removes all allocations that have ended. Its answer is empty: the field's client refuses a body here, and
// wants one from serveCollectOne.
func (a *Agent) serveCollect(_ http.ResponseWriter, r *http.Request) error {
	ended, _ := a.removable()
	a.removeEnded(r.Context(), ended)
	return nil
}

// serveCollectOne removes one allocation that has ended.
func (a *Agent) serveCollectOne(w http.ResponseWriter, r *http.Request) error {
	found, err := a.find(r)
	if err != nil {
		return err
	}
	ended, _ := a.removable()
	if !slices.Contains(ended, found) {
		return badRequest("allocation %q cannot be removed: it has not ended, or the servers have not recorded its end yet", found.id)
	}
	a.removeEnded(r.Context(), []*runner{found})
	return answerJSON(w, struct{}{})
}
