package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/lni/dragonboat/v4"
)

// TestScenarios runs the stories in testdata/scenarios against real replicas on the loopback network.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "scenarios"), func(t *testing.T, path string) {
		c := &cluster{t: t, names: map[string]uint64{}, readers: map[string]*storyReader{}, held: map[string]appendCommand{}, links: map[[2]uint64]*link{}}
		t.Cleanup(c.close)
		datadriven.RunTest(t, path, c.run)
	})
}

// cluster is a handful of replicas in one process, each with its own directory, linked by proxies. Which replica wins an election is
// chance, so stories give names to roles.
type cluster struct {
	t        *testing.T
	replicas []*replica
	names    map[string]uint64
	readers  map[string]*storyReader
	held     map[string]appendCommand // appends on their way
	links    map[[2]uint64]*link
	bulk     uint64
}

type replica struct {
	cfg Config
	log *Log // nil while down
	fs  *vfs.MemFS
}

func (c *cluster) close() {
	for _, r := range c.replicas {
		if r.log != nil {
			r.log.Close()
		}
	}
}

func freeAddress(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// add configures replica id and links it with those before it.
func (c *cluster) add(id uint64) *replica {
	r := &replica{fs: vfs.NewCrashableMem()}
	r.cfg = testConfig(c.t, c.t.TempDir())
	r.cfg.FS = r.fs
	r.cfg.ReplicaID = id
	r.cfg.RaftAddress = freeAddress(c.t)
	r.cfg.snapshotEvery = 200
	for i, other := range c.replicas {
		o := uint64(i) + 1
		c.links[[2]uint64{id, o}] = newLink(c.t, other.cfg.RaftAddress)
		c.links[[2]uint64{o, id}] = newLink(c.t, r.cfg.RaftAddress)
	}
	c.replicas = append(c.replicas, r)
	return r
}

// members are the addresses as replica id is to use them.
func (c *cluster) members(id uint64) map[uint64]string {
	m := map[uint64]string{}
	for i, r := range c.replicas {
		o := uint64(i) + 1
		m[o] = r.cfg.RaftAddress
		if o != id {
			m[o] = c.links[[2]uint64{id, o}].addr()
		}
	}
	return m
}

func (c *cluster) open(r *replica) {
	l, err := Open(r.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	r.log = l
}

func (c *cluster) id(name string) uint64 {
	id, ok := c.names[name]
	if !ok {
		c.t.Fatalf("nobody is called %q", name)
	}
	return id
}

func (c *cluster) replica(name string) *replica { return c.replicas[c.id(name)-1] }
func (c *cluster) log(name string) *Log         { return c.replica(name).log }

func (c *cluster) run(t *testing.T, d *datadriven.TestData) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// The first bare arguments are names or data; options have values.
	var words []string
	opts := map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			words = append(words, a.Key)
		} else {
			opts[a.Key] = a.Vals[0]
		}
	}
	number := func(key string, otherwise uint64) uint64 {
		n := otherwise
		if s, ok := opts[key]; ok {
			if _, err := fmt.Sscan(s, &n); err != nil {
				d.Fatalf(t, "%s=%s: %v", key, s, err)
			}
		}
		return n
	}

	switch d.Cmd {
	case "start": // start replicas=N: all at once
		n := number("replicas", 1)
		for id := range n {
			c.add(id + 1)
		}
		for i, r := range c.replicas {
			r.cfg.Members = c.members(uint64(i) + 1)
			if n > 1 {
				// Quick to elect, but not so quick that a busy machine deposes a leader in the middle of a story.
				r.cfg.RTTMillisecond, r.cfg.ElectionTicks = 10, 50
			}
			c.open(r)
		}
		return "ok"

	case "leader": // leader NAME [not=OTHER]: waits for a leader that can answer
		return c.awaitLeader(ctx, words[0], opts["not"])

	case "others": // others A B: names for the rest, in order of ID
		rest := words
		for id := uint64(1); id <= uint64(len(c.replicas)) && len(rest) > 0; id++ {
			if !slices.Contains(c.named(), id) {
				c.names[rest[0]], rest = id, rest[1:]
			}
		}
		return "ok"

	case "forget": // forget A...: the names are free again
		for _, w := range words {
			delete(c.names, w)
		}
		return "ok"

	case "append": // append WHO [after=N] DATA...
		after := c.log(words[0]).Head()
		if s, ok := opts["after"]; ok {
			if s == "forged" { // the right index of another history
				after.Hash[0] ^= 1
			} else {
				after = c.position(words[0], number("after", 0))
			}
		}
		if s, ok := opts["wait"]; ok {
			wait, err := time.ParseDuration(s)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			var cancel func()
			ctx, cancel = context.WithTimeout(ctx, wait)
			defer cancel()
		}
		head, err := c.log(words[0]).Append(ctx, after, bytesOf(words[1:]))
		return c.outcome(after, head, err)

	case "bulk": // bulk WHO n=N size=BYTES: N appends of one entry each
		l := c.log(words[0])
		head := l.Head()
		for range number("n", 1) {
			c.bulk++
			data := fmt.Appendf(nil, "bulk %d ", c.bulk)
			data = append(data, make([]byte, max(int(number("size", 0))-len(data), 0))...)
			next, err := l.Append(ctx, head, [][]byte{data})
			if err != nil {
				return c.outcome(head, next, err)
			}
			head = next
		}
		return fmt.Sprintf("head %d", head.Index)

	case "delay": // delay NAME on=WHO DATA...: an append that is on its way
		c.held[words[0]] = appendCommand{after: c.log(opts["on"]).Head(), data: bytesOf(words[1:])}
		return "on its way"

	case "arrive": // arrive NAME on=WHO: the delayed append reaches Raft at last
		cmd := c.held[words[0]]
		l := c.log(opts["on"])
		res, err := l.host.SyncPropose(ctx, l.session, cmd.encode())
		if err != nil {
			return err.Error()
		}
		switch res.Value {
		case resultAppended:
			return c.outcome(cmd.after, readPosition(res.Data), nil)
		case resultStale:
			return c.outcome(cmd.after, Position{}, &StaleError{After: cmd.after, Head: readPosition(res.Data)})
		}
		return fmt.Sprintf("result %d", res.Value)

	case "cut", "slow", "heal": // cut WHO: no packet to or from it; slow WHO: they wait; heal
		for pair, l := range c.links {
			if d.Cmd == "heal" {
				l.set(false, false)
			} else if id := c.id(words[0]); pair[0] == id || pair[1] == id {
				l.set(d.Cmd == "cut", d.Cmd == "slow")
			}
		}
		return "ok"

	case "hand-over": // hand-over FROM to=TO
		from, to := c.log(words[0]), c.id(opts["to"])
		if err := from.TransferLeadership(to); err != nil {
			return err.Error()
		}
		for {
			changed := from.LeadershipChanged()
			if lead := from.Leadership(); lead.LeaderID == to {
				return fmt.Sprintf("%s leads", opts["to"])
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return "it did not happen"
			}
		}

	case "stop": // stop WHO: in order
		r := c.replica(words[0])
		if err := r.log.Close(); err != nil {
			return err.Error()
		}
		r.log = nil
		return "ok"

	case "power-loss": // power-loss WHO: what our store had not synced is gone, or some of it
		r := c.replica(words[0])
		// Raft first: its directory is on a real disk, which loses nothing here and must not run ahead of the clone.
		if err := r.log.stopRaft(); err != nil {
			return err.Error()
		}
		clone := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(number("kept", 0)), RNG: rand.New(rand.NewPCG(1, 2))})
		if err := r.log.Close(); err != nil { // what it syncs comes too late for the clone
			return err.Error()
		}
		r.log, r.fs, r.cfg.FS = nil, clone, clone
		return "ok"

	case "restart": // restart WHO
		r := c.replica(words[0])
		c.open(r)
		return "ok"

	case "join": // join NAME leader=WHO: a new replica with an empty directory
		id := uint64(len(c.replicas)) + 1
		r := c.add(id)
		r.cfg.Join = true
		r.cfg.RTTMillisecond, r.cfg.ElectionTicks = 10, 50
		for i, o := range c.replicas[:id-1] {
			if o.log != nil {
				o.log.SetAddress(id, c.links[[2]uint64{uint64(i) + 1, id}].addr())
			}
		}
		leader := c.id(opts["leader"])
		if err := c.log(opts["leader"]).AddReplica(ctx, id, c.links[[2]uint64{leader, id}].addr()); err != nil {
			return err.Error()
		}
		r.cfg.Members = c.members(id)
		c.open(r)
		c.names[words[0]] = id
		return "ok"

	case "replicas": // replicas WHO: how many vote
		ids, err := c.log(words[0]).Replicas(ctx)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(len(ids))

	case "head": // head WHO: as applied there
		return fmt.Sprint(c.log(words[0]).Head().Index)

	case "barrier": // barrier WHO...: a fresh head from each
		var out []string
		for _, w := range words {
			head, err := c.log(w).Barrier(ctx)
			if err != nil {
				return err.Error()
			}
			out = append(out, fmt.Sprintf("%s %d", w, head.Index))
		}
		return strings.Join(out, "\n")

	case "agree": // agree: after a barrier on each, all have the same chain
		var first *VerifyResult
		for i, r := range c.replicas {
			if r.log == nil {
				continue
			}
			if _, err := r.log.Barrier(ctx); err != nil {
				return fmt.Sprintf("replica %d: %v", i+1, err)
			}
			res, err := r.log.Verify(ctx, nil)
			if err != nil || res.Bad != nil {
				return fmt.Sprintf("replica %d: %v %v", i+1, err, res.Bad)
			}
			if first == nil {
				first = &res
			} else if res != *first {
				return fmt.Sprintf("replica %d has %v, another %v", i+1, res.Head, first.Head)
			}
		}
		return fmt.Sprintf("all at %d", first.Head.Index)

	case "tail": // tail WHO as=READER from=N: opens a reader
		c.readers[opts["as"]] = &storyReader{Reader: c.log(words[0]).Tail(number("from", 1))}
		return "ok"

	case "read": // read READER n=N: the next N entries, waiting for them
		return c.read(ctx, words[0], number("n", 1))

	case "skim": // skim READER to=N: reads on to entry N and tells only that
		r := c.readers[words[0]]
		for {
			e, err := r.one(ctx)
			if err != nil {
				return err.Error()
			}
			if e.Index >= number("to", 1) {
				return fmt.Sprintf("at %d", e.Index)
			}
		}

	case "end": // end READER
		c.readers[words[0]].Close()
		_, err := c.readers[words[0]].Next(ctx)
		return err.Error()
	}
	d.Fatalf(t, "unknown command")
	return ""
}

