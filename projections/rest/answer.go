package rest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SetIndex says which state of the cluster an answer shows.
func SetIndex(w http.ResponseWriter, index uint64) {
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(index, 10))
}

// SetContact says how long ago this server heard of a leader, and whether there is one.
func SetContact(w http.ResponseWriter, lastContact time.Duration, knownLeader bool) {
	w.Header().Set("X-Nomad-LastContact", strconv.FormatInt(lastContact.Milliseconds(), 10))
	w.Header().Set("X-Nomad-KnownLeader", strconv.FormatBool(knownLeader))
}

// SetNextToken says where the next page begins.
func SetNextToken(w http.ResponseWriter, token string) {
	if token != "" {
		w.Header().Set("X-Nomad-NextToken", token)
	}
}

// Empty answers a write that has nothing to say: 200 and no body.
func Empty(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusOK)
	return nil
}

// JSON answers with 200 and a value. Nothing is written when it fails.
func JSON(w http.ResponseWriter, r *http.Request, value any) error {
	return JSONCode(w, r, http.StatusOK, value)
}

// JSONCode is JSON with another status code.
func JSONCode(w http.ResponseWriter, r *http.Request, code int, value any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer giveBack(buf)
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	pretty := IsPretty(r.URL.Query())
	if pretty {
		encoder.SetIndent("", "    ")
	}
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if !pretty {
		buf.Truncate(buf.Len() - 1) // the encoder's newline
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	if buf.Len() >= gzipBytesMin && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(code)
		z := zippers.Get().(*gzip.Writer)
		defer zippers.Put(z)
		z.Reset(w)
		z.Write(buf.Bytes())
		z.Close()
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(code)
	w.Write(buf.Bytes())
	return nil
}

var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	zippers = sync.Pool{New: func() any {
		z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic(err)
		}
		return z
	}}
)

func giveBack(buf *bytes.Buffer) {
	if buf.Cap() <= bufferBytesKept {
		buf.Reset()
		buffers.Put(buf)
	}
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, weighted := strings.Cut(strings.TrimSpace(part), ";")
		if name != "gzip" && name != "*" {
			continue
		}
		if !weighted {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		return err == nil && q > 0
	}
	return false
}
