package agentconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseJSON reads the JSON form. It is as strict as JSON is, and keeps the line
// of every value.
func parseJSON(source string) (node, error) {
	r := jsonReader{source: source, dec: json.NewDecoder(strings.NewReader(source))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if _, end := r.dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the configuration")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return node{}, fmt.Errorf("line %d: %w", r.line(), err)
	}
	return n, nil
}

type jsonReader struct {
	source string
	dec    *json.Decoder

	// The line of offset counted is counted; lines only grow.
	counted int
	lines   int
}

// line is the line of what was read last, from 1.
func (r *jsonReader) line() int {
	at := min(int(r.dec.InputOffset()), len(r.source))
	r.lines += strings.Count(r.source[r.counted:at], "\n")
	r.counted = at
	return r.lines + 1
}

func (r *jsonReader) value(depth int) (node, error) {
	if depth > depthMax {
		return node{}, errTooDeep
	}
	tok, err := r.dec.Token()
	if err != nil {
		return node{}, err
	}
	n := node{line: r.line()}
	literal := func(s string) (node, error) { n.literal = &s; return n, nil }
	switch v := tok.(type) {
	case string:
		return literal(v)
	case json.Number:
		return literal(v.String())
	case bool:
		return literal(fmt.Sprint(v))
	case nil:
		n.null = true
		return n, nil
	}
	if tok == json.Delim('[') {
		n.list = []node{}
		for r.dec.More() {
			e, err := r.value(depth + 1)
			if err != nil {
				return node{}, err
			}
			n.list = append(n.list, e)
		}
	} else {
		n.object = true
		for r.dec.More() {
			key, err := r.dec.Token()
			if err != nil {
				return node{}, err
			}
			f := field{line: r.line()}
			f.name, _ = key.(string) // a key is always one
			if f.val, err = r.value(depth + 1); err != nil {
				return node{}, err
			}
			if !f.val.null { // null is as good as absent
				n.fields = append(n.fields, f)
			}
		}
	}
	_, err = r.dec.Token() // the closing bracket
	return n, err
}
