package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// offered is what the shell would offer after a line, as the program tells it.
func offered(t *testing.T, address, line string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = []string{"DROVER_ADDR=" + address, "COMP_LINE=" + line, "HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("completion of %q: %v", line, err)
	}
	list := strings.Fields(string(out))
	slices.Sort(list)
	return list
}

var helpFlag = regexp.MustCompile(`(?m)^  (-[A-Za-z0-9-]+)(=<[^>]+>)?( .*)?$`)

// TestCompletion presses Tab behind every command that the help lists, and behind every command of each group: what is
// offered are its commands, or the flags that its help names.
func TestCompletion(t *testing.T) {
	t.Parallel()
	const nobody = "http://127.0.0.1:9" // nothing that follows asks an agent
	seen := 0
	var walk func(words []string)
	walk = func(words []string) {
		line := strings.Join(append([]string{"drover"}, words...), " ") + " "
		help := cli(t, nobody, t.TempDir(), append(slices.Clone(words), "-help")...)
		if help.code != 0 {
			t.Errorf("%s-help: %s", line, help)
		}
		_, below, group := strings.Cut(help.stdout, "Subcommands:\n")
		if len(words) == 0 {
			_, common, _ := strings.Cut(help.stdout, "Common commands:\n")
			below, group = strings.Replace(common, "\nOther commands:\n", "", 1), true
		}
		if !group {
			seen++
			var flags []string
			for _, found := range helpFlag.FindAllStringSubmatch(help.stdout, -1) {
				flags = append(flags, found[1])
			}
			slices.Sort(flags)
			if tab := offered(t, nobody, line+"-"); !slices.Equal(tab, flags) {
				t.Errorf("behind %q are offered %v, and its help names %v", line+"-", tab, flags)
			}
			return
		}
		var commands []string
		for entry := range strings.Lines(below) {
			if name := strings.Fields(entry); len(name) > 0 {
				commands = append(commands, name[0])
			}
		}
		slices.Sort(commands)
		if tab := offered(t, nobody, line); !slices.Equal(tab, commands) {
			t.Errorf("behind %q are offered %v, and its help lists %v", line, tab, commands)
		}
		for _, name := range commands {
			walk(append(slices.Clone(words), name))
		}
	}
	walk(nil)
	if seen < 60 {
		t.Errorf("only %d commands", seen)
	}
	if tab := offered(t, nobody, "drover -"); !slices.Equal(tab, []string{"-autocomplete-install", "-autocomplete-uninstall", "-help", "-version"}) {
		t.Errorf("behind the program's name are offered %v", tab)
	}
}

// things are objects of every kind, of a real agent.
type things struct {
	a                              *agent
	c                              *api.Client
	job, alloc, eval, node, policy string
}

// newThings has a job with two versions, a tag, a scaling policy and scaling events, in a pool of its own; a namespace.
func newThings(t *testing.T) *things {
	t.Helper()
	check := checker(t)
	a, c := newOne(t, agentConfig{clientKeys: "  node_pool = \"racks\"\n"})
	w := &things{a: a, c: c, job: "surface"}
	_, err := c.Namespaces().Register(&api.Namespace{Name: "team-red", Description: "the reds", Meta: map[string]string{"boss": "none"}}, nil)
	check("namespace", err)
	_, err = c.NodePools().Register(&api.NodePool{Name: "racks", Description: "all racks"}, nil)
	check("pool", err)
	job := shell(w.job, "service", 1, "exec sleep 3600")
	job.NodePool = ptr("racks")
	job.TaskGroups[0].Scaling = &api.ScalingPolicy{Min: ptr(int64(0)), Max: ptr(int64(5))}
	register(t, c, job)
	_, _, err = c.Jobs().Scale(w.job, "group", ptr(2), "for two", false, nil, nil)
	check("scale", err)
	alloc := awaitCount(t, c, w.job, "running", 2)[0]
	w.alloc, w.eval, w.node = alloc.ID, alloc.EvalID, alloc.NodeID
	_, err = c.Jobs().TagVersion(w.job, 0, "first", "the first", nil)
	check("tag", err)
	other := shell("other", "batch", 1, "exit 0")
	other.Namespace = ptr("team-red")
	register(t, c, other)
	policies, _, err := c.Scaling().ListPolicies(nil)
	check("policies", err)
	if len(policies) != 1 {
		t.Fatalf("%d policies", len(policies))
	}
	w.policy = policies[0].ID
	return w
}

