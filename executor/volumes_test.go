package executor

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drover/eventlog/event"
	"drover/executor/driver"
)

func TestMountsOf(t *testing.T) {
	offered := t.TempDir()
	node := &event.Node{HostVolumes: map[string]*event.HostVolume{
		"data": {Path: offered}, "certs": {Path: offered, ReadOnly: true}, "later": {Path: filepath.Join(offered, "missing")},
	}}
	group := &event.TaskGroup{Volumes: map[string]event.VolumeRequest{
		"db": {Type: "host", Source: "data"}, "tls": {Type: "host", Source: "certs"}, "look": {Type: "host", Source: "data", ReadOnly: true},
		"cloud": {Type: "csi", Source: "data"}, "unknown": {Type: "host", Source: "nothing"}, "late": {Type: "host", Source: "later"},
	}}
	env := &taskEnv{vars: map[string]string{"NOMAD_TASK_DIR": "/local", "WHICH": "db"}}
	for _, c := range []struct {
		mount   event.VolumeMount
		want    driver.Mount
		refused string
	}{
		{event.VolumeMount{Volume: "db", Destination: "/var/lib/db"}, driver.Mount{Source: offered, Target: "/var/lib/db"}, ""},
		{event.VolumeMount{Volume: "${WHICH}", Destination: "${NOMAD_TASK_DIR}/db", PropagationMode: "private"},
			driver.Mount{Source: offered, Target: "/local/db", Propagation: "private"}, ""},
		{event.VolumeMount{Volume: "db", Destination: "relative/../data", ReadOnly: true}, driver.Mount{Source: offered, Target: "/data", ReadOnly: true}, ""},
		{event.VolumeMount{Volume: "look", Destination: "/data"}, driver.Mount{Source: offered, Target: "/data", ReadOnly: true}, ""},
		{event.VolumeMount{Volume: "tls", Destination: "/data"}, driver.Mount{Source: offered, Target: "/data", ReadOnly: true}, ""},
		{event.VolumeMount{Volume: "tls", Destination: "../.."}, driver.Mount{}, "would hide the whole root"},
		{event.VolumeMount{Volume: "cloud", Destination: "/data"}, driver.Mount{}, `volumes of the type "csi" are not supported`},
		{event.VolumeMount{Volume: "none", Destination: "/data"}, driver.Mount{}, "the group has no such volume"},
		{event.VolumeMount{Volume: "unknown", Destination: "/data"}, driver.Mount{}, `this node offers no host volume "nothing"`},
		{event.VolumeMount{Volume: "late", Destination: "/data"}, driver.Mount{}, `host volume "later": stat`},
	} {
		got, err := mountsOf(group, &event.Task{VolumeMounts: []event.VolumeMount{c.mount}}, env, node)
		switch {
		case c.refused != "":
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%+v: %v, want %q", c.mount, err, c.refused)
			}
		case err != nil || len(got) != 1 || got[0] != c.want:
			t.Errorf("%+v: %+v %v, want %+v", c.mount, got, err, c.want)
		}
	}
}

// A driver that cannot mount says so rather than to run the task without its data.
func TestVolumesOfADriverThatCannot(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.HostVolumes = map[string]*event.HostVolume{"data": {Name: "data", Path: t.TempDir()}}
	startAgent(t, cfg)
	job := shellJob("true")
	group := job.TaskGroups[0]
	group.Volumes = map[string]event.VolumeRequest{"db": {Type: "host", Source: "data"}}
	group.Tasks[0].VolumeMounts = []event.VolumeMount{{Volume: "db", Destination: "/data"}}
	id := s.place(job)
	s.untilStatus(id, event.ClientFailed)
	var told []string
	s.mu.Lock()
	for _, e := range s.tasks[id][group.Tasks[0].Name].Events {
		told = append(told, e.Message())
	}
	s.mu.Unlock()
	if !slices.Contains(told, `driver "raw_exec" cannot mount volumes`) {
		t.Errorf("told %q", told)
	}
}
