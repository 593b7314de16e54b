package executor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/executor/driver"
)

// Access is what an operator keeps from tasks.
type Access struct {
	// DriversAllowed are the drivers that the node offers; empty is all of them. DriversDenied are never offered.
	DriversAllowed, DriversDenied []string
	// UsersDenied are users of the machine, by name, that no task of CheckedDrivers may name as its own. Nil is root, and
	// the drivers exec, java and qemu.
	UsersDenied, CheckedDrivers []string
	// EnvDenied are patterns of environment variables of the agent that tasks do not see; nil is a list of the usual
	// names of credentials.
	EnvDenied []string
	// FingerprintsAllowed are the kinds of facts about the machine that jobs may ask for; empty is all of them.
	// FingerprintsDenied are never told. See fingerprints.
	FingerprintsAllowed, FingerprintsDenied []string
}

func (a Access) withDefaults() Access {
	if a.UsersDenied == nil {
		a.UsersDenied = []string{"root", "Administrator"}
	}
	if a.CheckedDrivers == nil {
		a.CheckedDrivers = []string{"exec", "java", "qemu"}
	}
	if a.EnvDenied == nil {
		a.EnvDenied = defaultEnvDenied
	}
	return a
}

// drivers are those that the node offers.
func (a *Access) drivers(all []driver.Driver) []driver.Driver {
	return slices.DeleteFunc(all, func(d driver.Driver) bool {
		return len(a.DriversAllowed) > 0 && !slices.Contains(a.DriversAllowed, d.Name()) || slices.Contains(a.DriversDenied, d.Name())
	})
}

// fingerprints are the kinds of facts, by the names that the field knows them by, and what the attributes of each begin with.
var fingerprints = map[string][]string{
	"arch": {"cpu.arch"}, "cgroup": {"os.cgroups."}, "cpu": {"cpu.model", "cpu.freq", "cpu.num", "cpu.reservable", "cpu.total", "cpu.usable"},
	"host": {"kernel.", "os.name", "os.version", "unique.hostname"}, "memory": {"memory."}, "network": {"unique.network."},
	"nomad": {"nomad.", "drover.", "unique.advertise."}, "signal": {"os.signals"}, "storage": {"unique.storage."},
}

// hide leaves out of a node's attributes what the operator does not want told. What the node has room for stays: without,
// it would run nothing.
func (a *Access) hide(attributes map[string]string) {
	for name, prefixes := range fingerprints {
		if (len(a.FingerprintsAllowed) == 0 || slices.Contains(a.FingerprintsAllowed, name)) && !slices.Contains(a.FingerprintsDenied, name) {
			continue
		}
		maps.DeleteFunc(attributes, func(key, _ string) bool {
			return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		})
	}
}

// checkUser refuses a task that names a user who is kept from it, in whatever way it is named.
func (a *Access) checkUser(driverName, user string) error {
	if user == "" || !slices.Contains(a.CheckedDrivers, driverName) {
		return nil
	}
	name, _, _ := strings.Cut(user, ":") // a group may follow
	uid, _, err := lookupUser(name)
	for _, denied := range a.UsersDenied {
		same := name == denied
		if !same && err == nil {
			other, _, otherErr := lookupUser(denied)
			same = otherErr == nil && other == uid
		}
		if same {
			return fmt.Errorf("a task of the driver %q may not run as user %q on this node; the operator allows it by user.denylist and user.checked_drivers of client.options",
				driverName, cmp.Or(name, user))
		}
	}
	return nil
}

// defaultEnvDenied keeps credentials of the agent away from tasks.
var defaultEnvDenied = []string{
	"CONSUL_TOKEN", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "NOMAD_TOKEN", "NOMAD_LICENSE", "NOMAD_LICENSE_PATH",
	"DROVER_TOKEN", "VAULT_TOKEN", "CONSUL_LICENSE", "CONSUL_LICENSE_PATH", "VAULT_LICENSE", "VAULT_LICENSE_PATH",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS",
	"GOOGLE_OAUTH_ACCESS_TOKEN",
}
