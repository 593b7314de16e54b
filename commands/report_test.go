package commands

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/eventlog/event"
)

// TestEventsToldTwice: an agent that was killed before it noted the answer to a
// report tells the same events again, with new ones after them.
func TestEventsToldTwice(t *testing.T) {
	at := func(times ...int64) (list []event.TaskEvent) {
		for _, time := range times {
			list = append(list, event.TaskEvent{Type: event.TaskStarted, Time: time})
		}
		return list
	}
	tasks := func(events []event.TaskEvent) map[string]*event.TaskState {
		return map[string]*event.TaskState{"main": {State: event.TaskRunning, Events: events}}
	}
	for _, c := range []struct{ known, told, news []event.TaskEvent }{
		{nil, at(1, 2), at(1, 2)},
		{at(1, 2), at(3), at(3)},
		{at(1, 2), at(1, 2, 3), at(3)},
		{at(1, 2), at(1, 2), at()},
		{at(1, 2), nil, nil},
	} {
		told := tasks(c.told)
		news := newsOf(tasks(c.known), told)
		var got []event.TaskEvent
		if main := news["main"]; main != nil {
			got = main.Events
		}
		if len(got) != len(c.news) || len(c.news) > 0 && !cmp.Equal(got, c.news) {
			t.Errorf("after %v, of %v is new %v, want %v", c.known, c.told, got, c.news)
		}
		if len(c.known) > 0 && len(c.news) == 0 && len(news) > 0 {
			t.Errorf("after %v, %v is told again, and the task counts as changed", c.known, c.told)
		}
		if !cmp.Equal(told, tasks(c.told)) {
			t.Errorf("the report itself was changed: %v", told)
		}
	}
	dead := map[string]*event.TaskState{"main": {State: event.TaskDead, Events: at(1)}}
	if news := newsOf(tasks(at(1)), dead); news["main"] == nil || len(news["main"].Events) > 0 {
		t.Errorf("a new state without new events: %v", news)
	}
	if news := newsOf(nil, tasks(at(1))); len(news["main"].Events) != 1 {
		t.Errorf("of a task never heard of: %v", news)
	}
}
