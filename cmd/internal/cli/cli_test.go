package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	hcli "github.com/hashicorp/cli"

	"drover/cmd/internal/agentconfig"
	"drover/eventlog/event"
)

// fakeAgent answers requests as a test file says.
type fakeAgent struct {
	mu     sync.Mutex
	routes []*route
	writes []string // requests that change something, as shown in the outcome
	missed []string // requests that no route answers
}

type route struct {
	method, path string
	query        url.Values // each must be there with this value
	status       int
	index        string // X-Nomad-Index; empty = none
	next         string // X-Nomad-NextToken; empty = none
	body         string
	cut          bool // break the connection instead of answering
	once         bool // answer once, then leave it to later routes
	used         bool
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	if r.Method != http.MethodGet {
		a.writes = append(a.writes, a.describe(r, body))
	}
	var found *route
	for _, candidate := range a.routes {
		if candidate.matches(r) {
			found = candidate
			found.used = found.once
			break
		}
	}
	if found == nil {
		a.missed = append(a.missed, r.Method+" "+r.URL.RequestURI())
	}
	a.mu.Unlock()
	switch {
	case found == nil:
		http.Error(w, "no such route", http.StatusNotFound)
		return
	case found.cut:
		panic(http.ErrAbortHandler)
	}
	if found.index != "" {
		w.Header().Set("X-Nomad-Index", found.index)
	}
	if found.next != "" {
		w.Header().Set("X-Nomad-NextToken", found.next)
	}
	w.WriteHeader(found.status)
	io.WriteString(w, found.body)
}

func (rt *route) matches(r *http.Request) bool {
	if rt.used || rt.method != r.Method || rt.path != r.URL.EscapedPath() {
		return false
	}
	for key := range rt.query {
		if r.URL.Query().Get(key) != rt.query.Get(key) {
			return false
		}
	}
	return true
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// describe shows a write. Its command ID is random and only shown when it is
// missing or malformed.
func (a *fakeAgent) describe(r *http.Request, body []byte) string {
	line := r.Method + " " + r.URL.RequestURI()
	id := r.Header.Get("X-Drover-Command-ID")
	switch {
	case id == "":
		line += "  (no command ID)"
	case !uuidPattern.MatchString(id):
		line += "  (malformed command ID " + id + ")"
	}
	var req map[string]any
	if json.Unmarshal(body, &req) == nil {
		if job, ok := req["Job"].(map[string]any); ok {
			req["Job"] = fmt.Sprint(job["Namespace"], "/", job["ID"]) // the rest is the parser's
		}
		short, _ := json.Marshal(req)
		line += "\n" + string(short)
	}
	return line
}

// session is one test file: an agent, files, and what a person types.
type session struct {
	t      *testing.T
	agent  *fakeAgent
	server *httptest.Server
	env    []string
	stdin  string
	tty    bool
}

// TestCommands runs the files in testdata/commands.
//
//	route METHOD /path?query [status=] [index=] [next=] [file=] [once] [cut]
//	run        what a person types, $AGENT being the agent's URL; shows exit code, both outputs and what was written
//	env        NAME=value lines for the commands that follow
//	stdin      what the commands that follow can read
//	file NAME  a file in the working directory
//	terminal   on or off
func TestCommands(t *testing.T) {
	fixtures, err := filepath.Abs("testdata/fixtures")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("testdata/commands")
	if err != nil {
		t.Fatal(err)
	}
	datadriven.Walk(t, scripts, func(t *testing.T, path string) {
		t.Chdir(t.TempDir())
		s := &session{t: t, agent: &fakeAgent{}}
		s.server = httptest.NewServer(s.agent)
		defer s.server.Close()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "route":
				s.agent.mu.Lock()
				defer s.agent.mu.Unlock()
				s.agent.routes = append(s.agent.routes, parseRoute(t, d, fixtures))
				return ""
			case "forget":
				s.agent.mu.Lock()
				defer s.agent.mu.Unlock()
				s.agent.routes = nil
				return ""
			case "env":
				s.env = strings.Fields(d.Input)
				return ""
			case "stdin":
				s.stdin = d.Input + "\n"
				return ""
			case "terminal":
				s.tty = d.CmdArgs[0].Key == "on"
				return ""
			case "file":
				if err := os.WriteFile(d.CmdArgs[0].Key, []byte(d.Input), 0o600); err != nil {
					t.Fatal(err)
				}
				return ""
			case "run":
				return s.run(d.Input)
			}
			t.Fatalf("unknown directive %s", d.Cmd)
			return ""
		})
	})
}

