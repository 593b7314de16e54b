package projections

import (
	"testing"

	"drover/eventlog/event"
)

// Two that hold one port (ignore_collision) hold it until both have given it up.
func TestSharedPort(t *testing.T) {
	n := &Node{Info: &event.Node{}, UsedPorts: []uint16{80, 80, 81}}
	a := &Allocation{Placed: &Placed{Ask: &Ask{}}, ports: []uint16{80}}
	room := RoomOn(n)
	for i, want := range []bool{false, false, true} {
		if got := room.PortFree(80); got != want {
			t.Errorf("given up by %d of 2: free %v", i, got)
		}
		room.Release(a)
	}
}
