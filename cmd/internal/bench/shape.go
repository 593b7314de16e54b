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
	allocations func(Scale) int
	// connections is how many the bench's API clients open; nil: as many as there
	// are clients.
	connections func(Scale) int
	// prepare changes what is built from it before anything starts; may be nil.
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

func jobsTimesCount(s Scale) int { return s.Jobs * s.Count }

// Shapes are all there are, in the order of the help text.
func Shapes() []Shape {
	return []Shape{c1m}
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
