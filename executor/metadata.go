package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"drover/eventlog/event"
)

// A node's metadata are what its configuration says, and over that what operators have said since: values, and keys of the
// configuration that are not to hold. The latter are kept in the state directory.

// fileMetadata holds what operators said.
const fileMetadata = "metadata"

// metadata is guarded by the agent's nodeMu.
type metadata struct {
	static  map[string]string
	dynamic map[string]*string // nil = the key of the configuration does not hold
}

func loadMetadata(dir string, static map[string]string) (m metadata, err error) {
	m = metadata{static: maps.Clone(static), dynamic: map[string]*string{}}
	if m.static == nil {
		m.static = map[string]string{}
	}
	if err := loadState(filepath.Join(dir, fileMetadata), &m.dynamic); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	return m, nil
}

// effective is what holds.
func (m metadata) effective() map[string]string {
	all := maps.Clone(m.static)
	for key, value := range m.dynamic {
		if value == nil {
			delete(all, key)
		} else {
			all[key] = *value
		}
	}
	return all
}

// with is m after an operator's word; nil takes a key away. Neither shares a map of dynamic values.
func (m metadata) with(said map[string]*string) metadata {
	next := metadata{static: m.static, dynamic: maps.Clone(m.dynamic)}
	for key, value := range said {
		if _, configured := m.static[key]; value == nil && !configured {
			delete(next.dynamic, key)
			continue
		}
		next.dynamic[key] = value
	}
	return next
}

// validate refuses what no registration could carry or no job could ask for.
func (m metadata) validate() error {
	bytes := 0
	for key, value := range m.dynamic {
		if err := validMetaKey(key); err != nil {
			return err
		}
		bytes += len(key)
		if value != nil {
			bytes += len(*value)
		}
	}
	if bytes > metadataBytesMax {
		return fmt.Errorf("metadata set on this node would take %d bytes, more than %d", bytes, metadataBytesMax)
	}
	return nil
}

func validMetaKey(key string) error {
	if slices.Contains(strings.Split(key, "."), "") {
		return fmt.Errorf("invalid client meta key: %q", key)
	}
	return nil
}

// NodeMetadata is the answer of /v1/client/metadata. Its JSON names are the public API's.
type NodeMetadata struct {
	Meta    map[string]string  // what holds
	Dynamic map[string]*string // what operators said; null = not what is configured
	Static  map[string]string  // what is configured
}

func (m metadata) answer() NodeMetadata {
	return NodeMetadata{Meta: m.effective(), Dynamic: m.dynamic, Static: m.static}
}

func (a *Agent) serveMetadata(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		a.nodeMu.Lock()
		answer := a.meta.answer()
		a.nodeMu.Unlock()
		return answerJSON(w, answer)
	}
	var body struct {
		NodeID string
		Meta   map[string]*string
	}
	if err := bodyOf(r, &body); err != nil {
		return err
	}
	switch {
	case body.NodeID != "" && body.NodeID != a.NodeID().String():
		return &httpError{http.StatusNotFound, fmt.Sprintf("Unknown node %q: this is node %q", body.NodeID, a.NodeID())}
	case len(body.Meta) == 0:
		return badRequest("missing required Meta object")
	}
	answer, err := a.applyMetadata(body.Meta)
	if err != nil {
		return err
	}
	return answerJSON(w, answer)
}

// applyMetadata takes an operator's word on the node's metadata: it is on disk before it holds, and what runs is told by
// the next registration.
func (a *Agent) applyMetadata(said map[string]*string) (NodeMetadata, error) {
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	next := a.meta.with(said)
	if err := next.validate(); err != nil {
		return NodeMetadata{}, badRequest("%v", err)
	}
	if reflect.DeepEqual(next.dynamic, a.meta.dynamic) {
		return next.answer(), nil
	}
	if err := saveState(filepath.Join(a.cfg.StateDir, fileMetadata), next.dynamic, true); err != nil {
		return NodeMetadata{}, fmt.Errorf("keep metadata: %w", err)
	}
	a.meta = next
	a.replaceNode(func(n *event.Node) { n.Meta = next.effective() })
	a.log.Info("metadata changed", "keys", strings.Join(slices.Sorted(maps.Keys(said)), ","))
	return next.answer(), nil
}

// PeekMetadataNode is the node that the body of a request to change metadata names, "" if none.
func PeekMetadataNode(body []byte) string {
	var named struct{ NodeID string }
	if json.Unmarshal(body, &named) != nil {
		return "" // whoever takes it says what is wrong
	}
	return named.NodeID
}
