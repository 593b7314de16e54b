package executor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// spoken collects output and lets a test wait for some of it.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func newSpoken() *spoken { return &spoken{news: make(chan struct{}, 1)} }

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	select {
	case s.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *spoken) until(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(s.String(), want) {
		select {
		case <-s.news:
		case <-deadline:
			t.Fatalf("no %q in %q", want, s.String())
		}
	}
}

// session is an exec session of the field's own client.
type session struct {
	stdin    io.WriteCloser
	out, err *spoken
	sizes    chan api.TerminalSize
	cancel   context.CancelFunc
	code     int
	failure  error
	ended    chan struct{}
}

func (v *served) exec(tty bool, command ...string) *session {
	ctx, cancel := context.WithTimeout(v.t.Context(), 30*time.Second)
	reader, writer := io.Pipe()
	s := &session{stdin: writer, out: newSpoken(), err: newSpoken(), sizes: make(chan api.TerminalSize, 1), cancel: cancel, ended: make(chan struct{})}
	alloc := &api.Allocation{ID: v.alloc.String(), NodeID: v.agent.NodeID().String()}
	if tty {
		s.sizes <- api.TerminalSize{Height: 33, Width: 77}
	}
	go func() {
		defer close(s.ended)
		defer cancel()
		s.code, s.failure = v.api.Allocations().Exec(ctx, alloc, "main", tty, command, reader, s.out, s.err, s.sizes, nil)
	}()
	return s
}

func (s *session) wait(t *testing.T, code int) {
	t.Helper()
	<-s.ended
	if s.failure != nil || s.code != code {
		t.Fatalf("exit code %d, %v; want %d; output %q, %q", s.code, s.failure, code, s.out, s.err)
	}
}

func TestExec(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))

	// Streams apart, the exit code, the task's environment and directory.
	s := v.exec(false, "/bin/sh", "-c", `echo "$NOMAD_TASK_NAME in $PWD"; echo oops >&2; exit 7`)
	s.wait(t, 7)
	if want := "main in " + v.dir + "/main\n"; s.out.String() != want || s.err.String() != "oops\n" {
		t.Errorf("output %q, %q; want %q", s.out, s.err, want)
	}
	// Input, and its end.
	s = v.exec(false, "cat")
	io.WriteString(s.stdin, "one\n")
	s.out.until(t, "one\n")
	io.WriteString(s.stdin, "two\n")
	s.stdin.Close()
	s.wait(t, 0)
	if s.out.String() != "one\ntwo\n" {
		t.Errorf("output %q", s.out)
	}
	// More than any buffer holds, both ways at once.
	s = v.exec(false, "cat")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	io.WriteString(s.stdin, big)
	s.stdin.Close()
	s.wait(t, 0)
	if s.out.String() != big {
		t.Errorf("%d bytes of %d came back", len(s.out.String()), len(big))
	}
	// A signal.
	v.exec(false, "/bin/sh", "-c", "kill -TERM $$").wait(t, 143)

	// What cannot be run, and whom it is asked of.
	for _, c := range []struct{ query, want string }{
		{"task=main&command=%5B%22no-such-program%22%5D", "no-such-program"},
		{"task=main&command=%5B%22/no/such/program%22%5D", `run "/no/such/program": no such file or directory`},
		{"task=main&command=%5B%5D", "must provide command"},
		{"task=main", "must provide command"},
		{"task=main&command=ls", "JSON list of strings"},
		{"command=%5B%22ls%22%5D", "must provide task name"},
		{"task=other&command=%5B%22ls%22%5D", `unknown task name "other"`},
		{"task=main&tty=maybe&command=%5B%22ls%22%5D", "tty"},
	} {
		conn, _, err := websocket.Dial(t.Context(), v.url+"/v1/client/allocation/"+v.alloc.String()+"/exec?"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		var refused websocket.CloseError
		if _, _, err := conn.Read(t.Context()); !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%s: %v, want %q", c.query, err, c.want)
		}
		conn.CloseNow()
	}
	if code, body := v.get("/v1/client/allocation/%s/exec?task=main&command=%%5B%%22ls%%22%%5D", v.alloc); code != 500 || !strings.Contains(body, "websocket") {
		t.Errorf("without an upgrade: %d %q", code, body)
	}
	nobody := *v
	nobody.alloc = event.ID{9}
	s = nobody.exec(false, "ls")
	if <-s.ended; s.failure == nil || !strings.Contains(s.failure.Error(), "Unknown allocation") {
		t.Errorf("an allocation that is not here: %v", s.failure)
	}
	// A page of another site opens nothing from its visitor's browser.
	_, answer, err := websocket.Dial(t.Context(), v.url+"/v1/client/allocation/"+v.alloc.String()+"/exec?task=main&command=%5B%22ls%22%5D",
		&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://elsewhere.example"}}})
	if err == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %v", err)
	}
}

func TestExecInTerminal(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	s := v.exec(true, "/bin/sh", "-c", `stty size; tty; read line; echo "got $line"; read line; stty size; read line; exit 3`)
	s.out.until(t, "33 77\r\n/dev/pts/")
	io.WriteString(s.stdin, "hello\n")
	s.out.until(t, "got hello\r\n")
	s.sizes <- api.TerminalSize{Height: 12, Width: 34}
	for i := 0; !strings.Contains(s.out.String(), "12 34"); i++ { // the size comes by another way than the line
		if i > 0 {
			s = v.exec(true, "/bin/sh", "-c", `read line; stty size; read line; exit 3`)
			s.sizes <- api.TerminalSize{Height: 12, Width: 34}
		}
		io.WriteString(s.stdin, "\n")
		s.out.until(t, " ")
		if i > 20 {
			t.Fatalf("the terminal's size stays as it was: %q", s.out)
		}
	}
	io.WriteString(s.stdin, "\n")
	s.wait(t, 3)
	if s.err.String() != "" {
		t.Errorf("standard error %q", s.err)
	}
	// The interrupt key, and the end of the input.
	s = v.exec(true, "sleep", "1000")
	s.out.until(t, "")
	io.WriteString(s.stdin, "\x03")
	s.wait(t, 130)
	s = v.exec(true, "cat")
	s.stdin.Close()
	s.wait(t, 0)
}

