package e2e_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/executor/driver/pty"
)

// TestExecByOfficialClient runs programs beside a task on another machine's agent: through a server, which relays, and
// at the node.
func TestExecByOfficialClient(t *testing.T) {
	t.Parallel()
	check := checker(t)
	server := newAgent(t, agentConfig{server: true})
	node := newAgent(t, agentConfig{client: true, servers: []string{server.rpc()}})
	c := server.client(t)
	awaitNodes(t, c, 1)
	register(t, c, shell("host", "service", 1, "exec sleep 3600"))
	stub := awaitCount(t, c, "host", "running", 1)[0]
	info, _, err := c.Allocations().Info(stub.ID, nil)
	check("allocation", err)
	elsewhere := *info
	elsewhere.NodeID = "" // the client cannot find out where the node's agent listens
	for name, alloc := range map[string]*api.Allocation{"direct": info, "relayed": &elsewhere} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var stdout, stderr bytes.Buffer
		code, err := c.Allocations().Exec(ctx, alloc, "task", false,
			[]string{"/bin/sh", "-c", `read a; echo "$a $NOMAD_JOB_ID"; echo oops >&2; exit 9`}, strings.NewReader("hi\n"), &stdout, &stderr, nil, nil)
		cancel()
		if err != nil || code != 9 || stdout.String() != "hi host\n" || stderr.String() != "oops\n" {
			t.Errorf("%s: code %d, %v; %q, %q", name, code, err, &stdout, &stderr)
		}
	}
	// By way of the other agent, too: it passes on to a server what is not its own.
	code, err := node.client(t).Allocations().Exec(t.Context(), &elsewhere, "task", false, []string{"true"}, strings.NewReader(""), io.Discard, io.Discard, nil, nil)
	if err != nil || code != 0 {
		t.Errorf("at the node: code %d, %v", code, err)
	}
	// What is not there says so.
	nobody := api.Allocation{ID: "ffffffff-ffff-4fff-8fff-ffffffffffff"}
	if _, err := c.Allocations().Exec(t.Context(), &nobody, "task", false, []string{"true"}, strings.NewReader(""), io.Discard, io.Discard, nil, nil); err == nil || !strings.Contains(err.Error(), "Unknown allocation") {
		t.Errorf("no such allocation: %v", err)
	}
}

// person sits at a terminal in which a command runs.
type person struct {
	*pty.Terminal
	t     *testing.T
	cmd   *exec.Cmd
	shown *output
	ended chan struct{}
}

// startAtTerminal runs a command of ours in a terminal of 41 rows and 99 columns.
func startAtTerminal(t *testing.T, a *agent, args ...string) *person {
	t.Helper()
	terminal, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := terminal.Resize(41, 99); err != nil {
		t.Fatal(err)
	}
	p := &person{Terminal: terminal, t: t, cmd: exec.Command(program, args...), shown: newOutput(), ended: make(chan struct{})}
	p.cmd.Env = []string{"DROVER_ADDR=" + a.url(), "PATH=" + os.Getenv("PATH"), "TERM=dumb"}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, theirs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	go func() {
		defer close(p.ended)
		io.Copy(p.shown, terminal)
		p.cmd.Wait()
	}()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// await waits until the terminal shows a text.
func (p *person) await(text string) {
	p.t.Helper()
	if !p.shown.await(p.t, text, p.ended) {
		p.t.Fatalf("no %q in %q", text, p.shown)
	}
}

// leaves waits for the end of the command.
func (p *person) leaves(code int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("the session does not end: %q", p.shown)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d: %q", got, code, p.shown)
	}
}

// TestExecAtATerminal types at a terminal into a shell beside a task.
func TestExecAtATerminal(t *testing.T) {
	t.Parallel()
	a, c := newOne(t, agentConfig{})
	register(t, c, shell("host", "service", 1, "exec sleep 3600"))
	awaitCount(t, c, "host", "running", 1)

	sit := func(args ...string) *person {
		t.Helper()
		return startAtTerminal(t, a, append([]string{"alloc", "exec", "-job", "host"}, args...)...)
	}
	p := sit("/bin/sh", "-c", `stty size; echo ready; read a; echo "got $a"; exit 4`)
	p.await("41 99\r\nready\r\n")
	io.WriteString(p, "word\r")
	p.await("got word\r\n")
	p.leaves(4)

	// The interrupt key goes to the program; ~. leaves whatever it does.
	p = sit("/bin/sh", "-c", `trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done`)
	p.await("ready\r\n")
	io.WriteString(p, "\x03")
	p.await("caught")
	io.WriteString(p, "\r~.")
	p.leaves(1)
}

