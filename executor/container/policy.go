package container

import (
	"fmt"

	"drover/executor/driver"
)

// Policy is what the operator of a machine says of the containers of one driver.
type Policy struct {
	// PIDMode and IPCMode are "private", "host" or "" (private): those of a task that names none.
	PIDMode, IPCMode string
	// AllowCaps are the capabilities that a task may have; nil is the default ones.
	AllowCaps []string
	// Denied are users and groups that no task may run as.
	Denied driver.DeniedIDs
	// NoPivotRoot has roots moved into place where the machine's own root cannot be exchanged, as on a ramdisk.
	NoPivotRoot bool
}

// Modes says which namespaces of the machine a container shares whose task asks for these modes.
func (p *Policy) Modes(pid, ipc string) (hostPID, hostIPC bool, err error) {
	for _, m := range []struct {
		name, wanted, usual string
		host                *bool
	}{{"pid_mode", pid, p.PIDMode, &hostPID}, {"ipc_mode", ipc, p.IPCMode, &hostIPC}} {
		if m.wanted == "" {
			m.wanted = m.usual
		}
		if m.wanted != "" && m.wanted != "private" && m.wanted != "host" {
			return false, false, fmt.Errorf("%s must be %q or %q, got %q", m.name, "private", "host", m.wanted)
		}
		*m.host = m.wanted == "host"
	}
	return hostPID, hostIPC, nil
}
