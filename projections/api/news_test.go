package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Whoever comes later gets the very lines of the first, as long as they are kept.
func TestNewsAreMadeOnceForAll(t *testing.T) {
	c := town(t)
	commits, _ := c.store.CommitsAfter(0)
	var desk newsDesk
	first, second := desk.subscribe(), desk.subscribe()
	for _, commit := range commits {
		n := desk.of(commit)
		if desk.of(commit) != n {
			t.Fatalf("the news of commit %d were made again", commit.Last())
		}
		for _, filter := range []topicFilter{{namespace: "default"}, {namespace: "*", topics: map[string][]string{"Allocation": {"*"}}}} {
			var one, again bytes.Buffer
			n.tell(&one, &filter, 0)
			newNews(commit).tell(&again, &filter, 0)
			if one.String() != again.String() {
				t.Errorf("kept:\n%s\nmade anew:\n%s", one.String(), again.String())
			}
			for line := range bytes.Lines(one.Bytes()) {
				var decoded struct {
					Index  uint64
					Events []struct{ Payload map[string]json.RawMessage }
				}
				if err := json.Unmarshal(line, &decoded); err != nil || decoded.Index == 0 || len(decoded.Events) == 0 || len(decoded.Events[0].Payload) == 0 {
					t.Errorf("line %s: %v", line, err)
				}
			}
		}
	}
	first()
	if len(desk.kept) != len(commits) {
		t.Errorf("%d commits are kept of %d", len(desk.kept), len(commits))
	}
	second()
	if len(desk.kept) != 0 || len(desk.order) != 0 || desk.events != 0 {
		t.Errorf("%d commits with %d events are kept for nobody", len(desk.kept), desk.events)
	}
}

func TestNewsAreKeptUpToABound(t *testing.T) {
	c := town(t)
	commits, _ := c.store.CommitsAfter(0)
	var desk newsDesk
	defer desk.subscribe()()
	for range 2 * newsEventsMax {
		for _, commit := range commits {
			commit.Records = append(commit.Records[:0:0], commit.Records...)
			first := *commit.Records[0]
			commit.Records[0] = &first // another commit
			desk.of(commit)
		}
	}
	events := 0
	for _, n := range desk.kept {
		events += n.events
	}
	if len(desk.kept) != len(desk.order) || events != desk.events || events > newsEventsMax || events < newsEventsMax/2 {
		t.Errorf("%d events are kept, %d are counted, the bound is %d", events, desk.events, newsEventsMax)
	}
}
