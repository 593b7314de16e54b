package main

import (
	"testing"

	"drover/cmd/internal/cli"
)

// What job init writes is a job that is valid as it stands, without a warning.
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
		if err != nil || len(warnings)+len(job.Warnings) > 0 {
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
