package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A group is directories and files, so both versions can be looked at without one.
func TestReading(t *testing.T) {
	dir := t.TempDir()
	v1, v2 := filepath.Join(dir, "v1"), filepath.Join(dir, "v2")
	for path, text := range map[string]string{
		v1 + "/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", v1 + "/cgroup.procs": "10\n11\n",
		v2 + "/memory.events": "low 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n", v2 + "/cgroup.procs": "11\n",
		v2 + "/below/cgroup.procs": "12\nx\n", v2 + "/memory.max": "max\n", v1 + "/memory.limit_in_bytes": "4096\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := filepath.Join(dir, "none")
	if n := OOMKills([]string{none}); n != 0 {
		t.Errorf("kills in no group: %d", n)
	}
	if a, b := OOMKills([]string{none, v1}), OOMKills([]string{v2}); a != 2 || b != 1 {
		t.Errorf("kills %d and %d", a, b)
	}
	pids := PIDs([]string{v1, none, v2})
	slices.Sort(pids)
	if !slices.Equal(pids, []int{10, 11, 12}) {
		t.Errorf("processes %v", pids)
	}
	if n, ok := Number(v1, "memory.limit_in_bytes"); !ok || n != 4096 {
		t.Errorf("limit %d, %v", n, ok)
	}
	if n, ok := Number(v2, "memory.max"); ok {
		t.Errorf("no limit is %d", n)
	}
}
