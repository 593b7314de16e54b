package e2e_test

import (
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// A job whose tasks would wait for an hour before they are killed is stopped by somebody who does not wait.
func TestStopWithoutShutdownDelay(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	slow := func(id string) *api.Job {
		job := shell(id, "service", 1, "exec sleep 3600")
		job.TaskGroups[0].ShutdownDelay = ptr(time.Hour)
		job.TaskGroups[0].Tasks[0].ShutdownDelay = time.Hour
		return job
	}
	for _, id := range []string{"slow", "purged"} {
		register(t, c, slow(id))
		awaitCount(t, c, id, "running", 1)
	}
	began := time.Now()
	_, _, err := c.Jobs().DeregisterOpts("slow", &api.DeregisterOptions{NoShutdownDelay: true}, nil)
	check("stop", err)
	awaitCount(t, c, "slow", "complete", 1)
	a.ok(t, "job", "stop", "-purge", "-no-shutdown-delay", "-detach", "-yes", "purged")
	awaitCount(t, c, "purged", "complete", 1)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}
