package proctree

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c) S 7 40 30 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 999 1000 77 18446744073709551615"
	s, err := parseStat(42, []byte(line))
	want := Stat{PID: 42, Parent: 7, Group: 40, Session: 30, Start: 999, UserTick: 11, SysTick: 12, WaitedUserTick: 13, WaitedSysTick: 14, RSSPages: 77}
	if err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	if s, err := parseStat(42, []byte("42 (x) Z 7 40 30 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 999 0 0 0")); err != nil || !s.Zombie {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) S 7 40 30"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, b []byte) { parseStat(1, b) })
}

func TestDescendants(t *testing.T) {
	all := []Stat{{PID: 1}, {PID: 2, Parent: 1}, {PID: 3, Parent: 2}, {PID: 4, Parent: 1}, {PID: 5, Parent: 3}}
	var pids []int
	for _, s := range Descendants(all, 2) {
		pids = append(pids, s.PID)
	}
	if len(pids) != 2 || pids[0] != 3 || pids[1] != 5 {
		t.Errorf("descendants of 2 are %v", pids)
	}
}

// Both ways to find what is below a process find the same.
func TestBelow(t *testing.T) {
	c := exec.Command("sh", "-c", "sleep 1000 & (sleep 1000 & echo ready; wait); wait")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	pids := func(all []Stat) (pids []int) {
		for _, s := range all {
			pids = append(pids, s.PID)
		}
		slices.Sort(pids)
		return pids
	}
	fast, simple := pids(Below(c.Process.Pid)), pids(Descendants(All(), c.Process.Pid))
	if len(fast) != 3 || !slices.Equal(fast, simple) {
		t.Errorf("%v by children, %v by parents", fast, simple)
	}
	if gone := Below(1 << 30); len(gone) != 0 {
		t.Errorf("below no process: %v", gone)
	}
}

// A signal reaches exactly the process that is meant.
func TestKill(t *testing.T) {
	c := exec.Command("sleep", "1000")
	c.Env = []string{"MARK=1"}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := ReadStat(c.Process.Pid)
	if err != nil || s.Parent != os.Getpid() {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := Kill(s.PID, s.Start+1, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("kill of another process with this PID: %v", err)
	}
	if !HasEnv(s.PID, "MARK=1") || HasEnv(s.PID, "MARK=1", "OTHER=1") || HasEnv(s.PID, "MARK=") {
		t.Error("the environment is not recognized")
	}
	if err := Kill(s.PID, s.Start, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if err := Kill(s.PID, s.Start, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("kill of a process that is gone: %v", err)
	}
	if BootID() == "" {
		t.Error("no boot ID")
	}
}
