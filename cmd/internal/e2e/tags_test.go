package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// A version that works is given a name before others follow, and is gone back to by it, long after its number would have
// been forgotten; also by the next start of the servers.
func TestVersionTags(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	say := func(word string) *api.Job { return shell("web", "service", 1, "echo "+word+"; exec sleep 3600") }
	register(t, c, say("first"))
	awaitCount(t, c, "web", "running", 1)
	_, err := c.Jobs().TagVersion("web", 0, "golden", "it works", nil)
	check("tag", err)
	_, err = c.Jobs().TagVersionOpts("web", "golden", &api.TagVersionRequest{Latest: true, Description: "it works well"}, nil)
	check("tag again", err)
	job, _, err := c.Jobs().Info("web", nil)
	check("read", err)
	if job.VersionTag == nil || job.VersionTag.Name != "golden" || job.VersionTag.Description != "it works well" || job.VersionTag.TaggedTime < *job.SubmitTime {
		t.Errorf("the job has the tag %+v", job.VersionTag)
	}
	for n := range 8 {
		register(t, c, say(fmt.Sprint("try", n)))
	}
	if _, err := c.Jobs().TagVersion("web", 1, "late", "", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "at version 1 not found") {
		t.Errorf("a version that is not kept: %v", err)
	}
	if _, err := c.Jobs().TagVersion("web", 8, "golden", "", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "already exists on a different version") {
		t.Errorf("a name that another version has: %v", err)
	}
	tag := "golden"
	versions, diffs, _, err := c.Jobs().VersionsOpts("web", &api.VersionsOptions{DiffTag: tag}, nil)
	check("versions", err)
	if len(versions) != 7 || len(diffs) != 7 || *versions[6].Version != 0 || versions[6].VersionTag == nil || diffs[6].Type != "None" || diffs[0].Type != "Edited" {
		t.Fatalf("%d versions, %d differences", len(versions), len(diffs))
	}

	a.kill()
	a.start(t)
	awaitNodes(t, c, 1)
	if out := a.ok(t, "job", "history", "-version", "0", "web"); !strings.Contains(out, "Tag Name        = golden\nTag Description = it works well") {
		t.Errorf("history says:\n%s", out)
	}
	a.ok(t, "job", "revert", "-detach", "web", "golden")
	allocs := awaitAllocs(t, c, "web", func(list []*api.AllocationListStub) bool {
		running := with(list, "running")
		return len(running) == 1 && running[0].JobVersion == 9
	})
	awaitLog(t, c, with(allocs, "running")[0].ID, "task", "first\n")
	if out := a.ok(t, "job", "tag", "apply", "-name", "again", "web"); out != "Job version 9 tagged with name \"again\"\n" {
		t.Errorf("tag apply says %q", out)
	}
	if r := a.drover(t, "job", "tag", "unset", "-name", "nope", "web"); r.code != 1 || !strings.Contains(r.stderr, `tag "nope" not found on any version of job "web"`) {
		t.Errorf("a tag that is not there: %s", r)
	}
	_, err = c.Jobs().UntagVersion("web", "golden", nil)
	check("untag", err)
	if versions, _, _, err := c.Jobs().Versions("web", false, nil); err != nil || len(versions) != 6 || *versions[5].Version != 4 {
		t.Errorf("%d versions are left (%v)", len(versions), err)
	}
}
