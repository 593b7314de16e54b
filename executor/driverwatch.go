package executor

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// changeNode replaces what is known of the machine by a changed copy and tells the servers, unless nothing changed. change
// may set fields and entries of the copy's maps of attributes, meta data and drivers; what lies deeper is shared.
func (a *Agent) changeNode(change func(*event.Node)) (changed bool) {
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return a.replaceNode(change)
}

// replaceNode is changeNode for who holds nodeMu.
func (a *Agent) replaceNode(change func(*event.Node)) (changed bool) {
	old := a.node.Load()
	next := *old
	next.Attributes, next.Meta, next.Drivers = maps.Clone(old.Attributes), maps.Clone(old.Meta), maps.Clone(old.Drivers)
	change(&next)
	next.ComputedClass = computedClass(&next)
	if reflect.DeepEqual(old, &next) {
		return false
	}
	a.node.Store(&next)
	a.registerAgain()
	return true
}

// watchDrivers looks at the drivers again and again: a daemon may be started or stopped, a program installed, at any time.
func (a *Agent) watchDrivers(ctx context.Context) {
	tick := time.NewTicker(a.cfg.DriverPeriod / driverPeriodParts)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, name := range slices.Sorted(maps.Keys(a.drivers)) {
			if n%driverPeriodParts == 0 || !a.node.Load().Drivers[name].Healthy {
				a.lookAtDriver(ctx, a.drivers[name])
			}
		}
	}
}

// lookAtDriver takes over what a driver says of itself now.
func (a *Agent) lookAtDriver(ctx context.Context, d driver.Driver) {
	info := d.Fingerprint(ctx)
	if ctx.Err() != nil {
		return // it was not the driver that gave up
	}
	info.UpdateTime = 0
	if a.changeNode(func(n *event.Node) { setDriver(n, d.Name(), &info) }) {
		a.log.Info("driver changed", "driver", d.Name(), "detected", info.Detected, "healthy", info.Healthy, "says", info.HealthDescription)
	}
}

// setDriver puts a driver and its attributes into a node in the place of those that were known.
func setDriver(n *event.Node, name string, info *event.DriverInfo) {
	if old := n.Drivers[name]; old != nil {
		for key := range old.Attributes {
			delete(n.Attributes, key)
		}
	}
	if info.Detected {
		maps.Copy(n.Attributes, info.Attributes)
	}
	n.Drivers[name] = info
}
