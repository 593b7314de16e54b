package container

import (
	"fmt"
	"slices"
	"strings"
)

// defaultCapabilities are those that a task has and may ask for.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// Capabilities are (the default ones allowed, without drop) and add. What is not in allow cannot be added; nil allows
// the default ones. Names are taken in any case, with or without CAP_; "all" is all.
func Capabilities(allow, add, drop []string) ([]string, error) {
	if allow == nil {
		allow = defaultCapabilities
	}
	allow, add, drop = normalized(allow), normalized(add), normalized(drop)
	allowed := func(name string) bool { return slices.Contains(allow, name) || slices.Contains(allow, all) }
	var have, refused []string
	for _, name := range defaultCapabilities {
		if allowed(name) && !slices.Contains(drop, name) && !slices.Contains(drop, all) {
			have = append(have, name)
		}
	}
	for _, name := range add {
		switch {
		case name == all && slices.Contains(allow, all):
			have = append(have, knownCapabilities...)
		case name == all:
			have = append(have, allow...)
		case !slices.Contains(knownCapabilities, name):
			return nil, fmt.Errorf("%q is not a capability", name)
		case !allowed(name):
			refused = append(refused, strings.ToLower(strings.TrimPrefix(name, "CAP_")))
		default:
			have = append(have, name)
		}
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("driver does not allow the following capabilities: %s", strings.Join(refused, ", "))
	}
	slices.Sort(have)
	return slices.Compact(have), nil
}

const all = "CAP_ALL"

func normalized(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.ToUpper(name)
		if !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		out = append(out, name)
	}
	return out
}

// knownCapabilities are those of Linux 5.9 and later.
var knownCapabilities = []string{
	"CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_KILL", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_PERFMON", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
	"CAP_SETUID", "CAP_SYSLOG", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_NICE",
	"CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG",
	"CAP_WAKE_ALARM",
}
