package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What slides do to a job file: lines are marked with a star, and parts are left out.
var (
	slideMark  = regexp.MustCompile(`(?m)^\*`)
	slideGap   = regexp.MustCompile(`(?m)^\s*\.{3,}\s*$`)
	slideStart = regexp.MustCompile(`^\s*job\b`)
	// A slide that shows an outline has no group, task or driver yet, or no network.
	outline = regexp.MustCompile(`(at least one (group|task) is required|\.driver: is required|the group's network has no port "\w+")$`)
)

// TestWorkshopJobFiles has the program validate, against a server, every job file of the workshop slides that begins with
// its job, as it stands there.
func TestWorkshopJobFiles(t *testing.T) {
	t.Parallel()
	a := newAgent(t, agentConfig{server: true})
	files, err := filepath.Glob(filepath.Join(moduleRoot, "commands/jobspec/testdata/workshops/*.nomad"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	whole, outlines, old := 0, 0, 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := slideGap.ReplaceAllString(slideMark.ReplaceAllString(string(body), " "), "")
		if !slideStart.MatchString(text) || strings.Contains(text, "max_parallel = X") {
			continue // a part of one, or an exercise whose numbers are to be filled in
		}
		text += strings.Repeat("}\n", max(0, strings.Count(text, "{")-strings.Count(text, "}")))
		path := filepath.Join(t.TempDir(), filepath.Base(file))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := a.drover(t, "job", "validate", path)
		if strings.Contains(r.String(), "old syntax") {
			old++
		}
		if r.code == 0 {
			whole++
			continue
		}
		outlines++
		_, problems, found := strings.Cut(r.String(), "Job validation errors:")
		if !found {
			t.Errorf("%s: %s", filepath.Base(file), r)
		}
		for line := range strings.Lines(problems) {
			if line = strings.TrimSpace(line); line != "" && strings.Contains(line, ": ") && !outline.MatchString(line) {
				t.Errorf("%s: %s", filepath.Base(file), line)
			}
		}
	}
	if whole < 4 {
		t.Errorf("only %d files are whole jobs", whole)
	}
	t.Logf("%d whole jobs are valid, %d outlines lack parts only; %d in an old syntax", whole, outlines, old)
}
