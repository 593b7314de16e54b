// Package wire is what the node agent and the task shim say to one another, and what the shim leaves on disk.
//
// Its promise: the shim that an older agent started is understood by a newer agent. Messages are lists of (name, value)
// pairs of text, so fields can be added and unknown ones are ignored. The encoding is written by hand because the shim
// must stay tiny: there is one process of it for each running task.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Pair is one field of a message. A name may stand more than once: that is how a list is sent.
type Pair struct{ Name, Value string }

// Message is one message, or one record on disk.
type Message []Pair

// Get returns the first value of that name, or "".
func (m Message) Get(name string) string {
	for _, p := range m {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Has reports whether the name stands in the message.
func (m Message) Has(name string) bool {
	for _, p := range m {
		if p.Name == name {
			return true
		}
	}
	return false
}

// All returns every value of that name in order.
func (m Message) All(name string) []string {
	var values []string
	for _, p := range m {
		if p.Name == name {
			values = append(values, p.Value)
		}
	}
	return values
}

// Int returns the value of that name as a number; absent and malformed ones are 0.
func (m Message) Int(name string) int64 {
	n, err := strconv.ParseInt(m.Get(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Add appends a field.
func (m *Message) Add(name, value string) { *m = append(*m, Pair{name, value}) }

// AddInt appends a number.
func (m *Message) AddInt(name string, value int64) { m.Add(name, strconv.FormatInt(value, 10)) }

// ErrTooLong says that a message is larger than [MessageBytesMax].
var ErrTooLong = errors.New("message is too long")

// Encode is the message as bytes: for each field the length of its name, the name, the length of its value, the value.
func (m Message) Encode() []byte {
	size := 0
	for _, p := range m {
		size += len(p.Name) + len(p.Value) + 2*binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	for _, p := range m {
		b = binary.AppendUvarint(b, uint64(len(p.Name)))
		b = append(b, p.Name...)
		b = binary.AppendUvarint(b, uint64(len(p.Value)))
		b = append(b, p.Value...)
	}
	return b
}

// Decode is the inverse of Encode.
func Decode(b []byte) (Message, error) {
	var m Message
	text := func() (string, bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return "", false
		}
		s := string(b[used : used+int(n)])
		b = b[used+int(n):]
		return s, true
	}
	for len(b) > 0 {
		name, ok := text()
		if !ok {
			return nil, errors.New("message is cut short in a field's name")
		}
		value, ok := text()
		if !ok {
			return nil, fmt.Errorf("message is cut short in the value of %q", name)
		}
		m.Add(name, value)
	}
	return m, nil
}

// Write sends one message, preceded by its length in 4 bytes.
func Write(w io.Writer, m Message) error {
	body := m.Encode()
	if len(body) > MessageBytesMax {
		return ErrTooLong
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

// Read receives one message. It is io.EOF when the other side is gone between two messages.
func Read(r io.Reader) (Message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MessageBytesMax {
		return nil, ErrTooLong
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read message of %d bytes: %w", n, err)
	}
	return Decode(body)
}
