package cli

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	hcli "github.com/hashicorp/cli"
	"pgregory.net/rapid"

	"drover/cmd/internal/agentconfig"
	"drover/cmd/internal/audit"
)

func TestDurationsAreShownInTheirTwoCoarsestUnits(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 73 * time.Second: "1m13s", time.Hour: "1h", time.Hour + 5*time.Second: "1h",
		26 * time.Hour: "1d2h", 312 * day: "10mo12d", 366 * day: "1y", 800 * day: "2y2mo",
	} {
		if got := coarse(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
	p := &Program{Now: func() time.Time { return testNow }}
	for at, want := range map[time.Time]string{
		testNow: "0s ago", testNow.Add(-90 * time.Second): "1m30s ago", testNow.Add(298 * time.Second): "4m58s from now",
		testNow.Add(500 * time.Millisecond): "0s ago", {}: "",
	} {
		if got := p.ago(at); got != want {
			t.Errorf("%v is shown as %q, want %q", at, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for mb, want := range map[int64]string{0: "0 B", -1: "0 B", 1: "1.0 MiB", 18: "18 MiB", 1023: "1023 MiB", 1024: "1.0 GiB", 24576: "24 GiB", 1 << 20: "1.0 TiB"} {
		if got := mebibytes(mb); got != want {
			t.Errorf("%d MiB is shown as %s, want %s", mb, got, want)
		}
	}
}

// TestTheLastLinesAreTheLastLines compares with splitting the text.
func TestTheLastLinesAreTheLastLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([ab]{0,3}\n?){0,8}`).Draw(t, "text")
		n := rapid.IntRange(1, 5).Draw(t, "lines")
		lines := strings.SplitAfter(text, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		want := strings.Join(lines[max(0, len(lines)-n):], "")
		if got := string(tailOf([]byte(text), n)); got != want {
			t.Fatalf("the last %d lines of %q are %q, want %q", n, text, got, want)
		}
	})
}

func TestPrefixesAreCutToWholeBytes(t *testing.T) {
	for typed, want := range map[string]string{
		"ab": "ab", "abc": "ab", "ABCD": "abcd", "c1f0a2b3-0": "c1f0a2b3", "c1f0a2b3-": "c1f0a2b3", "c1f0a2b3-00": "c1f0a2b3-00",
		"c1f0a2b3-0001-4000-8000-000000000001": "c1f0a2b3-0001-4000-8000-000000000001",
	} {
		if got, ok := evenPrefix(typed); got != want || !ok {
			t.Errorf("%q is searched as %q (%v), want %q", typed, got, ok, want)
		}
	}
	for _, typed := range []string{"", "a", "xy", "web", "a b", "c1f0a2b3-0001-4000-8000-000000000001-00"} {
		if got, ok := evenPrefix(typed); ok {
			t.Errorf("%q is searched as %q", typed, got)
		}
	}
}

func TestDroversVariablesWinOverTheFields(t *testing.T) {
	p := &Program{Environ: []string{"NOMAD_ADDR=b", "DROVER_ADDR=a", "NOMAD_TOKEN=t", "DROVER_REGION=", "NOMAD_REGION=r"}}
	for name, want := range map[string]string{"ADDR": "a", "TOKEN": "t", "REGION": "r", "NAMESPACE": ""} {
		if got := p.env(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// agentRun is a running agent command with its signals in the test's hand.
type agentRun struct {
	out, err bytes.Buffer
	signals  chan os.Signal
	code     chan int
}

func startAgent(cfg agentconfig.Config, run func(ctx context.Context) int, reload func() (agentconfig.Config, error)) *agentRun {
	r := &agentRun{signals: make(chan os.Signal), code: make(chan int, 1)}
	p := &Program{Stdin: strings.NewReader(""), Stdout: &r.out, Stderr: &r.err,
		RunAgent: func(ctx context.Context, _ agentconfig.Config, _ hcli.Ui) int { return run(ctx) }}
	in := &invocation{ctx: context.Background(), p: p, ui: newTerm(p), name: "agent", general: newGeneral(p)}
	go func() { r.code <- in.runAgent(cfg, r.signals, reload) }()
	return r
}

func untilDone(ctx context.Context) int { <-ctx.Done(); return 0 }

func devConfig(t *testing.T, level string) agentconfig.Config {
	t.Helper()
	cfg := agentconfig.Config{Log: agentconfig.Log{Level: new(slog.LevelVar)}}
	if err := cfg.Log.Level.UnmarshalText([]byte(level)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestSignalsEndTheAgent(t *testing.T) {
	leave := devConfig(t, "INFO")
	leave.LeaveOnTerminate = true
	for _, c := range []struct {
		name   string
		cfg    agentconfig.Config
		signal os.Signal
		code   int
	}{
		{"an interrupt ends it with 1", devConfig(t, "INFO"), syscall.SIGINT, 1},
		{"a termination ends it with 1", devConfig(t, "INFO"), syscall.SIGTERM, 1},
		{"a graceful termination is a success", leave, syscall.SIGTERM, 0},
		{"leave_on_terminate says nothing of interrupts", leave, syscall.SIGINT, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startAgent(c.cfg, untilDone, nil)
				r.signals <- c.signal
				if code := <-r.code; code != c.code {
					t.Errorf("exit code %d, want %d\n%s", code, c.code, r.out.String())
				}
				if want := "==> Caught signal: " + c.signal.String(); !strings.Contains(r.out.String(), want) {
					t.Errorf("%q lacks %q", r.out.String(), want)
				}
			})
		})
	}
}

func TestAnAgentThatEndsByItselfGivesItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startAgent(devConfig(t, "INFO"), func(context.Context) int { return 7 }, nil)
		if code := <-r.code; code != 7 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestAnAgentThatHangsIsLeftBehind(t *testing.T) {
	for _, second := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan struct{})
			r := startAgent(devConfig(t, "INFO"), func(context.Context) int { <-hang; return 0 }, nil)
			r.signals <- syscall.SIGINT
			if second {
				r.signals <- syscall.SIGINT
			}
			began := time.Now()
			if code := <-r.code; code != 1 {
				t.Errorf("exit code %d", code)
			}
			if waited := time.Since(began); second != (waited == 0) {
				t.Errorf("second signal %v: it took %v", second, waited)
			}
			close(hang)
		})
	}
}

func TestAHangupReadsTheConfigurationAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := devConfig(t, "INFO")
		results := make(chan error, 2)
		r := startAgent(cfg, untilDone, func() (agentconfig.Config, error) { return devConfig(t, "WARN"), <-results })
		results <- os.ErrNotExist
		r.signals <- syscall.SIGHUP
		synctest.Wait()
		if got := agentconfig.LevelWord(cfg.Log.Level.Level()); got != "INFO" {
			t.Errorf("a bad configuration set the level to %s", got)
		}
		results <- nil
		r.signals <- syscall.SIGHUP
		synctest.Wait()
		if got := agentconfig.LevelWord(cfg.Log.Level.Level()); got != "WARN" {
			t.Errorf("the level is %s after the reload", got)
		}
		r.signals <- syscall.SIGTERM
		<-r.code
		if !strings.Contains(r.err.String(), "stays as it was") {
			t.Errorf("nothing was said of the bad configuration: %q", r.err.String())
		}
	})
}

func TestVerifyOfADirectory(t *testing.T) {
	for _, c := range []struct {
		result Verification
		code   int
		want   string
	}{
		{Verification{Records: 3, HeadIndex: 3, HeadHash: "abc"}, 0, "The event log is whole: 3 records"},
		{Verification{Bad: true, BadIndex: 2, BadReason: "bit rot"}, 1, "record 2 is the first bad one: bit rot"},
	} {
		var out, errs bytes.Buffer
		p := &Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now, Zone: time.UTC,
			VerifyDir: func(_ context.Context, dir string, progress func(done, total uint64)) (Verification, error) {
				if dir != "/var/drover" {
					t.Errorf("the directory is %q", dir)
				}
				progress(1, 3)
				return c.result, nil
			}}
		if code := p.Run([]string{"event", "verify", "-data-dir", "/var/drover"}); code != c.code {
			t.Errorf("exit code %d, want %d", code, c.code)
		}
		if text := out.String() + errs.String(); !strings.Contains(text, c.want) {
			t.Errorf("%q lacks %q", text, c.want)
		}
	}
}

// TestTheAgentCommandHandsOverACheckedConfiguration: files and flags become one
// configuration; a mistake ends the command before anything starts.
func TestTheAgentCommandHandsOverACheckedConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.hcl", []byte(`datacenter = "east" ports { http = 5646 }`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-dev", "-config=a.hcl", "-node=n1"}, 3, "==> Loaded configuration from a.hcl\n==> Starting Drover agent...\n"},
		{[]string{"-dev", "-config=b.hcl"}, 1, "==> Error loading configuration from b.hcl: "},
		{[]string{}, 1, "==> Must specify either server, client or dev mode for the agent."},
		{[]string{"-dev", "extra"}, 1, "This command takes no arguments"},
		{[]string{"-dev", "-meta=x"}, 1, "must be key=value"},
	} {
		var out, errs bytes.Buffer
		started := false
		p := &Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
			RunAgent: func(_ context.Context, cfg agentconfig.Config, ui hcli.Ui) int {
				started = true
				if cfg.Datacenter != "east" || cfg.Name != "n1" || cfg.Advertise.HTTP != "127.0.0.1:5646" || !cfg.Dev {
					t.Errorf("the configuration is %+v", cfg)
				}
				ui.Output("banner")
				return 3
			}}
		code := p.Run(append([]string{"agent"}, c.args...))
		if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.want) || started != (code == 3) {
			t.Errorf("agent %v: exit %d, started %v\n%s", c.args, code, started, text)
		}
	}
}

func BenchmarkEventStream(b *testing.B) {
	line := []byte(`{"Index":3,"Time":"2026-01-02T15:04:01.5Z","Kind":"EvaluationCreated","Caller":{"Kind":"anonymous"},"EvalID":"e1000000-0000-4000-8000-000000000001","Event":{"Evaluation":{"ID":"e1000000-0000-4000-8000-000000000001","Namespace":"default","JobID":"web","TriggeredBy":"job-register","Status":"pending"}}}`)
	for b.Loop() {
		entry, err := audit.Decode(line)
		if err != nil {
			b.Fatal(err)
		}
		_ = entry.Line(time.UTC)
	}
}

func TestAWarningOfBothTheParserAndTheServersIsShownOnceInItsFullerForm(t *testing.T) {
	// The servers see a job with its defaults, so they name fewer of the fields that the author wrote.
	const server = "1 warning:\n\n* nothing acts on it: job.spread"
	for local, want := range map[string]string{
		"nothing acts on it: job.spread, job.update": "1 warning:\n\n* nothing acts on it: job.spread, job.update",
		"nothing acts on it: job.spread":             server,
		"deprecated: job.spread":                     "2 warnings:\n\n* nothing acts on it: job.spread\n* deprecated: job.spread",
		"odd":                                        "2 warnings:\n\n* nothing acts on it: job.spread\n* odd",
		"of two\n  lines":                            "2 warnings:\n\n* nothing acts on it: job.spread\n* of two\n  lines",
	} {
		if got := mergeWarnings([]string{local}, server); got != want {
			t.Errorf("with %q:\n%s\nwant:\n%s", local, got, want)
		}
	}
}

func TestWarningsOfSeveralLinesAreCountedAndComparedWhole(t *testing.T) {
	const server = "2 warnings:\n\n* old syntax; modern form:\n    port \"a\" {}\n* other"
	if got := mergeWarnings([]string{"old syntax; modern form:\n    port \"a\" {}", "third"}, server); got != strings.Replace(server, "2", "3", 1)+"\n* third" {
		t.Error(got)
	}
	if got := mergeWarnings(nil, ""); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
