package event

import (
	"reflect"
	"testing"
	"time"
)

func TestEveryFieldHasAnEffect(t *testing.T) {
	for _, c := range []struct {
		typ     reflect.Type
		effects map[string]effect
	}{
		{reflect.TypeFor[Job](), jobEffects},
		{reflect.TypeFor[TaskGroup](), groupEffects},
		{reflect.TypeFor[Task](), taskEffects},
	} {
		for i := range c.typ.NumField() {
			if name := c.typ.Field(i).Name; c.effects[name] == 0 {
				t.Errorf("what does a change of %s.%s do to running allocations?", c.typ.Name(), name)
			}
		}
		if len(c.effects) != c.typ.NumField() {
			t.Errorf("%s has %d fields, the table %d", c.typ.Name(), c.typ.NumField(), len(c.effects))
		}
	}
}

func diffJob() *Job {
	return &Job{ID: "j", Priority: 50, Meta: map[string]string{"a": "1"}, TaskGroups: []*TaskGroup{
		{Name: "g", Count: 1, Tasks: []*Task{{
			Name: "t", Driver: "raw_exec", Config: map[string]any{"command": "x"},
			Meta: map[string]string{"own": "1"}, LogConfig: LogConfig{MaxFiles: 10, MaxFileSizeMB: 10},
		}}},
		{Name: "other", Tasks: []*Task{{Name: "t"}}},
	}}
}

func TestTaskGroupChange(t *testing.T) {
	const nothing, update, replace = "nothing", "update", "replace"
	for _, c := range []struct {
		name   string
		change func(j *Job, g *TaskGroup, task *Task)
		want   string
	}{
		{"the same", func(*Job, *TaskGroup, *Task) {}, nothing},
		{"facts about the job", func(j *Job, _ *TaskGroup, _ *Task) { j.Version, j.Status, j.Stop = 7, "running", true }, nothing},
		{"another group", func(j *Job, _ *TaskGroup, _ *Task) { j.TaskGroups[1].Tasks[0].Driver = "exec" }, nothing},
		{"empty for nil", func(_ *Job, g *TaskGroup, task *Task) { g.Services, task.Env = []Service{}, map[string]string{} }, nothing},
		{"priority", func(j *Job, _ *TaskGroup, _ *Task) { j.Priority = 60 }, update},
		{"datacenters", func(j *Job, _ *TaskGroup, _ *Task) { j.Datacenters = []string{"dc2"} }, update},
		{"count", func(_ *Job, g *TaskGroup, _ *Task) { g.Count = 2 }, update},
		{"constraint of the task", func(_ *Job, _ *TaskGroup, task *Task) { task.Constraints = []Constraint{{Operand: "="}} }, update},
		{"restart policy", func(_ *Job, g *TaskGroup, _ *Task) { g.RestartPolicy.Attempts = 9 }, update},
		{"restart renders templates", func(_ *Job, _ *TaskGroup, task *Task) { task.RestartPolicy.RenderTemplates = true }, replace},
		{"kill timeout", func(_ *Job, _ *TaskGroup, task *Task) { task.KillTimeout = time.Minute }, update},
		{"log size", func(_ *Job, _ *TaskGroup, task *Task) { task.LogConfig.MaxFiles = 3 }, update},
		{"logs disabled", func(_ *Job, _ *TaskGroup, task *Task) { task.LogConfig.Disabled = true }, replace},
		{"service", func(_ *Job, g *TaskGroup, _ *Task) { g.Services = []Service{{Name: "s"}} }, update},
		{"connect", func(_ *Job, g *TaskGroup, _ *Task) { g.Services = []Service{{Connect: &ConsulConnect{}}} }, replace},
		{"driver", func(_ *Job, _ *TaskGroup, task *Task) { task.Driver = "exec" }, replace},
		{"config", func(_ *Job, _ *TaskGroup, task *Task) { task.Config = map[string]any{"command": "y"} }, replace},
		{"environment", func(_ *Job, _ *TaskGroup, task *Task) { task.Env = map[string]string{"A": "b"} }, replace},
		{"memory", func(_ *Job, _ *TaskGroup, task *Task) { task.Resources.MemoryMB = 10 }, replace},
		{"ports", func(_ *Job, g *TaskGroup, _ *Task) {
			g.Networks = []NetworkResource{{DynamicPorts: []Port{{Label: "p"}}}}
		}, replace},
		{"disk", func(_ *Job, g *TaskGroup, _ *Task) { g.EphemeralDisk.SizeMB = 1 }, replace},
		{"job meta", func(j *Job, _ *TaskGroup, _ *Task) { j.Meta = map[string]string{"a": "2"} }, replace},
		{"group meta", func(_ *Job, g *TaskGroup, _ *Task) { g.Meta = map[string]string{"b": "2"} }, replace},
		{"job meta that the task overrides", func(j *Job, _ *TaskGroup, _ *Task) { j.Meta["own"] = "2" }, update},
		{"task renamed", func(_ *Job, _ *TaskGroup, task *Task) { task.Name = "u" }, replace},
		{"task added", func(_ *Job, g *TaskGroup, _ *Task) { g.Tasks = append(g.Tasks, &Task{Name: "u"}) }, replace},
		{"group gone", func(j *Job, _ *TaskGroup, _ *Task) { j.TaskGroups = j.TaskGroups[1:] }, replace},
	} {
		from, to := diffJob(), diffJob()
		c.change(to, to.TaskGroups[0], to.TaskGroups[0].Tasks[0])
		for _, pair := range [][2]*Job{{from, to}, {to, from}} {
			got := nothing
			switch r, u := TaskGroupChange(pair[0], pair[1], "g"); {
			case r:
				got = replace
			case u:
				got = update
			}
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	}
}

func TestSpecChanged(t *testing.T) {
	a, b := diffJob(), diffJob()
	b.Version, b.SubmitTime, b.ModifyIndex, b.VersionTag = 3, 4, 5, &JobVersionTag{Name: "x"}
	if SpecChanged(a, b) {
		t.Error("facts about a job are no part of its spec")
	}
	b.TaskGroups[1].Count = 5
	if !SpecChanged(a, b) {
		t.Error("a count is part of the spec")
	}
}
