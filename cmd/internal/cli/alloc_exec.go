package cli

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/mattn/go-isatty"

	"drover/cmd/internal/apiclient"
)

// noEscape is what -e says for no escape character.
const noEscape = "none"

type execOptions struct {
	job         bool
	group, task string
	stdin       bool
	tty         *bool // nil = as the standard streams are
	escape      string
}

func allocExecSpec() spec {
	return spec{
		name: "alloc exec", args: "<allocation> <command> [args...]", general: true,
		synopsis: "Runs a program beside a task",
		about: "Run a program where a task runs: as its user, in its directory, with its environment.\n" +
			"The exit code is the program's. In a terminal, ~. at the start of a line ends the session.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o execOptions
			fs.StringVar(&o.task, "task", "", "The `task` to run it beside. Needed when there are several.")
			fs.BoolVar(&o.job, "job", false, "The argument is a job; one of its running allocations is taken.")
			fs.StringVar(&o.group, "group", "", "With -job: only allocations of this `group`.")
			fs.BoolVar(&o.stdin, "i", true, "Pass the standard input on. Default = true.")
			fs.BoolFunc("t", "Give the program a terminal. Default = true if the standard input and output are one.", func(text string) error {
				b, err := strconv.ParseBool(text)
				o.tty = &b
				return err
			})
			fs.StringVar(&o.escape, "e", "~", "The `character` that begins an escape at the start of a line, or \"none\". Default = ~")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) < 1 && o.job:
					return in.usage("A job ID is required")
				case len(args) < 1:
					return in.usage("An allocation ID is required")
				case len(args) < 2:
					return in.usage("A command is required")
				case len(o.escape) != 1 && o.escape != noEscape:
					return in.usage("-e requires 'none' or a single character")
				case o.tty != nil && *o.tty && !o.stdin:
					return in.usage("-i must be enabled if running with tty")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.allocExec(c, args[0], args[1:], o)
			}
		},
	}
}

func (in *invocation) allocExec(c *apiclient.Client, typed string, command []string, o execOptions) int {
	id, code, ok := in.pickAlloc(c, typed, o.job, o.group, false)
	if !ok {
		return code
	}
	alloc, _, err := c.Allocation(in.ctx, id, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying allocation: %s", err)
	}
	task, err := chooseTask(alloc, o.task, false)
	if err != nil {
		return in.fail("%s", err)
	}
	node, _, err := c.Node(in.ctx, alloc.NodeID)
	switch {
	case err != nil:
		node = nil // the configured agent knows the way
	case node.Status == "down":
		return in.fail("Error running a program beside task %q: node %q is down", task, node.Name)
	}
	ctx, cancel := context.WithCancel(in.ctx)
	defer cancel()
	r := apiclient.ExecRequest{AllocID: alloc.ID, Task: task, Command: command, Stdout: in.p.Stdout, Stderr: in.p.Stderr}
	if o.stdin {
		r.Stdin = in.p.Stdin
	}
	stdin, isFile := in.p.Stdin.(*os.File)
	typedAt := isFile && isatty.IsTerminal(stdin.Fd())
	r.TTY = o.stdin && typedAt && in.p.Terminal
	if o.tty != nil {
		r.TTY = *o.tty
	}
	if r.TTY && o.stdin && o.escape != noEscape {
		r.Stdin = &escapeReader{from: in.p.Stdin, escape: o.escape[0], end: cancel, atStart: true}
	}
	if r.TTY && typedAt {
		restore, err := rawTerminal(stdin)
		if err != nil {
			return in.fail("Error preparing the terminal: %s", err)
		}
		defer restore()
		sizes, stop := followSize(stdin)
		defer stop()
		r.Sizes = sizes
	}
	// Without a terminal of its own the program is ended by what would end it here.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err = c.Exec(ctx, node, r)
	switch {
	case errors.Is(err, context.Canceled):
		return 1
	case err != nil:
		return in.fail("failed to exec into task: %s", err)
	}
	return code
}

// escapeReader ends the session when the escape character and a dot begin a line. The escape character twice stands for
// itself.
type escapeReader struct {
	from    io.Reader
	escape  byte
	end     func()
	atStart bool // of a line
	held    bool // the escape character was read and not handed on
}

func (r *escapeReader) Read(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, io.ErrShortBuffer // a held character may come before one that is read
	}
	read := make([]byte, len(b)/2)
	for {
		n, err := r.from.Read(read)
		out := 0
		for _, c := range read[:n] {
			held := r.held
			r.held = false
			switch {
			case held && c == '.':
				r.end()
				return out, io.EOF
			case held && c != r.escape:
				b[out] = r.escape
				out++
			case !held && r.atStart && c == r.escape:
				r.held = true
				continue
			}
			b[out] = c
			out++
			r.atStart = c == '\n' || c == '\r'
		}
		if err != nil && r.held { // nothing follows that could make it an escape
			r.held = false
			b[out] = r.escape
			out++
		}
		if out > 0 || err != nil {
			return out, err
		}
	}
}