// TestExecInContainer runs programs in the container of a task, also when another agent has found it, and as the script
// of a template.
func TestExecInContainer(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	job := shell("shop", "service", 1, "echo 42 > /local/answer; exec sleep 3600")
	group := job.TaskGroups[0]
	group.Tasks[0].Driver = "exec"
	group.Tasks[0].Templates = []*api.Template{{
		EmbeddedTmpl: ptr(`{{ file "../alloc/data/stock" }}`), DestPath: ptr("local/stock"), ChangeMode: ptr("script"),
		ChangeScript: &api.ChangeScript{Command: ptr("/bin/sh"), Args: []string{"-c", "cat /local/stock >> /alloc/data/seen"}, Timeout: ptr(patience)},
	}}
	first := api.NewTask("first", "exec").Require(&api.Resources{CPU: ptr(20), MemoryMB: ptr(16)})
	first.SetConfig("command", "/bin/sh").SetConfig("args", []string{"-c", "echo none > /alloc/data/stock; chmod 666 /alloc/data/stock"})
	first.Lifecycle = &api.TaskLifecycle{Hook: "prestart"}
	group.AddTask(first)
	register(t, c, job)
	stub := awaitCount(t, c, "shop", "running", 1)[0]
	alloc := awaitAlloc(t, c, stub.ID, func(one *api.Allocation) bool {
		task := one.TaskStates["task"]
		return task != nil && task.State == "running"
	})

	run := func(stdin string, command ...string) (code int, stdout, stderr string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var out, errs bytes.Buffer
		code, err := c.Allocations().Exec(ctx, alloc, "task", false, command, strings.NewReader(stdin), &out, &errs, nil, nil)
		check("exec", err)
		return code, out.String(), errs.String()
	}
	look := func() {
		t.Helper()
		code, out, errs := run("hi\n", "/bin/sh", "-c", `read a; echo "$a $(cat /local/answer) $NOMAD_JOB_ID $(id -un) $PWD $NOMAD_TASK_DIR"; ls / >/dev/null; echo oops >&2; exit 9`)
		if code != 9 || out != "hi 42 shop nobody / /local\n" || errs != "oops\n" {
			t.Errorf("code %d; %q, %q", code, out, errs)
		}
	}
	look()
	// At a terminal, from the command line.
	p := startAtTerminal(t, a, "alloc", "exec", "-t", "-i", "-task", "task", stub.ID, "/bin/sh", "-c", `stty size; tty; read a; echo "got $a"; exit 4`)
	p.await("41 99\r\n/dev/pts/")
	io.WriteString(p, "word\r")
	p.await("got word\r\n")
	p.leaves(4)

	// The script of the template that somebody changes.
	run("", "/bin/sh", "-c", "echo many > /alloc/data/stock")
	awaitAlloc(t, c, stub.ID, func(one *api.Allocation) bool {
		for _, e := range one.TaskStates["task"].Events {
			if strings.Contains(e.DisplayMessage, "script /bin/sh ran") {
				return true
			}
		}
		return false
	})
	if _, out, _ := run("", "cat", "/alloc/data/seen"); out != "many\n" {
		t.Errorf("the script saw %q", out)
	}

	// A program that was run by an agent which is killed ends; the task and what is run by the next agent do not.
	out := newOutput()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Allocations().Exec(t.Context(), alloc, "task", false, []string{"/bin/sh", "-c", "echo $$; while :; do sleep 1; done"}, strings.NewReader(""), out, io.Discard, nil, nil)
	}()
	if !out.await(t, "\n", ended) {
		t.Fatal("a program did not begin")
	}
	a.kill()
	<-ended
	a.start(t)
	if !a.out.await(t, "task runs", a.ended) {
		t.Fatal("the agent ended")
	}
	look()
	if _, left, _ := run("", "/bin/sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done 2>/dev/null | grep -c 'while :; do sleep 1'"); strings.TrimSpace(left) != "1" { // the one that looks
		t.Errorf("programs that are left: %q", left)
	}
	if again := awaitCount(t, c, "shop", "running", 1)[0]; again.ID != stub.ID || again.TaskStates["task"].Restarts != 0 {
		t.Errorf("allocation %s with %d restarts", again.ID, again.TaskStates["task"].Restarts)
	}
	// Its control groups are the machine's: they do not go with the directories of a test.
	_, _, err := c.Jobs().Deregister("shop", false, nil)
	check("stop", err)
	awaitCount(t, c, "shop", "complete", 1)
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/drover/" + stub.ID + "*"); len(groups) > 0 {
		t.Errorf("left: %v", groups)
	}
}