// TestExecEnds: nothing is left of a session whose client goes away, whose program ends before what it started, or whose
// task ends.
func TestExecEnds(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	pid := func(s *session) int {
		s.out.until(t, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(s.out.String()))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	gone := func(what string, pid int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; <-time.After(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: process %d lives on", what, pid)
			}
		}
	}
	for _, tty := range []bool{false, true} {
		s := v.exec(tty, "/bin/sh", "-c", "sleep 1000 & echo $!; wait")
		left := pid(s)
		s.cancel()
		<-s.ended
		gone("client went away", left)

		s = v.exec(tty, "/bin/sh", "-c", "trap '' HUP; sleep 1000 & echo $!; exit 5")
		left = pid(s)
		s.wait(t, 5)
		gone("program ended", left)
	}
	s := v.exec(false, "/bin/sh", "-c", "echo $$; exec sleep 1000")
	left := pid(s)
	v.s.stop(v.alloc)
	<-s.ended
	if s.failure == nil || !strings.Contains(s.failure.Error(), "the task has ended") {
		t.Errorf("task ended: %v", s.failure)
	}
	gone("task ended", left)
	v.s.until("end of the allocation", func() bool { return v.s.status[v.alloc].Terminal() })
	s = v.exec(false, "ls")
	if <-s.ended; s.failure == nil || !strings.Contains(s.failure.Error(), "task \"main\"") {
		t.Errorf("exec in a task that has ended: %v", s.failure)
	}
}

// TestExecHandshake: a client may have to send its token in the first message.
func TestExecHandshake(t *testing.T) {
	v := serve(t, shellJob("exec sleep 1000"))
	dial := func(header http.Header, first any) (execOutput, error) {
		conn, _, err := websocket.Dial(t.Context(), v.url+"/v1/client/allocation/"+v.alloc.String()+
			"/exec?ws_handshake=true&task=main&command=%5B%22true%22%5D", &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := wsjson.Write(t.Context(), conn, first); err != nil {
			t.Fatal(err)
		}
		for {
			var m execOutput
			if err := wsjson.Read(t.Context(), conn, &m); err != nil || m.Exited {
				return m, err
			}
		}
	}
	if m, err := dial(nil, execHello{Version: 1}); err != nil || m.Result == nil || m.Result.ExitCode != 0 {
		t.Errorf("session: %+v, %v", m, err)
	}
	if _, err := dial(nil, execHello{Version: 2}); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("unknown version: %v", err)
	}
	if _, err := dial(http.Header{"X-Nomad-Token": {"a"}}, execHello{Version: 1, AuthToken: "b"}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("two tokens: %v", err)
	}
}

// TestExecAsUser: the program has the task's user, and a terminal that belongs to it.
func TestExecAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: a task has no user but the agent's")
		return
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	// A directory that others may enter, unlike those of tests.
	open, err := os.MkdirTemp("", "drover-exec-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	server := newFakeServer(t)
	cfg := testConfig(t, server)
	cfg.AllocDir = open
	a, _ := startAgent(t, cfg)
	web := httptest.NewServer(a.Handler())
	t.Cleanup(web.Close)
	client, err := api.NewClient(&api.Config{Address: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	job := shellJob("exec sleep 1000")
	job.TaskGroups[0].Tasks[0].User = "nobody"
	id := server.place(job)
	server.untilStatus(id, event.ClientRunning)
	v := &served{t: t, s: server, agent: a, url: web.URL, alloc: id, api: client}
	defer func() {
		server.stop(id)
		server.until("end", func() bool { return server.status[id].Terminal() })
	}()
	s := v.exec(false, "id", "-u")
	s.wait(t, 0)
	if got := strings.TrimSpace(s.out.String()); got != u.Uid {
		t.Errorf("runs as user %s, not %s", got, u.Uid)
	}
	s = v.exec(true, "/bin/sh", "-c", `stat -c %u "$(tty)" && echo mine > "$(tty)"`)
	s.wait(t, 0)
	if got := s.out.String(); got != u.Uid+"\r\nmine\r\n" {
		t.Errorf("terminal: %q", got)
	}
}

// TestExecAfterAgentRestart: a task that an earlier agent started takes programs too.
func TestExecAfterAgentRestart(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	_, stop := startAgent(t, cfg)
	id := s.place(shellJob("exec sleep 1000"))
	s.untilStatus(id, event.ClientRunning)
	stop()
	a, _ := startAgent(t, cfg)
	web := httptest.NewServer(a.Handler())
	defer web.Close()
	client, err := api.NewClient(&api.Config{Address: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	<-a.Ready()
	v := &served{t: t, s: s, agent: a, url: web.URL, alloc: id, api: client}
	run := v.exec(false, "printenv", "NOMAD_ALLOC_ID")
	run.wait(t, 0)
	if run.out.String() != id.String()+"\n" {
		t.Errorf("output %q", run.out)
	}
	s.stop(id)
	s.until("end", func() bool { return s.status[id].Terminal() })
}

// TestExecIsOptional: drivers that cannot do it say so by not having the method, hooks or not.
func TestExecIsOptional(t *testing.T) {
	var plain struct{ driver.Running }
	if _, ok := driver.ExecerOf(plain); ok {
		t.Error("a start without the method runs programs")
	}
}
