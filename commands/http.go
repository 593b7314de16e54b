package commands

import (
	"context"
	"errors"
	"net/http"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// CommandIDHeader carries the ID under which a write takes effect once, however
// often it is sent within a while. Our own command line and agents set it; a
// write without it gets a fresh ID and no such promise.
const CommandIDHeader = "X-Drover-Command-ID"

// HTTPConfig is what the writing routes need of the server around them.
type HTTPConfig struct {
	// Do has a command decided and committed; see Committer.Do. Required.
	Do func(ctx context.Context, cmd Command) (Result, error)

	// Store holds the states that a node agent's credentials are checked
	// against. Required.
	Store *projections.Store

	// Region is the server's region; requests for another one are refused. Required.
	Region string

	// Beat notes that a node lives and returns the time until it must say so
	// again. ErrNoLeader says that this server does not keep the deadlines now.
	// Required.
	Beat func(node event.ID) (ttl time.Duration, err error)

	// Collect has everything leave the state that nothing asks for any more, and
	// returns when it has. ErrNoLeader says that this server does not do that now.
	// Required.
	Collect func(ctx context.Context) error

	// Foresee says what the scheduler would decide on a state, and what it wants
	// for each group. The error says why it decides nothing about such a job. Required.
	Foresee func(*projections.State, *event.Evaluation) (Foresight, error)

	// NewID draws a fresh identifier. Required.
	NewID func() event.ID

	// Forward, if not nil (rest.Forward makes one), may send a request to the server that leads and
	// answer with what that one answers; it returns true if it has answered.
	Forward func(w http.ResponseWriter, r *http.Request) bool
}

func (c *HTTPConfig) validate() error {
	switch {
	case c.Do == nil, c.Store == nil, c.Beat == nil, c.Collect == nil, c.Foresee == nil, c.NewID == nil:
		return errors.New("commands: a required function or object is missing in the HTTP configuration")
	case c.Region == "":
		return errors.New("commands: the region is missing in the HTTP configuration")
	}
	return nil
}

// HTTP is the writing side of the HTTP API of one server.
type HTTP struct{ cfg HTTPConfig }

// NewHTTP checks the configuration and makes the handlers.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &HTTP{cfg}, nil
}

// answers is how each kind of rejection is answered: to API clients, who expect
// 500 for whatever the reference server gives no code of its own, and to node
// agents, who act on the code: 404 means "register again", 409 "you are out of
// date", 403 "stop".
var answers = map[Reason]struct{ api, agent int }{
	ReasonInvalid:    {http.StatusInternalServerError, http.StatusBadRequest},
	ReasonConflict:   {http.StatusInternalServerError, http.StatusConflict},
	ReasonNotFound:   {http.StatusInternalServerError, http.StatusNotFound},
	ReasonForbidden:  {http.StatusForbidden, http.StatusForbidden},
	ReasonStale:      {http.StatusConflict, http.StatusConflict},
	ReasonClosed:     {http.StatusConflict, http.StatusConflict},
	ReasonSuperseded: {http.StatusConflict, http.StatusConflict},
	ReasonNodeDown:   {http.StatusConflict, http.StatusNotFound},
	ReasonTooLarge:   {http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge},
}

// httpError gives what Do answered a status code.
func httpError(err error, agent bool) error {
	var rejection *Rejection
	if errors.As(err, &rejection) {
		codes, ok := answers[rejection.Reason]
		switch {
		case !ok:
			return err
		case agent:
			return &rest.Error{Code: codes.agent, Text: rejection.Message}
		}
		return &rest.Error{Code: codes.api, Text: rejection.Message}
	}
	var coded *rest.Error
	switch {
	case errors.As(err, &coded):
		return err
	case agent, errors.Is(err, ErrBusy), errors.Is(err, ErrDeadline):
		// Nothing was decided, or an agent will find out by asking again.
		return &rest.Error{Code: http.StatusServiceUnavailable, Text: err.Error()}
	case errors.Is(err, ErrNoLeader):
		return rest.ErrNoLeader
	}
	// ErrUnknownOutcome and what stopped the log: uncoded, and the text says
	// that the command may still take effect.
	return &rest.Error{Code: http.StatusInternalServerError, Text: err.Error()}
}

// write is a route that changes something: it goes to the server that leads.
func (h *HTTP) write(handler rest.Handler) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if h.cfg.Forward != nil && h.cfg.Forward(w, r) {
			return nil
		}
		return handler(w, r)
	}
}

// commandID is the ID that a request carries, or a fresh one.
func (h *HTTP) commandID(r *http.Request) (id event.ID, remember bool, err error) {
	text := r.Header.Get(CommandIDHeader)
	if text == "" {
		return h.cfg.NewID(), false, nil
	}
	id, err = event.ParseID(text)
	if err != nil {
		return id, false, rest.Errorf(http.StatusBadRequest, "header %s: %v", CommandIDHeader, err)
	}
	return id, true, nil
}

// do has one request's command committed.
func (h *HTTP) do(r *http.Request, caller event.Caller, body Body) (Result, error) {
	id, remember, err := h.commandID(r)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestWaitMax)
	defer cancel()
	deadline, _ := ctx.Deadline()
	return h.cfg.Do(ctx, Command{ID: id, Remember: remember, Caller: caller, Deadline: deadline, Body: body})
}

// apiCaller is who sends a request to the API. No access rules are in force.
func apiCaller(r *http.Request) event.Caller {
	return event.Caller{Kind: event.CallerAnonymous, Address: r.RemoteAddr}
}
