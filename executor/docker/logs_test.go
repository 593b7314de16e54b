package docker

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

// A daemon may say that a container's output has ended before it has sent all of it, while the container ends or still
// runs: nothing of it is lost, and nothing is written twice. Nor does it matter which of the two streams comes first.
func TestOutputThatComesLate(t *testing.T) {
	line := func(stream byte, at int, text string) []byte {
		text = fmt.Sprintf("2026-01-01T00:00:0%d.000000000Z %s", at, text)
		frame := make([]byte, 8, 8+len(text))
		frame[0] = stream
		binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
		return append(frame, text...)
	}
	lines := [][]byte{line(1, 1, "one\n"), line(1, 3, "two\n"), line(2, 2, "earlier\n"), line(1, 3, "three")}
	followed, inspected := 0, 0
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/json"):
			inspected++
			fmt.Fprintf(w, `{"Id": "c", "State": {"Running": %v}}`, inspected < 4)
		case r.URL.Query().Get("follow") == "1":
			for _, l := range lines[:followed] {
				w.Write(l)
			}
			followed++ // each time one piece more
		default:
			for _, l := range lines {
				w.Write(l)
			}
		}
	}))
	defer daemon.Close()
	api, err := client.New(client.WithHost("tcp://"+strings.TrimPrefix(daemon.URL, "http://")), client.WithAPIVersion("1.44"))
	if err != nil {
		t.Fatal(err)
	}
	made := task(t, nil)
	if err := os.MkdirAll(made.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &collector{api: api, task: made, id: "c"}
	if err := c.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(made.LogDir, "web.stdout.0"))
	if string(b) != "one\ntwo\nthree" || followed != 4 {
		t.Errorf("%q %v after %d streams", b, err, followed)
	}
	if b, err := os.ReadFile(filepath.Join(made.LogDir, "web.stderr.0")); string(b) != "earlier\n" {
		t.Errorf("%q %v", b, err)
	}
}
