package scheduler

import "testing"

func TestPlacesAServiceByCount(t *testing.T) {
	c := newCluster(t)
	c.addNodes(3, "n", 4000, 8192)
	c.submit(newJob("web", 5, 500, 256))
	plan := c.schedule("web")
	if got := len(c.live("web")); got != 5 {
		t.Fatalf("%d allocations, want 5: %+v", got, plan)
	}
	c.checkSound()
	again := c.schedule("web")
	if len(again.Groups)+len(again.Stops)+len(again.InPlace) != 0 {
		t.Fatalf("an evaluation with nothing to do planned %+v", again)
	}
}
