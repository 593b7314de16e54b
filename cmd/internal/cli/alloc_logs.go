package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"sync"
	"time"

	"drover/cmd/internal/apiclient"
)

const (
	// tailLines is how many lines -tail shows when nothing else is said.
	tailLines = 10

	// tailWindow is how many bytes before the end are looked through first for
	// the last lines. It grows when lines are longer.
	tailWindow = 4 << 10

	// tailWindowMax bounds that growth: beyond it the last lines are no lines.
	tailWindowMax = 64 << 20

	// tailQuiet is how long a followed log must be quiet before what has come is
	// taken as everything that was there.
	tailQuiet = 500 * time.Millisecond
)

type logOptions struct {
	endOptions
	stdout, stderr bool
	job            bool
	group, task    string
	verbose        bool
}

// endOptions say how much of the end of a text is shown, and whether to go on.
type endOptions struct {
	follow bool
	tail   bool
	lines  int
	bytes  int64
}

func (o *endOptions) register(fs *flag.FlagSet) {
	fs.BoolVar(&o.follow, "f", false, "Go on as more is written.")
	fs.BoolVar(&o.tail, "tail", false, "Only the end: the last 10 lines, or what -n or -c say.")
	fs.IntVar(&o.lines, "n", 0, "How many lines of the end to show.")
	fs.Int64Var(&o.bytes, "c", 0, "How many bytes of the end to show.")
}

// misused says what is wrong with the options, if anything is.
func (o *endOptions) misused() string {
	switch {
	case o.lines < 0 || o.bytes < 0:
		return "-n and -c must not be negative"
	case o.lines > 0 && o.bytes > 0:
		return "-n and -c exclude one another"
	}
	return ""
}

func allocLogsSpec() spec {
	return spec{
		name: "alloc logs", args: "<allocation> [task]", general: true,
		synopsis: "Streams the logs of a task",
		about: "Print what a task wrote to its standard output, from the start.\n" +
			"With -f, go on as it writes more; both of its streams are followed then, unless one is named.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o logOptions
			fs.BoolVar(&o.stdout, "stdout", false, "Show the standard output.")
			fs.BoolVar(&o.stderr, "stderr", false, "Show the standard error output.")
			o.register(fs)
			fs.BoolVar(&o.job, "job", false, "The argument is a job; one of its running allocations is shown.")
			fs.StringVar(&o.group, "group", "", "With -job: only allocations of this `group`.")
			fs.StringVar(&o.task, "task", "", "The `task` to show.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) < 1 && o.job:
					return in.usage("A job ID is required")
				case len(args) < 1:
					return in.usage("An allocation ID is required")
				case len(args) > 2:
					return in.usage("This command takes one or two arguments")
				case o.misused() != "":
					return in.usage("%s", o.misused())
				}
				if len(args) == 2 && o.task == "" {
					o.task = args[1]
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.allocLogs(c, args[0], o)
			}
		},
	}
}

func (in *invocation) allocLogs(c *apiclient.Client, typed string, o logOptions) int {
	id, code, ok := in.pickAlloc(c, typed, o.job, o.group, o.verbose)
	if !ok {
		return code
	}
	alloc, _, err := c.Allocation(in.ctx, id, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying allocation: %s", err)
	}
	task, err := chooseTask(alloc, o.task, o.verbose)
	if err != nil {
		return in.fail("%s", err)
	}
	node, _, err := c.Node(in.ctx, alloc.NodeID)
	if err != nil {
		node = nil // the configured agent knows the way
	}
	ctx, stop := in.untilInterrupted()
	defer stop()
	copyOf := func(kind string, w io.Writer) error {
		l := &endReader{ctx: ctx, o: o.endOptions, open: func(ctx context.Context, p apiclient.Part) (*apiclient.FrameStream, error) {
			return c.Logs(ctx, node, apiclient.LogRequest{AllocID: alloc.ID, Task: task, Type: kind, Part: p})
		}}
		return l.copy(w)
	}
	if err := in.copyLogs(copyOf, o); err != nil && !errors.Is(err, context.Canceled) {
		return in.fail("Error reading logs: %s", err)
	}
	return 0
}

