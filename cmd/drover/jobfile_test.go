package main

import (
	"slices"
	"strings"
	"testing"

	"drover/cmd/internal/cli"
)

// What the examples of a mesh are warned of.
const (
	unserved  = "kept with the job, but nothing acts on it yet: job.group.api.service, job.group.dashboard.service"
	unbridged = `.network.mode: will not run here: no node of this version makes networks of the mode "bridge", so nothing of the group is placed`
)

// What job init writes is a job that is valid as it stands, without a warning but for the mesh, of which
// this version has nothing.
func TestExamplesAreValid(t *testing.T) {
	names := cli.Examples()
	if len(names) < 4 {
		t.Fatalf("only %q", names)
	}
	for _, name := range names {
		job, err := parseJob(cli.JobSource{Path: name + ".nomad.hcl", Body: cli.Example(name), Strict: true})
		if err != nil {
			t.Error(err)
			continue
		}
		warnings, err := validateJob(job.Job)
		var parsed, checked []string
		if strings.HasPrefix(name, "connect") {
			parsed, checked = []string{unserved}, []string{"group.api" + unbridged, "group.dashboard" + unbridged}
		}
		if err != nil || !slices.Equal(job.Warnings, parsed) || !slices.Equal(warnings, checked) {
			t.Errorf("%s: %v %q %q", name, err, warnings, job.Warnings)
		}
	}
}

// A job file from elsewhere reads no files of this machine.
func TestRemoteJobFilesReadNoFiles(t *testing.T) {
	body := []byte("job \"j\" {\n  meta {\n    x = file(\"jobfile.go\")\n  }\n}\n")
	if _, err := parseJob(cli.JobSource{Path: "http://example.com/j.hcl", Body: body, Remote: true}); err == nil {
		t.Error("it read one")
	}
	if _, err := parseJob(cli.JobSource{Path: "j.hcl", Body: body}); err != nil {
		t.Error(err)
	}
}
