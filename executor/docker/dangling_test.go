package docker

import (
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"drover/executor/driver"
)

// A container that its node's agent has forgotten goes, in time; one of another node, and one that is known, stays.
func TestDangling(t *testing.T) {
	owner := func(name string, change ...func(*Config)) *Driver {
		return shared.driver(t, append(change, func(c *Config) { c.Owner, c.Dangling = name, Dangling{Period: time.Hour, Grace: time.Minute} })...)
	}
	there := func(r driver.Running) bool {
		_, err := shared.API.ContainerInspect(t.Context(), string(r.Handle()), client.ContainerInspectOptions{})
		if err != nil && !cerrdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	forgetful := owner("one")
	forgotten := begin(t, forgetful, task(t, shell("sleep 1000")))
	theirs := begin(t, owner("other"), task(t, shell("sleep 1000")))
	foundTask := task(t, shell("sleep 1000"))
	begin(t, forgetful, foundTask)

	next := owner("one")
	found, err := next.Recover(t.Context(), foundTask, nil)
	if err != nil {
		t.Fatal(err)
	}
	own := begin(t, next, task(t, shell("sleep 1000")))
	next.removeDangling(t.Context(), time.Now())
	if !there(forgotten) {
		t.Error("a container was removed before its time")
	}
	later := time.Now().Add(2 * time.Minute)
	dry := owner("one")
	dry.cfg.Dangling.DryRun = true
	dry.removeDangling(t.Context(), later)
	if !there(forgotten) || !there(own) {
		t.Error("a container was removed where that was only to be tried")
	}
	next.removeDangling(t.Context(), later)
	if there(forgotten) {
		t.Error("a container that nobody knows stays for ever")
	}
	if !there(theirs) || !there(found) || !there(own) {
		t.Errorf("there are those of another node %v, found again %v, own %v", there(theirs), there(found), there(own))
	}
}
