package cli

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// typedInWorkshops are the commands that stand in workshop slides of 2015 to 2019,
// as people type them there.
var typedInWorkshops = []string{
	"run jobs/sysdig.nomad",
	"run sysdig.nomad",
	"run helloworld-v1.nomad",
	"run http-echo.nomad",
	"run http-echo.hcl",
	"run -check-index 287 http-echo.nomad",
	"run -check-index 287 http-echo.hcl",
	"job run fabio.nomad",
	"plan http-echo.nomad",
	"init",
	"agent -dev",
	"agent -config=config.hcl",
	"agent -config=config.hcl -config=more.hcl",
	"server join 10.0.0.1",
	"status",
	"status fabio",
	"status http-echo",
	"alloc-status 1e6892d3",
	"alloc status 1e6892d3",
	"alloc status -stats 1e6892d3",
	"logs 1e6892d3",
	"deployment promote 32a080c1",
	"node-status",
	"node-drain -enable 37b31879",
}

// TestWorkshopCommands types them all: each is known, and so is each of its flags.
// What this version does not have says so.
func TestWorkshopCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	s := &session{t: t, agent: &fakeAgent{}}
	s.server = httptest.NewServer(s.agent)
	defer s.server.Close()
	for _, name := range []string{"config.hcl", "more.hcl"} {
		if err := os.WriteFile(name, []byte("data_dir = \"/tmp/x\"\nserver { enabled = true }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var missing []string
	for _, line := range typedInWorkshops {
		out := s.run(line)
		for _, wrong := range []string{"There is no command", "flag provided but not defined", "For additional help", "Usage: drover", "exit 127"} {
			if strings.Contains(out, wrong) {
				t.Errorf("drover %s: %s", line, out)
			}
		}
		if strings.Contains(out, "Drover does not have") {
			missing = append(missing, strings.Fields(line)[0])
		}
	}
	t.Logf("of %d commands these are not built: %v", len(typedInWorkshops), missing)
}

// TestCommandsThatAreNotBuilt goes through all of the field's commands that this
// version may lack: none is taken for a mistyped name.
func TestCommandsThatAreNotBuilt(t *testing.T) {
	t.Chdir(t.TempDir())
	s := &session{t: t, agent: &fakeAgent{}}
	s.server = httptest.NewServer(s.agent)
	defer s.server.Close()
	built := map[string]bool{}
	for _, spec := range specs() {
		built[spec.name] = true
	}
	names := unbuiltNames()
	for _, c := range names {
		if c.what == "" {
			t.Errorf("%s: nothing says what is not there", c.name)
		}
		if built[c.name] {
			continue
		}
		out := s.run(c.name + " -some-flag x y")
		if !strings.HasPrefix(out, "exit 1\n") || !strings.Contains(out, `Drover does not have "drover `+c.name+`" yet`) {
			t.Errorf("drover %s: %s", c.name, out)
		}
	}
	for alias, of := range fieldAliases {
		if built[of] || built[alias] {
			continue
		}
		if out := s.run(alias); !strings.Contains(out, "Drover does not have") {
			t.Errorf("drover %s: %s", alias, out)
		}
	}
	if help := s.run("-help"); strings.Contains(help, "deployment") || strings.Contains(help, "acl") {
		t.Errorf("the help lists what is not built: %s", help)
	}
	if len(names) < 100 {
		t.Errorf("%d commands of the field", len(names))
	}
}
