package agent

import (
	"net/http"
	"net/http/pprof"
	"strconv"

	"drover/projections/rest"
)

// profileSecondsMax bounds a CPU profile or a trace.
const profileSecondsMax = 600

// profile answers /v1/agent/pprof/...: cmdline, profile, trace, or the name of a
// runtime profile (heap, goroutine, ...). Profiles show how the program runs, not
// what runs in the cluster; still they are only for those who switched them on.
func profile(enabled bool) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !enabled {
			return rest.Errorf(http.StatusForbidden, "Permission denied: set enable_debug = true in the agent's configuration")
		}
		if text := r.URL.Query().Get("seconds"); text != "" {
			seconds, err := strconv.Atoi(text)
			if err != nil || seconds < 1 || seconds > profileSecondsMax {
				return rest.Errorf(http.StatusBadRequest, "seconds must be a number between 1 and %d, not %q", profileSecondsMax, text)
			}
		}
		switch name := r.PathValue("name"); name {
		case "cmdline":
			pprof.Cmdline(w, r)
		case "profile":
			pprof.Profile(w, r)
		case "trace":
			pprof.Trace(w, r)
		default:
			pprof.Handler(name).ServeHTTP(w, r)
		}
		return nil
	}
}
