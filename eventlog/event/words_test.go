package event

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseID(t *testing.T) {
	good := "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{good, good},
		{strings.ToUpper(good), good},
		{"00000000-0000-0000-0000-000000000000", ""},
	} {
		id, err := ParseID(c.in)
		if err != nil || id.String() != c.want {
			t.Errorf("ParseID(%q) = %q, %v", c.in, id, err)
		}
	}
	for _, in := range []string{
		"x", good[:35], good + "0", strings.ReplaceAll(good, "-", ""), strings.Replace(good, "-", "_", 1),
		"g" + good[1:], "{" + good[1:], " " + good, good[:8] + "--" + good[10:], good + "\n",
	} {
		if id, err := ParseID(in); err == nil || !id.IsZero() {
			t.Errorf("ParseID(%q) = %v, want an error", in, id)
		}
	}
	if got := MustParseID(good).Short(); got != "0f1e2d3c" {
		t.Errorf("short form %q", got)
	}
	if got := (ID{}).Short(); got != "" {
		t.Errorf("short form of none: %q", got)
	}
}

func TestIDsKeepTheirValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b ID
		randomize(t, reflect.ValueOf(&a).Elem(), 0)
		randomize(t, reflect.ValueOf(&b).Elem(), 0)
		for _, id := range []ID{a, b, {}} {
			parsed, err := ParseID(id.String())
			if err != nil || parsed != id {
				t.Fatalf("%v parsed as %v, %v", id, parsed, err)
			}
			text, _ := json.Marshal(id)
			var back ID
			if err := json.Unmarshal(text, &back); err != nil || back != id {
				t.Fatalf("%s read as %v, %v", text, back, err)
			}
			bin, _ := id.MarshalBinary()
			if err := back.UnmarshalBinary(bin); err != nil || back != id {
				t.Fatalf("%x read as %v, %v", bin, back, err)
			}
		}
		if got, want := a.Compare(b), strings.Compare(a.String(), b.String()); !a.IsZero() && !b.IsZero() && got != want {
			t.Fatalf("%v compared to %v: %d, their text %d", a, b, got, want)
		}
	})
	var id ID
	if id.UnmarshalBinary(make([]byte, 5)) == nil {
		t.Error("an ID of 5 bytes was taken")
	}
	var h Hash
	if h.UnmarshalBinary(make([]byte, 5)) == nil || h.UnmarshalText([]byte("abcd")) == nil || h.UnmarshalText([]byte(strings.Repeat("x", 64))) == nil {
		t.Error("a malformed hash was taken")
	}
	if err := h.UnmarshalText([]byte(HashOf(nil).String())); err != nil || h != HashOf(nil) {
		t.Errorf("%v, %v", h, err)
	}
}

func TestDerivedIDs(t *testing.T) {
	eval := HashedID("evaluation")
	seen := make(map[ID]string)
	for basis := range uint64(20) {
		for ordinal := range uint32(20) {
			id := AllocationID(eval, basis, ordinal)
			if id != AllocationID(eval, basis, ordinal) {
				t.Fatal("the same input gave two IDs")
			}
			if was, ok := seen[id]; ok {
				t.Fatalf("basis %d ordinal %d has the ID of %s", basis, ordinal, was)
			}
			seen[id] = fmt.Sprint(basis, ordinal)
			if id.String()[14] != '8' || !strings.ContainsRune("89ab", rune(id.String()[19])) {
				t.Fatalf("%v is not a UUID of version 8", id)
			}
		}
	}
	if DeriveID("a", eval) == DeriveID("b", eval) {
		t.Error("two spaces gave one ID")
	}
}

func TestScoreJSON(t *testing.T) {
	for _, c := range []struct {
		score Score
		want  string
	}{
		{0, "0"}, {ScoreScale, "1"}, {-ScoreScale, "-1"}, {500_000, "0.5"}, {-250_000, "-0.25"}, {1, "0.000001"}, {-1, "-0.000001"},
		{12_345_678, "12.345678"}, {math.MaxInt64, "9223372036854.775807"}, {math.MinInt64, "-9223372036854.775808"},
	} {
		got, err := json.Marshal(c.score)
		if err != nil || string(got) != c.want {
			t.Errorf("%d as JSON: %s, %v; want %s", int64(c.score), got, err, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Score(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "score"))
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Score
		if err := json.Unmarshal(data, &back); err != nil || back != s {
			t.Fatalf("%d became %s became %d, %v", int64(s), data, int64(back), err)
		}
	})
	s := Score(7)
	if err := json.Unmarshal([]byte("null"), &s); err != nil || s != 7 {
		t.Errorf("null: %d, %v", s, err)
	}
	if json.Unmarshal([]byte(`1e300`), &s) == nil {
		t.Error("a score beyond all bounds was taken")
	}
	if json.Unmarshal([]byte(`"1"`), &s) == nil {
		t.Error("a score in quotes was taken")
	}
}

