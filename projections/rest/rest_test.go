package rest

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
)

func text(name string) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, name+" "+r.PathValue("id"))
		return err
	}
}

func TestRouter(t *testing.T) {
	rt := NewRouter()
	rt.Handle("GET", "/v1/jobs", text("jobs"))
	rt.Handle("GET", "/v1/job/{id...}", text("job"))
	rt.Handle("PUT POST", "/v1/job/{id...}", text("update"))
	rt.Handle("GET", "/v1/job/{id...}/summary", text("summary"))
	rt.Handle("GET", "/v1/node/{id}", text("node"))
	rt.Handle("GET", "/v1/node/{id}/allocations", text("allocations"))
	rt.FillUnbuilt()
	for _, test := range []struct{ method, path, want string }{
		{"GET", "/v1/jobs", "200 jobs "},
		{"GET", "/v1/jobs/", "404 "},
		{"GET", "/v1/job", "301 "},
		{"GET", "/v1/job/", "404 "},
		{"GET", "/v1/job/x", "200 job x"},
		{"POST", "/v1/job/x", "200 update x"},
		{"GET", "/v1/job/x/dispatch-1-2", "200 job x/dispatch-1-2"},
		{"GET", "/v1/job/x%2Fdispatch-1-2/summary", "200 summary x/dispatch-1-2"},
		{"GET", "/v1/job/x/summary", "200 summary x"},
		{"GET", "/v1/job/summary", "200 job summary"},
		{"PUT", "/v1/job/x/plan", "501 PUT /v1/job/{id...}/plan is part of the API and is not built in this version of Drover"},
		{"PUT", "/v1/job/x/dispatch/payload", "501 PUT /v1/job/{id...}/dispatch/payload is part of the API and is not built in this version of Drover"},
		{"DELETE", "/v1/job/x/versions/old/tag", "501 DELETE /v1/job/{id...}/tag is part of the API and is not built in this version of Drover"},
		{"PATCH", "/v1/job/x", "405 Invalid method"},
		{"PUT", "/v1/job/x/summary", "405 Invalid method"},
		{"GET", "/v1/node/a", "200 node a"},
		{"GET", "/v1/node/a/allocations", "200 allocations a"},
		{"GET", "/v1/node/pools", "501 GET /v1/node/pools is part of the API and is not built in this version of Drover"},
		{"GET", "/v1/node/a/b", "404 "},
		{"GET", "/v1/var/a/b/c", "501 GET /v1/var/{path...} is part of the API and is not built in this version of Drover"},
		{"POST", "/v1/system/gc", "405 Invalid method"},
		{"GET", "/", "404 "},
		{"GET", "/v1", "404 "},
	} {
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		body := w.Body.String()
		if w.Code == http.StatusMovedPermanently {
			body = ""
		}
		if got := fmt.Sprint(w.Code, " ", body); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.method, test.path, got, test.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{Errorf(404, "job not found"), "404 job not found"},
		{fmt.Errorf("look up: %w", Errorf(404, "job not found")), "404 look up: job not found"},
		{errors.New("anything"), "500 anything"},
		{fmt.Errorf("ask for the head: %w", ErrNoLeader), "500 No cluster leader"},
	} {
		w := httptest.NewRecorder()
		Fail(w, test.err)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != test.want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%v: %s", test.err, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	answer := func(query, encoding string, value any) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/?"+query, nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		if err := JSON(w, r, value); err != nil {
			t.Fatal(err)
		}
		return w
	}
	value := map[string]any{"A": []string{}, "B": "<&>"}
	if got := answer("", "gzip", value); got.Body.String() != `{"A":[],"B":"<&>"}` || got.Header().Get("Content-Encoding") != "" || got.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%s %v", got.Body, got.Header())
	}
	if got := answer("pretty", "", value).Body.String(); got != "{\n    \"A\": [],\n    \"B\": \"<&>\"\n}\n" {
		t.Errorf("pretty: %q", got)
	}
	if got := answer("pretty=0", "", nil).Body.String(); got != "null" {
		t.Errorf("not pretty: %q", got)
	}
	long := strings.Repeat("word ", 1000)
	for encoding, zipped := range map[string]bool{"": false, "gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "*": true, "br": false} {
		got := answer("", encoding, long)
		var body io.Reader = got.Body
		if (got.Header().Get("Content-Encoding") == "gzip") != zipped {
			t.Errorf("%q: %v", encoding, got.Header())
		}
		if zipped {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		var back string
		if err := json.NewDecoder(body).Decode(&back); err != nil || back != long {
			t.Errorf("%q: %v", encoding, err)
		}
	}
	if err := JSON(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), make(chan int)); err == nil {
		t.Error("what is no JSON was sent")
	}
}

