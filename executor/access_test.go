package executor

import (
	"slices"
	"strings"
	"testing"

	"drover/eventlog/event"
)

func TestUsersThatAreKeptFromTasks(t *testing.T) {
	usual := Access{}.withDefaults()
	other := Access{UsersDenied: []string{"daemon"}, CheckedDrivers: []string{"raw_exec"}}.withDefaults()
	none := Access{UsersDenied: []string{}}.withDefaults()
	for _, c := range []struct {
		access       *Access
		driver, user string
		refused      bool
	}{
		{&usual, "exec", "", false}, {&usual, "exec", "nobody", false}, {&usual, "exec", "root", true}, {&usual, "java", "0", true},
		{&usual, "exec", "root:daemon", true}, {&usual, "raw_exec", "root", false}, {&usual, "docker", "root", false},
		{&usual, "exec", "no-such-user", false}, // the driver says so
		{&other, "raw_exec", "daemon", true}, {&other, "raw_exec", "root", false}, {&other, "exec", "daemon", false},
		{&none, "exec", "root", false},
	} {
		err := c.access.checkUser(c.driver, c.user)
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "user.denylist") {
			t.Errorf("%s as %q: %v", c.driver, c.user, err)
		}
	}
}

func TestWhatTheOperatorKeepsFromTasks(t *testing.T) {
	t.Setenv("DROVER_TEST_HIDDEN", "secret")
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.Access = Access{DriversAllowed: []string{"raw_exec", "exec"}, DriversDenied: []string{"exec"}, EnvDenied: []string{"DROVER_TEST_*"},
		UsersDenied: []string{"daemon"}, CheckedDrivers: []string{"raw_exec"}}
	a, _ := startAgent(t, cfg)
	var offered []string
	for name := range a.node.Load().Drivers {
		offered = append(offered, name)
	}
	if !slices.Equal(offered, []string{"raw_exec"}) {
		t.Errorf("offered: %v", offered)
	}
	look := shellJob(`test -z "$DROVER_TEST_HIDDEN"`)
	look.Type = "batch"
	hidden := s.place(look)
	job := shellJob("true")
	job.TaskGroups[0].Tasks[0].User = "daemon"
	denied := s.place(job)
	s.untilStatus(hidden, event.ClientComplete)
	s.untilStatus(denied, event.ClientFailed)
	if history := s.history(denied, "main"); !strings.Contains(history, "Driver Failure") || strings.Contains(history, "Started") {
		t.Errorf("a task as a user that is kept from it: %s", history)
	}
}
