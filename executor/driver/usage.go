package driver

import (
	"slices"
	"time"
)

// Usage is a sample of what a task uses.
type Usage struct {
	Time   time.Time
	Memory MemoryUsage
	CPU    CPUUsage
	PIDs   []int
}

// MemoryUsage is in bytes. Measured names what a driver knows of it; where a name is missing, 0 says nothing. Its JSON
// is the public API's.
type MemoryUsage struct {
	RSS, Cache, Swap, MappedFile, Usage, MaxUsage, KernelUsage, KernelMaxUsage uint64
	Measured                                                                   []string
}

// named are the values by the names that users read.
func (m *MemoryUsage) named() map[string]*uint64 {
	return map[string]*uint64{
		"RSS": &m.RSS, "Cache": &m.Cache, "Swap": &m.Swap, "Usage": &m.Usage, "Max Usage": &m.MaxUsage,
		"Kernel Usage": &m.KernelUsage, "Kernel Max Usage": &m.KernelMaxUsage,
	}
}

// Note adds to a value by the name that users read, and notes that it was measured.
func (m *MemoryUsage) Note(name string, bytes uint64) {
	*m.named()[name] += bytes
	if !slices.Contains(m.Measured, name) {
		m.Measured = append(m.Measured, name)
	}
}

// Add adds what another task uses.
func (m *MemoryUsage) Add(o *MemoryUsage) {
	values := o.named()
	for _, name := range o.Measured {
		m.Note(name, *values[name])
	}
	m.MappedFile += o.MappedFile
}

// CPUUsage is what a task has had of the processors since the start of the processes that run now.
type CPUUsage struct {
	User, System time.Duration

	// Limited says that the driver knows how often, and for how long, the task was held back by a limit of its own.
	Limited          bool
	ThrottledPeriods uint64
	ThrottledTime    time.Duration
}
