package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Handler answers one request, or returns an error before it has written
// anything; see CodeOf for how that is answered.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Router finds the handler of a request by path and method. net/http's ServeMux
// does not fit: IDs of jobs may contain slashes, so routes below a job are told
// by the end of the path.
//
// A pattern has at most one parameter: "/v1/jobs", "/v1/node/{id}" (one segment)
// or "/v1/job/{id...}/summary" (one or more). Of several patterns that fit, the
// one with the most literal text wins.
type Router struct {
	exact map[string]*route
	byTop map[string][]*route // by the part of the path before the second slash after "/"; longest literal first
	other http.Handler        // of paths that no pattern fits; nil = 404
}

type route struct {
	pattern        string
	prefix, suffix string
	param          string // name; "" when the pattern is literal
	deep           bool   // the parameter may contain slashes
	methods        map[string]Handler
}

// same reports whether two patterns fit the same paths: the name of a parameter
// makes no difference.
func (r *route) same(o *route) bool {
	return r.prefix == o.prefix && r.suffix == o.suffix && r.deep == o.deep
}

// NewRouter makes a router that knows nothing yet.
func NewRouter() *Router {
	return &Router{exact: make(map[string]*route), byTop: make(map[string][]*route)}
}

// Otherwise names the handler of paths that no pattern fits. Without it they are
// answered 404 with an empty body.
func (rt *Router) Otherwise(h http.Handler) { rt.other = h }

// Plain makes a Handler of one that answers its own errors.
func Plain(h http.Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// Handle adds a route. methods are separated by spaces. A method that the
// pattern already has is a bug in the wiring.
func (rt *Router) Handle(methods, pattern string, h Handler) {
	for method := range strings.FieldsSeq(methods) {
		if !rt.add(method, pattern, h) {
			panic("rest: " + method + " " + pattern + " is there twice")
		}
	}
}

func (rt *Router) add(method, pattern string, h Handler) bool {
	r := parsePattern(pattern)
	if r.param == "" {
		if known, ok := rt.exact[pattern]; ok {
			r = known
		} else {
			rt.exact[pattern] = r
		}
	} else {
		list := rt.byTop[topOf(pattern)]
		if at := slices.IndexFunc(list, r.same); at >= 0 {
			r = list[at]
		} else {
			list = append(list, r)
			slices.SortStableFunc(list, func(a, b *route) int {
				return (len(b.prefix) + len(b.suffix)) - (len(a.prefix) + len(a.suffix))
			})
			rt.byTop[topOf(pattern)] = list
		}
	}
	if r.methods[method] != nil {
		return false
	}
	r.methods[method] = h
	return true
}

func parsePattern(pattern string) *route {
	r := &route{pattern: pattern, prefix: pattern, methods: make(map[string]Handler)}
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return r
	}
	end := strings.IndexByte(pattern, '}')
	if end < open || strings.Contains(pattern[end+1:], "{") {
		panic("rest: bad pattern " + pattern)
	}
	r.prefix, r.suffix = pattern[:open], pattern[end+1:]
	r.param, r.deep = strings.CutSuffix(pattern[open+1:end], "...")
	return r
}

// topOf is "/v1/job/" of "/v1/job/x/summary": every pattern with a parameter has
// that much literal text.
func topOf(path string) string {
	rest := path
	for range 3 {
		at := strings.IndexByte(rest, '/')
		if at < 0 {
			return path
		}
		rest = rest[at+1:]
	}
	return path[:len(path)-len(rest)]
}

// match finds the route of a path and the value of its parameter.
func (rt *Router) match(path string) (*route, string) {
	if r, ok := rt.exact[path]; ok {
		return r, ""
	}
	for _, r := range rt.byTop[topOf(path)] {
		if len(path) <= len(r.prefix)+len(r.suffix) || !strings.HasPrefix(path, r.prefix) || !strings.HasSuffix(path, r.suffix) {
			continue
		}
		value := path[len(r.prefix) : len(path)-len(r.suffix)]
		if r.deep || !strings.Contains(value, "/") {
			return r, value
		}
	}
	return nil, ""
}

// ServeHTTP finds the handler and runs it.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, value := rt.match(r.URL.Path)
	switch {
	case found != nil:
	case rt.byTop[r.URL.Path+"/"] != nil:
		http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
		return
	case rt.other != nil:
		rt.other.ServeHTTP(w, r)
		return
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h := found.methods[r.Method]
	if h == nil {
		allowed := make([]string, 0, len(found.methods))
		for method := range found.methods {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		Fail(w, Errorf(http.StatusMethodNotAllowed, "Invalid method"))
		return
	}
	if found.param != "" {
		r.SetPathValue(found.param, value)
	}
	if err := h(w, r); err != nil {
		Fail(w, err)
	}
}

// notBuilt answers for a route that the field knows and Drover does not have.
func notBuilt(method, pattern string) Handler {
	text := fmt.Sprintf("%s %s is part of the API and is not built in this version of Drover", method, pattern)
	return func(http.ResponseWriter, *http.Request) error {
		return &Error{http.StatusNotImplemented, text}
	}
}
