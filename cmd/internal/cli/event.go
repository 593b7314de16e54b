package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"drover/cmd/internal/apiclient"
	"drover/cmd/internal/audit"
	"drover/eventlog/event"
)

// untilInterrupted is a context that ends with the first interrupt, so that
// ending a stream by hand is no failure.
func (in *invocation) untilInterrupted() (context.Context, func()) {
	return signal.NotifyContext(in.ctx, syscall.SIGINT, syscall.SIGTERM)
}

func eventStreamSpec() spec {
	return spec{
		name: "event stream", args: "", general: true,
		synopsis: "Show the event log as it grows",
		about: "Show the records of the event log, one per line: index, time, kind, and what happened.\n" +
			"It begins at the first record, or at -index, and goes on as new records come.",
		setup: func(fs *flag.FlagSet) runFunc {
			index := fs.Uint64("index", 1, "The `number` of the record to begin at.")
			noFollow := fs.Bool("no-follow", false, "End at the newest record.")
			asJSON := fs.Bool("json", false, "Print each record as a line of JSON, as it came.")
			job := fs.String("job", "", "Only records about this `job`.")
			var kinds []string
			fs.Func("kind", "Only records of this `kind`; may be repeated.", func(s string) error {
				if _, err := event.ParseKind(s); err != nil {
					var known []string
					for _, k := range event.Kinds() {
						known = append(known, k.String())
					}
					return fmt.Errorf("%w; known are %s", err, strings.Join(known, ", "))
				}
				kinds = append(kinds, s)
				return nil
			})
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.eventStream(c, apiclient.RecordRequest{Index: *index, Follow: !*noFollow, Job: *job, Kinds: kinds}, *asJSON)
			}
		},
	}
}

func (in *invocation) eventStream(c *apiclient.Client, r apiclient.RecordRequest, asJSON bool) int {
	ctx, stop := in.untilInterrupted()
	defer stop()
	next := r.Index
	err := c.Records(ctx, r, func(line []byte) error {
		entry, err := audit.Decode(line)
		if err != nil {
			return err
		}
		next = entry.Index + 1
		if asJSON {
			in.ui.Output(string(line))
		} else {
			in.ui.Output(entry.Line(in.p.Zone))
		}
		return nil
	})
	switch {
	case err == nil && !r.Follow, errors.Is(err, context.Canceled):
		return 0
	case err == nil:
		err = errors.New("the agent ended the stream")
	}
	in.fail("Error streaming events: %s", err)
	if !apiclient.IsConnectError(err) {
		in.ui.Error(fmt.Sprintf("To go on where it ended: drover event stream -index %d", next))
	}
	return 1
}

func eventVerifySpec() spec {
	return spec{
		name: "event verify", args: "", general: true,
		synopsis: "Check the event log against its hash chain",
		about: "Read every record of the log again and check that the chain of hashes is whole.\n" +
			"It names the first record that is damaged, and exits with 1 then.",
		setup: func(fs *flag.FlagSet) runFunc {
			dir := fs.String("data-dir", "", "Check the log in this data `directory` of an agent that does not run.")
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				return in.eventVerify(*dir)
			}
		},
	}
}

func (in *invocation) eventVerify(dir string) int {
	ctx, stop := in.untilInterrupted()
	defer stop()
	verify := func(progress func(done, total uint64)) (Verification, error) {
		c, err := apiclient.New(in.cfg)
		if err != nil {
			return Verification{}, err
		}
		line, err := c.Verify(ctx, progress)
		return Verification{
			Records: line.Records, HeadIndex: line.Head.Index, HeadHash: line.Head.Hash,
			Bad: !line.OK, BadIndex: line.Index, BadReason: line.Reason,
		}, err
	}
	if dir != "" {
		verify = func(progress func(done, total uint64)) (Verification, error) {
			return in.p.VerifyDir(ctx, dir, progress)
		}
	}
	shown := false
	result, err := verify(func(done, total uint64) {
		if in.p.Terminal && total > 0 {
			shown = true
			fmt.Fprintf(in.ui.out, "\r%d of %d records (%d%%)", done, total, done*100/total)
		}
	})
	if shown {
		fmt.Fprint(in.ui.out, "\r\x1b[K") // the progress makes way for the outcome
	}
	switch {
	case err != nil:
		return in.fail("Error verifying the event log: %s", err)
	case result.Bad:
		if result.BadIndex == 0 { // the damage is not in a record
			return in.fail("The event log is damaged: %s", result.BadReason)
		}
		return in.fail("The event log is damaged: record %d is the first bad one: %s", result.BadIndex, result.BadReason)
	}
	in.ui.Info(fmt.Sprintf("The event log is whole: %d records", result.Records))
	if result.HeadIndex > 0 {
		in.ui.Output(fmt.Sprintf("Head: index %d, hash %s", result.HeadIndex, result.HeadHash))
	}
	return 0
}
