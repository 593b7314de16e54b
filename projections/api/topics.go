package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// Topics of the event stream that this version has objects for.
const (
	topicJob        = "Job"
	topicEvaluation = "Evaluation"
	topicAllocation = "Allocation"
	topicNode       = "Node"
	topicNodePool   = "NodePool"
)

// topicFilter is which events a subscriber wants: by topic the keys, where "*"
// is every key. An empty filter wants everything.
type topicFilter struct {
	topics    map[string][]string
	namespace string
}

func parseTopics(k *ask) (topicFilter, error) {
	f := topicFilter{namespace: k.Namespace}
	for _, text := range k.All("topic") {
		topic, key, keyed := strings.Cut(text, ":")
		if strings.Contains(key, ":") || topic == "" || keyed && key == "" {
			return f, rest.Errorf(http.StatusBadRequest, "Invalid key value pair for topic: %s", text)
		}
		if !keyed {
			key = rest.AllNamespaces
		}
		if f.topics == nil {
			f.topics = make(map[string][]string)
		}
		f.topics[topic] = append(f.topics[topic], key)
	}
	return f, nil
}

// matters are what touches something that the filter may want.
func (f *topicFilter) matters() (list []matter) {
	for topic, s := range map[string]sort{
		topicJob: jobEvents, topicEvaluation: evaluationEvents, topicAllocation: allocationEvents, topicNode: nodeEvents,
		topicNodePool: nodePoolEvents,
	} {
		if f.wantsTopic(topic, "") {
			list = append(list, matter{sort: s})
		}
	}
	if list == nil {
		list = append(list, matter{sort: never})
	}
	return list
}

// wantsTopic reports whether some event of a topic and namespace may be wanted.
func (f *topicFilter) wantsTopic(topic, namespace string) bool {
	if namespace != "" && f.namespace != rest.AllNamespaces && namespace != f.namespace {
		return false
	}
	return f.topics == nil || f.topics[topic] != nil || f.topics["*"] != nil
}

// wantsPart reports whether some event of a part may be wanted.
func (f *topicFilter) wantsPart(p *newsPart) bool {
	if !f.wantsTopic(p.topic, p.job.Namespace) {
		return false
	}
	if f.topics == nil || p.job == (event.JobKey{}) {
		return true
	}
	for _, keys := range [][]string{f.topics[p.topic], f.topics["*"]} {
		for _, key := range keys {
			if _, err := event.ParseID(key); key == "*" || key == p.job.ID || err == nil {
				return true
			}
		}
	}
	return false
}

func (f *topicFilter) wants(e *topicEvent) bool {
	if !f.wantsTopic(e.Topic, e.Namespace) {
		return false
	}
	return f.topics == nil || f.has(f.topics[e.Topic], e) || f.has(f.topics["*"], e)
}

func (f *topicFilter) has(keys []string, e *topicEvent) bool {
	for _, key := range keys {
		if key == "*" || key == e.Key || slices.Contains(e.FilterKeys, key) {
			return true
		}
	}
	return false
}

// topics is the field's event stream: JSON lines of what changed, from the
// commits that the store keeps. A subscriber that asks for older ones, or cannot
// keep up, misses them without being told, as the field's clients expect; the
// audit log is the stream without gaps.
func (a *API) topics(w http.ResponseWriter, r *http.Request) error {
	k, err := a.ask(r)
	if err != nil {
		return err
	}
	filter, err := parseTopics(k)
	if err != nil {
		return err
	}
	out := newLines(w)
	if err := out.begin(); err != nil {
		return nil
	}
	heartbeat := time.NewTicker(topicHeartbeat)
	defer heartbeat.Stop()

	after := uint64(0)
	if k.Index > 0 {
		// An index beyond the newest commit asks for the newest.
		after = min(k.Index-1, max(a.cfg.Store.Snapshot().Index(), 1)-1)
	}
	bell, silence := a.bell.listen(filter.matters()...)
	defer silence()
	defer a.news.subscribe()()
	for {
		commits, _ := a.cfg.Store.CommitsAfter(after)
		out.buf.Reset()
		for _, c := range commits {
			a.news.of(c).tell(&out.buf, &filter, k.Index)
			if out.buf.Len() >= linesTogether && out.send() != nil {
				return nil // the subscriber is gone
			}
			after = c.Last()
		}
		if out.buf.Len() > 0 && out.send() != nil {
			return nil
		}
		select {
		case <-bell.rung:
		case <-heartbeat.C:
			if out.beat() != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// lines writes a stream of JSON lines.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
	encoder *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	l := &lines{w: w, control: http.NewResponseController(w)}
	l.encoder = json.NewEncoder(&l.buf)
	l.encoder.SetEscapeHTML(false)
	return l
}

// begin sends the head, and a first sign of life so that the peer knows that
// the stream stands.
func (l *lines) begin() error {
	h := l.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	l.w.WriteHeader(http.StatusOK)
	return l.beat()
}

func (l *lines) beat() error { return l.write(struct{}{}) }

// write sends one line. An error means that the peer is gone or does not read;
// a value that cannot be encoded is a bug.
func (l *lines) write(value any) error {
	l.buf.Reset()
	if err := l.encoder.Encode(value); err != nil {
		panic("encode a line of a stream: " + err.Error())
	}
	return l.send()
}

// send sends the lines that are in the buffer.
func (l *lines) send() error {
	err := sendAll(l.w, l.control, l.buf.Bytes())
	l.buf.Reset()
	return err
}

// sendAll writes and flushes within writeTimeout.
func sendAll(w http.ResponseWriter, control *http.ResponseController, data []byte) error {
	// A writer without deadlines is one without a network behind it. The deadline
	// is taken back afterwards: HTTP/2 would end an idle stream at it.
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	defer control.SetWriteDeadline(time.Time{})
	if _, err := w.Write(data); err != nil {
		return err
	}
	return control.Flush()
}

// indexFrom reads the index that a stream begins at; 1 when there is none.
func indexFrom(k *ask) (uint64, error) {
	text := k.Get("index")
	if text == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, rest.Errorf(http.StatusBadRequest, "Invalid index")
	}
	return max(n, 1), nil
}
