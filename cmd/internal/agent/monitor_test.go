package agent

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"drover/cmd/internal/agentconfig"
	"drover/projections/rest"
)

// tapped is an agent's log at WARN, and an agent that only has that.
func tapped(t *testing.T) (log *slog.Logger, own *bytes.Buffer, address string) {
	own = new(bytes.Buffer)
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	tap := newLogTap()
	rt := rest.NewRouter()
	rt.Handle(http.MethodGet, "/v1/agent/monitor", monitor(tap))
	server := httptest.NewServer(rt)
	t.Cleanup(server.Close)
	return tap.logger(newLogger(own, agentconfig.Log{Level: level})), own, server.URL
}

func TestMonitorHearsMoreThanTheLogFile(t *testing.T) {
	log, own, address := tapped(t)
	client, err := nomad.NewClient(&nomad.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	committer := named(log, "committer").With("epoch", 7) // made before anybody listens
	stop := make(chan struct{})
	defer close(stop)
	frames, errs := client.Agent().Monitor(stop, &nomad.QueryOptions{Params: map[string]string{"log_level": "debug"}})
	if frames == nil {
		t.Fatal(<-errs)
	}
	committer.Debug("appended", "records", 3)
	committer.Warn("slow")
	var text string
	for !strings.Contains(text, "slow") {
		select {
		case f := <-frames:
			text += string(f.Data)
		case err := <-errs:
			t.Fatal(err)
		}
	}
	if !strings.Contains(text, "[DEBUG] committer: appended: epoch=7 records=3\n") || !strings.Contains(text, "[WARN]  committer: slow: epoch=7\n") {
		t.Errorf("heard %q", text)
	}
	if strings.Contains(own.String(), "appended") || !strings.Contains(own.String(), "slow") {
		t.Errorf("the agent's own log: %q", own)
	}
}

func TestMonitorInPlainTextAndJSON(t *testing.T) {
	log, _, address := tapped(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/v1/agent/monitor?plain=true&log_json=true&log_level=INFO", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	log.Debug("too low")
	log.Info("hello")
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "{") || !strings.Contains(line, `"msg":"hello"`) {
		t.Errorf("%q, %v", line, err)
	}
	for query, want := range map[string]string{
		"log_level=loud": `Unknown log level: "loud"`, "plain=maybe": `failed to parse value of "plain"`, "log_json=2": "log_json",
	} {
		resp, err := http.Get(address + "/v1/agent/monitor?" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
}

// Who reads slowly misses lines and is told so; who logs does not wait. When the
// last listener has left, lines below the log's own level cost nothing again.
func TestMonitorNeverHoldsUpTheAgent(t *testing.T) {
	tap := newLogTap()
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	log := tap.logger(newLogger(io.Discard, agentconfig.Log{Level: level}))
	debug, info := new(slog.LevelVar), new(slog.LevelVar)
	debug.Set(slog.LevelDebug)
	slow, other := tap.listen(agentconfig.Log{Level: debug}), tap.listen(agentconfig.Log{Level: info})
	for range tapLines + 10 {
		log.Debug("line")
	}
	if text := string(slow.next(nil, nil)); !strings.Contains(text, "line") {
		t.Errorf("heard %q", text)
	}
	var rest string
	for len(slow.lines) > 0 {
		rest += string(slow.next(nil, nil))
	}
	if !strings.Contains(rest, "10 lines were left out") {
		t.Errorf("nothing is said of missed lines: %q", rest[max(0, len(rest)-200):])
	}
	enabled := func(l slog.Level) bool { return log.Enabled(context.Background(), l) }
	tap.leave(slow)
	if enabled(slog.LevelDebug) || !enabled(slog.LevelInfo) {
		t.Error("the level is not that of the listener who is left")
	}
	tap.leave(other)
	if enabled(slog.LevelInfo) || !enabled(slog.LevelWarn) {
		t.Error("the level is not that of the log")
	}
}

func TestHostHidesSecrets(t *testing.T) {
	data, err := readHost([]string{"PATH=/bin", "NOMAD_TOKEN=1234", "AWS_SECRET_ACCESS_KEY=5678", "ODD"})
	if err != nil {
		t.Fatal(err)
	}
	if data.Environment["PATH"] != "/bin" || data.Environment["NOMAD_TOKEN"] != "<redacted>" || data.Environment["AWS_SECRET_ACCESS_KEY"] != "<redacted>" {
		t.Errorf("environment: %v", data.Environment)
	}
	if data.OS == "" || len(data.Network) == 0 {
		t.Errorf("got %+v", data)
	}
	for _, enabled := range []bool{true, false} {
		rt := rest.NewRouter()
		rt.Handle(http.MethodGet, "/v1/agent/host", describeHost(enabled, func() string { return "me" }))
		server := httptest.NewServer(rt)
		client, err := nomad.NewClient(&nomad.Config{Address: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Agent().Host("", "", nil)
		server.Close()
		if !enabled {
			if err == nil || !strings.Contains(err.Error(), "Permission denied") {
				t.Errorf("switched off: %v", err)
			}
			continue
		}
		if err != nil || got.AgentID != "me" || got.HostData == nil || got.HostData.OS != data.OS {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