func TestStampJSON(t *testing.T) {
	for _, s := range []Stamp{0, 1, 1_700_000_000_123_456_789, -1} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Stamp
		if err := json.Unmarshal(data, &back); err != nil || back != s {
			t.Errorf("%d became %s became %d, %v", s, data, back, err)
		}
	}
	if data, _ := json.Marshal(Stamp(0)); string(data) != `"0001-01-01T00:00:00Z"` {
		t.Errorf("never is %s", data)
	}
	if StampOf(time.Time{}) != 0 || !Stamp(0).Time().IsZero() {
		t.Error("never is not the zero time")
	}
}

// Every word of every enumeration reads back, and no other.
func TestWords(t *testing.T) {
	words[EvalStatus](t, len(evalStatusNames))
	words[DesiredStatus](t, len(desiredStatusNames))
	words[ClientStatus](t, len(clientStatusNames))
	words[NodeStatus](t, len(nodeStatusNames))
	words[TaskStatus](t, len(taskStatusNames))
	words[Trigger](t, len(triggerNames))
	words[TaskEventType](t, len(taskEventNames))
	words[CallerKind](t, len(callerNames))
	for _, k := range Kinds() {
		got, err := ParseKind(k.String())
		if err != nil || got != k || New(k).Kind() != k {
			t.Errorf("kind %d: %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("Nonsense"); err == nil {
		t.Error("an unknown kind was found")
	}
	if New(9999) != nil || Kind(9999).String() != "kind(9999)" {
		t.Error("kind 9999 is known")
	}
}

type word interface {
	~uint8
	fmt.Stringer
	MarshalText() ([]byte, error)
}

func words[W word](t *testing.T, count int) {
	t.Helper()
	seen := make(map[string]bool)
	for n := range count {
		w := W(n)
		text, _ := w.MarshalText()
		if seen[string(text)] {
			t.Errorf("%T %d: the word %q stands for two", w, n, text)
		}
		seen[string(text)] = true
		var back W
		if err := any(&back).(interface{ UnmarshalText([]byte) error }).UnmarshalText(text); err != nil || back != w {
			t.Errorf("%T %q read as %v, %v", w, text, back, err)
		}
	}
	var w W
	if any(&w).(interface{ UnmarshalText([]byte) error }).UnmarshalText([]byte("no such word")) == nil {
		t.Errorf("%T: an unknown word was taken", w)
	}
	if got := W(200).String(); got != "unknown(200)" {
		t.Errorf("%T 200 is %q", w, got)
	}
}

func TestTerminal(t *testing.T) {
	for s, want := range map[ClientStatus]bool{
		0: false, ClientPending: false, ClientRunning: false, ClientUnknown: false, ClientComplete: true, ClientFailed: true, ClientLost: true,
	} {
		if s.Terminal() != want {
			t.Errorf("client status %v: terminal %v", s, !want)
		}
	}
	for s, want := range map[EvalStatus]bool{
		0: false, EvalPending: false, EvalBlocked: false, EvalComplete: true, EvalFailed: true, EvalCanceled: true,
	} {
		if s.Terminal() != want {
			t.Errorf("evaluation status %v: terminal %v", s, !want)
		}
	}
}

// The sentences that users of the field's tools know.
func TestTaskEventMessages(t *testing.T) {
	d := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		kind    TaskEventType
		details map[string]string
		want    string
	}{
		{TaskReceived, nil, "Task received by client"},
		{TaskSetup, nil, "Building Task Directory"},
		{TaskSetup, d(DetailMessage, "Downloading image"), "Downloading image"},
		{TaskSetupFailure, nil, "Task setup failed"},
		{TaskSetupFailure, d(DetailError, "no space"), "no space"},
		{TaskFailedValidation, nil, "Validation of task failed"},
		{TaskFailedValidation, d(DetailError, "bad command"), "bad command"},
		{TaskDriverMessage, d(DetailMessage, "pulling"), "pulling"},
		{TaskDriverFailure, nil, "Failed to start task"},
		{TaskDriverFailure, d(DetailError, "exec: not found"), "exec: not found"},
		{TaskStarted, nil, "Task started by client"},
		{TaskTerminated, nil, "Exit Code: 0"},
		{TaskTerminated, d(DetailExitCode, "137", DetailSignal, "9"), "Exit Code: 137, Signal: 9"},
		{TaskTerminated, d(DetailExitCode, "1", DetailSignal, "0"), "Exit Code: 1"},
		{TaskTerminated, d(DetailExitCode, "137", DetailMessage, "OOM Killed"), `Exit Code: 137, Exit Message: "OOM Killed"`},
		{TaskRestarting, d(DetailStartDelay, "15000000000"), "Task restarting in 15s"},
		{TaskRestarting, d(DetailStartDelay, "1500000000", DetailReason, "Exceeded allowed attempts"), "Exceeded allowed attempts - Task restarting in 1.5s"},
		{TaskRestarting, d(DetailStartDelay, "soon"), "Task restarting in 0s"},
		{TaskNotRestarting, nil, "Task exceeded restart policy"},
		{TaskNotRestarting, d(DetailReason, "Policy allows no restarts"), "Policy allows no restarts"},
		{TaskRestartSignaled, nil, "Task signaled to restart"},
		{TaskRestartSignaled, d(DetailReason, "User requested task to restart"), "User requested task to restart"},
		{TaskSignaling, nil, "Task being sent a signal"},
		{TaskSignaling, d(DetailSignal, "SIGHUP"), "Task being sent signal SIGHUP"},
		{TaskSignaling, d(DetailSignal, "SIGHUP", DetailReason, "user"), "Task being sent signal SIGHUP: user"},
		{TaskSignaling, d(DetailReason, "Template re-rendered"), "Template re-rendered"},
		{TaskKilling, nil, "Sent interrupt"},
		{TaskKilling, d(DetailKillTimeout, "5s"), "Sent interrupt. Waiting 5s before force killing"},
		{TaskKilling, d(DetailKillTimeout, "5s", DetailReason, "stopped"), "stopped"},
		{TaskKilled, nil, "Task successfully killed"},
		{TaskKilled, d(DetailError, "no such process"), "no such process"},
		{TaskSiblingFailed, nil, "Task's sibling failed"},
		{TaskSiblingFailed, d(DetailFailedTask, "db"), `Task's sibling "db" failed`},
		{TaskLeaderDead, nil, "Leader Task in Group dead"},
		{TaskMainTasksDead, nil, "Main tasks in the group died"},
		{TaskFailedRestoring, nil, "failed to restore task; will not run until server is contacted"},
		{TaskWaitingShutdownDelay, d(DetailDelay, "3s"), "Waiting for shutdown_delay of 3s before killing the task."},
		{TaskSkippingShutdownDelay, nil, "Skipping shutdown_delay before killing the task."},
		{TaskDownloadingArtifacts, nil, "Client is downloading artifacts"},
		{TaskFailedArtifactDownload, nil, "Failed to download artifacts"},
		{TaskFailedArtifactDownload, d(DetailError, `failed to download artifact "x": 404`), `failed to download artifact "x": 404`},
		{TaskDiskExceeded, d(DetailMessage, "disk is full"), "disk is full"},
		{TaskHookFailed, d(DetailMessage, "logmon: failed"), "logmon: failed"},
		{TaskHookMessage, d(DetailReason, "waiting"), "waiting"},
		{TaskReconnected, nil, "Client reconnected"},
	} {
		e := TaskEvent{Type: c.kind, Details: c.details}
		if got := e.Message(); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.kind, c.details, got, c.want)
		}
	}
}

