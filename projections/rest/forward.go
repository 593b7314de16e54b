package rest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// forwardedHeader marks a request that another server has sent on. It is sent on
// once only: two servers that each take the other for the leader must not play
// ball with it.
const forwardedHeader = "X-Drover-Forwarded"

// agentPrefix is the beginning of the routes of node agents, who take 503 for
// "try again, perhaps elsewhere".
const agentPrefix = "/v1/node-agent/"

// Forward makes a function that sends a request to the leading server, answers
// with that one's answer and returns true; or returns false when the request is
// to be handled here. leader is the leader's address for servers among
// themselves, host:port; "" when this server leads or none is known.
func Forward(transport http.RoundTripper, leader func() string) func(http.ResponseWriter, *http.Request) bool {
	type address struct{}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: p.In.Context().Value(address{}).(string)})
			p.SetXForwarded()
			p.Out.Header.Set(forwardedHeader, "1")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { Fail(w, forwardFailed(r, err)) },
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		to := leader()
		if to == "" || r.Header.Get(forwardedHeader) != "" {
			return false
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), address{}, to)))
		return true
	}
}

// forwardFailed tells a leader that could not be reached, to which nothing was
// sent, from one that was lost on the way: then the request may have taken
// effect.
func forwardFailed(r *http.Request, err error) error {
	var network *net.OpError
	unsent := errors.As(err, &network) && network.Op == "dial"
	switch {
	case strings.HasPrefix(r.URL.Path, agentPrefix):
		return Errorf(http.StatusServiceUnavailable, "the leading server cannot be reached: %v", err)
	case unsent:
		return ErrNoLeader
	}
	return Errorf(http.StatusInternalServerError, "the leading server was lost before it answered (%v): the request may still take effect", err)
}
