package executor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// AllocUsage is the answer of /v1/client/allocation/:id/stats. Its JSON names are the public API's.
type AllocUsage struct {
	ResourceUsage ResourceUsage
	Tasks         map[string]*TaskUsage
	Timestamp     int64 // Unix nanoseconds
}

// TaskUsage is what one task uses.
type TaskUsage struct {
	ResourceUsage ResourceUsage
	Timestamp     int64                     // Unix nanoseconds
	Pids          map[string]*ResourceUsage // by process ID, as text
}

// ResourceUsage is a sample of memory and processor.
type ResourceUsage struct {
	MemoryStats driver.MemoryUsage
	CpuStats    CPUUsage
	DeviceStats []any
}

// CPUUsage is in percent of one core, TotalTicks in MHz, ThrottledTime in nanoseconds since the start of the task.
// Measured names the fields that were measured.
type CPUUsage struct {
	SystemMode, UserMode, TotalTicks, Percent float64
	ThrottledPeriods, ThrottledTime           uint64
	Measured                                  []string
}

func (c *CPUUsage) add(o *CPUUsage) {
	c.SystemMode, c.UserMode, c.Percent, c.TotalTicks = c.SystemMode+o.SystemMode, c.UserMode+o.UserMode, c.Percent+o.Percent, c.TotalTicks+o.TotalTicks
	c.ThrottledPeriods, c.ThrottledTime = c.ThrottledPeriods+o.ThrottledPeriods, c.ThrottledTime+o.ThrottledTime
	for _, name := range o.Measured {
		if !slices.Contains(c.Measured, name) {
			c.Measured = append(c.Measured, name)
		}
	}
}

// usageMeter remembers the last sample of each start, from which shares of processor time follow.
type usageMeter struct {
	mu   sync.Mutex
	last map[driver.Running]driver.Usage
}

// begin notes a sample to begin with where there is none that is fresh, and reports whether it did: then some time has
// to pass before shares say anything.
func (m *usageMeter) begin(ctx context.Context, key driver.Running) (began bool, err error) {
	m.mu.Lock()
	before, ok := m.last[key]
	m.mu.Unlock()
	if ok && time.Since(before.Time) < usageFresh {
		return false, nil
	}
	first, err := key.Usage(ctx)
	if err != nil {
		return false, err
	}
	m.note(key, first)
	return true, nil
}

func (m *usageMeter) note(key driver.Running, sample driver.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[driver.Running]driver.Usage{}
	}
	m.last[key] = sample
}

// measure turns a sample into usage since the one before, which stays where it is while it is too near: many may ask at
// about the same time.
func (m *usageMeter) measure(key driver.Running, now driver.Usage, coreMHz float64) *TaskUsage {
	m.mu.Lock()
	before, ok := m.last[key]
	m.mu.Unlock()
	if !ok || now.Time.Sub(before.Time) >= usageWindow {
		m.note(key, now)
	}
	u := &TaskUsage{Timestamp: now.Time.UnixNano(), Pids: map[string]*ResourceUsage{}}
	u.ResourceUsage = ResourceUsage{
		MemoryStats: now.Memory,
		CpuStats:    CPUUsage{Measured: []string{"System Mode", "User Mode", "Percent"}},
		DeviceStats: []any{},
	}
	if now.CPU.Limited {
		c := &u.ResourceUsage.CpuStats
		c.ThrottledPeriods, c.ThrottledTime = now.CPU.ThrottledPeriods, uint64(now.CPU.ThrottledTime)
		c.Measured = append(c.Measured, "Throttled Periods", "Throttled Time")
	}
	if wall := now.Time.Sub(before.Time); ok && wall > 0 {
		percent := func(d time.Duration) float64 { return max(float64(d)/float64(wall)*100, 0) }
		c := &u.ResourceUsage.CpuStats
		c.UserMode, c.SystemMode = percent(now.CPU.User-before.CPU.User), percent(now.CPU.System-before.CPU.System)
		c.Percent = c.UserMode + c.SystemMode
		c.TotalTicks = c.Percent / 100 * coreMHz
	}
	for _, pid := range now.PIDs {
		u.Pids[strconv.Itoa(pid)] = &ResourceUsage{DeviceStats: []any{}}
	}
	return u
}

// keep drops samples of starts that are over.
func (m *usageMeter) keep(live map[string]driver.Running) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.last, func(key driver.Running, _ driver.Usage) bool {
		for _, running := range live {
			if running == key {
				return false
			}
		}
		return true
	})
}

// meteredTask is a start of a task that is to be measured.
type meteredTask struct {
	name    string
	running driver.Running
	meter   *usageMeter
	usage   *TaskUsage // nil when it has ended meanwhile
}

// meterAll measures tasks, all over the same time.
func meterAll(ctx context.Context, tasks []*meteredTask, coreMHz float64) error {
	wait := false
	for _, t := range tasks {
		began, err := t.meter.begin(ctx, t.running)
		if err != nil && !errors.Is(err, driver.ErrEnded) {
			return err
		}
		wait = wait || began
	}
	if wait {
		select {
		case <-time.After(usageWindow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, t := range tasks {
		sample, err := t.running.Usage(ctx)
		switch {
		case err == nil:
			t.usage = t.meter.measure(t.running, sample, coreMHz)
		case !errors.Is(err, driver.ErrEnded):
			return err
		}
	}
	return nil
}

// coreMHz is what one core of a node computes.
func coreMHz(n *event.Node) float64 {
	cpu := n.NodeResources.Cpu
	return float64(cpu.CpuShares) / float64(max(cpu.TotalCpuCores, 1))
}
