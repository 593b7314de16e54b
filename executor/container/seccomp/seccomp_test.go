package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// amd64Test is an ABI with numbers of the tests' own, so that they are the same on every machine.
var (
	nativeTest  = &abi{unix.AUDIT_ARCH_X86_64, map[string]uint32{"bpf": 1, "keyctl": 2, "reboot": 3, "sysfs": 4, "clone": 5, "clone3": 6, "unshare": 7, "open_by_handle_at": 8, "syslog": 9}}
	foreignTest = &abi{unix.AUDIT_ARCH_I386, map[string]uint32{"bpf": 101, "clone": 105, "clone3": 106, "unshare": 107}}
)

// verdict is what the filter says of a call.
func verdict(t *testing.T, filter []bpf.Instruction, arch, number uint32, argument uint64) unix.Errno {
	t.Helper()
	vm, err := bpf.NewVM(filter)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64) // words as the simulator has them, highest byte first
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	binary.BigEndian.PutUint32(data[offsetArgument:], uint32(argument))
	binary.BigEndian.PutUint32(data[offsetArgument+4:], uint32(argument>>32))
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	switch code := uint32(got); {
	case code == unix.SECCOMP_RET_ALLOW:
		return 0
	case code&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO:
		return unix.Errno(code & unix.SECCOMP_RET_DATA)
	default:
		t.Fatalf("the filter says %#x", code)
		return 0
	}
}

func TestProgram(t *testing.T) {
	const amd64, i386 = unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386
	usual := []string{"CAP_CHOWN", "CAP_SETUID"}
	for _, c := range []struct {
		what         string
		have         []string
		arch, number uint32
		argument     uint64
		want         unix.Errno
	}{
		{"what is not listed", usual, amd64, 99, 0, 0},
		{"bpf", usual, amd64, 1, 0, unix.EPERM},
		{"bpf with its own capability", []string{"CAP_BPF"}, amd64, 1, 0, 0},
		{"bpf with the old one", []string{"CAP_SYS_ADMIN"}, amd64, 1, 0, 0},
		{"bpf, 32 bits", usual, i386, 101, 0, unix.EPERM},
		{"number of another ABI", usual, amd64, 101, 0, 0},
		{"keys", usual, amd64, 2, 1, unix.EPERM},
		{"reboot", []string{"CAP_SYS_ADMIN"}, amd64, 3, 0, unix.EPERM},
		{"reboot with its capability", []string{"CAP_SYS_BOOT"}, amd64, 3, 0, 0},
		{"what nobody may", []string{"CAP_SYS_ADMIN", "CAP_SYS_BOOT"}, amd64, 4, 0, unix.EPERM},
		{"a process", usual, amd64, 5, uint64(unix.SIGCHLD), 0},
		{"a user namespace", usual, amd64, 5, uint64(unix.SIGCHLD) | unix.CLONE_NEWUSER, unix.EPERM},
		{"a user namespace by unshare", usual, amd64, 7, unix.CLONE_NEWUSER | unix.CLONE_NEWNS, unix.EPERM},
		{"another namespace", usual, amd64, 7, unix.CLONE_NEWNS, 0}, // which the kernel refuses
		{"a user namespace, 32 bits", usual, i386, 105, unix.CLONE_NEWUSER, unix.EPERM},
		{"a user namespace with all power", []string{"CAP_SYS_ADMIN"}, amd64, 5, unix.CLONE_NEWUSER, 0},
		{"clone3", usual, amd64, 6, 0, unix.ENOSYS},
		{"clone3 with all power", []string{"CAP_SYS_ADMIN"}, amd64, 6, 0, 0},
		{"handles", usual, amd64, 8, 0, unix.EPERM},
		{"handles with their capability", []string{"CAP_DAC_READ_SEARCH"}, amd64, 8, 0, 0},
		{"x32", usual, amd64, x32Bit | 99, 0, unix.ENOSYS},
		{"an unknown ABI", usual, unix.AUDIT_ARCH_AARCH64, 99, 0, unix.ENOSYS},
	} {
		if got := verdict(t, program(c.have, nativeTest, foreignTest), c.arch, c.number, c.argument); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if program(usual, nil, nil) != nil {
		t.Error("a machine without lists has a filter")
	}
}

// Every call of the lists is refused, and every one of the rules has a number where it is known at all.
func TestLists(t *testing.T) {
	if native == nil {
		return // a machine that there are no lists for
	}
	var known []string
	for _, r := range rules {
		known = append(known, r.calls...)
	}
	known = append(known, "clone", "clone3", "unshare")
	filter := program(nil, native, foreign)
	if _, err := bpf.Assemble(filter); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*abi{native, foreign} {
		numbers := map[uint32]string{}
		for name, number := range a.calls {
			if !slices.Contains(known, name) {
				t.Errorf("no rule is about %s", name)
			}
			if other, taken := numbers[number]; taken {
				t.Errorf("%s and %s have the number %d", name, other, number)
			}
			numbers[number] = name
			if got := verdict(t, filter, a.arch, number, unix.CLONE_NEWUSER); got == 0 {
				t.Errorf("%s is not refused", name)
			}
		}
		for _, name := range []string{"clone", "clone3", "unshare", "bpf", "keyctl", "init_module", "reboot", "open_by_handle_at"} {
			if _, ok := a.calls[name]; !ok {
				t.Errorf("%s has no number", name)
			}
		}
	}
}

const childEnv = "SECCOMP_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := Install(nil); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	err := exec.Command("/bin/sh", "-c", "exit 3").Run() // programs can still be started
	exit := (*exec.ExitError)(nil)
	fmt.Println(errors.As(err, &exit) && exit.ExitCode() == 3, call(unix.SYS_KEYCTL, 0), call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), call(unix.SYS_CLONE3, 0),
		call(unix.SYS_GETPID, 0))
	os.Exit(0)
}

func call(number, argument uintptr) int {
	_, _, errno := syscall.RawSyscall(number, argument, 0, 0)
	return int(errno)
}

// The filter as the kernel has it: on all threads of the process, and none of the tests'.
func TestInstall(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintln(true, int(unix.EPERM), int(unix.EPERM), int(unix.ENOSYS), 0)
	if err != nil || string(out) != want {
		t.Errorf("said %q, %v; want %q", strings.TrimSpace(string(out)), err, want)
	}
}
