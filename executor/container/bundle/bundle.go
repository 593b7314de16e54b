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

	"drover/executor/shim/wire"
)

// Names in the state directory of a start.
const (
	File         = "bundle.json" // the bundle
	ContainerDir = "container"   // libcontainer's own state, one container named ContainerID
	ContainerID  = "task"
)

// ExecGroup begins the names of the control groups, below those of a container, of what runs in it beside its task.
const ExecGroup = "exec-"

// Program is what to run in a container beside its task: all but these is as the bundle says of the task.
type Program struct {
	Args []string
	// Terminal gives it a terminal that had Rows and Columns when it was asked for.
	Terminal      bool
	Rows, Columns uint16
}

// Message is the program as it is sent.
func (p *Program) Message() wire.Message {
	var m wire.Message
	for _, a := range p.Args {
		m.Add("arg", a)
	}
	if p.Terminal {
		m.Add("terminal", "1")
		m.AddInt("rows", int64(p.Rows))
		m.AddInt("columns", int64(p.Columns))
	}
	return m
}

// ProgramOf is the inverse of Program.Message.
func ProgramOf(m wire.Message) *Program {
	return &Program{
		Args: m.All("arg"), Terminal: m.Has("terminal"), Rows: uint16(m.Int("rows")), Columns: uint16(m.Int("columns")),
	}
}

// Bundle is a container to make.
type Bundle struct {
	Spec *specs.Spec
	// Overlay, if set, is mounted at the root of the container before it is made, where only the container sees it.
	Overlay *Overlay `json:",omitempty"`
	// NoPivotRoot has the root moved into place instead of exchanged with the machine's.
	NoPivotRoot bool `json:",omitempty"`
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
