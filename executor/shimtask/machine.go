package shimtask

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"drover/executor/driver"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// RunAs makes the task run as a user of the machine, with all its groups.
func RunAs(spec *wire.Spec, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		byNumber, numberErr := user.LookupId(name)
		if numberErr != nil {
			return fmt.Errorf("find user %q: %w", name, err) // a name that is unknown, not a number that is malformed
		}
		u = byNumber
	}
	number := func(s string) uint32 { n, _ := strconv.ParseUint(s, 10, 32); return uint32(n) }
	spec.UID, spec.GID = number(u.Uid), number(u.Gid)
	if int(spec.UID) == os.Getuid() {
		return nil // no privilege is needed to stay who one is
	}
	spec.SetUser = true
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("find groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		spec.Groups = append(spec.Groups, number(g))
	}
	return nil
}

// tick is the unit of processor time in /proc, fixed in the kernel's interface.
const tick = time.Second / 100

// Usage implements driver.Running: the task's first process and all below it.
func (r *Task) Usage(context.Context) (driver.Usage, error) {
	usage := driver.Usage{Time: time.Now()}
	task := r.Process.Task()
	first, err := proctree.ReadStat(task.PID)
	if err != nil || first.Start != task.Start {
		return usage, driver.ErrEnded
	}
	for _, s := range append(proctree.Below(first.PID), first) {
		usage.PIDs = append(usage.PIDs, s.PID)
		usage.Memory.Note("RSS", uint64(max(s.RSSPages, 0))*uint64(os.Getpagesize()))
		usage.Memory.Note("Swap", proctree.Swap(s.PID))
		usage.CPU.User += time.Duration(s.UserTick+s.WaitedUserTick) * tick
		usage.CPU.System += time.Duration(s.SysTick+s.WaitedSysTick) * tick
	}
	slices.Sort(usage.PIDs)
	return usage, nil
}
