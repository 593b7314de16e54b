package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Shape is a kind of load.
type Shape struct {
	Name string
	// About is what it does, in a line; Detail what -nodes, -jobs and -count are
	// in it, and what is special about its figures.
	About, Detail string
	Default       Scale

	// allocations is how many live at once, which sizes the nodes and the needs.
	allocations func(*Config) int
	// slots is how many allocations a node has room for; nil: its share of all,
	// and some to spare.
	slots func(*Config) int
	// quick asks the server for short heartbeats, as far as the number of nodes
	// allows: the shape waits for them to be missed.
	quick bool
	// working makes nodes report their tasks as running, asked or not.
	working bool
	// moving says that allocations come and go by themselves, so that a job's
	// count says nothing at any one moment.
	moving bool
	// prepare sets what nodes do before any is there; may be nil.
	prepare func(*run)
	load    func(context.Context, *run) error
}

// Scale is how large a run is.
type Scale struct {
	Nodes   int `json:"nodes"`
	Jobs    int `json:"jobs"`
	Count   int `json:"count"` // of each job
	Clients int `json:"clients"`
}

func (s Scale) or(d Scale) Scale {
	pick := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	pick(&s.Nodes, d.Nodes)
	pick(&s.Jobs, d.Jobs)
	pick(&s.Count, d.Count)
	pick(&s.Clients, d.Clients)
	return s
}

func jobsTimesCount(c *Config) int { return c.Jobs * c.Count }

// Shapes are all there are, in the order of the help text.
func Shapes() []Shape {
	return []Shape{c1m, smallJobs, submit, batchChurn, spreadShape, full, wide, drift, watch}
}

func findShape(name string) (Shape, error) {
	shapes := Shapes()
	at := slices.IndexFunc(shapes, func(s Shape) bool { return s.Name == name })
	if at < 0 {
		var names []string
		for _, s := range shapes {
			names = append(names, s.Name)
		}
		return Shape{}, fmt.Errorf("there is no shape %q; there are %s", name, strings.Join(names, ", "))
	}
	return shapes[at], nil
}