func TestBodies(t *testing.T) {
	read := func(body io.Reader, length int64) (string, error) {
		r := httptest.NewRequest("PUT", "/", body)
		r.ContentLength = length
		data, err := ReadBody(httptest.NewRecorder(), r, 8)
		return string(data), err
	}
	if got, err := read(strings.NewReader("12345678"), 8); got != "12345678" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, length := range []int64{9, -1} {
		if _, err := read(io.MultiReader(strings.NewReader("123456789")), length); CodeOf(err) != 413 || err.Error() != "request body is larger than the limit of 8 bytes" {
			t.Errorf("length %d: %v", length, err)
		}
	}
	var v struct{ JobID string }
	decode := func(body string) error {
		return DecodeJSON(httptest.NewRecorder(), httptest.NewRequest("PUT", "/", strings.NewReader(body)), 100, &v)
	}
	if err := decode(`{"jobid":"x","Unknown":{}} and more`); err != nil || v.JobID != "x" {
		t.Errorf("%+v %v", v, err)
	}
	for _, bad := range []string{"", "{", `{"JobID":7}`} {
		if err := decode(bad); CodeOf(err) != 400 {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Pages put together are the list, for any keys, filter and page size, also when
// the object that a page begins with is gone by then.
func TestPagesAreTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form := rapid.SampledFrom([]KeyForm{KeyID, KeyScopedID, KeyCreation}).Draw(t, "form")
		keys := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) Key {
			k := Key{ID: rapid.StringMatching(`[a-c.-]{1,3}`).Draw(t, "id")}
			switch form {
			case KeyScopedID:
				k.Scope = rapid.StringMatching(`[a-b-]{1,2}`).Draw(t, "scope")
			case KeyCreation:
				k.Number = rapid.Uint64Range(0, 12).Draw(t, "number")
			}
			return k
		}), func(k Key) Key { return k }).Draw(t, "keys")
		slices.SortFunc(keys, Key.Compare)
		q := Query{PerPage: rapid.IntRange(1, 5).Draw(t, "size"), Reverse: rapid.Bool().Draw(t, "reverse")}
		if q.Reverse {
			slices.Reverse(keys)
		}
		unwanted := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "unwanted")
		keep := func(k Key) (bool, error) { return unwanted == "" || !strings.HasPrefix(k.ID, unwanted), nil }
		same := func(k Key) Key { return k }
		var want, got []Key
		for _, k := range keys {
			if ok, _ := keep(k); ok {
				want = append(want, k)
			}
		}
		for pages := 0; ; pages++ {
			page, next, err := Page(&q, form, slices.Values(keys), same, keep)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if next == "" {
				break
			}
			if len(page) != q.PerPage || pages > len(keys) {
				t.Fatalf("page %d of %d", pages, len(page))
			}
			q.NextToken = next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestIDPrefixes(t *testing.T) {
	for prefix, want := range map[string]string{
		"": "", "ab": "ab", "ABcd": "abcd", "12345678-9a": "123456789a",
		"12345678-9abc-def0-1234-56789abcdef0": "123456789abcdef0123456789abcdef0",
	} {
		if got, err := ParseIDPrefix(prefix); err != nil || fmt.Sprintf("%x", got) != want {
			t.Errorf("%q: %x %v", prefix, got, err)
		}
	}
	for _, prefix := range []string{"a", "zz", "+1", "12345678-9abc-def0-1234-56789abcdef000", "-----ab"} {
		if got, err := ParseIDPrefix(prefix); err == nil {
			t.Errorf("%q: %x", prefix, got)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"index=5&wait=60000ms&stale=&pretty", "filter=" + url.QueryEscape(`A.B == "x" and not (C is nil)`),
		"per_page=20&next_token=12.ab&reverse=true", "namespace=*&prefix=ab", "index=-1", "%zz=1;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest("GET", "/v1/jobs", nil)
		r.URL.RawQuery = raw
		q, err := ParseQuery(r)
		if err != nil {
			if CodeOf(err) != 400 {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if q.Wait <= 0 || q.Wait > waitMax || q.PerPage < 0 || q.Namespace == "" {
			t.Errorf("%q: %+v", raw, q)
		}
		if _, err := q.Filter.Match(&event.Job{ID: "x"}); err != nil && CodeOf(err) != 400 {
			t.Errorf("%q: %v", raw, err)
		}
		for _, form := range []KeyForm{KeyID, KeyScopedID, KeyCreation} {
			if k, err := form.Parse(q.NextToken); err == nil {
				if again, err := form.Parse(form.Token(k)); err != nil || again != k {
					t.Errorf("token %q: %+v, again %+v %v", q.NextToken, k, again, err)
				}
			}
		}
		_, _ = ParseIDPrefix(q.Prefix) // must not panic
	})
}

// Two servers: what comes to the one that does not lead is answered by the other.
func TestForward(t *testing.T) {
	var leaderAddress, followerAddress string
	serve := func(name string, leader *string) string {
		forward := Forward(http.DefaultTransport, func() string { return *leader })
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !forward(w, r) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("X-Nomad-Index", "7")
				fmt.Fprintf(w, "%s: %s %s %s", name, r.Method, r.URL, body)
			}
		}))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	leads := ""
	leaderAddress = serve("leader", &leads)
	followerAddress = serve("follower", &leaderAddress)
	send := func(path string) (int, string) {
		resp, err := http.Post("http://"+followerAddress+path, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := send("/v1/job/x%2Fy?a=b"); code != 200 || body != "leader: POST /v1/job/x%2Fy?a=b body" {
		t.Errorf("%d %s", code, body)
	}
	// Each takes the other for the leader: it goes over once.
	leads = followerAddress
	if code, body := send("/v1/jobs"); code != 200 || body != "leader: POST /v1/jobs body" {
		t.Errorf("%d %s", code, body)
	}
	// The leader is gone.
	gone := httptest.NewServer(nil)
	leaderAddress = strings.TrimPrefix(gone.URL, "http://")
	gone.Close()
	if code, body := send("/v1/jobs"); code != 500 || body != "No cluster leader" {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := send("/v1/node-agent/report"); code != 503 {
		t.Errorf("%d", code)
	}
	// The leader dies while it works.
	dies := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer dies.Close()
	leaderAddress = strings.TrimPrefix(dies.URL, "http://")
	if code, body := send("/v1/jobs"); code != 500 || !strings.Contains(body, "may still take effect") {
		t.Errorf("%d %s", code, body)
	}
}
