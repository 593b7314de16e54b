// Package seccomp keeps tasks in containers from calls of the kernel that no task needs who was given nothing beyond the
// usual capabilities: those that change the machine, that reach around what a container is, or that many holes of the
// kernel began with. The list is Docker's in the main.
//
// Its promise: what is refused fails with EPERM (a few newer calls with ENOSYS, so that programs take the older ones), for
// every program of the container from its first instruction on, by whichever of the machine's ABIs it is called, and
// what a capability of the task is for is left to the kernel's own check. A call that the kernel checks well by itself, as
// mount, is not listed: a task gets no namespace in which it would be allowed.
package seccomp

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule refuses calls to tasks that have none of these capabilities.
type rule struct {
	unless []string
	calls  []string
}

// rules is all that is refused by name. One without capabilities is refused to all.
var rules = []rule{
	{[]string{"CAP_SYS_ADMIN", "CAP_BPF"}, []string{"bpf"}},
	{[]string{"CAP_SYS_ADMIN", "CAP_PERFMON"}, []string{"perf_event_open"}},
	{[]string{"CAP_SYS_ADMIN"}, []string{
		"swapon", "swapoff", "quotactl", "quotactl_fd", "fanotify_init", "lookup_dcookie", "sethostname", "setdomainname",
		"keyctl", "add_key", "request_key", // keys belong to users, of whom a container has the machine's
	}},
	{[]string{"CAP_SYS_BOOT"}, []string{"reboot", "kexec_load", "kexec_file_load"}},
	{[]string{"CAP_SYS_MODULE"}, []string{"init_module", "finit_module", "delete_module", "create_module"}},
	{[]string{"CAP_DAC_READ_SEARCH"}, []string{"open_by_handle_at"}},
	{[]string{"CAP_SYS_PTRACE"}, []string{"userfaultfd", "kcmp", "pidfd_getfd"}},
	{[]string{"CAP_SYS_PACCT"}, []string{"acct"}},
	{[]string{"CAP_SYS_RAWIO"}, []string{"iopl", "ioperm"}},
	{[]string{"CAP_SYS_TIME"}, []string{"settimeofday", "stime", "clock_settime", "clock_settime64"}},
	{[]string{"CAP_SYS_TTY_CONFIG"}, []string{"vhangup"}},
	{[]string{"CAP_SYSLOG", "CAP_SYS_ADMIN"}, []string{"syslog"}},
	{nil, []string{"_sysctl", "get_kernel_syms", "nfsservctl", "query_module", "sysfs", "uselib", "ustat", "vm86", "vm86old"}},
}

// abi is one way to call the kernel.
type abi struct {
	arch  uint32 // AUDIT_ARCH_...
	calls map[string]uint32
}

// Offsets in what a filter is given, struct seccomp_data. The lower half of an argument comes first: both machines for
// which there are lists have the lowest byte first.
const (
	offsetNumber   = 0
	offsetArch     = 4
	offsetArgument = 16
)

// x32Bit marks calls of an ABI of amd64 that is all but unused, with numbers of its own.
const x32Bit = 0x40000000

// has reports whether one of the capabilities is there.
func has(have []string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(have, name) })
}

func refuse(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

// program is the filter of tasks with these capabilities; nil if there are no lists for this machine.
func program(have []string, native, foreign *abi) []bpf.Instruction {
	if native == nil {
		return nil
	}
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	// A conditional skip reaches no further than 255 instructions: the part of another ABI is jumped over without condition.
	all := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetArch, Size: 4}}
	for _, a := range []*abi{native, foreign} {
		if a == nil {
			continue
		}
		part := append(a.refusals(have), allow)
		all = append(all, bpf.JumpIf{Cond: bpf.JumpEqual, Val: a.arch, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(part))})
		all = append(all, part...)
	}
	return append(all, refuse(unix.ENOSYS)) // an ABI that nobody has a list of
}

// refusals is the part of the filter for one ABI. It falls through where nothing is refused.
func (a *abi) refusals(have []string) []bpf.Instruction {
	part := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetNumber, Size: 4}}
	when := func(number uint32, then ...bpf.Instruction) {
		part = append(part, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(then))})
		part = append(part, then...)
	}
	if a.arch == unix.AUDIT_ARCH_X86_64 {
		part = append(part, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1}, refuse(unix.ENOSYS))
	}
	for _, r := range rules {
		if has(have, r.unless...) {
			continue
		}
		for _, name := range r.calls {
			if number, ok := a.calls[name]; ok {
				when(number, refuse(unix.EPERM))
			}
		}
	}
	if !has(have, "CAP_SYS_ADMIN") {
		// In a user namespace of its own, a task would have every capability.
		for _, name := range []string{"clone", "unshare"} {
			when(a.calls[name], bpf.LoadAbsolute{Off: offsetArgument, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: unix.CLONE_NEWUSER, SkipTrue: 1}, refuse(unix.EPERM),
				bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
		}
		when(a.calls["clone3"], refuse(unix.ENOSYS)) // a filter does not see what it is told; C libraries fall back to clone
	}
	return part
}

// Install puts the filter for tasks with these capabilities, by their full names, upon this process, for good, and all that comes of it. The
// process must still have CAP_SYS_ADMIN. A kernel without filters is no error.
func Install(have []string) error {
	raw, err := bpf.Assemble(program(have, native, foreign))
	if err != nil {
		return fmt.Errorf("assemble filter of calls: %w", err)
	}
	if len(raw) == 0 {
		return nil
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	p := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Before Linux 5.16 a filter would slow programs down as if they ran foreign code, unless it says that they do not.
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, unix.SECCOMP_FILTER_FLAG_TSYNC} {
		thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&p)))
		switch {
		case errno == 0 && thread == 0:
			return nil
		case errno == 0:
			return fmt.Errorf("thread %d has another filter of calls", thread)
		case errno == unix.ENOSYS:
			return nil
		case errno != unix.EINVAL: // which a kernel without filters says too, or one that does not know a flag
			return fmt.Errorf("filter calls: %w", errno)
		}
	}
	return nil
}
