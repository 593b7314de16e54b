package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/hashicorp/nomad/api"
)

// TestScripts runs the stories in cmd/testdata/script. Each has a cluster of its
// own, one agent that is server and node, and these commands:
//
//	agent [memory=MB] [cpu=MHz] [volume=V]  start it; the default is 1000 MB and 4000 MHz, and no volume; V is a
//	                                   directory of the script that tasks may mount
//	file name=F                        write a file into the script's directory
//	drover [unchanged]                 run a command line there; {J} is the running allocation of job J
//	http method=M path=P [unchanged]   send a request; the body is the input, or size=N bytes
//	await job=J status=S count=N [started]  wait until so many allocations have this client status, and no task is pending
//
// unchanged checks that no record came into the log. What differs from run to
// run is replaced by a word in angle brackets.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(moduleRoot, "cmd/testdata/script/*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, dir: t.TempDir()}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { s.t = t; return s.run(d) })
		})
	}
}

type script struct {
	t      *testing.T
	dir    string
	agent  *agent
	client *api.Client
}

func (s *script) run(d *datadriven.TestData) string {
	before := ""
	if d.HasArg("unchanged") {
		before = logHead(s.t, s.agent)
	}
	text := s.command(d)
	if before != "" {
		if after := logHead(s.t, s.agent); after != before {
			text += fmt.Sprintf("\nthe log grew from %s to %s:\n%s", before, after, s.agent.ok(s.t, "event", "stream", "-no-follow", "-index", before))
		}
	}
	return s.plain(text)
}

func (s *script) command(d *datadriven.TestData) string {
	switch d.Cmd {
	case "agent":
		var c agentConfig
		d.MaybeScanArgs(s.t, "memory", &c.memoryMB)
		d.MaybeScanArgs(s.t, "cpu", &c.cpuMHz)
		var volume string
		if d.MaybeScanArgs(s.t, "volume", &volume); volume != "" {
			dir := filepath.Join(s.dir, volume)
			if err := os.Mkdir(dir, 0o755); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o777); err != nil { // tasks are not root
				s.t.Fatal(err)
			}
			c.clientKeys = fmt.Sprintf("host_volume %q { path = %q }", volume, dir)
		}
		s.agent, s.client = newOne(s.t, c)
		return ""
	case "file":
		var name string
		d.ScanArgs(s.t, "name", &name)
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(d.Input), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return ""
	case "drover":
		return cli(s.t, s.agent.url(), s.dir, words(s.named(d.Input))...).String()
	case "http":
		var method, path string
		var size int
		d.ScanArgs(s.t, "method", &method)
		d.ScanArgs(s.t, "path", &path)
		body := d.Input
		if d.MaybeScanArgs(s.t, "size", &size); size > 0 {
			body = `{"Job":{"ID":"` + strings.Repeat("x", size) + `"}}`
		}
		code, answer := request(s.t, method, s.agent.url()+path, body)
		return strconv.Itoa(code) + "\n" + answer
	case "await":
		var job, status string
		var count int
		d.ScanArgs(s.t, "job", &job)
		d.ScanArgs(s.t, "status", &status)
		d.ScanArgs(s.t, "count", &count)
		var b strings.Builder
		found := awaitCount(s.t, s.client, job, status, count)
		if d.HasArg("started") {
			found = awaitAllocs(s.t, s.client, job, func(allocs []*api.AllocationListStub) bool {
				for _, a := range with(allocs, status) {
					for _, state := range a.TaskStates {
						if state.State == "pending" {
							return false
						}
					}
				}
				return len(with(allocs, status)) == count
			})
			found = with(found, status)
		}
		for _, a := range found {
			fmt.Fprintf(&b, "%s version %d desired %s\n", a.Name, a.JobVersion, a.DesiredStatus)
		}
		return sortedLines(b.String())
	}
	s.t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return ""
}

var allocOf = regexp.MustCompile(`\{(\w+)\}`)

// named puts in the ID of a job's running allocation for the job's name in braces.
func (s *script) named(line string) string {
	return allocOf.ReplaceAllStringFunc(line, func(name string) string {
		return awaitCount(s.t, s.client, strings.Trim(name, "{}"), "running", 1)[0].ID
	})
}

// words splits a command line; words in single quotes may hold spaces.
func words(line string) []string {
	var list []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

var varying = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<hash>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "<short>"},
	{regexp.MustCompile(`\b(\d+[smh])+ ago\b|\b<?1s ago\b|\bnow\b`), "<ago>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
	{regexp.MustCompile(`\bindex:? \d+`), "index <n>"},
	{regexp.MustCompile(`"Index":\d+`), `"Index":<n>`},
	{regexp.MustCompile(`\d+ records`), "<n> records"},
	// Whether a command that follows an evaluation still sees this is a matter of timing.
	{regexp.MustCompile(`(?m)^.*Allocation "<short>" status changed: .*\n`), ""},
	{regexp.MustCompile(` {2,}`), "  "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func (s *script) plain(text string) string {
	text = strings.ReplaceAll(text, s.dir, "<dir>")
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.word)
	}
	return text
}
