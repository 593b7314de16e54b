package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	hcli "github.com/hashicorp/cli"

	"drover/cmd/internal/agentconfig"
)

// surface is a program whose agent only counts what it is asked.
type surface struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex
	asked  []string
	ran    bool // an agent was started
}

func newSurface(t *testing.T) *surface {
	t.Chdir(t.TempDir())
	s := &surface{t: t}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
		http.Error(w, "nobody is to ask", http.StatusTeapot)
	}))
	t.Cleanup(s.server.Close)
	return s
}

// typed is what a person sees who types the words.
type typed struct {
	code        int
	out, err    string
	asked       []string // requests
	left        []string // files made
	agentStarts bool
}

func (s *surface) run(words ...string) typed {
	s.t.Helper()
	var out, errs bytes.Buffer
	s.asked, s.ran = nil, false
	p := &Program{
		Version: "0.1.0", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		ParseJob: parseJobJSON, ValidateJob: validateJob,
		RunAgent: func(context.Context, agentconfig.Config, hcli.Ui) int { s.ran = true; return 0 },
		Environ:  []string{"DROVER_ADDR=" + s.server.URL}, Now: func() time.Time { return testNow }, Zone: time.UTC,
	}
	r := typed{code: p.Run(words), out: out.String(), err: errs.String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.asked, r.agentStarts = s.asked, s.ran
	entries, err := os.ReadDir(".")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		r.left = append(r.left, e.Name())
	}
	return r
}

// changed says what a command did that only complains.
func (r typed) changed() string {
	switch {
	case len(r.asked) > 0:
		return fmt.Sprintf("asked %q", r.asked)
	case len(r.left) > 0:
		return fmt.Sprintf("wrote %q", r.left)
	case r.agentStarts:
		return "started an agent"
	}
	return ""
}

// called is a command under one of its names.
type called struct {
	name string
	spec spec
}

// everyCommand is each command that the program declares under each of its names:
// today's, the short ones, and those of old.
func everyCommand(t *testing.T) []called {
	t.Helper()
	of := map[string]spec{}
	var list []called
	for _, s := range specs() {
		of[s.name] = s
		list = append(list, called{s.name, s})
	}
	for a, name := range aliases {
		s, ok := of[name]
		if !ok {
			t.Fatalf("%q stands for %q, which is no command", a.name, name)
		}
		list = append(list, called{a.name, s})
	}
	for a, name := range fieldAliases {
		if s, ok := of[name]; ok {
			list = append(list, called{a, s})
		}
	}
	slices.SortFunc(list, func(a, b called) int { return strings.Compare(a.name, b.name) })
	return list
}

func (c called) words(more ...string) []string { return append(strings.Fields(c.name), more...) }

// flags are the names that the command really takes.
func (s spec) flags() []string {
	var names []string
	_, all, _, _ := (&command{p: &Program{}, spec: s}).flagSet()
	all.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

var flagLine = regexp.MustCompile(`(?m)^  -([A-Za-z0-9-]+)(=<[^>]+>)?( .*)?$`)

// TestEveryCommandSaysWhatItTakes: the help of each command names each flag that it takes and no other, under each
// of its names.
func TestEveryCommandSaysWhatItTakes(t *testing.T) {
	s := newSurface(t)
	for _, c := range everyCommand(t) {
		for _, ask := range []string{"-h", "-help", "--help"} {
			r := s.run(c.words(ask)...)
			if r.code != 0 || !strings.HasPrefix(r.out, "Usage: drover "+c.spec.name) || r.err != "" || r.changed() != "" {
				t.Errorf("drover %s %s: exit %d %s\n%s%s", c.name, ask, r.code, r.changed(), r.out, r.err)
				continue
			}
			usage, _, _ := strings.Cut(r.out, "\n")
			if !strings.HasSuffix(usage, c.spec.args) {
				t.Errorf("drover %s %s: %q does not end with the arguments %q", c.name, ask, usage, c.spec.args)
			}
			var told []string
			for _, found := range flagLine.FindAllStringSubmatch(r.out, -1) {
				told = append(told, found[1])
			}
			slices.Sort(told)
			if takes := c.spec.flags(); !slices.Equal(told, takes) {
				t.Errorf("drover %s %s:\ntells of %v\n  takes %v", c.name, ask, told, takes)
			}
		}
	}
}

// TestWrongWordsChangeNothing: a flag that is not there and a wrong number of arguments are told in the field's words,
// with its exit codes, and nothing is asked, written or started.
func TestWrongWordsChangeNothing(t *testing.T) {
	s := newSurface(t)
	for _, c := range everyCommand(t) {
		misuse := 1
		if c.spec.name == "job plan" {
			misuse = 255 // 0 and 1 are its answers
		}
		complain := func(r typed, words []string, out, errs string) {
			t.Helper()
			if r.code != misuse || !strings.HasPrefix(r.out, out) || !strings.Contains(r.err, errs) || r.changed() != "" {
				t.Errorf("drover %s: exit %d, not %d %s\n%s%s", strings.Join(words, " "), r.code, misuse, r.changed(), r.out, r.err)
			}
		}
		words := c.words("-no-such-flag")
		complain(s.run(words...), words, "Usage: drover "+c.spec.name, "flag provided but not defined: -no-such-flag\n")
		if c.spec.group {
			continue
		}
		least, most := bounds(c.spec.args)
		if c.spec.name == "version" {
			most = math.MaxInt // it takes no notice, as in the field
		}
		hint := "For additional help try 'drover " + c.spec.name + " -help'\n"
		for _, n := range []int{least - 1, most + 1} {
			if n < 0 || n == math.MinInt {
				continue
			}
			words := c.words(slices.Repeat([]string{"word"}, n)...)
			r := s.run(words...)
			complain(r, words, "", hint)
			if r.out != "" {
				t.Errorf("drover %s: a complaint on the standard output: %s", strings.Join(words, " "), r.out)
			}
		}
	}
}

// bounds reads how many arguments a usage line asks for.
func bounds(args string) (least, most int) {
	if args == "" {
		return 0, 0
	}
	for _, word := range strings.Fields(args) {
		most++
		if strings.HasPrefix(word, "<") {
			least++
		}
	}
	if strings.Contains(args, "...") || strings.Contains(args, "…") {
		most = math.MaxInt
	}
	return least, most
}

// referenceLine is what the reference says about one command.
type referenceLine struct {
	takes   []string
	refused map[string]string // flag -> why
	own     []string
}

var shorthands = map[string][]string{"J": {"json", "t"}, "V": {"verbose"}, "D": {"detach"}, "P": {"per-page", "page-token", "filter"}}

func readReference(t *testing.T) map[string]*referenceLine {
	t.Helper()
	text, err := os.ReadFile("testdata/reference_flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]*referenceLine{}
	var last *referenceLine
	for number, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "    own "):
			last.own = append(last.own, words[1:]...)
		case strings.HasPrefix(line, "    refused "):
			flags, why, _ := strings.Cut(strings.TrimPrefix(line, "    refused "), ":")
			if strings.TrimSpace(why) == "" {
				t.Errorf("line %d refuses without a reason", number+1)
			}
			for _, name := range strings.Fields(flags) {
				last.refused[name] = strings.TrimSpace(why)
			}
		default:
			name, flags, ok := strings.Cut(line, ":")
			if !ok || table[name] != nil || strings.HasPrefix(line, " ") {
				t.Fatalf("line %d of the table: %q", number+1, line)
			}
			last = &referenceLine{refused: map[string]string{}}
			for _, word := range strings.Fields(flags) {
				if long := shorthands[word]; long != nil {
					last.takes = append(last.takes, long...)
				} else {
					last.takes = append(last.takes, word)
				}
			}
			table[name] = last
		}
	}
	return table
}

