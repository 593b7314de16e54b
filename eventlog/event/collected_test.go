package event

import (
	"fmt"
	"slices"
	"testing"
)

// A thousand small jobs that are collected one by one cost their names, and the
// evaluations of one job next to nothing.
func TestCollectedIsCompact(t *testing.T) {
	work := CollectedWork{Namespace: DefaultNamespace, JobID: "nightly"}
	jobs := CollectedJobs{Namespace: DefaultNamespace}
	for i := range uint64(1000) {
		work.Evaluations = append(work.Evaluations, 7_000_000+5*i)
		jobs.IDs = append(jobs.IDs, fmt.Sprintf("churn-%06d", i))
	}
	for _, c := range []struct {
		what      string
		collected *Collected
		bytesMax  int
	}{
		{"evaluations", &Collected{Work: []CollectedWork{work}}, 1050},
		{"jobs", &Collected{Jobs: []CollectedJobs{jobs}}, 13_100},
	} {
		data, err := Marshal(c.collected)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > c.bytesMax {
			t.Errorf("a thousand %s take %d bytes, at most %d were expected", c.what, len(data), c.bytesMax)
		}
		var read Collected
		if err := Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		if c.what == "evaluations" && !slices.Equal(read.Work[0].Evaluations, work.Evaluations) {
			t.Error("the indexes read are not those written")
		}
	}
}

func TestIndexesHaveOneEncoding(t *testing.T) {
	for _, data := range [][]byte{{0x80}, {0x81, 0x00}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}} {
		var x Indexes
		if err := x.UnmarshalBinary(data); err == nil {
			t.Errorf("%x was read as %v", data, x)
		}
	}
}
