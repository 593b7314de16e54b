package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// Config is what the reading side needs of the server around it.
type Config struct {
	// Store holds the states that answers are made from. Required.
	Store *projections.Store

	// Region is the server's region; requests for another one are refused. Required.
	Region string

	// Barrier confirms with the other servers where the log ends now and
	// returns that index, so that an answer from a state at or past it misses
	// nothing that was committed before the question. rest.ErrNoLeader and
	// rest.ErrNotReady have answers of their own. Required.
	Barrier func(ctx context.Context) (index uint64, err error)

	// Contact tells how long ago this server heard of a leader, and whether
	// there is one. Required.
	Contact func() (lastContact time.Duration, knownLeader bool)

	// OpenLog reads the log from an index on. Required.
	OpenLog func(from uint64) projections.Tail

	// Verify reads the whole log again, recomputes the chain, and calls
	// progress now and then with counts of records. An error means that it
	// could not be done; damage is a result. Required.
	Verify func(ctx context.Context, progress func(done, total uint64)) (Verified, error)

	// Agent tells about this agent and its servers. Required.
	Agent Agent

	// RestoreIncarnation counts how often the cluster was restored from a
	// backup; it fences the orders of nodes. 0 = never.
	RestoreIncarnation uint64
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil, c.Barrier == nil, c.Contact == nil, c.OpenLog == nil, c.Verify == nil, c.Agent == nil:
		return errors.New("api: a required function or object is missing in the configuration")
	case c.Region == "":
		return errors.New("api: the region is missing in the configuration")
	}
	return nil
}

// API is the reading side of the HTTP API of one server.
type API struct {
	cfg     Config
	bell    bell
	news    newsDesk
	barrier sharedBarrier
	turn    chan struct{} // held by the stream of orders that is making its message
}

// New checks the configuration and makes the handlers.
func New(cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &API{cfg: cfg, turn: make(chan struct{}, 1)}
	a.bell.store = cfg.Store
	a.barrier.ask = a.reachHead
	return a, nil
}

// ask is one question: who asks for what, and the state that answers it.
type ask struct {
	rest.Query
	id      string // the parameter in the path; "" when there is none
	state   *projections.State
	request *http.Request

	next string // set by lists: token of the following page
}

// view is a kind of answer.
type view struct {
	// object is what the ID in the path identifies, when it is a UUID: "alloc".
	object string
	// index is the last change of what is shown: blocking queries wait for it
	// to move.
	index func(k *ask) uint64
	// matter is what a commit must touch to move index from where it is in k's
	// state. Index is not looked at before.
	matter func(k *ask) matter
	// show makes the answer out of k and nothing else.
	show func(k *ask) (any, error)
}

// read answers with a view of the newest state.
func (a *API) read(v view) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		k, err := a.ask(r)
		if err != nil {
			return err
		}
		return a.answer(w, k, v)
	}
}

func (a *API) ask(r *http.Request) (*ask, error) {
	q, err := rest.ParseQuery(r)
	if err == nil {
		err = q.InRegion(a.cfg.Region)
	}
	return &ask{Query: q, id: r.PathValue("id"), request: r}, err
}

func (a *API) answer(w http.ResponseWriter, k *ask, v view) error {
	ctx := k.request.Context()
	if v.object != "" {
		if _, err := event.ParseID(k.id); err != nil {
			return rest.Errorf(http.StatusInternalServerError, "%s lookup failed: %v", v.object, err)
		}
	}
	if !k.Stale {
		if err := a.catchUp(ctx); err != nil {
			return err
		}
	}
	if err := a.block(ctx, k, v); err != nil {
		return err
	}
	rest.SetIndex(w, v.index(k))
	lastContact, knownLeader := a.cfg.Contact()
	rest.SetContact(w, lastContact, knownLeader)
	value, err := v.show(k)
	if err != nil {
		return err
	}
	rest.SetNextToken(w, k.next)
	return rest.JSON(w, k.request, value)
}

// block waits until the view's index has passed the one that the caller knows,
// the wait is over, or ctx ends; k gets the state to answer from.
func (a *API) block(ctx context.Context, k *ask, v view) error {
	k.state = a.cfg.Store.Snapshot()
	if k.Index == 0 || v.index(k) > k.Index {
		return nil
	}
	timer := k.WaitTimer()
	defer timer.Stop()
	for {
		// What moves the index depends on what is there: an object that is not
		// may come in with any change of its table.
		awaited := v.matter(k)
		w, silence := a.bell.listen(awaited)
		k.state = a.cfg.Store.Snapshot()
		if v.index(k) > k.Index {
			silence()
			return nil
		}
		if v.matter(k) != awaited {
			silence()
			continue
		}
		over, err := false, error(nil)
		select {
		case <-w.rung:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			over, err = true, ctx.Err()
		}
		silence()
		k.state = a.cfg.Store.Snapshot()
		if over {
			return err
		}
	}
}

// catchUp waits until the published state holds all that was committed before
// the call.
func (a *API) catchUp(ctx context.Context) error { return a.barrier.pass(ctx) }

// reachHead is catchUp for one caller.
func (a *API) reachHead(ctx context.Context) error {
	head, err := a.cfg.Barrier(ctx)
	if err != nil {
		return err
	}
	if head > 0 {
		_, err = a.cfg.Store.Await(ctx, head-1)
	}
	return err
}