// generalOptions of the reference; token and the last three are of a cluster with access rules and TLS.
var generalOptions = strings.Fields("address region namespace no-color force-color token ca-cert ca-path client-cert client-key tls-server-name tls-skip-verify insecure")

// local commands ask no agent, so the general options are not theirs.
var local = []string{"agent", "bench", "version", "fmt", "config validate", "job init", "node pool init"}

// TestEveryFlagOfTheReferenceIsTaken compares the program with testdata/reference_flags.txt, in both directions.
func TestEveryFlagOfTheReferenceIsTaken(t *testing.T) {
	table := readReference(t)
	s := newSurface(t)
	for _, c := range everyCommand(t) {
		if c.spec.group {
			continue
		}
		line := table[c.spec.name]
		if line == nil {
			t.Errorf("the table has no line for %q", c.spec.name)
			continue
		}
		want := map[string]bool{}
		for _, name := range slices.Concat(line.takes, line.own) {
			if want[name] {
				t.Errorf("%s -%s stands in the table twice", c.spec.name, name)
			}
			want[name] = true
		}
		for name, why := range line.refused {
			if !slices.Contains(line.takes, name) {
				t.Errorf("%s -%s is refused (%s), and not in the reference", c.spec.name, name, why)
			}
			delete(want, name)
			if r := s.run(c.words("-" + name)...); !strings.Contains(r.err, "flag provided but not defined: -"+name) {
				t.Errorf("drover %s -%s: the table says that it is refused (%s): exit %d\n%s%s", c.name, name, why, r.code, r.out, r.err)
			}
		}
		if c.spec.general == slices.Contains(local, c.spec.name) {
			t.Errorf("%s takes the general options: %v", c.spec.name, c.spec.general)
		}
		if c.spec.general {
			for _, name := range generalOptions {
				want[name] = true
			}
		}
		if takes := c.spec.flags(); !slices.Equal(takes, sorted(want)) {
			t.Errorf("drover %s\n       takes %v\nand the table says %v", c.name, takes, sorted(want))
		}
		for name := range want {
			if !s.takes(c, name) {
				t.Errorf("drover %s -%s: no value will do", c.name, name)
			}
		}
	}
	for name := range table {
		if !slices.ContainsFunc(specs(), func(s spec) bool { return s.name == name }) {
			t.Errorf("the table has %q, which is no command here", name)
		}
	}
}

// takes reports whether a flag can be given: what follows it is what is complained of.
func (s *surface) takes(c called, name string) bool {
	for _, value := range []string{"=true", "=1", "=k=v", "=K: v", "=5s", "=5%", "=binpack", "=ask", "=INFO", "=JobSubmitted", "=hcl"} {
		if r := s.run(c.words("-"+name+value, "-no-such-flag")...); strings.Contains(r.err, "not defined: -no-such-flag") {
			return true
		}
	}
	return false
}

// TestFlagsOfHelpAreOffered: the completion of each command offers what its help names.
func TestFlagsOfHelpAreOffered(t *testing.T) {
	for _, c := range everyCommand(t) {
		p := &Program{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard}
		var offered []string
		for name := range (&command{p: p, spec: c.spec}).AutocompleteFlags() {
			offered = append(offered, strings.TrimPrefix(name, "-"))
		}
		slices.Sort(offered)
		if takes := c.spec.flags(); !slices.Equal(offered, takes) {
			t.Errorf("%s offers %v and takes %v", c.name, offered, takes)
		}
	}
}
