package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Error is an answer other than 200: a status code and its plain text. Clients
// of the field match on parts of the text.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(code int, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// ErrNoLeader is for functions that the wiring injects: it says that the cluster
// has no leader now. API clients read its text with code 500.
var ErrNoLeader = errors.New("No cluster leader") //nolint:staticcheck // clients match this text

// ErrNotReady says that there is a leader and that it has not caught up yet.
var ErrNotReady = errors.New("Not ready to serve consistent reads") //nolint:staticcheck // clients match this text

// CodeOf is the status code that an error is answered with. What carries no code
// of its own is 500, as in the reference server.
func CodeOf(err error) int {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return http.StatusInternalServerError
}

// Fail answers with an error.
func Fail(w http.ResponseWriter, err error) {
	text := err.Error()
	switch {
	case errors.Is(err, ErrNoLeader):
		text = ErrNoLeader.Error()
	case errors.Is(err, ErrNotReady):
		text = ErrNotReady.Error()
	case errors.Is(err, context.Canceled):
		// The client is gone, or the server is going: nobody reads this but a
		// proxy, which should try another server.
		http.Error(w, "the request was cut off", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Del("Content-Encoding")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(CodeOf(err))
	io.WriteString(w, text)
}