// copyLogs prints the streams that are wanted.
func (in *invocation) copyLogs(copyOf func(kind string, w io.Writer) error, o logOptions) error {
	both := o.stdout == o.stderr && (o.stdout || o.follow)
	switch {
	case both && o.follow:
		var wait sync.WaitGroup
		errs := make([]error, 2)
		wait.Go(func() { errs[0] = copyOf("stdout", in.ui.out) })
		wait.Go(func() { errs[1] = copyOf("stderr", in.ui.err) })
		wait.Wait()
		return errors.Join(errs...)
	case both:
		if err := copyOf("stdout", in.ui.out); err != nil {
			return err
		}
		return copyOf("stderr", in.ui.err)
	case o.stderr:
		return copyOf("stderr", in.ui.out)
	}
	return copyOf("stdout", in.ui.out)
}

// endReader reads a file or a log as the options say.
type endReader struct {
	ctx  context.Context
	open func(context.Context, apiclient.Part) (*apiclient.FrameStream, error)
	o    endOptions
}

func (l *endReader) copy(w io.Writer) error {
	r := apiclient.Part{Follow: l.o.follow}
	lines := l.o.lines
	if l.o.tail && lines == 0 && l.o.bytes == 0 {
		lines = tailLines
	}
	switch {
	case lines > 0:
		return l.lastLines(r, lines, w)
	case l.o.bytes > 0:
		r.FromEnd, r.Offset = true, l.o.bytes
	}
	return l.each(r, func(data []byte) error {
		_, err := w.Write(data)
		return err
	})
}

// each calls f with every piece of the output.
func (l *endReader) each(r apiclient.Part, f func([]byte) error) error {
	stream, err := l.open(l.ctx, r)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		frame, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := f(frame.Data); err != nil {
			return err
		}
	}
}

// lastLines prints the last lines there are, and goes on from there when the
// output is followed.
func (l *endReader) lastLines(r apiclient.Part, lines int, w io.Writer) error {
	once := r
	once.Follow, once.FromEnd = false, true
	var end []byte
	for once.Offset = tailWindow; ; once.Offset *= 4 {
		end = end[:0]
		err := l.each(once, func(data []byte) error {
			end = append(end, data...)
			return nil
		})
		if err != nil {
			return err
		}
		whole := int64(len(end)) < once.Offset
		if kept := tailOf(end, lines); whole || len(kept) < len(end) || once.Offset >= tailWindowMax {
			end = kept
			break
		}
	}
	if !r.Follow {
		_, err := w.Write(end)
		return err
	}
	// The log may have grown since, so look back further than the lines reach,
	// gather what is there already, and cut the last lines from that.
	r.FromEnd, r.Offset = true, int64(2*len(end)+tailWindow)
	return l.followFrom(r, lines, w)
}

// followFrom follows the output and prints only the last lines of what was
// there before.
func (l *endReader) followFrom(r apiclient.Part, lines int, w io.Writer) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	own := *l
	own.ctx = ctx
	pieces := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		ended <- own.each(r, func(data []byte) error {
			select {
			case pieces <- bytes.Clone(data):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	quiet := time.NewTimer(tailQuiet)
	defer quiet.Stop()
	var backlog []byte
	gathering := true
	flush := func() error {
		gathering = false
		_, err := w.Write(tailOf(backlog, lines))
		backlog = nil
		return err
	}
	for {
		select {
		case data := <-pieces:
			if !gathering {
				if _, err := w.Write(data); err != nil {
					return err
				}
				continue
			}
			backlog = append(backlog, data...)
			if len(data) > 0 && int64(len(backlog)) < r.Offset {
				quiet.Reset(tailQuiet)
				continue
			}
			// Everything that was asked for, or a sign of life: there is no more.
			if err := flush(); err != nil {
				return err
			}
		case <-quiet.C:
			if gathering {
				if err := flush(); err != nil {
					return err
				}
			}
		case err := <-ended:
			if gathering && err == nil {
				err = flush()
			}
			return err
		}
	}
}

// tailOf is the last lines of data. A line that is not ended counts.
func tailOf(data []byte, lines int) []byte {
	at := len(data)
	if at > 0 && data[at-1] == '\n' {
		at--
	}
	for ; lines > 0; lines-- {
		at = bytes.LastIndexByte(data[:at], '\n')
		if at < 0 {
			return data
		}
	}
	return data[at+1:]
}
