package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"drover/eventlog/event"
)

// AllNamespaces stands for every namespace, on the routes that allow it.
const AllNamespaces = "*"

// Query is what any reading request may ask beyond its path.
type Query struct {
	Region    string        // "" = the server's own
	Namespace string        // never empty; AllNamespaces on some routes
	Index     uint64        // block until something newer; 0 = answer now
	Wait      time.Duration // how long to block, before jitter
	Stale     bool          // what this server has is good enough
	Prefix    string
	Filter    *Filter // nil = everything
	PerPage   int     // 0 = everything on one page
	NextToken string  // where the page begins; "" = at the beginning
	Reverse   bool    // newest first
	Pretty    bool    // for people

	values url.Values
}

// ParseQuery reads the query parameters. An error is answered with 400.
func ParseQuery(r *http.Request) (Query, error) {
	v := r.URL.Query()
	q := Query{
		Region: v.Get("region"), Namespace: v.Get("namespace"),
		Prefix: v.Get("prefix"), NextToken: v.Get("next_token"),
		Reverse: v.Get("reverse") == "true",
		Pretty:  IsPretty(v),
		values:  v,
	}
	if q.Namespace == "" {
		q.Namespace = event.DefaultNamespace
	}
	var err error
	if text := v.Get("index"); text != "" {
		if q.Index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, Errorf(http.StatusBadRequest, "Invalid index")
		}
	}
	if text := v.Get("wait"); text != "" {
		if q.Wait, err = time.ParseDuration(text); err != nil {
			return q, Errorf(http.StatusBadRequest, "Invalid wait time")
		}
	}
	if q.Wait <= 0 {
		q.Wait = waitDefault
	}
	q.Wait = min(q.Wait, waitMax)
	if v.Has("stale") && v.Get("stale") != "" {
		if q.Stale, err = q.Bool("stale", false, http.StatusBadRequest); err != nil {
			return q, err
		}
	} else {
		q.Stale = v.Has("stale")
	}
	if text := v.Get("per_page"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return q, Errorf(http.StatusBadRequest, "failed to parse per_page %q as a page size", text)
		}
		q.PerPage = int(n)
	}
	if text := v.Get("filter"); text != "" {
		if q.Filter, err = ParseFilter(text); err != nil {
			return q, err
		}
	}
	return q, nil
}

// IsPretty reports whether the parameters ask for JSON that people read.
func IsPretty(v url.Values) bool { return v.Has("pretty") && v.Get("pretty") != "0" }

// Get is a parameter of one route.
func (q *Query) Get(name string) string { return q.values.Get(name) }

// All is a parameter that may stand more than once.
func (q *Query) All(name string) []string { return q.values[name] }

// Bool is a parameter that is true or false. code is what a malformed one is
// answered with.
func (q *Query) Bool(name string, otherwise bool, code int) (bool, error) {
	text := q.values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, Errorf(code, "failed to parse value of %q (%q) as a bool", name, text)
	}
	return b, nil
}

// InRegion refuses a request for another region than the server's.
func (q *Query) InRegion(own string) error {
	if q.Region != "" && q.Region != own {
		return Errorf(http.StatusInternalServerError, "No path to region")
	}
	return nil
}

// InNamespace reports whether an object of that namespace is asked for.
func (q *Query) InNamespace(namespace string) bool {
	return q.Namespace == AllNamespaces || q.Namespace == namespace
}

// WaitTimer ends the wait of a blocking query. Jitter spreads the ends of queries
// that began together.
func (q *Query) WaitTimer() *time.Timer {
	return time.NewTimer(q.Wait + rand.N(q.Wait/waitJitterPart+1))
}

// ReadBody reads the body of a request, up to a limit in bytes. A longer one is
// answered with 413.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "failed to read the request body: %v", err)
	}
	return body, nil
}

func tooLarge(limit int64) error {
	return Errorf(http.StatusRequestEntityTooLarge, "request body is larger than the limit of %d bytes", limit)
}

// DecodeJSON reads a JSON body as the field's servers do: keys in any case,
// unknown keys and what follows the value ignored. A malformed one is answered
// with 400.
func DecodeJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	body, err := ReadBody(w, r, limit)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return Errorf(http.StatusBadRequest, "request body is empty")
		}
		return Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	return nil
}
