package agent

import (
	"net/http"
	"strings"
)

// withOrigins has pages of any origin read what nodes answer (/v1/client/..., but for what cleans up), as consoles do that
// are served elsewhere. They can do no more than anybody who reaches the port.
func withOrigins(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == "" || !strings.HasPrefix(r.URL.Path, "/v1/client/") || r.URL.Path == "/v1/client/gc" {
			h.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", "*")
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			h.ServeHTTP(w, r)
			return
		}
		// The browser asks first whether it may.
		header.Set("Access-Control-Allow-Methods", "GET, HEAD")
		if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
			header.Set("Access-Control-Allow-Headers", names)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
