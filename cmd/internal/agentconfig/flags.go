package agentconfig

import (
	"flag"
	"fmt"
	"strings"
)

// CommandLine is what was given on the command line: which files to read, and
// flags, which win over the files.
type CommandLine struct {
	Paths []string // files and directories, in order
	Dev   bool
	layer tree
}

// flagKeys says which key each flag sets.
var flagKeys = []struct {
	name string
	path string
	help string
}{
	{"bind", "bind_addr", "Address to bind all listeners to."},
	{"data-dir", "data_dir", "Directory for everything the agent keeps."},
	{"plugin-dir", "plugin_dir", "Directory with driver plugins."},
	{"dc", "datacenter", "Name of the datacenter."},
	{"region", "region", "Name of the region."},
	{"node", "name", "Name of this agent; the host name by default."},
	{"log-level", "log_level", "TRACE, DEBUG, INFO, WARN, ERROR or OFF."},
	{"log-json", "log_json", "Write the log as JSON."},
	{"log-include-location", "log_include_location", "Add file and line to log messages."},

	{"server", "server.enabled", "Run a server."},
	{"bootstrap-expect", "server.bootstrap_expect", "Number of servers to wait for; 1 in this version."},
	{"encrypt", "server.encrypt", "Gossip key."},
	{"join", "server.start_join", "Server to join at start; may be repeated."},
	{"retry-join", "server.retry_join", "Server to join, tried until it works; may be repeated."},
	{"retry-max", "server.retry_max", "Number of tries; 0 = without end."},
	{"retry-interval", "server.retry_interval", "Time between tries."},
	{"raft-protocol", "server.raft_protocol", "Version of the Raft protocol."},
	{"rejoin", "server.rejoin_after_leave", "Join again after a leave."},

	{"client", "client.enabled", "Run tasks on this machine."},
	{"state-dir", "client.state_dir", "Directory for the state of the node agent."},
	{"alloc-dir", "client.alloc_dir", "Directory for allocations."},
	{"alloc-mounts-dir", "client.alloc_mounts_dir", "Directory for the mounts of allocations."},
	{"host-volumes-dir", "client.host_volumes_dir", "Directory for dynamic host volumes."},
	{"host-volume-plugin-dir", "client.host_volume_plugin_dir", "Directory with host volume plugins."},
	{"servers", "client.servers", "Servers to register with, separated by commas."},
	{"node-class", "client.node_class", "Class of this node."},
	{"node-pool", "client.node_pool", "Pool of this node."},
	{"meta", "client.meta", "key=value about this node; may be repeated."},
	{"network-interface", "client.network_interface", "Interface whose address tasks get."},
	{"preferred-address-family", "client.preferred_address_family", "ipv4 or ipv6."},
	{"network-speed", "client.network_speed", "Speed of the interface in Mbit/s."},

	{"acl-enabled", "acl.enabled", "Check access."},
	{"acl-replication-token", "acl.replication_token", "Token for the replication of access rules."},
}

// commaSeparated flags hold several values in one.
var commaSeparated = map[string]bool{"servers": true}

// FlagHelp is one line per flag, for the command's help text.
func FlagHelp() string {
	var b strings.Builder
	line := func(name, help string) { fmt.Fprintf(&b, "  -%-26s %s\n", name, help) }
	line("config=<path>", "Configuration file or directory; may be repeated.")
	line("dev", "Server and node agent for trying things out; nothing is kept.")
	for _, f := range flagKeys {
		_, e := locate(f.path)
		name := f.name
		if e.kind != boolean {
			name += "=<value>"
		}
		line(name, f.help)
	}
	return b.String()
}

// Register defines the flags in fs; parsing fills c in.
func (c *CommandLine) Register(fs *flag.FlagSet) {
	c.layer = tree{}
	fs.Func("config", "", func(path string) error { c.Paths = append(c.Paths, path); return nil })
	fs.BoolVar(&c.Dev, "dev", false, "")
	for _, f := range flagKeys {
		_, e := locate(f.path)
		set := func(s string) error { return c.set(f.name, f.path, s) }
		if e.kind == boolean {
			fs.BoolFunc(f.name, "", set)
		} else {
			fs.Func(f.name, "", set)
		}
	}
}

// locate finds a key by its path.
func locate(path string) (parents []string, e entry) {
	keys := schema
	names := strings.Split(path, ".")
	for _, name := range names {
		found, ok := lookup(keys, name)
		if !ok {
			panic("agentconfig: no such key: " + path)
		}
		e, keys = found, found.sub
	}
	return names[:len(names)-1], e
}

// set puts one flag's value into the layer.
func (c *CommandLine) set(name, path, s string) error {
	parents, e := locate(path)
	var v value
	switch e.kind {
	case appended, list:
		v.list = []string{s}
		if commaSeparated[name] {
			v.list = strings.Split(s, ",")
		}
	case table:
		key, val, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("must be key=value, not %q", s)
		}
		v.table = map[string]string{key: val}
	default:
		var err error
		if v, err = scalar(e.kind, s); err != nil {
			return err
		}
	}
	one := tree{e.name: v}
	for i := len(parents) - 1; i >= 0; i-- {
		one = tree{parents[i]: {tree: one}}
	}
	c.layer = merge(schema, c.layer, one)
	return nil
}

// given reports whether a flag set this key.
func (c *CommandLine) given(path ...string) bool {
	t := c.layer
	for _, name := range path[:len(path)-1] {
		t = t[name].tree
	}
	_, ok := t[path[len(path)-1]]
	return ok
}