// fill puts the things into a line: $J job, $A allocation, $E evaluation, $N node, $P policy.
func (w *things) fill(line string) []string {
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strings.NewReplacer("$J", w.job, "$A", w.alloc, "$E", w.eval, "$N", w.node, "$P", w.policy).Replace(word)
	}
	return words
}

// shapedCommands are the commands that print objects, with what a template over them shows: the value of a field, or
// what is not empty.
var shapedCommands = []struct{ line, template, want string }{
	{"job status", `{{ range . }}{{ .ID }}{{ end }}`, "surface"},
	{"status", "", ""}, // only job status has them
	{"job status $J", `{{ range . }}{{ .Summary.JobID }}{{ end }}`, "surface"},
	{"job allocs $J", `{{ range . }}{{ .JobID }} {{ end }}`, "surface surface "},
	{"job history $J", `{{ range . }}{{ .Version }} {{ end }}`, "1 0 "},
	{"job history -version 0 $J", `{{ .VersionTag.Name }}`, "first"},
	{"job inspect $J", `{{ .ID }}`, "surface"},
	{"inspect $J", `{{ .NodePool }}`, "racks"},
	{"alloc status $A", `{{ .JobID }}`, "surface"},
	{"alloc-status $A", `{{ .ID }}`, "$A"},
	{"alloc status", `{{ len . }}`, "2"},
	{"node status", `{{ range . }}{{ .NodePool }}{{ end }}`, "racks"},
	{"node-status $N", `{{ .ID }}`, "$N"},
	{"node status -self", `{{ .ID }}`, "$N"},
	{"node meta read -node-id $N", `{{ .Static }}`, ""},
	{"node pool list", `{{ range . }}{{ .Name }} {{ end }}`, "all default racks "},
	{"node pool info racks", `{{ .Description }}`, "all racks"},
	{"node pool jobs racks", `{{ range . }}{{ .ID }}{{ end }}`, "surface"},
	{"node pool nodes racks", `{{ range . }}{{ .ID }}{{ end }}`, "$N"},
	{"eval list", `{{ range . }}{{ .JobID }} {{ end }}`, "surface surface "},
	{"eval status $E", `{{ .ID }}`, "$E"},
	{"eval-status $E", `{{ .ID }}`, "$E"},
	{"server members", `{{ range .Members }}{{ .Name }}{{ end }}`, "alpha.global"},
	{"agent-info", `{{ .stats.client.node_id }}`, "$N"},
	{"operator metrics", `{{ len .Gauges | lt 0 }}`, "true"},
	{"operator autopilot health", `{{ .Healthy }}`, "true"},
	{"operator scheduler get-config", `{{ .SchedulerAlgorithm }}`, "binpack"},
	{"namespace list", `{{ range . }}{{ .Name }} {{ end }}`, "default team-red "},
	{"namespace status team-red", `{{ .Meta.boss }}`, "none"},
	{"namespace inspect team-red", `{{ .Description }}`, "the reds"},
	{"scaling policy list", `{{ range . }}{{ .ID }}{{ end }}`, "$P"},
	{"scaling policy info $P", `{{ .ID }}`, "$P"},
}

