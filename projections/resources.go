package projections

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/eventlog/event"
)

// Resources is room on a node: compute in MHz, memory and disk in MB, and how many
// allocations there may be.
type Resources struct {
	CPU      int64
	MemoryMB int64
	DiskMB   int64
	Allocs   int64
}

// allocsUnbounded is the room for allocations on a node that does not bound them:
// more than any sum of them, and far from where sums overflow.
const allocsUnbounded = 1 << 40

// Plus is the sum.
func (r Resources) Plus(o Resources) Resources {
	return Resources{r.CPU + o.CPU, r.MemoryMB + o.MemoryMB, r.DiskMB + o.DiskMB, r.Allocs + o.Allocs}
}

// Minus is the difference; it may be negative.
func (r Resources) Minus(o Resources) Resources {
	return Resources{r.CPU - o.CPU, r.MemoryMB - o.MemoryMB, r.DiskMB - o.DiskMB, r.Allocs - o.Allocs}
}

func (r Resources) max(o Resources) Resources {
	return Resources{max(r.CPU, o.CPU), max(r.MemoryMB, o.MemoryMB), max(r.DiskMB, o.DiskMB), max(r.Allocs, o.Allocs)}
}

// Ask is the room that one allocation of a task group needs.
type Ask struct {
	Resources
	// Ports are the group's ports in the order of GroupPorts. Value is zero for
	// a port that the scheduler chooses.
	Ports []event.Port
}

// GroupAsk adds up what the tasks of a group need at the same time: the largest
// of three sums, for the tasks that run before the main ones, beside them and
// after them.
func GroupAsk(g *event.TaskGroup) Ask {
	var before, beside, after Resources
	for _, t := range g.Tasks {
		need := Resources{CPU: int64(t.Resources.CPU), MemoryMB: int64(t.Resources.MemoryMB + t.Resources.SecretsMB)}
		hook, sidecar := "", false
		if t.Lifecycle != nil {
			hook, sidecar = t.Lifecycle.Hook, t.Lifecycle.Sidecar
		}
		switch {
		case hook == "prestart" && !sidecar:
			before = before.Plus(need)
		case hook == "prestart":
			before, beside = before.Plus(need), beside.Plus(need)
		case hook == "poststop":
			after = after.Plus(need)
		default:
			beside = beside.Plus(need)
		}
	}
	ask := Ask{Resources: before.max(beside).max(after), Ports: GroupPorts(g)}
	ask.DiskMB, ask.Allocs = int64(g.EphemeralDisk.SizeMB), 1
	return ask
}

// GroupPorts lists a group's ports in the order in which placements carry their
// numbers: those asked for by number first, then those to be chosen.
func GroupPorts(g *event.TaskGroup) []event.Port {
	if len(g.Networks) == 0 {
		return nil
	}
	n := g.Networks[0]
	if len(n.ReservedPorts)+len(n.DynamicPorts) == 0 {
		return nil
	}
	return slices.Concat(n.ReservedPorts, n.DynamicPorts)
}

// AvailableOn is what a machine has for allocations: all of it less what it keeps back.
func AvailableOn(n *event.Node) Resources {
	all := Resources{Allocs: allocsUnbounded}
	if most := n.NodeMaxAllocs; most > 0 {
		all.Allocs = int64(most)
	}
	if r := n.NodeResources; r != nil {
		all.CPU, all.MemoryMB, all.DiskMB = r.Cpu.CpuShares, r.Memory.MemoryMB, r.Disk.DiskMB
	}
	if r := n.ReservedResources; r != nil {
		all = all.Minus(Resources{CPU: r.Cpu.CpuShares, MemoryMB: r.Memory.MemoryMB, DiskMB: r.Disk.DiskMB})
	}
	return all
}

// Dimensions of exhaustion, as users read them.
const (
	DimensionCPU    = "cpu"
	DimensionMemory = "memory"
	DimensionDisk   = "disk"
	DimensionAllocs = "max allocation exceeded"
)

// Room is what is left on a node while a plan is made or checked: the node as
// the snapshot has it, less what was placed, plus what was given up.
type Room struct {
	Node  *Node
	Free  Resources
	taken []uint16 // host ports taken beyond those of the snapshot, in no order
	given []uint16 // host ports of the snapshot that were given up
}

// RoomOn is the room on a node as it is.
func RoomOn(n *Node) Room { return Room{Node: n, Free: n.Available.Minus(n.Used)} }

// Release gives up what an allocation holds.
func (r *Room) Release(a *Allocation) {
	r.Free = r.Free.Plus(a.Ask.Resources)
	r.given = append(r.given, a.ports...)
}

// Fits reports whether an allocation fits, and if not, which dimension is
// exhausted. ports are host ports in the order of ask.Ports; nil checks the
// static ones only. It is the one definition of fitting: the scheduler ranks
// with it and the committer checks with it.
func (r *Room) Fits(ask *Ask, ports []uint16) (dimension string, ok bool) {
	for i, p := range ask.Ports {
		value := uint16(p.Value)
		if value == 0 {
			if ports == nil {
				continue
			}
			value = ports[i]
		}
		if p.IgnoreCollision {
			continue
		}
		if !r.PortFree(value) {
			return fmt.Sprintf("network: reserved port collision %s=%d", p.Label, value), false
		}
		if ports != nil && slices.Contains(ports[:i], value) {
			return fmt.Sprintf("network: reserved port collision %s=%d", p.Label, value), false
		}
	}
	dimension = ask.Exceeds(r.Free)
	return dimension, dimension == ""
}

// Exceeds says which dimension of free room the ask exceeds, ports apart; "" if
// none.
func (a *Ask) Exceeds(free Resources) (dimension string) {
	switch {
	case a.Allocs > free.Allocs:
		return DimensionAllocs
	case a.CPU > free.CPU:
		return DimensionCPU
	case a.MemoryMB > free.MemoryMB:
		return DimensionMemory
	case a.DiskMB > free.DiskMB:
		return DimensionDisk
	}
	return ""
}

// Take holds the room of one more allocation with these host ports.
func (r *Room) Take(ask *Ask, ports []uint16) {
	r.Free = r.Free.Minus(ask.Resources)
	r.taken = append(r.taken, ports...)
}

// PortFree reports whether nobody holds the host port and the node does not
// keep it back.
func (r *Room) PortFree(port uint16) bool {
	if slices.Contains(r.taken, port) || r.Node.reservedPort(port) {
		return false
	}
	at, held := slices.BinarySearch(r.Node.UsedPorts, port)
	return !held || count(r.Node.UsedPorts[at:], port) <= count(r.given, port)
}

func count(ports []uint16, port uint16) (n int) {
	for _, p := range ports {
		if p == port {
			n++
		}
	}
	return n
}

// portRange is an inclusive range of host ports.
type portRange struct{ first, last uint16 }

// ParsePortRanges reads "22,80,8500-8600".
func ParsePortRanges(text string) ([]portRange, error) {
	var ranges []portRange
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port", low)
		}
		last, err := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port", high)
		}
		if last < first {
			return nil, fmt.Errorf("port range %q ends before it begins", part)
		}
		ranges = append(ranges, portRange{uint16(first), uint16(last)})
	}
	return ranges, nil
}