func (c *cluster) named() (ids []uint64) {
	for _, id := range c.names {
		ids = append(ids, id)
	}
	return ids
}

// awaitLeader waits until a replica leads and can prove it, and names it.
func (c *cluster) awaitLeader(ctx context.Context, name, not string) string {
	won := make(chan uint64, len(c.replicas))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, r := range c.replicas {
		id := uint64(i) + 1
		if r.log == nil || not != "" && c.id(not) == id {
			continue
		}
		go func() {
			for {
				changed := r.log.LeadershipChanged()
				if r.log.Leadership().Leader {
					if _, err := r.log.Barrier(ctx); err == nil && r.log.Leadership().Leader {
						won <- id
						return
					}
				}
				select {
				case <-changed:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	select {
	case id := <-won:
		for n, other := range c.names {
			if other == id && n != name {
				return "it is " + n
			}
		}
		c.names[name] = id
		return "ok"
	case <-ctx.Done():
		return "no leader"
	}
}

// position names an earlier head of a replica by its index, or a head that never was.
func (c *cluster) position(who string, index uint64) Position {
	h, err := c.log(who).store.hashAt(index)
	if err != nil {
		return Position{Index: index, Hash: Hash{1}}
	}
	return Position{Index: index, Hash: h}
}

func (c *cluster) outcome(after, head Position, err error) string {
	var stale *StaleError
	switch {
	case err == nil && head.Index == after.Index+1:
		return fmt.Sprintf("appended %d", head.Index)
	case err == nil:
		return fmt.Sprintf("appended %d to %d", after.Index+1, head.Index)
	case errors.As(err, &stale):
		return fmt.Sprintf("refused: after %d, the head is %d", stale.After.Index, stale.Head.Index)
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrUnknownOutcome):
		// A leader that was cut off finds out sooner or later; either way nothing was acknowledged.
		return "not acknowledged"
	case errors.Is(err, dragonboat.ErrTimeout):
		return "timeout"
	}
	return err.Error()
}

// storyReader hands out one entry at a time.
type storyReader struct {
	*Reader
	have []Entry
}

func (r *storyReader) one(ctx context.Context) (Entry, error) {
	if len(r.have) == 0 {
		entries, err := r.Next(ctx)
		if err != nil {
			return Entry{}, err
		}
		r.have = entries
	}
	e := r.have[0]
	r.have = r.have[1:]
	return e, nil
}

func (c *cluster) read(ctx context.Context, name string, n uint64) string {
	var out strings.Builder
	for range n {
		e, err := c.readers[name].one(ctx)
		if err != nil {
			fmt.Fprintln(&out, err)
			break
		}
		fmt.Fprintf(&out, "%d %s\n", e.Index, strings.Trim(string(e.Data), "\x00 "))
	}
	return out.String()
}

func bytesOf(words []string) (data [][]byte) {
	for _, w := range words {
		data = append(data, []byte(w))
	}
	return data
}
