package main

import (
	"context"
	"strings"
	"testing"

	"drover/cmd/internal/cli"
	"drover/eventlog"
)

func TestParseJobFillsInWhatTheCommandLineNeeds(t *testing.T) {
	body := `
variable "count" { default = 1 }
job "web" {
  namespace = "prod"
  group "front" {
    count = var.count
    task "server" {
      driver = "raw_exec"
      config { command = "/bin/sleep" }
    }
  }
}`
	job, err := parseJob(cli.JobSource{Path: "web.nomad.hcl", Body: []byte(body), Strict: true,
		VarFiles: []cli.VarFile{{Path: "v.hcl", Body: []byte("count = 2")}}, Vars: []string{"count=3"}, Environ: []string{"DROVER_VAR_count=4"}})
	if err != nil {
		t.Fatal(err)
	}
	if job.Job.TaskGroups[0].Count != 3 || !job.NamespaceWritten || job.RegionWritten || job.Submission == nil || job.Submission.Format != "hcl2" {
		t.Errorf("read as %+v", job)
	}
	if _, err := validateJob(job.Job); err != nil {
		t.Errorf("a good job is refused: %v", err)
	}
	_, err = parseJob(cli.JobSource{Path: "web.nomad.hcl", Body: []byte(strings.Replace(body, "driver", "drvier", 1))})
	if err == nil || !strings.Contains(err.Error(), "web.nomad.hcl:8,") || !strings.Contains(err.Error(), "driver") {
		t.Errorf("a misspelt key: %v", err)
	}
	asJSON, err := parseJob(cli.JobSource{Path: "web.json", JSON: true, Body: []byte(`{"Job":{"ID":"web","TaskGroups":[]}}`)})
	if err != nil || asJSON.Job.ID != "web" || asJSON.NamespaceWritten {
		t.Errorf("JSON: %+v, %v", asJSON, err)
	}
	if _, err := validateJob(asJSON.Job); err == nil {
		t.Error("a job without groups is valid")
	}
}

func TestVerifyDirRefusesWhatIsNoLog(t *testing.T) {
	_, err := verifyDir(context.Background(), t.TempDir(), func(uint64, uint64) {})
	if err == nil || !strings.Contains(err.Error(), "not the data directory of a log") {
		t.Errorf("got %v", err)
	}
}

// TestVerifyDirFindsTheLog in the data directory of an agent, and says where it
// ends.
func TestVerifyDirFindsTheLog(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	log, err := eventlog.Open(eventlog.Config{Dir: dir + "/server", ClusterName: "test", ReplicaID: 1, RaftAddress: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	head, err := log.Barrier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if head, err = log.Append(ctx, head, [][]byte{[]byte("one"), []byte("two")}); err != nil {
		t.Fatal(err)
	}
	if _, err := verifyDir(ctx, dir, func(uint64, uint64) {}); err == nil || !strings.Contains(err.Error(), "running server") {
		t.Errorf("a log in use: %v", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := verifyDir(ctx, dir, func(uint64, uint64) {})
	if err != nil || got.Bad || got.Records != 2 || got.HeadIndex != head.Index || len(got.HeadHash) != 64 {
		t.Errorf("got %+v, %v", got, err)
	}
}
