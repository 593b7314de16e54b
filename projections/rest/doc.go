// Package rest is what the HTTP handlers of reads and writes have in common.
//
// The promise of this package: the manners of the field's HTTP API stand here
// and nowhere else. That is how query parameters are read, how lists are
// filtered and cut into pages, how an answer and its headers look, how an error
// becomes a status code with plain text, and what is said of a route that the
// field knows and Drover does not have yet.
package rest