func parseRoute(t *testing.T, d *datadriven.TestData, fixtures string) *route {
	rt := &route{status: 200, body: d.Input, method: d.CmdArgs[0].Key}
	// The path may hold "=", which the test format takes apart.
	target := d.CmdArgs[1].Key
	if len(d.CmdArgs[1].Vals) > 0 {
		target += "=" + strings.Join(d.CmdArgs[1].Vals, ",")
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	rt.path, rt.query = u.EscapedPath(), u.Query()
	for _, arg := range d.CmdArgs[2:] {
		switch arg.Key {
		case "status":
			fmt.Sscan(arg.Vals[0], &rt.status)
		case "index":
			rt.index = arg.Vals[0]
		case "next":
			rt.next = arg.Vals[0]
		case "once":
			rt.once = true
		case "cut":
			rt.cut = true
		case "file":
			body, err := os.ReadFile(filepath.Join(fixtures, arg.Vals[0]))
			if err != nil {
				t.Fatal(err)
			}
			rt.body = string(body)
		default:
			t.Fatalf("unknown argument %s", arg.Key)
		}
	}
	return rt
}

// testNow is when everything in the test files happens.
var testNow = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func (s *session) run(line string) string {
	var stdout, stderr bytes.Buffer
	environ := append([]string{"DROVER_ADDR=" + s.server.URL}, s.env...)
	p := &Program{
		Version: "0.1.0", Stdin: strings.NewReader(s.stdin), Stdout: &stdout, Stderr: &stderr, Terminal: s.tty,
		ParseJob: parseJobJSON, ValidateJob: validateJob,
		RunAgent: func(context.Context, agentconfig.Config, hcli.Ui) int { return 0 },
		Environ:  environ, Now: func() time.Time { return testNow }, Zone: time.UTC,
	}
	code := p.Run(words(strings.ReplaceAll(line, "$AGENT", s.server.URL)))
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d\n", code)
	show := func(title, text string) {
		if text == "" {
			return
		}
		text = strings.ReplaceAll(text, s.server.URL, "http://agent")
		text = strings.ReplaceAll(text, strings.TrimPrefix(s.server.URL, "http://"), "agent")
		text = strings.ReplaceAll(text, "\x1b", "^[")
		text = strings.ReplaceAll(text, "\r", "<cr>")
		fmt.Fprintf(&b, "-- %s\n%s", title, text)
		if !strings.HasSuffix(text, "\n") {
			b.WriteString("<no newline>\n")
		}
	}
	show("stdout", stdout.String())
	show("stderr", stderr.String())
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	slices.Sort(s.agent.writes) // commands may send several at a time
	show("sent", joinLines(s.agent.writes))
	slices.Sort(s.agent.missed)
	show("not answered", joinLines(s.agent.missed))
	s.agent.writes, s.agent.missed = nil, nil
	return b.String()
}

// parseJobJSON stands in for the job file parser: these tests are about what is
// done with a job, not about how it is written.
func parseJobJSON(s JobSource) (*ParsedJob, error) {
	var job event.Job
	if err := json.Unmarshal(s.Body, &job); err != nil {
		return nil, fmt.Errorf("%s:1,1-2: %w", s.Path, err)
	}
	parsed := &ParsedJob{Job: &job, NamespaceWritten: job.Namespace != "", RegionWritten: job.Region != "", Submission: &event.JobSubmission{Source: "text", Format: "hcl2", VariableFlags: map[string]string{}}}
	for _, v := range s.Vars {
		name, value, _ := strings.Cut(v, "=")
		parsed.Submission.VariableFlags[name] = value
	}
	for _, f := range s.VarFiles {
		parsed.Submission.Variables += string(f.Body)
	}
	if job.Meta != nil {
		parsed.Warnings = []string{"meta is not acted on yet"}
	}
	return parsed, nil
}

func validateJob(job *event.Job) ([]string, error) {
	if job.Priority > 100 {
		return nil, errors.New("the priority must be between 1 and 100")
	}
	return []string{"said here"}, nil
}

func joinLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// words splits a line as a shell does, as far as single quotes go.
func words(line string) []string {
	var list []string
	var word strings.Builder
	quoted, any := false, false
	for _, c := range line + " " {
		switch {
		case c == '\'':
			quoted, any = !quoted, true
		case (c == ' ' || c == '\n') && !quoted:
			if any {
				list = append(list, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(c)
			any = true
		}
	}
	return list
}
