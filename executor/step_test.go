package executor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// stepWorld is one allocation in virtual time.
type stepWorld struct {
	rules  allocRules
	state  *allocState
	now    time.Duration // since the beginning
	timers []stepTimer
	chance uint64
}

type stepTimer struct {
	at   time.Duration
	what any
}

var stepEpoch = time.Unix(1_700_000_000, 0)

// observe takes one step and describes what came of it.
func (w *stepWorld) observe(what any) string {
	before := w.state.status()
	actions := w.state.step(&w.rules, observation{At: stepEpoch.Add(w.now), Chance: w.chance, What: what})
	var out strings.Builder
	for _, a := range actions {
		switch a := a.(type) {
		case actStart:
			fmt.Fprintf(&out, "start %s #%d\n", a.Task, a.Start)
		case actStop:
			fmt.Fprintf(&out, "stop %s #%d signal=%s timeout=%v\n", a.Task, a.Start, a.Signal, a.Timeout)
		case actTimer:
			w.timers = append(w.timers, stepTimer{w.now + a.After, obsTimer{Task: a.Task, Start: a.Start, Kind: a.Kind}})
		case actGroupDelay:
			fmt.Fprintf(&out, "group waits %v\n", a.After)
			w.timers = append(w.timers, stepTimer{w.now + a.After, obsGroupDelay{}})
		case actGiveUp:
			fmt.Fprintf(&out, "give up %s #%d\n", a.Task, a.Start)
		case actEvent:
			fmt.Fprintf(&out, "%s: %s: %s\n", a.Task, a.Event.Type, a.Event.Message())
		}
	}
	if after := w.state.status(); after != before {
		fmt.Fprintf(&out, "status %s\n", after)
	}
	if w.state.ended() {
		out.WriteString("ended\n")
	}
	return out.String()
}

func (w *stepWorld) advance(d time.Duration) string {
	until := w.now + d
	var out strings.Builder
	for {
		slices.SortStableFunc(w.timers, func(a, b stepTimer) int { return int(a.at - b.at) })
		if len(w.timers) == 0 || w.timers[0].at > until {
			w.now = until
			return out.String()
		}
		t := w.timers[0]
		w.timers = w.timers[1:]
		w.now = t.at
		if text := w.observe(t.what); text != "" {
			fmt.Fprintf(&out, "at %v\n%s", w.now, text)
		}
	}
}

func TestStepScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/step", func(t *testing.T, path string) {
		w := &stepWorld{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			arg := func(name string) string {
				var v string
				d.MaybeScanArgs(t, name, &v)
				return v
			}
			number := func(name string) int {
				n, _ := strconv.Atoi(arg(name))
				return n
			}
			task := ""
			if len(d.CmdArgs) > 0 {
				task = d.CmdArgs[0].Key
			}
			start := func() uint64 {
				if s := w.state.task(task); s != nil && arg("start") == "" {
					return s.Start
				}
				return uint64(number("start"))
			}
			switch d.Cmd {
			case "job":
				w = &stepWorld{rules: parseRules(t, d)}
				w.chance = uint64(number("chance"))
				w.state = newAllocState(&w.rules)
				return w.observe(obsReceived{})
			case "begin":
				return w.observe(obsBegin{})
			case "setup-failed":
				return w.observe(obsSetupFailed{Err: errors.New(arg("error"))})
			case "started":
				return w.observe(obsStarted{Task: task, Start: start()})
			case "exited":
				return w.observe(obsExited{Task: task, Start: start(), Lost: arg("lost"),
					Exit: driver.Exit{Code: number("code"), Signal: number("signal"), OOMKilled: arg("oom") != ""}})
			case "start-failed":
				var err error = errors.New(arg("error"))
				switch arg("kind") {
				case "unrecoverable":
					err = driver.Unrecoverable{Err: err}
				case "invalid":
					err = driver.Invalid{Err: err}
				case "artifact":
					err = notReady{event.TaskFailedArtifactDownload, err}
				case "template":
					err = notReady{event.TaskKilling, driver.Unrecoverable{Err: err}}
				case "given-up":
					err = errGivenUp
				}
				return w.observe(obsStartFailed{Task: task, Start: start(), Err: err})
			case "restart":
				return w.observe(obsRestart{Task: task, Start: start(), Reason: arg("reason")})
			case "restart-all":
				return w.observe(obsRestartAll{Reason: arg("reason")})
			case "template-failed":
				return w.observe(obsTemplateFailed{Task: task, Start: start(), Reason: arg("reason")})
			case "preparing":
				return w.observe(obsPreparing{Task: task, Start: start(), Kind: event.TaskDownloadingArtifacts})
			case "not-restored":
				return w.observe(obsNotRestored{Task: task, Start: start(), Reason: arg("reason")})
			case "contact":
				return w.observe(obsContact{})
			case "stop":
				return w.observe(obsStop{NoDelay: arg("no_delay") != ""})
			case "exceeded":
				return w.observe(obsExceeded{})
			case "advance":
				by, err := time.ParseDuration(task)
				if err != nil {
					t.Fatal(err)
				}
				return w.advance(by)
			case "tasks":
				var out strings.Builder
				for _, s := range w.state.Tasks {
					fmt.Fprintf(&out, "%s %s failed=%v restarts=%d\n", s.Name, s.State.State, s.State.Failed, s.State.Restarts)
				}
				return out.String()
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

// parseRules reads a job: its type as argument, one task per line with its settings.
func parseRules(t *testing.T, d *datadriven.TestData) allocRules {
	job := &event.Job{Type: event.JobTypeService}
	group := &event.TaskGroup{Name: "g"}
	duration := func(s string) time.Duration {
		v, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	d.MaybeScanArgs(t, "type", &job.Type)
	var delay string
	if d.MaybeScanArgs(t, "shutdown_delay", &delay); delay != "" {
		group.ShutdownDelay = duration(delay)
	}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		task := &event.Task{Name: f[0], KillTimeout: 5 * time.Second, RestartPolicy: event.RestartPolicy{
			Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: "fail",
		}}
		for _, setting := range f[1:] {
			key, value, _ := strings.Cut(setting, "=")
			switch key {
			case "attempts":
				task.RestartPolicy.Attempts, _ = strconv.Atoi(value)
			case "interval":
				task.RestartPolicy.Interval = duration(value)
			case "delay":
				task.RestartPolicy.Delay = duration(value)
			case "mode":
				task.RestartPolicy.Mode = value
			case "leader":
				task.Leader = true
			case "hook":
				task.Lifecycle = &event.TaskLifecycle{Hook: value, Sidecar: slices.Contains(f, "sidecar")}
			case "sidecar":
			case "shutdown_delay":
				task.ShutdownDelay = duration(value)
			case "kill_signal":
				task.KillSignal = value
			case "kill_timeout":
				task.KillTimeout = duration(value)
			default:
				t.Fatalf("unknown setting %q", setting)
			}
		}
		group.Tasks = append(group.Tasks, task)
	}
	return rulesOf(job, group, 30*time.Second)
}

// Whatever happens in whatever order: a start is asked for once, never while the task still runs, nothing starts after
// the end, an ended allocation has an ended status, and the state survives its encoding.
func TestStepNeverStartsTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		job := &event.Job{Type: rapid.SampledFrom([]string{"service", "batch"}).Draw(t, "type")}
		group := &event.TaskGroup{Name: "g", ShutdownDelay: time.Duration(rapid.IntRange(0, 1).Draw(t, "group delay")) * time.Second}
		for i := range rapid.IntRange(1, 4).Draw(t, "tasks") {
			task := &event.Task{
				Name: strconv.Itoa(i), Leader: i == 0 && rapid.Bool().Draw(t, "leader"),
				ShutdownDelay: time.Duration(rapid.IntRange(0, 1).Draw(t, "delay")) * time.Second,
				RestartPolicy: event.RestartPolicy{
					Attempts: rapid.IntRange(0, 2).Draw(t, "attempts"), Interval: time.Minute, Delay: time.Second,
					Mode: rapid.SampledFrom([]string{"fail", "delay"}).Draw(t, "mode"),
				},
			}
			if hook := rapid.SampledFrom([]string{"", "", "prestart", "poststart", "poststop"}).Draw(t, "hook"); hook != "" {
				task.Lifecycle = &event.TaskLifecycle{Hook: hook, Sidecar: rapid.Bool().Draw(t, "sidecar")}
			}
			group.Tasks = append(group.Tasks, task)
		}
		w := &stepWorld{rules: rulesOf(job, group, time.Minute)}
		w.state = newAllocState(&w.rules)
		// asked and live model the driver: newest start asked for, and whether it may still run.
		asked, live := map[string]uint64{}, map[string]bool{}
		observe := func(what any) {
			over := w.state.ended()
			for _, a := range w.state.step(&w.rules, observation{At: stepEpoch.Add(w.now), Chance: rapid.Uint64().Draw(t, "chance"), What: what}) {
				switch a := a.(type) {
				case actStart:
					if over || live[a.Task] || a.Start != asked[a.Task]+1 {
						t.Fatalf("start %d of %s after %d, live=%v, ended=%v", a.Start, a.Task, asked[a.Task], live[a.Task], over)
					}
					asked[a.Task], live[a.Task] = a.Start, true
				case actStop:
					if !live[a.Task] || a.Start != asked[a.Task] {
						t.Fatalf("stop of start %d of %s, newest %d", a.Start, a.Task, asked[a.Task])
					}
				case actTimer:
					w.timers = append(w.timers, stepTimer{w.now + a.After, obsTimer{Task: a.Task, Start: a.Start, Kind: a.Kind}})
				case actGroupDelay:
					w.timers = append(w.timers, stepTimer{w.now + a.After, obsGroupDelay{}})
				}
			}
			b, err := encodeState(w.state)
			if err != nil {
				t.Fatal(err)
			}
			w.state = new(allocState)
			if err := decodeState("", b, w.state); err != nil {
				t.Fatal(err)
			}
		}
		pick := func() string { return strconv.Itoa(rapid.IntRange(0, len(group.Tasks)-1).Draw(t, "task")) }
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(*rapid.T) { observe(obsBegin{}) },
			"stop":  func(*rapid.T) { observe(obsStop{}) },
			"started": func(*rapid.T) {
				if n := pick(); live[n] {
					observe(obsStarted{Task: n, Start: asked[n]})
				}
			},
			"exited": func(t *rapid.T) {
				if n := pick(); live[n] {
					live[n] = false
					observe(obsExited{Task: n, Start: asked[n], Exit: driver.Exit{Code: rapid.IntRange(0, 1).Draw(t, "code")}})
				}
			},
			"start failed": func(*rapid.T) {
				if n := pick(); live[n] {
					live[n] = false
					observe(obsStartFailed{Task: n, Start: asked[n], Err: errors.New("no")})
				}
			},
			"not restored": func(*rapid.T) {
				if n := pick(); live[n] {
					live[n] = false
					observe(obsNotRestored{Task: n, Start: asked[n]})
				}
			},
			"contact":         func(*rapid.T) { observe(obsContact{}) },
			"restart":         func(*rapid.T) { n := pick(); observe(obsRestart{Task: n, Start: asked[n]}) },
			"exceeded":        func(*rapid.T) { observe(obsExceeded{}) },
			"restart all":     func(*rapid.T) { observe(obsRestartAll{}) },
			"template failed": func(*rapid.T) { n := pick(); observe(obsTemplateFailed{Task: n, Start: asked[n]}) },
			"timer": func(*rapid.T) {
				slices.SortStableFunc(w.timers, func(a, b stepTimer) int { return int(a.at - b.at) })
				if len(w.timers) > 0 {
					timer := w.timers[0]
					w.timers, w.now = w.timers[1:], max(w.now, timer.at)
					observe(timer.what)
				}
			},
			"": func(t *rapid.T) {
				for name, l := range live {
					if l && w.state.ended() {
						t.Fatalf("ended while %s may run", name)
					}
				}
				if w.state.ended() && !w.state.status().Terminal() {
					t.Fatalf("ended with status %s", w.state.status())
				}
				for _, s := range w.state.Tasks {
					for i := 1; i < len(s.State.Events); i++ {
						if s.State.Events[i].Time <= s.State.Events[i-1].Time {
							t.Fatal("times of events do not grow")
						}
					}
				}
			},
		})
		// From any state, a stop and the obedience of tasks end it.
		observe(obsStop{})
		for range 100 {
			for name, l := range live {
				if s := w.state.task(name); l && s.Phase == phaseStarting {
					observe(obsStarted{Task: name, Start: asked[name]})
				} else if l && (s.Phase == phaseStopping || w.rules.task(name).role == rolePoststop) {
					live[name] = false
					observe(obsExited{Task: name, Start: asked[name]})
				}
			}
			for len(w.timers) > 0 {
				timer := w.timers[0]
				w.timers = w.timers[1:]
				w.now = max(w.now, timer.at)
				observe(timer.what)
			}
		}
		if !w.state.ended() {
			t.Fatal("a stop did not end it")
		}
	})
}
