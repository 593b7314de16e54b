package jobdiff

import (
	"maps"
	"slices"

	"drover/eventlog/event"
)

// Type says what became of something from the old version to the new one.
type Type string

// The four things that can become of something.
const (
	None    Type = "None"
	Added   Type = "Added"
	Deleted Type = "Deleted"
	Edited  Type = "Edited"
)

// Job is what differs between two versions of a job.
type Job struct {
	Type       Type
	ID         string
	Fields     []*Field
	Objects    []*Object
	TaskGroups []*TaskGroup
}

// TaskGroup is what differs in a group; every group of either version is there.
type TaskGroup struct {
	Type    Type
	Name    string
	Fields  []*Field
	Objects []*Object
	Tasks   []*Task
	// Updates counts what would be done to the group's allocations, by the words
	// of the Update constants.
	Updates map[string]uint64
}

// Task is what differs in a task; every task of either version is there.
type Task struct {
	Type        Type
	Name        string
	Fields      []*Field
	Objects     []*Object
	Annotations []string // what it means for those that run: see the Forces constants
}

// Object is what differs in a part that has fields of its own. Fields that are
// the same stand beside those that differ, so that a reader sees them in context.
type Object struct {
	Type    Type
	Name    string
	Fields  []*Field
	Objects []*Object
}

// Field is one value of the old and the new version; "" is none.
type Field struct {
	Type        Type
	Name        string
	Old, New    string
	Annotations []string
}

// Compare tells old from new. Either may be nil, not both: there is no such
// version.
func Compare(old, new *event.Job) *Job {
	d := &Job{ID: either(old, new).ID}
	d.Fields = changedOnly(fields(structOf(old), structOf(new)))
	d.Objects = objects(structOf(old), structOf(new))
	for _, pair := range pairsOf(groupsOf(old), groupsOf(new), func(g *event.TaskGroup) string { return g.Name }) {
		d.TaskGroups = append(d.TaskGroups, compareGroups(pair.old, pair.new))
	}
	d.Type = typeOf(old == nil, new == nil, len(d.Fields)+len(d.Objects) > 0 ||
		slices.ContainsFunc(d.TaskGroups, func(g *TaskGroup) bool { return g.Type != None }))
	return d
}

func compareGroups(old, new *event.TaskGroup) *TaskGroup {
	d := &TaskGroup{Name: either(old, new).Name}
	d.Fields = changedOnly(fields(structOf(old), structOf(new)))
	d.Objects = objects(structOf(old), structOf(new))
	for _, pair := range pairsOf(tasksOf(old), tasksOf(new), func(t *event.Task) string { return t.Name }) {
		d.Tasks = append(d.Tasks, compareTasks(pair.old, pair.new))
	}
	d.Type = typeOf(old == nil, new == nil, len(d.Fields)+len(d.Objects) > 0 ||
		slices.ContainsFunc(d.Tasks, func(t *Task) bool { return t.Type != None }))
	return d
}

func compareTasks(old, new *event.Task) *Task {
	d := &Task{Name: either(old, new).Name}
	d.Fields = changedOnly(fields(structOf(old), structOf(new)))
	d.Objects = objects(structOf(old), structOf(new))
	d.Type = typeOf(old == nil, new == nil, len(d.Fields)+len(d.Objects) > 0)
	return d
}

func groupsOf(j *event.Job) []*event.TaskGroup {
	if j == nil {
		return nil
	}
	return j.TaskGroups
}

func tasksOf(g *event.TaskGroup) []*event.Task {
	if g == nil {
		return nil
	}
	return g.Tasks
}

func either[T any](old, new *T) *T {
	if new != nil {
		return new
	}
	return old
}

// pair is what has one name in the two versions.
type pair[T any] struct{ old, new *T }

// pairsOf matches by name and sorts by it.
func pairsOf[T any](old, new []*T, name func(*T) string) []pair[T] {
	byName := make(map[string]pair[T], len(new))
	for _, o := range old {
		byName[name(o)] = pair[T]{old: o}
	}
	for _, n := range new {
		p := byName[name(n)]
		p.new = n
		byName[name(n)] = p
	}
	var list []pair[T]
	for _, key := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[key])
	}
	return list
}

func typeOf(noOld, noNew, differs bool) Type {
	switch {
	case noOld:
		return Added
	case noNew:
		return Deleted
	case differs:
		return Edited
	}
	return None
}

func changedOnly(list []*Field) []*Field {
	return slices.DeleteFunc(list, func(f *Field) bool { return f.Type == None })
}
