package scheduler

import (
	"slices"

	"drover/projections"
)

const dimensionDynamicPorts = "network: dynamic port selection failed"

// countDynamic is how many of the group's ports the scheduler chooses.
func countDynamic(ask *projections.Ask) int {
	n := 0
	for _, p := range ask.Ports {
		if p.Value == 0 {
			n++
		}
	}
	return n
}

// hasDynamicPorts reports whether the room has n ports left to choose.
func hasDynamicPorts(room *projections.Room, ask *projections.Ask, n int) bool {
	first, last := room.Node.DynamicPorts()
	for port := first; port <= last && n > 0; port++ {
		if !staticPort(ask, port) && room.PortFree(uint16(port)) {
			n--
		}
	}
	return n == 0
}

func staticPort(ask *projections.Ask, port int) bool {
	for i := range ask.Ports {
		if ask.Ports[i].Value == port {
			return true
		}
	}
	return false
}

// choosePorts gives every port of the group its host port. Dynamic ones are
// drawn; when the draws hit only taken ones, the free ones are searched from the
// last draw on. It panics when there are none: the caller has asked first.
func choosePorts(room *projections.Room, ask *projections.Ask, seed uint64) []uint16 {
	if len(ask.Ports) == 0 {
		return nil
	}
	ports := make([]uint16, 0, len(ask.Ports))
	first, last := room.Node.DynamicPorts()
	size := uint64(last - first + 1)
	free := func(port int) bool {
		return !staticPort(ask, port) && !slices.Contains(ports, uint16(port)) && room.PortFree(uint16(port))
	}
	for i := range ask.Ports {
		if value := ask.Ports[i].Value; value != 0 {
			ports = append(ports, uint16(value))
			continue
		}
		port := 0
		for try := range uint64(portDraws) {
			port = first + int(mix(seed, uint64(i)*portDraws+try)%size)
			if free(port) {
				break
			}
		}
		for searched := uint64(0); !free(port); searched++ {
			if searched > size {
				panic("no dynamic port is free on node " + room.Node.Info.ID.String() + ", which was found to have one")
			}
			if port++; port > last {
				port = first
			}
		}
		ports = append(ports, uint16(port))
	}
	return ports
}
