package eventlog

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killDirVar, when set, makes the test binary a server that appends to the log in that directory until it is killed.
const killDirVar = "EVENTLOG_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirVar); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends batches of growing size, as a committer does, and prints each position once it is acknowledged.
func appendForEver(dir string) {
	ctx := context.Background()
	l, err := Open(Config{Dir: dir, ClusterName: "test", ReplicaID: 1, RaftAddress: "127.0.0.1:0", snapshotEvery: 50})
	if err == nil {
		var head Position
		for n := 1; err == nil; n++ {
			if head, err = l.Barrier(ctx); err != nil {
				break
			}
			var data [][]byte
			for i := range n % 40 {
				data = append(data, fmt.Appendf(nil, "%d.%d %s", n, i, strings.Repeat("x", n*37%3000)))
			}
			if head, err = l.Append(ctx, head, append(data, []byte("last"))); err == nil {
				// One write: the line is whole or not there.
				_, err = os.Stdout.WriteString(fmt.Sprintf("%d %s\n", head.Index, head.Hash))
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKill kills a real process with SIGKILL while it appends, again and again in the same directory: what it had
// acknowledged is there each time, under the same hash, and the chain verifies.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[uint64]string{}
	for round := range 4 {
		last := killRound(t, dir, acked, 30+20*round)
		res, err := VerifyDir(context.Background(), dir, nil)
		if err != nil || res.Bad != nil {
			t.Fatalf("round %d: verify of the stopped directory: %v, %v", round, err, res.Bad)
		}
		start := time.Now()
		l := mustOpen(t, testConfig(t, dir))
		head, err := l.Barrier(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: acknowledged up to %d, found %d, verified %d offline, back after %v", round, last, head.Index, res.Entries, time.Since(start))
		if head.Index < last {
			t.Fatalf("round %d: acknowledged up to %d, but the log ends at %d", round, last, head.Index)
		}
		for index, hash := range acked {
			if h, err := l.store.hashAt(index); err != nil || h.String() != hash {
				t.Fatalf("round %d: entry %d was acknowledged with hash %s, is stored with %v (%v)", round, index, hash, h, err)
			}
		}
		if res, err := l.Verify(testContext(t), nil); err != nil || res.Bad != nil || res.Head != head {
			t.Fatalf("round %d: verify: %+v, %v", round, res, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killRound runs the appending process until it has acknowledged n appends, kills it, and returns the last index it acknowledged.
func killRound(t *testing.T, dir string, acked map[uint64]string, n int) (last uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), exe)
	cmd.Env = append(os.Environ(), killDirVar+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Lines still in the pipe after the kill were acknowledged too.
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); {
		index, hash, _ := strings.Cut(lines.Text(), " ")
		i, err := strconv.ParseUint(index, 10, 64)
		if _, herr := hex.DecodeString(hash); err != nil || herr != nil || i <= last {
			t.Fatalf("unexpected line %q", lines.Text())
		}
		last, acked[i] = i, hash
		if seen++; seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || last == 0 {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return last
}
