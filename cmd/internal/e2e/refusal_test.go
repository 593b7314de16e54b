package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// refused starts an agent that must not start, and returns what it says.
func refused(t *testing.T, c agentConfig, extra string) string {
	t.Helper()
	c.complete(t)
	file := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(file, []byte(c.text()+extra), 0o644); err != nil {
		t.Fatal(err)
	}
	return refusedWith(t, "-config", file)
}

func refusedWith(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, nil, append([]string{"agent"}, args...)...)
	if code := p.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	return p.out.String()
}

// treeOf lists the files below a directory with their sizes.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintf(&b, "%s %v %d\n", path, info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAgentsThatDoNotStart shows what an agent says when it cannot start, and
// that it leaves what it found as it was.
func TestAgentsThatDoNotStart(t *testing.T) {
	t.Parallel()
	one := agentConfig{server: true, client: true}

	t.Run("unknown key", func(t *testing.T) {
		out := refused(t, one, "\ndata_dri = \"/tmp\"\n")
		contains(t, out, `data_dri`)
		contains(t, out, `did you mean "data_dir"?`)
	})
	t.Run("unknown key in a block", func(t *testing.T) {
		c := one
		c.serverKeys = "  heartbeat_grease = \"1s\""
		out := refused(t, c, "")
		contains(t, out, `heartbeat_grease`)
		contains(t, out, `did you mean "heartbeat_grace"?`)
	})
	t.Run("unknown flag", func(t *testing.T) {
		contains(t, refusedWith(t, "-data-dri=/x"), "flag provided but not defined: -data-dri")
	})
	t.Run("no configuration file", func(t *testing.T) {
		contains(t, refusedWith(t, "-config", "/nonexistent/agent.hcl"), "/nonexistent/agent.hcl: no such file or directory")
	})
	t.Run("neither server nor client", func(t *testing.T) {
		contains(t, refused(t, agentConfig{}, ""), "Must specify either server, client or dev mode for the agent.")
	})

	t.Run("data directory below a file", func(t *testing.T) {
		c := one
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.dataDir = filepath.Join(file, "data")
		out := refused(t, c, "")
		contains(t, out, "data directory "+c.dataDir+" cannot be made")
		contains(t, out, "not a directory")
		c.dataDir = file
		contains(t, refused(t, c, ""), "data directory "+file)
	})
	t.Run("data directory that cannot be written", func(t *testing.T) {
		c := one
		c.dataDir = "/proc/self" // also root makes no file there
		contains(t, refused(t, c, ""), "data directory /proc/self cannot be written")
	})
	t.Run("directory of somebody else", func(t *testing.T) {
		c := one
		c.dataDir = t.TempDir()
		theirs := filepath.Join(c.dataDir, "server")
		if err := os.Mkdir(theirs, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(theirs, "raft.db"), []byte("not ours"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, theirs)
		contains(t, refused(t, c, ""), "is not empty (raft.db, ...) and has no drover-log.json, so it is not a data directory of this program")
		if after := treeOf(t, theirs); after != before {
			t.Errorf("changed from\n%sto\n%s", before, after)
		}
	})
	t.Run("directory of another region", func(t *testing.T) {
		a := newAgent(t, agentConfig{server: true})
		a.interrupt()
		c := one
		c.dataDir, c.region = a.dataDir, "elsewhere"
		contains(t, refused(t, c, ""), `the data directory belongs to cluster "global", log 1, not to cluster "elsewhere", log 1; give this server its own data directory`)
		a.start(t)
		contains(t, a.ok(t, "event", "verify"), "The event log is whole")
	})
	t.Run("directory in use", func(t *testing.T) {
		a, c := newOne(t, agentConfig{})
		second := one
		second.dataDir = a.dataDir
		out := refused(t, second, "")
		contains(t, out, a.dataDir)
		contains(t, out, "in use")
		register(t, c, shell("unharmed", "batch", 1, "exit 0"))
		awaitCount(t, c, "unharmed", "complete", 1)
	})
	t.Run("node agent's directory in use", func(t *testing.T) {
		server, node, _ := newPair(t, "")
		second := agentConfig{client: true, servers: []string{server.rpc()}, dataDir: node.dataDir}
		out := refused(t, second, "")
		contains(t, out, node.dataDir)
		contains(t, out, "is another drover process using it?")
	})
	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		taken := l.Addr().(*net.TCPAddr).Port
		for _, set := range []func(*agentConfig){
			func(c *agentConfig) { c.httpPort = taken }, func(c *agentConfig) { c.rpcPort = taken }, func(c *agentConfig) { c.raftPort = taken },
		} {
			c := one
			c.dataDir = t.TempDir()
			set(&c)
			out := refused(t, c, "")
			contains(t, out, fmt.Sprintf("127.0.0.1:%d", taken))
			contains(t, out, "in use")
		}
	})
}

// TestNobodyThere shows what a command says that finds no agent.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("http://127.0.0.1:%d", freePort())
	for _, args := range [][]string{{"job", "status"}, {"job", "run", filepath.Join(moduleRoot, "testdata/jobs/hello.nomad.hcl")}, {"node", "status"}, {"event", "stream"}, {"event", "verify"}} {
		r := cli(t, address, t.TempDir(), args...)
		if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "connection refused") {
			t.Errorf("drover %s: %s", strings.Join(args, " "), r)
		}
	}
	// A node agent without a server waits for one.
	node := newAgent(t, agentConfig{name: "alone", client: true, servers: []string{fmt.Sprintf("127.0.0.1:%d", freePort())}})
	r := node.drover(t, "node", "status")
	if r.code != 1 || !strings.Contains(r.stderr, "No server answers") {
		t.Errorf("through an agent without a server: %s", r)
	}
	if code := node.interrupt(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.out)
	}
}

// TestAmbiguousIDs gives commands the beginning of several IDs.
func TestAmbiguousIDs(t *testing.T) {
	t.Parallel()
	a := newAgent(t, agentConfig{server: true})
	c := a.client(t)
	register(t, c, shell("busy", "service", 1, "exit 0"))
	// Two hexadecimal digits: 257 evaluations have some two in common; chance needs far fewer.
	seen := map[string]bool{}
	prefix := ""
	for prefix == "" {
		id, _, err := c.Jobs().EvaluateWithOpts("busy", api.EvalOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if seen[id[:2]] {
			prefix = id[:2]
		}
		seen[id[:2]] = true
	}
	await(t, "evaluations", c.Evaluations().List, func(evals []*api.Evaluation) bool {
		for _, e := range evals {
			if e.Status == "pending" {
				return false
			}
		}
		return true
	})
	before := logHead(t, a)
	r := a.drover(t, "eval", "status", prefix)
	if r.code != 1 || !strings.Contains(r.stdout+r.stderr, "Prefix matched multiple evaluations") || strings.Count(r.stdout+r.stderr, "\n"+prefix) < 2 {
		t.Errorf("ambiguous: %s", r)
	}
	if after := logHead(t, a); after != before {
		t.Errorf("the log grew from %s to %s", before, after)
	}
}
