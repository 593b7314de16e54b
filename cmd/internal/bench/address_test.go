package bench

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"drover/cmd/internal/apiclient"
)

// TestAnotherServer loads a server that runs already, and expects that the run's
// jobs are gone from it afterwards, and the server's own are not.
func TestAnotherServer(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newChild(program, t.TempDir(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	own := newClients(s.address, 1)
	if err := own.register(t.Context(), newJob("mine", "service", 1, 0).job().body); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second run does not meet the first
		var table bytes.Buffer
		err = Run(t.Context(), Config{
			Shape: "c1m", Scale: Scale{Nodes: 5, Jobs: 2, Count: 3}, Ports: 1, API: apiclient.Config{Address: s.address},
			Stdout: &table, Stderr: &bytes.Buffer{},
		})
		if err != nil || !strings.Contains(table.String(), "passed") {
			t.Fatalf("%v\n%s", err, &table)
		}
	}
	jobs, _, err := s.api.Jobs(t.Context(), apiclient.Query{})
	if err != nil || len(jobs) != 1 || jobs[0].ID != "mine" {
		t.Errorf("%d jobs are left: %v", len(jobs), err)
	}
}
