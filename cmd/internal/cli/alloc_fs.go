package cli

import (
	"context"
	"errors"
	"flag"
	"io"
	"strconv"

	"drover/cmd/internal/apiclient"
)

type fsOptions struct {
	endOptions
	machine, stat, job, verbose bool
	group                       string
}

func allocFSSpec() spec {
	return spec{
		name: "alloc fs", args: "<allocation> [path]", general: true,
		synopsis: "Look at the files of an allocation",
		about: "List a directory of an allocation, or print a file. Without a path it is the allocation's own\n" +
			"directory: alloc is what its tasks share, and each task has a directory of its name.\n" +
			"What is in a task's secrets directory is not shown.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o fsOptions
			o.register(fs)
			fs.BoolVar(&o.machine, "H", false, "Print sizes in bytes.")
			fs.BoolVar(&o.stat, "stat", false, "Show what is known of the file or directory itself.")
			fs.BoolVar(&o.job, "job", false, "The argument is a job; one of its running allocations is shown.")
			fs.StringVar(&o.group, "group", "", "With -job: only allocations of this `group`.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) < 1 && o.job:
					return in.usage("A job ID is required")
				case len(args) < 1:
					return in.usage("An allocation ID is required")
				case len(args) > 2:
					return in.usage("This command takes one or two arguments: <allocation> [path]")
				case o.misused() != "":
					return in.usage("%s", o.misused())
				}
				path := "/"
				if len(args) == 2 {
					path = args[1]
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.allocFS(c, args[0], path, o)
			}
		},
	}
}

func (in *invocation) allocFS(c *apiclient.Client, typed, path string, o fsOptions) int {
	id, code, ok := in.pickAlloc(c, typed, o.job, o.group, o.verbose)
	if !ok {
		return code
	}
	alloc, _, err := c.Allocation(in.ctx, id, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying allocation: %s", err)
	}
	node := in.nodeOf(c, alloc)
	info, err := c.FileStat(in.ctx, node, id, path)
	if err != nil {
		return in.fail("Error reading file: %s", err)
	}
	switch {
	case o.stat:
		in.ui.Output(tableOf(
			[]string{"Mode", "Size", "Modified Time", "Content Type", "Name"},
			[]string{info.FileMode, o.size(info), in.p.absolute(info.ModTime), info.ContentType, fileName(info)},
		))
		return 0
	case info.IsDir:
		list, err := c.FileList(in.ctx, node, id, path)
		if err != nil {
			return in.fail("Error listing alloc dir: %s", err)
		}
		rows := [][]string{{"Mode", "Size", "Modified Time", "Name"}}
		for i := range list {
			f := &list[i]
			rows = append(rows, []string{f.FileMode, o.size(f), in.p.absolute(f.ModTime), fileName(f)})
		}
		in.ui.Output(tableOf(rows...))
		return 0
	}
	ctx, stop := in.untilInterrupted()
	defer stop()
	if !o.follow && !o.tail && o.lines == 0 && o.bytes == 0 {
		body, err := c.File(ctx, node, id, path)
		if err == nil {
			_, err = io.Copy(in.ui.out, body)
			body.Close()
		}
		if err != nil && ctx.Err() == nil {
			return in.fail("Error reading file: %s", err)
		}
		return 0
	}
	reader := &endReader{ctx: ctx, o: o.endOptions, open: func(ctx context.Context, p apiclient.Part) (*apiclient.FrameStream, error) {
		return c.FileStream(ctx, node, id, path, p)
	}}
	if err := reader.copy(in.ui.out); err != nil && !errors.Is(err, context.Canceled) {
		return in.fail("Error reading file: %s", err)
	}
	return 0
}

func (o *fsOptions) size(f *apiclient.FileInfo) string {
	if o.machine {
		return strconv.FormatInt(f.Size, 10)
	}
	return byteSize(uint64(max(f.Size, 0)))
}

// fileName shows what is a directory.
func fileName(f *apiclient.FileInfo) string {
	if f.IsDir {
		return f.Name + "/"
	}
	return f.Name
}
