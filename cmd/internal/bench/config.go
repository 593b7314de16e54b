package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"drover/cmd/internal/apiclient"
)

// Config says what to run. Zero fields have the meaning of their comments.
type Config struct {
	Shape string
	Scale // 0 = the shape's own

	Running  bool          // nodes report their tasks as running, and the run waits for it
	Ports    int           // dynamic ports of each task
	Rate     float64       // tasks per second that batch-churn keeps up; 0 = its own
	Duration time.Duration // of batch-churn and watch; 0 = their own

	// API is a server that runs already; an empty address starts one.
	API        apiclient.Config
	Program    string // that serves as `PROGRAM agent`
	Schedulers int    // of the server that is started; 0 = its own choice
	DataDir    string // below which it keeps its data; empty = the system's temporary directory
	Keep       bool   // do not remove that at the end
	NoRestart  bool   // do not measure restarts

	JSON             bool
	Out              string // file that the result is also written to, as JSON
	CPUProfile       string // file; of the bench itself
	ServerCPUProfile string // file; of the server, from the beginning of the load
	ProfileSeconds   int    // how long that profile is; 0 = 20

	Version  string
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool // Stderr is one
}

// check finds what is wrong with a configuration before anything starts.
func (c *Config) check() (Shape, error) {
	shape, err := findShape(c.Shape)
	if err != nil {
		return shape, err
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"-nodes", c.Nodes}, {"-jobs", c.Jobs}, {"-count", c.Count}, {"-clients", c.Clients}} {
		if n.value < 0 || n.value > scaleMax {
			return shape, fmt.Errorf("%s must be between 1 and %d, not %d", n.flag, scaleMax, n.value)
		}
	}
	switch {
	case c.Ports < 0 || c.Ports > 10:
		return shape, fmt.Errorf("-ports must be between 0 and 10, not %d", c.Ports)
	case c.Rate < 0:
		return shape, fmt.Errorf("-rate must not be negative, not %v", c.Rate)
	case c.Duration < 0:
		return shape, fmt.Errorf("-duration must not be negative, not %v", c.Duration)
	case c.ProfileSeconds < 0:
		return shape, fmt.Errorf("-profile-seconds must not be negative, not %d", c.ProfileSeconds)
	case c.Schedulers < 0:
		return shape, fmt.Errorf("-schedulers must not be negative, not %d", c.Schedulers)
	case c.API.Address != "" && (c.DataDir != "" || c.Keep || c.Schedulers != 0):
		return shape, errors.New("-data-dir, -keep and -schedulers are about a server that the bench starts: leave them out, or leave out -address")
	}
	c.Running = c.Running || shape.working
	if c.ProfileSeconds == 0 {
		c.ProfileSeconds = 20
	}
	c.Scale = c.Scale.or(shape.Default)
	for flag, path := range map[string]string{"-out": c.Out, "-cpuprofile": c.CPUProfile, "-server-cpuprofile": c.ServerCPUProfile} {
		if err := writable(path); err != nil {
			return shape, fmt.Errorf("%s: %w", flag, err)
		}
	}
	return shape, nil
}

// writable reports whether a file can be written, without changing it.
func writable(path string) error {
	if path == "" {
		return nil
	}
	_, err := os.Stat(path)
	existed := err == nil
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = f.Close()
	if !existed {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// dir makes the directory of one run.
func (c *Config) dir() (string, error) {
	if c.DataDir != "" {
		if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
			return "", fmt.Errorf("-data-dir: %w", err)
		}
	}
	dir, err := os.MkdirTemp(c.DataDir, "drover-bench-")
	if err != nil {
		return "", fmt.Errorf("-data-dir: %w", err)
	}
	return filepath.Abs(dir)
}

// needs is what a run takes of the machine, by experience.
type needs struct {
	files  uint64
	memory int64
	disk   int64
}

const (
	filesBase = 200 // the log, the programs, ports

	// What one allocation takes: in the server's state, in the bench's books, and
	// on the disk, without and with a report of its task.
	serverBytesPerAllocation = 1200
	benchBytesPerAllocation  = 400
	diskBytesPerAllocation   = 500
	diskBytesPerReport       = 1000
	memoryBase               = 400 << 20
	memoryPerNode            = 200 << 10 // both ends of its stream, and its fingerprint
	diskBase                 = 500 << 20
)

func (s Shape) needs(c *Config) needs {
	allocations := int64(s.allocations(c))
	n := needs{
		// Of one process: the server has the other end of each connection, so both
		// need as many.
		files:  uint64(filesBase + c.Clients + c.Nodes/nodesPerConnection + 1),
		memory: memoryBase + allocations*(serverBytesPerAllocation+benchBytesPerAllocation) + int64(c.Nodes)*memoryPerNode,
		disk:   diskBase + allocations*diskBytesPerAllocation,
	}
	if c.Running {
		n.disk += allocations * diskBytesPerReport
	}
	return n
}

// fits says what to raise when a run does not fit the machine.
func (n needs) fits(m machine) error {
	var wrong []error
	if n.files > m.openFiles {
		wrong = append(wrong, fmt.Errorf("it needs about %d open files, a process may have %d: raise the limit (ulimit -n %d), or run fewer -clients", n.files, m.openFiles, n.files))
	}
	if n.memory > m.memory {
		wrong = append(wrong, fmt.Errorf("it needs about %s of memory, %s are available: free some, or run fewer -jobs, -count or -nodes", size(n.memory), size(m.memory)))
	}
	if n.disk > m.disk {
		wrong = append(wrong, fmt.Errorf("it needs about %s of disk, %s are free: name a larger -data-dir, or run fewer -jobs or -count", size(n.disk), size(m.disk)))
	}
	if wrong != nil {
		return fmt.Errorf("this run does not fit the machine:\n%w", errors.Join(wrong...))
	}
	return nil
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.2f GB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f KB", float64(bytes)/(1<<10))
}
