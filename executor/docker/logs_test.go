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
// runs: nothing of it is lost, and nothing is written twice.
func TestOutputThatComesLate(t *testing.T) {
	line := func(at int, text string) []byte {
		text = fmt.Sprintf("2026-01-01T00:00:0%d.000000000Z %s", at, text)
		frame := make([]byte, 8, 8+len(text))
		frame[0] = 1
		binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
		return append(frame, text...)
	}
	lines := [][]byte{line(1, "one\n"), line(2, "two\n"), line(3, "three")}
	followed, inspected := 0, 0
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/json"):
			inspected++
			fmt.Fprintf(w, `{"Id": "c", "State": {"Running": %v}}`, inspected == 1)
		case r.URL.Query().Get("follow") == "1":
			for _, l := range lines[:followed] {
				w.Write(l)
			}
			followed++
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
	if string(b) != "one\ntwo\nthree" || followed != 2 {
		t.Errorf("%q %v after %d streams", b, err, followed)
	}
}