func TestClientStatusOf(t *testing.T) {
	pending, running := &TaskState{State: TaskPending}, &TaskState{State: TaskRunning}
	done, failed := &TaskState{State: TaskDead}, &TaskState{State: TaskDead, Failed: true}
	for _, c := range []struct {
		tasks []*TaskState
		want  ClientStatus
		text  string
	}{
		{nil, ClientPending, "No tasks have started"},
		{[]*TaskState{{}}, ClientPending, "No tasks have started"},
		{[]*TaskState{pending, done}, ClientPending, "No tasks have started"},
		{[]*TaskState{pending, running, done}, ClientRunning, "Tasks are running"},
		{[]*TaskState{running, failed}, ClientFailed, "Failed tasks"},
		{[]*TaskState{done, done}, ClientComplete, "All tasks have completed"},
	} {
		tasks := make(map[string]*TaskState)
		for i, s := range c.tasks {
			tasks[fmt.Sprint(i)] = s
		}
		got := ClientStatusOf(tasks)
		if got != c.want || ClientDescription(got) != c.text {
			t.Errorf("%v: %v, %q", c.tasks, got, ClientDescription(got))
		}
	}
	if !done.Successful() || failed.Successful() || running.Successful() {
		t.Error("only a task that ended well is successful")
	}
}

func TestGenerations(t *testing.T) {
	order := []Generation{{}, {0, 5}, {1, 0}, {1, 1}, {2, 0}}
	for i, a := range order {
		for j, b := range order {
			if a.Less(b) != (i < j) {
				t.Errorf("%v before %v: %v", a, b, a.Less(b))
			}
		}
	}
}

func TestJobKeys(t *testing.T) {
	order := []JobKey{{"", "a"}, {"a", "z"}, {"b", "a"}, {"b", "b"}}
	for i, a := range order {
		for j, b := range order {
			if sign := a.Compare(b); (sign < 0) != (i < j) || (sign == 0) != (i == j) {
				t.Errorf("%v compared to %v: %d", a, b, sign)
			}
		}
	}
	if got := (JobKey{DefaultNamespace, "web"}).String(); got != "web" {
		t.Errorf("default namespace shown: %q", got)
	}
	if got := (JobKey{"team", "web"}).String(); got != "team/web" {
		t.Errorf("namespace not shown: %q", got)
	}
}
