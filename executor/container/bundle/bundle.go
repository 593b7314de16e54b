// Package bundle is what the node agent leaves for the program that makes a task's container.
//
// Its promise: a bundle says all there is to say of a container, in the terms of the OCI runtime specification, so the
// program that makes containers decides nothing.
package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Names in the state directory of a start.
const (
	File         = "bundle.json" // the bundle
	ContainerDir = "container"   // libcontainer's own state, one container named ContainerID
	ContainerID  = "task"
)

// Bundle is a container to make.
type Bundle struct {
	Spec *specs.Spec
	// Overlay, if set, is mounted at the root of the container before it is made, where only the container sees it.
	Overlay *Overlay `json:",omitempty"`
}

// Overlay is a root file system put together from read-only layers and a directory that takes the changes.
type Overlay struct {
	Dir   string   // where the lower ones are
	Lower []string // names in Dir, uppermost first: paths of all of them would not fit into the one page that mount takes
	Upper string
	Work  string
}

// Save writes a bundle into a state directory.
func Save(dir string, b *Bundle) error {
	content, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("describe container: %w", err)
	}
	// It holds the task's environment: nobody else reads it.
	if err := os.WriteFile(filepath.Join(dir, File), content, 0o600); err != nil {
		return fmt.Errorf("describe container: %w", err)
	}
	return nil
}

// Load reads the bundle of a state directory.
func Load(dir string) (*Bundle, error) {
	content, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return nil, fmt.Errorf("read description of container: %w", err)
	}
	b := &Bundle{}
	if err := json.Unmarshal(content, b); err != nil {
		return nil, fmt.Errorf("read description of container: %w", err)
	}
	return b, nil
}
