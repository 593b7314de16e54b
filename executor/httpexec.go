package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"drover/executor/driver"
)

// Messages of an exec session: one JSON object in each text message. The names are the public API's.
type (
	execInput struct {
		Stdin   *execData `json:"stdin,omitempty"`
		TTYSize *execSize `json:"tty_size,omitempty"`
	}
	execOutput struct {
		Stdout *execData   `json:"stdout,omitempty"`
		Stderr *execData   `json:"stderr,omitempty"`
		Exited bool        `json:"exited,omitempty"`
		Result *execResult `json:"result,omitempty"`
	}
	execData struct {
		Data  []byte `json:"data,omitempty"`
		Close bool   `json:"close,omitempty"`
	}
	execSize struct {
		Height uint16 `json:"height"`
		Width  uint16 `json:"width"`
	}
	execResult struct {
		ExitCode int `json:"exit_code"`
	}
	// execHello is the first message of a client that was asked for its token in a message.
	execHello struct {
		Version   int    `json:"version"`
		AuthToken string `json:"auth_token"`
	}
)

// errTaskEnded is why a session ends with its task.
var errTaskEnded = errors.New("the task has ended")

// IsExec reports whether a request asks for an exec session. Its failures are told in the session's close message,
// because clients show that and not the answer to a refused upgrade; see [RefuseExec].
func IsExec(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v1/client/allocation/") && strings.HasSuffix(r.URL.Path, "/exec") &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// RefuseExec answers a request for an exec session by a session that ends with this status and text.
func RefuseExec(w http.ResponseWriter, r *http.Request, status int, text string) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	closeExec(conn, status, text)
}

// closeExec ends a session with what went wrong, in the words of an HTTP answer.
func closeExec(conn *websocket.Conn, status int, text string) {
	code := websocket.StatusPolicyViolation
	if status >= http.StatusInternalServerError {
		code = websocket.StatusInternalError
	}
	conn.Close(code, strings.ToValidUTF8(text[:min(len(text), execReasonBytesMax)], ""))
}

// serveExec runs a program beside a task and connects its streams to the client's.
func (a *Agent) serveExec(w http.ResponseWriter, r *http.Request) {
	if !IsExec(r) {
		http.Error(w, "exec needs a websocket: the request asks for no upgrade", http.StatusInternalServerError)
		return
	}
	// A page of another site must not open sessions from its visitor's browser: Accept compares origin and host.
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	defer conn.CloseNow()
	conn.SetReadLimit(execMessageBytesMax)
	if err := a.exec(r, conn); err != nil {
		closeExec(conn, statusOf(err), err.Error())
		return
	}
	conn.Close(websocket.StatusNormalClosure, "")
}

// exec is one session up to the message that tells how its program ended.
func (a *Agent) exec(r *http.Request, conn *websocket.Conn) error {
	if err := greet(r, conn); err != nil {
		return err
	}
	x, err := execOf(r)
	if err != nil {
		return err
	}
	found, err := a.find(r)
	if err != nil {
		return err
	}
	name := r.URL.Query().Get("task")
	running, task, err := found.execTarget(name)
	if err != nil {
		return err
	}
	execer, ok := driver.ExecerOf(running)
	if !ok {
		return badRequest("the driver of task %q cannot run further programs in it", name)
	}
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	go func() { // what runs beside a task ends with it, and with the agent
		select {
		case <-found.gone:
			end(errTaskEnded)
		case <-ctx.Done():
		}
	}()
	go func() {
		if _, err := running.Wait(ctx); ctx.Err() == nil || err == nil {
			end(errTaskEnded)
		}
	}()
	s := &execSession{conn: conn, ctx: ctx, end: end}
	input := s.connect(x)
	defer input.Close()
	a.log.Info("program runs beside task", "alloc", found.id, "task", name, "program", x.Command[0], "tty", x.TTY)
	code, err := execer.Exec(ctx, task, x)
	if err != nil {
		return err
	}
	for _, last := range []execOutput{
		{Stdout: &execData{Close: true}}, {Stderr: &execData{Close: true}}, {Exited: true, Result: &execResult{ExitCode: code}},
	} {
		if err := s.send(last); err != nil {
			return err
		}
	}
	return nil
}

// greet takes the first message of a client that was to send its token in one.
func greet(r *http.Request, conn *websocket.Conn) error {
	wanted, err := boolQuery(r, "ws_handshake", false)
	if err != nil || !wanted {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), execHelloTimeout)
	defer cancel()
	_, b, err := conn.Read(ctx)
	if err != nil {
		return badRequest("the first message of the session did not come: %v", err)
	}
	var hello execHello
	if err := json.Unmarshal(b, &hello); err != nil {
		return badRequest("the first message of the session is not understood: %v", err)
	}
	if hello.Version != 1 {
		return badRequest("the session's first message has version %d, this agent knows 1", hello.Version)
	}
	if token := r.Header.Get("X-Nomad-Token"); token != "" && token != hello.AuthToken {
		return badRequest("the token of the header is not that of the first message")
	}
	return nil
}

