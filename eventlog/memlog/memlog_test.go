package memlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/datadriven"

	"drover/eventlog"
)

// TestStory runs testdata/story.txt: what each fault does and what the caller is told.
func TestStory(t *testing.T) {
	ctx := t.Context()
	var c *Cluster
	readers := map[string]*eventlog.Reader{}
	names := map[string]Fault{"refuse": Refuse, "lose": Lose, "lose-answer": LoseAnswer, "late": Late}
	say := func(err error) string {
		var stale *eventlog.StaleError
		switch {
		case err == nil:
			return "written"
		case errors.As(err, &stale):
			return fmt.Sprintf("refused: after %d, the head is %d", stale.After.Index, stale.Head.Index)
		case errors.Is(err, eventlog.ErrUnknownOutcome):
			return "unknown outcome"
		case errors.Is(err, eventlog.ErrNotLeader):
			return "not leader"
		case errors.Is(err, eventlog.ErrBusy):
			return "busy"
		}
		return err.Error()
	}
	datadriven.RunTest(t, "testdata/story.txt", func(t *testing.T, d *datadriven.TestData) string {
		var on, after uint64
		on = 1
		d.MaybeScanArgs(t, "on", &on)
		switch d.Cmd {
		case "cluster":
			var n int
			d.ScanArgs(t, "n", &n)
			c = NewCluster(n)
		case "elect":
			c.Elect(on)
		case "elect-unnoticed":
			c.ElectUnnoticed(on)
		case "notice":
			c.Notice()
		case "lag":
			c.Lag(on, true)
		case "catch-up":
			c.Lag(on, false)
		case "inject":
			c.Inject(names[d.CmdArgs[0].Key])
		case "damage":
			c.Damage(on)
		case "append": // append [on=REPLICA] [after=INDEX] DATA
			at := c.Log(on).Head()
			if d.HasArg("after") {
				d.ScanArgs(t, "after", &after)
				at = c.positionAt(after)
			}
			head, err := c.Log(on).Append(ctx, at, [][]byte{[]byte(d.CmdArgs[len(d.CmdArgs)-1].Key)})
			if err == nil {
				return fmt.Sprintf("written %d", head.Index)
			}
			return say(err)
		case "deliver":
			var out []string
			for _, err := range c.DeliverLate() {
				out = append(out, say(err))
			}
			return strings.Join(out, "\n")
		case "head":
			return fmt.Sprint(c.Log(on).Head().Index)
		case "barrier":
			head, err := c.Log(on).Barrier(ctx)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(head.Index)
		case "leadership":
			lead := c.Log(on).Leadership()
			return fmt.Sprintf("leader %d in term %d, is it me: %v", lead.LeaderID, lead.Term, lead.Leader)
		case "read": // read [on=REPLICA]: all there is
			key := fmt.Sprint(on)
			if readers[key] == nil {
				readers[key] = c.Log(on).Tail(1)
			}
			entries, err := readers[key].Next(ctx)
			if err != nil {
				return err.Error()
			}
			var out []string
			for _, e := range entries {
				out = append(out, fmt.Sprintf("%d %s", e.Index, e.Data))
			}
			return strings.Join(out, "\n")
		case "verify":
			res, err := c.Log(on).Verify(ctx, nil)
			if err != nil {
				return err.Error()
			}
			if res.Bad != nil {
				return fmt.Sprintf("good up to %d; %v", res.Head.Index, res.Bad)
			}
			return fmt.Sprintf("all %d entries are good", res.Entries)
		default:
			d.Fatalf(t, "unknown command")
		}
		return "ok"
	})
}

// TestWaiting runs what waits in a bubble: it must wait, and wake for the right reason.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(2)
		ctx := t.Context()
		c.Lag(2, true)
		head, err := c.Log(1).Append(ctx, eventlog.Position{}, [][]byte{[]byte("a")})
		if err != nil {
			t.Fatal(err)
		}
		barrier := make(chan eventlog.Position, 1)
		go func() {
			p, err := c.Log(2).Barrier(ctx)
			if err != nil {
				t.Error(err)
			}
			barrier <- p
		}()
		read := make(chan error, 1)
		reader := c.Log(1).Tail(2)
		go func() {
			_, err := reader.Next(ctx)
			read <- err
		}()
		synctest.Wait()
		select {
		case <-barrier:
			t.Fatal("the barrier of a lagging replica did not wait")
		case <-read:
			t.Fatal("the reader at the end did not wait")
		default:
		}
		c.Lag(2, false)
		if p := <-barrier; p != head {
			t.Fatalf("barrier %v, head %v", p, head)
		}
		c.Log(1).Close()
		if err := <-read; !errors.Is(err, eventlog.ErrClosed) {
			t.Fatalf("reader of a closed log: %v", err)
		}

		c.Depose()
		short, cancel := context.WithCancel(ctx)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Log(2).Barrier(short)
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Fatalf("barrier without a leader: %v", err)
		}
		if again := c.Reopen(1); again.Head() != head {
			t.Fatalf("reopened at %v, closed at %v", again.Head(), head)
		}
	})
}