// TestObjectsAreShownAsTheyAre has every command print its objects as JSON and through templates, and short and full
// IDs, of a cluster that has one of each.
func TestObjectsAreShownAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	for _, c := range shapedCommands {
		words := w.fill(c.line)
		with := func(flags ...string) result {
			at := commandWords(words)
			return w.a.drover(t, slices.Concat(words[:at], flags, words[at:])...)
		}
		if c.template == "" {
			if r := with("-json"); r.code != 1 || !strings.Contains(r.stderr, "flag provided but not defined: -json") {
				t.Errorf("drover %s -json: %s", c.line, r)
			}
			continue
		}
		if !strings.Contains(c.line, "inspect") {
			r := with("-json")
			if !json.Valid([]byte(r.stdout)) || r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "\n    ") && len(r.stdout) > 3 {
				t.Errorf("drover %s -json: %s", c.line, r)
			}
			if r := with("-json", "-t={{ . }}"); r.code != 1 || !strings.Contains(r.stderr, "Both json and template formatting are not allowed") || r.stdout != "" {
				t.Errorf("drover %s -json -t: %s", c.line, r)
			}
		}
		r := with("-t", c.template)
		got := strings.TrimSuffix(r.stdout, "\n")
		if want := w.fill(c.want + " ."); r.code != 0 || r.stderr != "" || got == "" || c.want != "" && strings.TrimSpace(got) != strings.Join(want[:len(want)-1], " ") {
			t.Errorf("drover %s -t '%s': %s", c.line, c.template, r)
		}
		if r := with("-t", "{{ .Nonsense"); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "Error formatting the data") {
			t.Errorf("drover %s with a template that is none: %s", c.line, r)
		}
	}
}

// commandWords counts the words of a line that name its command.
func commandWords(words []string) int {
	groups := [][]string{{"node", "pool"}, {"node", "meta"}, {"operator", "autopilot"}, {"operator", "scheduler"}, {"scaling", "policy"}}
	for _, g := range groups {
		if len(words) >= 3 && words[0] == g[0] && words[1] == g[1] {
			return 3
		}
	}
	if slices.Contains([]string{"job", "alloc", "node", "eval", "server", "operator", "namespace"}, words[0]) {
		return 2
	}
	return 1
}

// TestFullIDs: -verbose shows every ID in full, and without it there are only the first eight characters of each,
// but where the reference says that there are more.
func TestFullIDs(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	for _, c := range []struct {
		line  string
		full  string // the IDs that -verbose shows
		whole string // those that are whole without it, too
	}{
		{"job status $J", "$A $E $N", ""},
		{"status $J", "$A $E $N", ""},
		{"job allocs $J", "$A $E $N", ""},
		{"alloc status $A", "$A $E $N", "$A"},
		{"alloc-status $A", "$A $E $N", "$A"},
		{"status $A", "$A $E $N", "$A"},
		{"node status", "$N", ""},
		{"node-status $N", "$N $A", "$N"},
		{"node pool nodes racks", "$N", ""},
		{"eval list", "$E", ""},
		{"eval status $E", "$E $A $N", ""},
		{"eval-status $E", "$E $A $N", ""},
		{"scaling policy list", "$P", ""},
		{"scaling policy info $P", "$P", ""},
		{"job scaling-events $J", "$V", ""},
	} {
		words := w.fill(strings.Replace(c.line, "$V", "", 1))
		at := commandWords(words)
		short := w.a.drover(t, words...)
		full := w.a.drover(t, slices.Concat(words[:at], []string{"-verbose"}, words[at:])...)
		if short.code != 0 || full.code != 0 || short.stderr+full.stderr != "" {
			t.Errorf("drover %s: %s\n-verbose: %s", c.line, short, full)
			continue
		}
		ids := w.fill(c.full)
		if c.full == "$V" { // of the evaluation that scaled
			ids = nil
			if !allocID.MatchString(full.stdout) {
				t.Errorf("drover %s -verbose: no ID in %s", c.line, full)
			}
		}
		for _, id := range ids {
			if !strings.Contains(full.stdout, id) {
				t.Errorf("drover %s -verbose: no %s in %s", c.line, id, full)
			}
			if !strings.Contains(short.stdout, id[:8]) && !strings.Contains(c.line, "node-status") && !(strings.HasSuffix(c.line, "$J") && id == w.eval) {
				t.Errorf("drover %s: no %s in %s", c.line, id[:8], short)
			}
			if strings.Contains(short.stdout, id) != slices.Contains(w.fill(c.whole), id) {
				t.Errorf("drover %s: %s is to be whole: %v\n%s", c.line, id, slices.Contains(w.fill(c.whole), id), short)
			}
		}
	}
}

