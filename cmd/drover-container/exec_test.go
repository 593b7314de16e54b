package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A program has a group of its own on machines of either version of control groups, and of both.
func TestOwnGroup(t *testing.T) {
	v1, v2 := t.TempDir(), t.TempDir()
	for _, c := range []struct {
		name             string
		groups           map[string]string
		controller, base string
	}{
		{"version 1", map[string]string{"freezer": v1, "memory": "/no/such"}, "freezer", v1},
		{"both", map[string]string{"freezer": v1, "": v2}, "freezer", v1},
		{"version 2", map[string]string{"": v2}, "", v2},
	} {
		controller, dir, err := ownGroup(c.groups)
		if err != nil || controller != c.controller || filepath.Dir(dir) != c.base || !strings.HasPrefix(filepath.Base(dir), "exec-") {
			t.Errorf("%s: %q, %s, %v", c.name, controller, dir, err)
		}
	}
	if _, _, err := ownGroup(map[string]string{"memory": v1}); err == nil {
		t.Error("a group below none")
	}
}
