// Package proctree looks at running processes and kills them without ever hitting the wrong one: a process is named by
// PID and start time, and is signalled through a file descriptor that was opened before its start time was compared.
package proctree

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Stat is what /proc/<pid>/stat says of a process.
type Stat struct {
	PID      int
	Parent   int
	Group    int
	Session  int
	Zombie   bool
	Start    uint64 // ticks since boot
	UserTick uint64 // processor time in user mode, ticks of 1/100 s
	SysTick  uint64 // processor time in the kernel, ticks of 1/100 s
	// WaitedUserTick and WaitedSysTick are those of children that have ended and were waited for, and of theirs.
	WaitedUserTick, WaitedSysTick uint64
	RSSPages                      int64 // resident pages
}

// ErrGone says that the process does not exist any more.
var ErrGone = errors.New("process is gone")

// ReadStat reads the state of one process.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, ErrGone
	}
	return parseStat(pid, b)
}

// parseStat reads the line. The command's name, in brackets, may hold anything, so fields count from the last bracket.
func parseStat(pid int, b []byte) (Stat, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return Stat{}, ErrGone
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 22 {
		return Stat{}, ErrGone
	}
	number := func(i int) uint64 { n, _ := strconv.ParseUint(f[i], 10, 64); return n }
	s := Stat{
		PID: pid, Parent: int(number(1)), Group: int(number(2)), Session: int(number(3)),
		Zombie: f[0] == "Z" || f[0] == "X", Start: number(19), UserTick: number(11), SysTick: number(12),
		WaitedUserTick: number(13), WaitedSysTick: number(14),
	}
	s.RSSPages, _ = strconv.ParseInt(f[21], 10, 64)
	return s, nil
}

// Swap is how many bytes of a process's memory are swapped out; 0 when it is gone.
func Swap(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "VmSwap:" { // in units of 1,024 bytes
			n, _ := strconv.ParseUint(string(f[1]), 10, 64)
			return n << 10
		}
	}
	return 0
}

// All lists every process that can be seen.
func All() []Stat {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	all := make([]Stat, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := ReadStat(pid); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// Descendants picks from all the processes below root, root itself not among them.
func Descendants(all []Stat, root int) []Stat {
	children := make(map[int][]Stat)
	for _, s := range all {
		children[s.Parent] = append(children[s.Parent], s)
	}
	var found []Stat
	queue := []int{root}
	for len(queue) > 0 {
		for _, s := range children[queue[0]] {
			if s.PID != root {
				found = append(found, s)
				queue = append(queue, s.PID)
			}
		}
		queue = queue[1:]
	}
	return found
}

// Below lists the processes below root, root itself not among them. Simple meaning: Descendants(All(), root). Where the
// kernel tells the children of a thread, it costs the size of the tree and not that of the machine: a node that measures
// hundreds of tasks would look at hundreds of thousands of processes otherwise.
func Below(root int) []Stat {
	if !tellsChildren() {
		return Descendants(All(), root)
	}
	var found []Stat
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, child := range children(queue[0]) {
			if s, err := ReadStat(child); err == nil {
				found = append(found, s)
				queue = append(queue, child)
			}
		}
	}
	return found
}

// tellsChildren reports whether the kernel was built to (CONFIG_PROC_CHILDREN).
var tellsChildren = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
})

// children of all threads of a process.
func children(pid int) (pids []int) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, _ := os.ReadDir(dir) // none when it is gone
	for _, thread := range threads {
		b, _ := os.ReadFile(dir + thread.Name() + "/children")
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// BootID names the running kernel's boot; start times of different boots cannot be compared.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// HasEnv reports whether the process was started with all of these NAME=value pairs in its environment.
func HasEnv(pid int, pairs ...string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	have := make(map[string]bool)
	for _, pair := range strings.Split(string(b), "\x00") {
		have[pair] = true
	}
	for _, pair := range pairs {
		if !have[pair] {
			return false
		}
	}
	return true
}

// Numbers of the two system calls, the same on all architectures.
const (
	sysPidfdSendSignal = 424
	sysPidfdOpen       = 434
)

// Kill sends the signal to exactly the process that had this PID and start time. [ErrGone] when it ended.
func Kill(pid int, start uint64, signal syscall.Signal) error {
	fd, _, errno := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if errno == syscall.ENOSYS || errno == syscall.EPERM {
		// A kernel before 5.3, or a filter that knows no descriptors of processes: the gap between look and kill stays.
		if s, err := ReadStat(pid); err != nil || s.Start != start {
			return ErrGone
		}
		return gone(syscall.Kill(pid, signal))
	}
	if errno != 0 {
		return gone(errno)
	}
	defer syscall.Close(int(fd))
	if s, err := ReadStat(pid); err != nil || s.Start != start {
		return ErrGone
	}
	if _, _, errno = syscall.RawSyscall6(sysPidfdSendSignal, fd, uintptr(signal), 0, 0, 0, 0); errno != 0 {
		return gone(errno)
	}
	return nil
}

func gone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return ErrGone
	}
	return err
}