var allocID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// TestCompletionOfObjects presses Tab behind the beginning of what there is.
func TestCompletionOfObjects(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	for _, c := range []struct{ line, want string }{
		{"job status su", "surface"},
		{"job stop su", "surface"},
		{"stop su", "surface"},
		{"start su", "surface"},
		{"job inspect su", "surface"},
		{"job history su", "surface"},
		{"job revert su", "surface"},
		{"job scale su", "surface"},
		{"job scaling-events su", "surface"},
		{"job allocs su", "surface"},
		{"job eval su", "surface"},
		{"job restart su", "surface"},
		{"job tag apply -name=x su", "surface"},
		{"job tag unset su", "surface"},
		{"job status -verbose su", "surface"},
		{"job status -namespace default su", "surface"},
		{"status su", "surface"},
		{"status team", "team-red"},
		{"alloc status $a", "$A"},
		{"alloc logs $a", "$A"},
		{"alloc logs -f $a", "$A"},
		{"alloc exec $a", "$A"},
		{"exec $a", "$A"},
		{"alloc fs $a", "$A"},
		{"alloc stop $a", "$A"},
		{"alloc restart $a", "$A"},
		{"alloc signal $a", "$A"},
		{"alloc logs -job su", "surface"},
		{"alloc exec -job su", "surface"},
		{"alloc fs -job su", "surface"},
		{"node status $n", "$N"},
		{"node eligibility -enable $n", "$N"},
		{"node meta read -node-id $n", "$N"},
		{"monitor -node-id $n", "$N"},
		{"node pool info ra", "racks"},
		{"node pool jobs ra", "racks"},
		{"node pool nodes ra", "racks"},
		{"node pool delete ra", "racks"},
		{"eval status $e", "$E"},
		{"eval delete $e", "$E"},
		{"eval list -job su", "surface"},
		{"eval list -status comp", "complete"},
		{"namespace status te", "team-red"},
		{"namespace inspect te", "team-red"},
		{"namespace delete te", "team-red"},
		{"namespace apply te", "team-red"},
		{"job status -namespace te", "team-red"},
		{"job status -namespace team-red oth", "other"},
		{"job status -namespace=team-red oth", "other"},
		{"job status -namespace nowhere su", ""},
		{"scaling policy info $p", "$P"},
		{"scaling policy list -job su", "surface"},
		{"event stream -job su", "surface"},
		{"event stream -kind JobSub", "JobSubmitted"},
		{"operator scheduler set-config -scheduler-algorithm sp", "spread"},
		{"monitor -log-level DE", "DEBUG"},
		{"operator metrics -format pro", "prometheus"},
		{"job init -template ba", "batch"},
		{"node pool init -out js", "json"},
		{"bench f", "full"},
	} {
		short := strings.NewReplacer("$a", w.alloc[:6], "$e", w.eval[:6], "$n", w.node[:6], "$p", w.policy[:6]).Replace(c.line)
		want := strings.Join(w.fill(c.want), "")
		got := offered(t, w.a.url(), "drover "+short)
		if found := slices.Contains(got, want); found != (want != "") || len(got) > 3 {
			t.Errorf("behind %q is offered %v, not %s", short, got, want)
		}
	}
}

