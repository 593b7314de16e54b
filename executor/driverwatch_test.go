package executor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/fakedriver"
)

// changingDriver is a driver whose daemon comes and goes.
type changingDriver struct {
	fakedriver.Driver
	info  *atomic.Pointer[event.DriverInfo]
	looks *atomic.Int64
}

func (d changingDriver) Fingerprint(context.Context) event.DriverInfo {
	d.looks.Add(1)
	return *d.info.Load()
}

// A driver that comes or goes later is told of, once; one that stays as it is is not.
func TestDriversAreLookedAtAgain(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.DriverPeriod = 6 * time.Millisecond
	d := changingDriver{fakedriver.Driver{Machine: new(fakedriver.Machine)}, new(atomic.Pointer[event.DriverInfo]), new(atomic.Int64)}
	is := func(info event.DriverInfo) { d.info.Store(&info) }
	is(driver.Undetected(time.Now(), "no daemon"))
	cfg.Drivers = []driver.Driver{d}
	startAgent(t, cfg)
	known := func() *event.DriverInfo { return s.node.Drivers["mock_driver"] }
	s.until("registration", func() bool { return s.node != nil && !known().Detected })
	node := func() *event.Node { // nodes are replaced as a whole
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.node
	}
	class := node().ComputedClass
	if v, ok := node().Attributes["driver.mock_driver"]; ok {
		t.Errorf("attribute of a driver that is not there: %q", v)
	}

	is(driver.Healthy(time.Now(), map[string]string{"driver.mock_driver": "1", "driver.mock_driver.version": "1.0"}))
	s.until("a driver that came", func() bool { return known().Healthy && s.node.Attributes["driver.mock_driver.version"] == "1.0" })
	if node().ComputedClass == class {
		t.Error("a node with another driver has the same class")
	}
	count := func() (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.registered
	}
	for again, seen, until := 0, count(), d.looks.Load()+20; d.looks.Load() < until; {
		is(driver.Healthy(time.Now(), map[string]string{"driver.mock_driver": "1", "driver.mock_driver.version": "1.0"}))
		if again = count(); again != seen {
			t.Fatalf("%d registrations of a node that stays as it is", again-seen)
		}
	}

	is(driver.Healthy(time.Now(), map[string]string{"driver.mock_driver": "1"}))
	s.until("an attribute that went", func() bool { _, ok := s.node.Attributes["driver.mock_driver.version"]; return known().Healthy && !ok })
	is(event.DriverInfo{Detected: true, HealthDescription: "the daemon is ill"})
	s.until("a driver that is ill", func() bool {
		return known().Detected && !known().Healthy && known().HealthDescription == "the daemon is ill"
	})
	is(driver.Undetected(time.Now(), "no daemon"))
	s.until("a driver that went", func() bool { _, ok := s.node.Attributes["driver.mock_driver"]; return !known().Detected && !ok })
}
