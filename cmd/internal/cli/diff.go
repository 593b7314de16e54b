package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/projections/jobdiff"
)

// differ lays out the difference of two versions of a job. Each level is indented
// by two, and its names stand below one another behind the longest marker.
type differ struct {
	ui      *term
	verbose bool // show what is inside of groups and tasks that come or go
	lines   []string
}

// jobDiff shows the difference of two versions of a job.
func (in *invocation) jobDiff(d *jobdiff.Job, verbose bool) string {
	f := &differ{ui: in.ui, verbose: verbose}
	level := f.level(0, d.Fields, d.Objects)
	level.width = max(level.width, len(marker(d.Type)))
	level.line(d.Type, fmt.Sprintf("Job: %q", d.ID))
	if verbose || d.Type != jobdiff.Added && d.Type != jobdiff.Deleted {
		level.body(d.Fields, d.Objects)
	}
	groups := &diffLevel{differ: f, indent: 0}
	for _, g := range d.TaskGroups {
		groups.width = max(groups.width, len(marker(g.Type)))
	}
	for _, g := range d.TaskGroups {
		groups.group(g)
		f.lines = append(f.lines, "")
	}
	return strings.TrimRight(strings.Join(f.lines, "\n"), "\n")
}

// diffLevel is where one level begins and how wide its markers are.
type diffLevel struct {
	*differ
	indent int
	width  int // of the longest marker; 0 = there is none
}

func marker(t jobdiff.Type) string {
	switch t {
	case jobdiff.Added:
		return "+"
	case jobdiff.Deleted:
		return "-"
	case jobdiff.Edited:
		return "+/-"
	}
	return ""
}

func (f *differ) level(indent int, fields []*jobdiff.Field, objects []*jobdiff.Object) *diffLevel {
	l := &diffLevel{differ: f, indent: indent}
	for _, field := range fields {
		l.width = max(l.width, len(marker(field.Type)))
	}
	for _, o := range objects {
		l.width = max(l.width, len(marker(o.Type)))
	}
	return l
}

// before is what stands in front of a name.
func (l *diffLevel) before(t jobdiff.Type) string {
	text := strings.Repeat(" ", l.indent)
	if l.width == 0 {
		return text
	}
	m := marker(t)
	return text + l.ui.painted(colourOf(t), m) + strings.Repeat(" ", l.width-len(m)+1)
}

func colourOf(t jobdiff.Type) string {
	switch t {
	case jobdiff.Added:
		return ansiGreen
	case jobdiff.Deleted:
		return ansiRed
	case jobdiff.Edited:
		return ansiYellow
	}
	return ""
}

func (l *diffLevel) line(t jobdiff.Type, text string) {
	l.lines = append(l.lines, l.before(t)+text)
}

// body shows the fields and objects of a level.
func (l *diffLevel) body(fields []*jobdiff.Field, objects []*jobdiff.Object) {
	longest := 0
	for _, f := range fields {
		longest = max(longest, len(f.Name))
	}
	for _, f := range fields {
		l.line(f.Type, fmt.Sprintf("%-*s %s", longest+1, f.Name+":", l.values(f)))
	}
	for _, o := range objects {
		l.line(o.Type, o.Name+" {")
		// What is inside moves with the name, however long the marker.
		inside := l.level(l.indent+2+l.width-len(marker(o.Type)), o.Fields, o.Objects)
		inside.body(o.Fields, o.Objects)
		end := l.indent
		if l.width > 0 {
			end += l.width + 1
		}
		l.lines = append(l.lines, strings.Repeat(" ", end)+"}")
	}
}

func (l *diffLevel) values(f *jobdiff.Field) string {
	text := fmt.Sprintf("%q", f.New)
	switch f.Type {
	case jobdiff.Deleted:
		text = fmt.Sprintf("%q", f.Old)
	case jobdiff.Edited:
		text = fmt.Sprintf("%q => %q", f.Old, f.New)
	}
	return text + l.notes(f.Annotations)
}

func (f *differ) notes(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	coloured := make([]string, len(notes))
	for i, n := range notes {
		coloured[i] = f.ui.painted(noteColour(n), n)
	}
	return " (" + strings.Join(coloured, ", ") + ")"
}

// noteColour is how alarming a note or a kind of update is.
func noteColour(note string) string {
	switch note {
	case jobdiff.ForcesCreate, jobdiff.UpdateCreate:
		return ansiGreen
	case jobdiff.ForcesDestroy, jobdiff.UpdateDestroy:
		return ansiRed
	case jobdiff.ForcesInPlaceUpdate, jobdiff.UpdateInPlace, jobdiff.UpdateMigrate:
		return ansiCyan
	case jobdiff.ForcesDestructiveUpdate, jobdiff.UpdateCreateAndDestroy, jobdiff.UpdateCanary:
		return ansiYellow
	}
	return ""
}

func (l *diffLevel) group(g *jobdiff.TaskGroup) {
	var updates []string
	for _, kind := range slices.Sorted(maps.Keys(g.Updates)) {
		updates = append(updates, l.ui.painted(noteColour(kind), fmt.Sprintf("%d %s", g.Updates[kind], kind)))
	}
	text := fmt.Sprintf("Task Group: %q", g.Name)
	if len(updates) > 0 {
		text += " (" + strings.Join(updates, ", ") + ")"
	}
	l.line(g.Type, text)
	inside := l.below(g.Type, g.Fields, g.Objects, g.Tasks)
	for _, t := range g.Tasks {
		inside.line(t.Type, fmt.Sprintf("Task: %q%s", t.Name, l.notes(t.Annotations)))
		inside.below(t.Type, t.Fields, t.Objects, nil)
	}
}

// below shows the fields and objects of a group or task and returns the level that
// they stand on. Of one that comes or goes they are not shown, unless asked for.
func (l *diffLevel) below(t jobdiff.Type, fields []*jobdiff.Field, objects []*jobdiff.Object, tasks []*jobdiff.Task) *diffLevel {
	if (t == jobdiff.Added || t == jobdiff.Deleted) && !l.verbose {
		fields, objects = nil, nil
	}
	inside := l.level(l.indent+2, fields, objects)
	for _, task := range tasks {
		inside.width = max(inside.width, len(marker(task.Type)))
	}
	inside.body(fields, objects)
	return inside
}