// TestWhatIsNotThere asks every command for an object that is not there, and for one that a single character cannot
// name: the field's words, exit code 1, and not a record in the log.
func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newThings(t)
	before := logHead(t, w.a)
	const (
		noAlloc = `No allocation(s) with prefix or id "deadbeef" found`
		noNode  = `No node(s) with prefix "deadbeef" found`
		noEval  = `No evaluation(s) with prefix or id "deadbeef" found`
		noJob   = `No job(s) with prefix or ID "deadbeef" found`
		short   = "Identifier must contain at least two characters."
		shortID = "Alloc ID must contain at least two characters."
	)
	for line, want := range map[string]string{
		"alloc status deadbeef": noAlloc, "alloc-status deadbeef": noAlloc, "alloc status d": short,
		"alloc logs deadbeef": noAlloc, "logs deadbeef": noAlloc, "alloc logs d": shortID,
		"alloc exec deadbeef ls": noAlloc, "alloc exec d ls": shortID,
		"alloc fs deadbeef": noAlloc, "fs deadbeef": noAlloc, "alloc fs d": shortID,
		"alloc stop deadbeef": noAlloc, "alloc restart deadbeef": noAlloc, "alloc signal deadbeef": noAlloc,
		"alloc stop d": "at least two characters", "alloc restart d": "at least two characters", "alloc signal d": "at least two characters",
		"alloc logs -job deadbeef": noJob, "alloc exec -job deadbeef ls": noJob, "alloc fs -job deadbeef": noJob,
		"node status deadbeef": noNode, "node-status deadbeef": noNode, "node status d": short,
		"node eligibility -disable deadbeef": noNode, "node eligibility -disable d": short,
		"node meta read -node-id deadbeef": noNode, "node meta apply -node-id deadbeef k=v": noNode,
		"monitor -node-id deadbeef": noNode,
		"eval status deadbeef":      noEval, "eval-status deadbeef": noEval, "eval status d": short,
		"job status deadbeef": noJob, "job stop deadbeef": noJob, "stop -yes deadbeef": noJob, "job start deadbeef": noJob, "start deadbeef": noJob,
		"job restart -yes deadbeef": noJob, "job allocs deadbeef": noJob, "job history deadbeef": noJob, "job inspect deadbeef": noJob,
		"inspect deadbeef": noJob, "job eval deadbeef": noJob, "job scale deadbeef 3": noJob, "job scaling-events deadbeef": noJob,
		"job revert deadbeef 0": noJob, "job tag apply -name=x deadbeef": noJob, "job tag unset -name=x deadbeef": noJob,
		"status deadbeef":           `No matches found for id "deadbeef"`,
		"namespace status deadbeef": `Namespace "deadbeef" matched no namespaces`, "namespace inspect deadbeef": `Namespace "deadbeef" matched no namespaces`,
		"namespace delete deadbeef": "not found", "node pool delete deadbeef": "not found",
		"node pool info deadbeef": `No node pool with prefix "deadbeef" found`, "node pool jobs deadbeef": `No node pool with prefix "deadbeef" found`,
		"node pool nodes deadbeef":     `No node pool with prefix "deadbeef" found`,
		"scaling policy info deadbeef": `No scaling policies with prefix or id "deadbeef" found`,
		"job revert surface 9":         "not found", "job revert surface nosuchtag": "nosuchtag", "job scale surface nosuchgroup 3": "nosuchgroup",
		"job scale surface group 9": "greater than scaling policy maximum", "job tag unset -name=nosuch surface": "nosuch", "job start surface": `Job "surface" has not been stopped`,
		"alloc logs -task nosuch " + w.alloc: "nosuch", "alloc restart -task nosuch " + w.alloc: "nosuch", "alloc signal -s SIGNOSUCH " + w.alloc: "SIGNOSUCH",
		"alloc fs " + w.alloc + " nosuch/file": "does not exist", "job history -version 9 surface": "version 9",
		"job run nosuch.nomad": "Error getting job struct: Error reading job file from nosuch.nomad", "job validate nosuch.nomad": "Error reading job file from nosuch.nomad",
		"eval delete " + w.eval: "", "namespace delete default": "can not be deleted", "node pool delete default": "", "node pool delete racks": "",
		"server force-leave nosuch": "nosuch", "server join 127.0.0.1:9": "", "operator api /v1/nosuch": "404",
	} {
		r := w.a.drover(t, strings.Fields(line)...)
		if r.code != 1 || !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("drover %s: %s\nwant %q", line, r, want)
		}
	}
	if r := w.a.drover(t, "job", "plan", "nosuch.nomad"); r.code != 255 || !strings.Contains(r.stderr, "nosuch.nomad") {
		t.Errorf("drover job plan nosuch.nomad: %s", r)
	}
	if after := logHead(t, w.a); after != before {
		t.Errorf("the log went from %s to %s", before, after)
	}
}
