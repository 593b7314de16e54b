package jobspec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Job files and parts of them as they stand in workshop slides of 2016 to 2019 are in testdata/workshops. Slides leave
// out and highlight; that is undone here, and a part is put where it belongs. Nothing else is changed.
var (
	leftOut     = regexp.MustCompile(`(?m)^\s*\.{3,}\s*$`)
	highlighted = regexp.MustCompile(`(?m)^\*`)
	firstWord   = regexp.MustCompile(`^\s*([a-z]+)`)
)

func completeSlide(text string) string {
	text = highlighted.ReplaceAllString(text, " ")
	text = leftOut.ReplaceAllString(text, "")
	code := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(text, "")
	text += strings.Repeat("}\n", max(0, strings.Count(code, "{")-strings.Count(code, "}")))
	inJob, inGroup, inTask := `job "slide" {`, `group "group" {`, `task "task" {`
	var around []string
	switch firstWord.FindStringSubmatch(text)[1] {
	case "job":
	case "constraint", "update", "group":
		around = []string{inJob}
	case "restart", "count", "task":
		around = []string{inJob, inGroup}
	case "resources", "service", "config", "template", "artifact":
		around = []string{inJob, inGroup, inTask}
	case "tags":
		around = []string{inJob, inGroup, inTask, "service {"}
	default:
		return ""
	}
	return strings.Join(append(around, text), "\n") + strings.Repeat("\n}", len(around)) + "\n"
}

// missing is what a validator may say about a part of a job file: that the rest is not there.
var missing = regexp.MustCompile(`^(job\.group: at least one group is required|group\.[^ ]*: at least one task is required|group\.[^ ]*\.driver: is required|group\.[^ ]*\.port: the group's network has no port "[a-z]+")$`)

func TestWorkshopFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/workshops/*.nomad")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	whole := 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(ParseConfig{Path: filepath.Base(file), Body: []byte(completeSlide(string(body))), Strict: true})
		if strings.Contains(string(body), "max_parallel = X") { // an exercise: the numbers are to be filled in
			if err == nil || !strings.Contains(err.Error(), "max_parallel") {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		_, err = Validate(r.Job)
		if err == nil {
			whole++
			continue
		}
		for _, problem := range err.(ValidationErrors) {
			if !missing.MatchString(problem.Error()) {
				t.Errorf("%s: %v", file, problem)
			}
		}
	}
	t.Logf("%d files are whole jobs", whole)
}

// What old files say is told with the form of today.
func TestWorkshopWarnings(t *testing.T) {
	datadriven.RunTest(t, "testdata/old", func(t *testing.T, d *datadriven.TestData) string {
		var name string
		d.ScanArgs(t, "file", &name)
		body, err := os.ReadFile(filepath.Join("testdata/workshops", name))
		if err != nil {
			t.Fatal(err)
		}
		text := completeSlide(string(body))
		r, err := Parse(ParseConfig{Path: name, Body: []byte(text), Strict: true})
		if err != nil {
			return err.Error() + "\n"
		}
		warnings, err := Validate(r.Job)
		out := strings.Join(append(r.Warnings, warnings...), "\n") + "\n"
		if err != nil {
			out += fmt.Sprintf("invalid: %v\n", err)
		}
		return out
	})
}
