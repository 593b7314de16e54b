package agent

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// A process of its own, since the runtime has no way back.
func TestTuningFollowsTheHeap(t *testing.T) {
	if os.Getenv("DROVER_TEST_TUNED") == "" {
		t.Run("untouched", func(t *testing.T) { tuned(t, "GOGC=90", "GOMAXPROCS=5") })
		t.Run("tuned", func(t *testing.T) { tuned(t, "GOGC=", "GOMAXPROCS=") })
		return
	}
	procs := runtime.GOMAXPROCS(0)
	tune()
	if os.Getenv("GOGC") != "" {
		if percent := debug.SetGCPercent(100); percent != 90 || runtime.GOMAXPROCS(0) != 5 {
			t.Fatalf("the environment asks for GOGC=90 and GOMAXPROCS=5; it is %d and %d", percent, runtime.GOMAXPROCS(0))
		}
		return
	}
	if now := runtime.GOMAXPROCS(0); now != procs+moreProcs {
		t.Errorf("GOMAXPROCS is %d, want %d", now, procs+moreProcs)
	}
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	small := percent()
	if small < 1000 {
		t.Errorf("with next to nothing in use, %d percent of it may be garbage", small)
	}
	held := make([][]byte, 0, 600)
	for range cap(held) {
		held = append(held, make([]byte, 1<<20))
	}
	for i := 0; i < 1000 && percent() > 100; i++ {
		runtime.GC() // what is called after a collection runs some time after it
	}
	if now := percent(); now != 100 {
		t.Errorf("with 600 MB in use, %d percent of it may be garbage", now)
	}
	runtime.KeepAlive(held)
}

func tuned(t *testing.T, env ...string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestTuningFollowsTheHeap$")
	cmd.Env = append(os.Environ(), append(env, "DROVER_TEST_TUNED=1")...)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}
