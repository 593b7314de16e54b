package eventlog

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskGuard refuses appends while the disk is nearly full. Raft's log ends the process when a write fails, so the space it
// needs must not run out; refusing early keeps the server readable and able to tell why.
type diskGuard struct {
	path    string
	reserve uint64

	mu      sync.Mutex
	checked time.Time
	err     error
}

// check looks at the disk at most once per diskCheckEvery.
func (g *diskGuard) check(now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.checked) < diskCheckEvery {
		return g.err
	}
	g.checked, g.err = now, nil
	usage, err := vfs.Default.GetDiskUsage(g.path)
	if err == nil && usage.AvailBytes < g.reserve {
		g.err = fmt.Errorf("%s has %d bytes left, %d are kept in reserve: %w", g.path, usage.AvailBytes, g.reserve, ErrDiskFull)
	}
	return g.err
}
