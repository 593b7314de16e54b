package scheduler

import (
	"testing"

	"drover/eventlog/event"
	"drover/projections"
)

func TestPortSearchFindsTheLastFreePort(t *testing.T) {
	c := newCluster(t)
	c.addNode(newNode("a", 4000, 8192, func(n *event.Node) {
		n.NodeResources.MinDynamicPort, n.NodeResources.MaxDynamicPort = 20000, 30000
		n.ReservedResources = &event.NodeReservedResources{Networks: event.ReservedNetworks{ReservedHostPorts: "20000-27654,27656-30000"}}
	}))
	room := projections.RoomOn(c.state.Node(nodeID("a")))
	one := &projections.Ask{Ports: []event.Port{{Label: "http"}}}
	if !hasDynamicPorts(&room, one, 1) {
		t.Fatal("the one free port was not found")
	}
	for seed := range uint64(50) {
		if got := choosePorts(&room, one, seed); got[0] != 27655 {
			t.Fatalf("port %d, want 27655", got[0])
		}
	}
	two := &projections.Ask{Ports: []event.Port{{Label: "fixed", Value: 27655}, {Label: "http"}}}
	if hasDynamicPorts(&room, two, 1) {
		t.Fatal("a port that is asked for by number was offered as a dynamic one")
	}
}
