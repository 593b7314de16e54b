package e2e_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
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

// TestExecAtATerminal types at a terminal into a shell beside a task.
func TestExecAtATerminal(t *testing.T) {
	t.Parallel()
	a, c := newOne(t, agentConfig{})
	register(t, c, shell("host", "service", 1, "exec sleep 3600"))
	awaitCount(t, c, "host", "running", 1)

	type person struct {
		*pty.Terminal
		cmd   *exec.Cmd
		shown *output
		ended chan struct{}
	}
	sit := func(args ...string) *person {
		terminal, theirs, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { terminal.Close() })
		if err := terminal.Resize(41, 99); err != nil {
			t.Fatal(err)
		}
		p := &person{Terminal: terminal, cmd: exec.Command(program, append([]string{"alloc", "exec", "-job", "host"}, args...)...), shown: newOutput(), ended: make(chan struct{})}
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
	await := func(p *person, text string) {
		t.Helper()
		if !p.shown.await(t, text, p.ended) {
			t.Fatalf("no %q in %q", text, p.shown)
		}
	}
	leave := func(p *person, code int) {
		t.Helper()
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("the session does not end: %q", p.shown)
		}
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("exit code %d, want %d: %q", got, code, p.shown)
		}
	}
	p := sit("/bin/sh", "-c", `stty size; echo ready; read a; echo "got $a"; exit 4`)
	await(p, "41 99\r\nready\r\n")
	io.WriteString(p, "word\r")
	await(p, "got word\r\n")
	leave(p, 4)

	// The interrupt key goes to the program; ~. leaves whatever it does.
	p = sit("/bin/sh", "-c", `trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done`)
	await(p, "ready\r\n")
	io.WriteString(p, "\x03")
	await(p, "caught")
	io.WriteString(p, "\r~.")
	leave(p, 1)
}
