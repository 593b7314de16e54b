package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ReaderShape stands for a shape in the arguments of the process that a bench
// starts to read the API. It is a process of its own because the bench's own
// runtime is busy with thousands of nodes: a request from there would have the
// wait for its turn measured along.
const ReaderShape = "api-reader"

// Read is that process: the first line of in is the address of the API, each
// other one a path to get; out is told how long each took, in nanoseconds, or
// what went wrong.
func Read(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.Join(lines.Err(), errors.New("no address to read from"))
	}
	api := newClients(lines.Text(), 1)
	for lines.Scan() {
		begin := time.Now()
		_, err := api.send(context.Background(), http.MethodGet, lines.Text(), nil)
		answer := strconv.FormatInt(int64(time.Since(begin)), 10)
		if err != nil {
			answer = strings.Join(strings.Fields(err.Error()), " ")
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// reader is the bench's side of it.
type reader struct {
	cmd   *exec.Cmd
	paths io.WriteCloser
	times *bufio.Scanner
}

func startReader(program, address string) (*reader, error) {
	cmd := exec.Command(program, "bench", ReaderShape)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	paths, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	times, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a reader of the API: %w", err)
	}
	r := &reader{cmd, paths, bufio.NewScanner(times)}
	_, err = fmt.Fprintln(paths, address)
	return r, err
}

// get has one path read.
func (r *reader) get(path string) (time.Duration, error) {
	if _, err := fmt.Fprintln(r.paths, path); err != nil {
		return 0, err
	}
	if !r.times.Scan() {
		return 0, errors.Join(r.times.Err(), errors.New("the reader of the API is gone"))
	}
	took, err := strconv.ParseInt(r.times.Text(), 10, 64)
	if err != nil {
		return 0, errors.New(r.times.Text())
	}
	return time.Duration(took), nil
}

func (r *reader) close() {
	_ = r.paths.Close() // the end of its input is the end of it
	_ = r.cmd.Wait()
}
