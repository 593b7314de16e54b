package executor

import (
	"fmt"
	"os"
	"path"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// mountsOf are the directories of the machine that a task mounts: volumes of its group that the node's operator offers.
// What any of the three, operator, group and task, makes read-only is read-only.
func mountsOf(group *event.TaskGroup, t *event.Task, env *taskEnv, node *event.Node) ([]driver.Mount, error) {
	var mounts []driver.Mount
	for _, m := range t.VolumeMounts {
		name := env.interpolate(m.Volume)
		fail := func(format string, args ...any) ([]driver.Mount, error) {
			return nil, driver.Unrecoverable{Err: fmt.Errorf("volume_mount of %q: %w", name, fmt.Errorf(format, args...))}
		}
		asked, ok := group.Volumes[name]
		if !ok {
			return fail("the group has no such volume")
		}
		if asked.Type != "host" {
			return fail("volumes of the type %q are not supported by this version of drover", asked.Type)
		}
		offered := node.HostVolumes[asked.Source]
		if offered == nil {
			return fail("this node offers no host volume %q", asked.Source)
		}
		target := path.Join("/", env.interpolate(m.Destination))
		if target == "/" {
			return fail("its destination would hide the whole root file system")
		}
		if _, err := os.Stat(offered.Path); err != nil {
			return nil, fmt.Errorf("host volume %q: %w", asked.Source, err) // the operator may yet mount it
		}
		mounts = append(mounts, driver.Mount{
			Source: offered.Path, Target: target, Propagation: m.PropagationMode,
			ReadOnly: offered.ReadOnly || asked.ReadOnly || m.ReadOnly,
		})
	}
	return mounts, nil
}
