package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"drover/executor/driver"
	"drover/executor/shim/logfile"
)

// collector moves a container's output into the task's log files.
//
// The daemon keeps the output while no agent runs. Every piece has a time, and for each of the two streams the time of the
// last one written is kept in the state directory, together with how many pieces of that time were written: an agent that
// comes later goes on after it. One that is killed between the two writes has the next one write a single piece a second
// time. The streams' times go up each by itself; between them a later piece may come before an earlier one.
type collector struct {
	api  *client.Client
	task *driver.Task
	id   string
	tty  bool

	position *os.File // locked by who collects; its content is what follows
	read     [2]position
	out      [2]*logfile.Writer
}

// position is how far one stream of output was written.
type position struct {
	at    time.Time // of the last piece; zero before the first
	count uint64    // pieces of that time that were written
}

// collect returns when the container has ended and all its output is written.
func (c *collector) collect(ctx context.Context) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	pause := reconnectMin
	for {
		before := c.read
		err := c.stream(ctx, true)
		if err == nil {
			err = c.rest(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if cerrdefs.IsNotFound(err) {
			return nil // the container is gone, and what it said with it
		}
		if !errors.Is(err, errStillRuns) && !errUnreachable(err) {
			return err
		}
		if c.read != before {
			pause = reconnectMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, reconnectMax)
	}
}

var errStillRuns = errors.New("the container still runs")

// rest writes what the daemon did not send before it said that this was all. It may say so of a container that ends as
// it is asked, and of all when it goes itself.
func (c *collector) rest(ctx context.Context) error {
	found, err := c.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if s := found.Container.State; s != nil && s.Running {
		return errStillRuns
	}
	return c.stream(ctx, false)
}

// open waits for whoever collects now, and takes over where that one was.
func (c *collector) open(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(c.task.StateDir, "logs"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	c.position = f
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		select {
		case <-time.After(reconnectMin):
		case <-ctx.Done():
			f.Close()
			return ctx.Err()
		}
	}
	if err != nil {
		f.Close()
		return os.NewSyscallError("flock", err)
	}
	var b [32]byte
	if n, _ := f.ReadAt(b[:], 0); n == len(b) {
		for i := range c.read {
			if at := int64(binary.LittleEndian.Uint64(b[16*i:])); at != 0 {
				c.read[i] = position{time.Unix(0, at), binary.LittleEndian.Uint64(b[16*i+8:])}
			}
		}
	}
	for i, name := range []string{".stdout", ".stderr"} {
		if c.out[i], err = logfile.Open(c.task.LogDir, c.task.Name+name, c.task.LogBytesMax, c.task.LogFilesMax); err != nil {
			c.close()
			return err
		}
	}
	return nil
}

func (c *collector) close() {
	c.position.Close()
	for _, w := range c.out {
		if w != nil {
			w.Close()
		}
	}
}

// stream reads the daemon's copy of the output from where it was read to, to its end.
func (c *collector) stream(ctx context.Context, follow bool) error {
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow, Timestamps: true}
	latest := c.read[0].at
	if c.read[1].at.After(latest) {
		latest = c.read[1].at
	}
	if !latest.IsZero() {
		since := latest.Add(-streamsApart)
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	answer, err := c.api.ContainerLogs(ctx, c.id, options)
	if err != nil {
		return err
	}
	defer answer.Close()
	from := c.read
	var seen [2]uint64 // pieces that the daemon repeats, of the time up to which they were written
	r := bufio.NewReader(answer)
	for {
		stream, piece, err := c.next(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at, text, ok := stamped(piece)
		if !ok {
			text, at = piece, c.read[stream].at
		}
		if last := &from[stream]; ok && !last.at.IsZero() {
			if at.Before(last.at) {
				continue
			}
			if at.Equal(last.at) {
				if seen[stream]++; seen[stream] <= last.count {
					continue
				}
			}
		}
		// Output that cannot be written is lost, as a full disk has it; the container must not wait for it.
		c.out[stream].Write(text)
		c.remember(stream, at)
	}
}

// remember keeps how far the output was written.
func (c *collector) remember(stream int, at time.Time) {
	p := &c.read[stream]
	if at.Equal(p.at) {
		p.count++
	} else {
		*p = position{at, 1}
	}
	var b [32]byte
	for i, p := range c.read {
		if !p.at.IsZero() {
			binary.LittleEndian.PutUint64(b[16*i:], uint64(p.at.UnixNano()))
			binary.LittleEndian.PutUint64(b[16*i+8:], p.count)
		}
	}
	c.position.WriteAt(b[:], 0)
}

// next reads one piece of output: a frame with a header, or a line where the container has a terminal.
func (c *collector) next(r *bufio.Reader) (stream int, piece []byte, err error) {
	if c.tty {
		piece, err = r.ReadBytes('\n')
		if len(piece) > 0 {
			err = nil
		}
		return 0, piece, err
	}
	var header [8]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if size > frameBytesMax {
		return 0, nil, fmt.Errorf("the daemon sent %d bytes of output in one piece, more than %d", size, frameBytesMax)
	}
	piece = make([]byte, size)
	if _, err := io.ReadFull(r, piece); err != nil {
		return 0, nil, err
	}
	if header[0] == 2 {
		stream = 1
	}
	return stream, piece, nil
}

// stamped parts a piece of output from the time that stands before it.
func stamped(piece []byte) (at time.Time, text []byte, ok bool) {
	stamp, text, ok := bytes.Cut(piece, []byte(" "))
	if !ok {
		return time.Time{}, nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	return at, text, err == nil
}
