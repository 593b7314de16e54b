package agent

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"drover/cmd/internal/agentconfig"
	"drover/projections/rest"
)

const (
	// monitorHeartbeat is the longest silence of a stream of frames; clients of
	// the field expect it.
	monitorHeartbeat = time.Second
	// monitorPatience is how long a stream waits for a reader that does not read.
	monitorPatience = 45 * time.Second
)

// monitor answers /v1/agent/monitor: the agent's log as it is written, at the
// level that the caller names and whatever the agent's own is.
func monitor(tap *logTap) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := rest.ParseQuery(r)
		if err != nil {
			return err
		}
		cfg, err := monitored(&q)
		if err != nil {
			return err
		}
		plain, err := q.Bool("plain", false, http.StatusBadRequest)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		if plain {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		lines := tap.listen(cfg)
		defer tap.leave(lines)
		w.WriteHeader(http.StatusOK)
		out := http.NewResponseController(w)
		if out.Flush() != nil {
			return nil
		}
		for {
			idle := make(chan struct{})
			timer := time.AfterFunc(monitorHeartbeat, func() { close(idle) })
			text := lines.next(r.Context().Done(), idle)
			timer.Stop()
			if r.Context().Err() != nil {
				return nil
			}
			if !plain {
				frame := struct {
					Data []byte `json:",omitempty"`
				}{text}
				if text, err = json.Marshal(frame); err != nil {
					return nil
				}
			}
			_ = out.SetWriteDeadline(time.Now().Add(monitorPatience)) //nolint:errcheck // not every connection can
			if _, err := w.Write(text); err != nil || out.Flush() != nil {
				return nil
			}
		}
	}
}

// monitored says which lines a query asks for, and in what form.
func monitored(q *rest.Query) (cfg agentconfig.Log, err error) {
	level := new(slog.LevelVar)
	cfg.Level = level
	if text := q.Get("log_level"); text != "" {
		l, ok := agentconfig.ParseLevel(text)
		if !ok {
			return cfg, rest.Errorf(http.StatusBadRequest, "Unknown log level: %s", strconv.Quote(text))
		}
		level.Set(l)
	}
	if cfg.JSON, err = q.Bool("log_json", false, http.StatusBadRequest); err == nil {
		cfg.Location, err = q.Bool("log_include_location", false, http.StatusBadRequest)
	}
	return cfg, err
}
