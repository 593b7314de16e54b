package cli

import (
	"testing"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

func TestHostVolumes(t *testing.T) {
	a := &apiclient.Allocation{AllocStub: apiclient.AllocStub{TaskGroup: "g"}, Job: &event.Job{TaskGroups: []*event.TaskGroup{{
		Name: "g", Volumes: map[string]event.VolumeRequest{
			"db": {Type: "host", Source: "data"}, "tls": {Type: "host", Source: "certs", ReadOnly: true}, "cloud": {Type: "csi", Source: "ebs"},
		},
		Tasks: []*event.Task{
			{Name: "t", VolumeMounts: []event.VolumeMount{{Volume: "db"}, {Volume: "tls"}, {Volume: "cloud"}}}, {Name: "plain"},
		},
	}}}}
	if got, want := hostVolumes(a, "t"), "ID     Read Only\ndata   false\ncerts  true"; got != want {
		t.Errorf("volumes of a task:\n%s\nwant:\n%s", got, want)
	}
	if got := hostVolumes(a, "plain"); got != "" {
		t.Errorf("volumes of a task that has none: %s", got)
	}
	node := &apiclient.Node{HostVolumes: map[string]*event.HostVolume{"data": {Path: "/srv/data"}, "certs": {Path: "/etc/certs", ReadOnly: true}}}
	if got, want := hostVolumeTable(node), "Name   ReadOnly  Source\ncerts  true      /etc/certs\ndata   false     /srv/data"; got != want {
		t.Errorf("volumes of a node:\n%s\nwant:\n%s", got, want)
	}
}
