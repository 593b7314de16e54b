package e2e_test

import (
	"os"
	"strings"
	"testing"
)

// TestReloadOverTheAPI changes the log's level of an agent that runs.
func TestReloadOverTheAPI(t *testing.T) {
	t.Parallel()
	a := newAgent(t, agentConfig{server: true})
	c := a.client(t)
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(a.file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(text), `"DEBUG"`, `"INFO"`, 1))
	if err := c.Agent().Reload(nil, nil); err != nil {
		t.Fatal(err)
	}
	a.out.await(t, "Log level is now INFO", a.ended)
	write("nonsense = 1\n")
	if err := c.Agent().Reload(nil, nil); err == nil || !strings.Contains(err.Error(), "stays as it was") {
		t.Errorf("a wrong configuration: %v", err)
	}
}