// execOf reads what is to be run.
func execOf(r *http.Request) (*driver.Exec, error) {
	q := r.URL.Query()
	x := new(driver.Exec)
	var err error
	if x.TTY, err = boolQuery(r, "tty", false); err != nil {
		return nil, err
	}
	if q.Get("task") == "" {
		return nil, badRequest("must provide task name")
	}
	text := q.Get("command")
	if text == "" {
		return nil, badRequest("must provide command")
	}
	if err := json.Unmarshal([]byte(text), &x.Command); err != nil {
		return nil, badRequest("command must be a JSON list of strings, not %s", strconv.Quote(text))
	}
	if len(x.Command) == 0 || x.Command[0] == "" {
		return nil, badRequest("must provide command")
	}
	return x, nil
}

// execTarget is the newest start of a task and what a driver is to know of it.
func (r *runner) execTarget(name string) (driver.Running, *driver.Task, error) {
	r.mu.Lock()
	known, status := r.group.LookupTask(name) != nil, r.view.status
	running, ok := r.view.live[name]
	start := r.view.start[name]
	r.mu.Unlock()
	switch {
	case !known:
		return nil, nil, badRequest("unknown task name %q", name)
	case !ok && status.Terminal():
		return nil, nil, &httpError{http.StatusNotFound, fmt.Sprintf("task %q has ended: its allocation is %s", name, status)}
	case !ok:
		return nil, nil, &httpError{http.StatusNotFound, fmt.Sprintf("task %q is not running", name)}
	}
	task, _, err := r.task(name, start)
	return running, task, err
}

// execSession connects a program's streams to the messages of a client.
type execSession struct {
	conn *websocket.Conn
	ctx  context.Context
	end  context.CancelCauseFunc
}

// errClientGone is why a session ends whose client went away.
var errClientGone = errors.New("the client has gone")

// send waits for as long as the client takes nothing: somebody may have halted it. The end of the session ends that.
func (s *execSession) send(message execOutput) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if err = s.conn.Write(s.ctx, websocket.MessageText, b); err != nil {
		s.end(errClientGone)
	}
	return err
}

// connect gives the program streams and takes messages for them from now on. The input is to be closed at the end.
func (s *execSession) connect(x *driver.Exec) (input io.Closer) {
	reader, writer := io.Pipe()
	sizes := make(chan driver.TerminalSize, 1)
	first := make(chan struct{})
	x.Stdin, x.Sizes = reader, sizes
	x.Stdout = execWriter(func(b []byte) error { return s.send(execOutput{Stdout: &execData{Data: b}}) })
	x.Stderr = execWriter(func(b []byte) error { return s.send(execOutput{Stderr: &execData{Data: b}}) })
	go s.receive(writer, sizes, first)
	go s.heartbeat()
	if x.TTY { // so that the program finds its terminal as large as it is
		select {
		case <-first:
		case <-time.After(execFirstSizeWait):
		case <-s.ctx.Done():
		}
	}
	return reader
}

// receive hands on what the client says until it goes away.
func (s *execSession) receive(stdin *io.PipeWriter, sizes chan driver.TerminalSize, first chan struct{}) {
	var once sync.Once
	for {
		// Until the connection is closed: a Read that is given up closes it, before the client is told why.
		kind, b, err := s.conn.Read(context.Background())
		if err != nil {
			s.end(errClientGone)
			return
		}
		var m execInput
		if kind != websocket.MessageText || json.Unmarshal(b, &m) != nil {
			s.end(badRequest("a message of the session is not understood"))
			return
		}
		if m.TTYSize != nil {
			select { // only the newest counts
			case <-sizes:
			default:
			}
			sizes <- driver.TerminalSize{Rows: m.TTYSize.Height, Columns: m.TTYSize.Width}
			once.Do(func() { close(first) })
		}
		if m.Stdin != nil {
			stdin.Write(m.Stdin.Data) // fails once the program reads no more
			if m.Stdin.Close {
				stdin.Close()
			}
		}
	}
}

// heartbeat shows proxies that the session lives, and finds out about a client that went away without a word while its
// program is quiet.
func (s *execSession) heartbeat() {
	ticker := time.NewTicker(execHeartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.send(execOutput{})
		case <-s.ctx.Done():
			return
		}
	}
}

// execWriter sends pieces of output.
type execWriter func([]byte) error

func (w execWriter) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
