package scenario

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/checker"
)

// histories holds logs as they were written once, one record a line, and beside
// each what they lead to. There are logs like them on disks, so they are never
// written anew; later formats add histories of their own.
const histories = "../../../testdata/histories"

var recordHistories = flag.Bool("record-histories", false, "record the scenarios that testdata/histories lacks; those that it has stay as they are")

// TestRecordedHistories: what was written once is read, chained and folded for
// ever, and leads to the same state.
func TestRecordedHistories(t *testing.T) {
	kinds := make(map[event.Kind]bool)
	files, err := filepath.Glob(filepath.Join(histories, "*.records"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories in %s (%v)", histories, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			state := replay(t, file, kinds)
			want, err := os.ReadFile(strings.TrimSuffix(file, ".records") + ".state")
			if err != nil {
				t.Fatal(err)
			}
			if got := tell(state); got != string(want) {
				t.Errorf("it leads to another state now:\n%s\nexpected:\n%s", got, want)
			}
		})
	}
	for _, kind := range event.Kinds() {
		// Checkpoints are taken by servers, which scenarios do not have.
		if !kinds[kind] && kind != event.KindCheckpointTaken {
			t.Errorf("no history has a %v", kind)
		}
	}
}

func replay(t *testing.T, file string, kinds map[event.Kind]bool) *projections.State {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	draft, check := projections.NewDraft(projections.New()), checker.New()
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, err := hex.DecodeString(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		s := draft.State()
		hash := eventlog.Chain(eventlog.Hash(s.Hash()), s.Index()+1, data)
		r, err := projections.DecodeEntry(projections.Entry{Index: s.Index() + 1, Hash: event.Hash(hash), Data: data})
		if err != nil {
			t.Fatal(err)
		}
		kinds[r.Kind] = true
		draft.Apply(r)
		if err := check.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	state := draft.Seal()
	if err := check.Compare(state); err != nil {
		t.Error(err)
	}
	return state
}

// tell describes a state in words that no version of the fold may change.
func tell(s *projections.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "head %d %v\n", s.Index(), s.Hash())
	for n := range s.Nodes() {
		fmt.Fprintf(&b, "node %s %v %s {CPU:%d MemoryMB:%d DiskMB:%d} used\n", n.Info.Name, n.Status, n.Eligibility(), n.Used.CPU, n.Used.MemoryMB, n.Used.DiskMB)
	}
	for j := range s.Jobs() {
		fmt.Fprintf(&b, "job %v version %d %s\n", j.Key, j.Version, j.Status())
		for version := range j.Version + 1 {
			if tag := j.TagOf(version); tag != nil {
				fmt.Fprintf(&b, "  version %d tag %q %q of %d\n", version, tag.Name, tag.Description, tag.TaggedTime)
			}
		}
		for _, group := range slices.Sorted(maps.Keys(j.Summary)) {
			fmt.Fprintf(&b, "  group %s %+v\n", group, j.Summary[group])
		}
	}
	for e := range s.Evaluations() {
		fmt.Fprintf(&b, "evaluation %v of %v %v: %s\n", e.ID, e.Job(), e.Status, e.StatusDescription)
	}
	for a := range s.Allocations() {
		fmt.Fprintf(&b, "allocation %v %s version %d on %v: %v, %v, ports %v, after %q, before %q: %s\n", a.ID, a.Name(), a.JobVersion, a.NodeID.Short(),
			a.Desired, a.Client, a.HostPorts(), a.Previous(), a.Next(), a.DesiredDescription())
		tasks := a.Tasks()
		for _, name := range slices.Sorted(maps.Keys(tasks)) {
			fmt.Fprintf(&b, "  task %s %v, failed %v", name, tasks[name].State, tasks[name].Failed)
			for _, e := range tasks[name].Events {
				fmt.Fprintf(&b, ", %v", e.Type)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// record writes down how a story went, when it is asked to.
func (c *cluster) record(t *testing.T, script string) {
	name := filepath.Join(histories, "format1-"+strings.TrimSuffix(filepath.Base(script), ".txt"))
	if _, err := os.Stat(name + ".records"); err == nil || !*recordHistories {
		return
	}
	var b bytes.Buffer
	for _, r := range c.records {
		data, err := event.AppendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x\n", data)
	}
	if err := os.MkdirAll(histories, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []struct{ name, text string }{{name + ".records", b.String()}, {name + ".state", tell(c.state)}} {
		if err := os.WriteFile(file.name, []byte(file.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
