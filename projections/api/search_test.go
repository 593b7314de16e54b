package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"
	"github.com/hashicorp/nomad/api/contexts"

	"drover/eventlog/event"
)

func TestSearchByPrefix(t *testing.T) {
	c := town(t)
	for i := range 25 {
		job := batchJob(fmt.Sprintf("many-%02d", i))
		c.submit(job, 0, id(0x100+i))
	}
	other := batchJob("web")
	other.Namespace = "other"
	c.submit(other, 0, id(0x200))
	client, _ := c.serve()
	find := func(prefix string, context contexts.Context, namespace string) *nomad.SearchResponse {
		t.Helper()
		got, meta, err := client.Search().PrefixSearch(prefix, context, &nomad.QueryOptions{Namespace: namespace})
		if err != nil {
			t.Fatalf("search %q in %q: %v", prefix, context, err)
		}
		if meta.LastIndex == 0 {
			t.Errorf("search %q: no index", prefix)
		}
		return got
	}
	got := find("many-", contexts.Jobs, "")
	if n := len(got.Matches[contexts.Jobs]); n != searchResultsMax || !got.Truncations[contexts.Jobs] {
		t.Errorf("%d matches, truncated %v", n, got.Truncations)
	}
	got = find("many-1", contexts.Jobs, "")
	if n := len(got.Matches[contexts.Jobs]); n != 10 || got.Truncations[contexts.Jobs] || len(got.Matches) != 1 {
		t.Errorf("%v, truncated %v", got.Matches, got.Truncations)
	}
	if got := find("web", contexts.Jobs, "*").Matches[contexts.Jobs]; !slices.Equal(got, []string{"web", "web"}) {
		t.Errorf("in all namespaces: %v", got)
	}
	if got := find("web", contexts.Jobs, "nowhere").Matches[contexts.Jobs]; len(got) != 0 {
		t.Errorf("in a namespace without jobs: %v", got)
	}

	alloc := webAlloc(0).String()
	for _, test := range []struct {
		prefix  string
		context contexts.Context
		want    string
	}{
		{nodeA.String(), contexts.Nodes, nodeA.String()},
		{nodeA.String()[:8], contexts.All, nodeA.String()},
		{nodeA.String()[:7], contexts.Nodes, nodeA.String() + " " + nodeB.String()}, // an odd number of digits
		{strings.ToUpper(nodeA.String()), contexts.Nodes, nodeA.String()},
		{alloc, contexts.Allocs, alloc},
		{alloc[:13], contexts.Allocs, alloc},
		{evalWeb.String(), contexts.Evals, evalWeb.String()},
		{"def", contexts.Namespaces, "default"},
		{"xyz", contexts.Nodes, ""},
		{alloc + "00", contexts.Allocs, ""},
		{"", contexts.Nodes, nodeA.String() + " " + nodeB.String()},
		{"a", contexts.Deployments, ""},
	} {
		got := find(test.prefix, test.context, "")
		var all []string
		for _, context := range prefixContexts {
			all = append(all, got.Matches[contexts.Context(context)]...)
		}
		if strings.Join(all, " ") != test.want {
			t.Errorf("%q in %s: %v, want %q", test.prefix, test.context, got.Matches, test.want)
		}
	}

	// Scaling policies are found by their IDs, those of stopped jobs are none.
	scaled := batchJob("scaled")
	scaled.TaskGroups[0].Scaling = &event.ScalingPolicy{Type: "horizontal", Max: 3, Enabled: true}
	c.submit(scaled, 0, id(0x300))
	policy := scalingPolicyID(event.JobKey{Namespace: "default", ID: "scaled"}, scaled.TaskGroups[0].Name).String()
	if got := find(policy[:5], contexts.ScalingPolicies, "").Matches[contexts.ScalingPolicies]; !slices.Equal(got, []string{policy}) {
		t.Errorf("scaling policies: %v", got)
	}
	if got := find(policy[:5], contexts.All, "other").Matches[contexts.ScalingPolicies]; len(got) != 0 {
		t.Errorf("scaling policies of another namespace: %v", got)
	}
	if fuzzy, _, err := client.Search().FuzzySearch(policy[:8], contexts.All, nil); err != nil || len(fuzzy.Matches[contexts.ScalingPolicies]) != 1 {
		t.Errorf("scaling policies: %+v (%v)", fuzzy, err)
	}

	if _, _, err := client.Search().PrefixSearch("a", "nonsense", nil); err == nil || !strings.Contains(err.Error(), "context must be one of") {
		t.Errorf("an unknown context: %v", err)
	}
}

func TestFuzzySearch(t *testing.T) {
	c := town(t)
	job := batchJob("shop-api")
	job.TaskGroups[0].Services = []event.Service{{Name: "shop-front"}}
	job.TaskGroups[0].Tasks[0].Config = map[string]any{"image": "registry/shopimage:1", "command": "/bin/shopd"}
	c.submit(job, 0, id(0x300))
	client, _ := c.serve()
	got, _, err := client.Search().FuzzySearch("SHOP", contexts.All, nil)
	if err != nil {
		t.Fatal(err)
	}
	task := job.TaskGroups[0].Tasks[0].Name
	for context, want := range map[contexts.Context]nomad.FuzzyMatch{
		contexts.Jobs:     {ID: "shop-api", Scope: []string{"default", "shop-api"}},
		contexts.Services: {ID: "shop-front", Scope: []string{"default", "shop-api", "g"}},
		contexts.Images:   {ID: "registry/shopimage:1", Scope: []string{"default", "shop-api", "g", task}},
		contexts.Commands: {ID: "/bin/shopd", Scope: []string{"default", "shop-api", "g", task}},
	} {
		if list := got.Matches[context]; len(list) != 1 || list[0].ID != want.ID || !slices.Equal(list[0].Scope, want.Scope) {
			t.Errorf("%s: %v, want %v", context, list, want)
		}
	}
	got, _, err = client.Search().FuzzySearch("front[", contexts.Allocs, nil)
	if err != nil || len(got.Matches[contexts.Allocs]) != 2 {
		t.Errorf("%v, %v", got, err)
	} else if m := got.Matches[contexts.Allocs][0]; m.ID != "web.front[0]" || m.Scope[1] != webAlloc(0).String() {
		t.Errorf("%+v", m)
	}
	got, _, err = client.Search().FuzzySearch(evalWeb.String()[:8], contexts.Evals, nil)
	if err != nil || len(got.Matches[contexts.Evals]) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err = client.Search().FuzzySearch("x", contexts.All, nil); err == nil || !strings.Contains(err.Error(), "at least 2 characters") {
		t.Errorf("one character: %v", err)
	}
	for _, body := range []string{"", "{", `{"Text":3}`} {
		w := httptest.NewRecorder()
		c.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/search/fuzzy", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
}

// pages walks a list page by page.
func pages(t *testing.T, c *cluster, path string, size int) []string {
	t.Helper()
	var all []string
	token := ""
	for {
		w := c.get(fmt.Sprintf("%sper_page=%d&next_token=%s", path, size, token))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		page := ids(t, w)
		if len(page) > size {
			t.Fatalf("%s: a page of %d", path, len(page))
		}
		all = append(all, page...)
		if token = w.Header().Get("X-Nomad-NextToken"); token == "" {
			return all
		}
	}
}

// Every list is the same read page by page as in one, and reversed is just that.
func TestPagesMakeUpTheList(t *testing.T) {
	c := town(t)
	for i := range 17 {
		c.submit(batchJob(fmt.Sprintf("job-%02d", i*7%17)), 0, id(0x400+i*11%17))
	}
	for _, path := range []string{
		"/v1/jobs?", "/v1/jobs?namespace=*&", "/v1/jobs?prefix=job-1&", "/v1/jobs/statuses?", "/v1/evaluations?", "/v1/evaluations?prefix=00&",
		"/v1/evaluations?job=web&", "/v1/evaluations?status=pending&namespace=*&", "/v1/allocations?", "/v1/allocations?namespace=*&", "/v1/nodes?",
		"/v1/jobs/statuses?namespace=*&filter=" + `Priority%3D%3D50&`,
	} {
		whole := pages(t, c, path, 1000)
		if len(whole) == 0 {
			t.Errorf("%s: nothing", path)
		}
		back := slices.Clone(whole)
		slices.Reverse(back)
		for _, size := range []int{1, 2, 3, 7} {
			if got := pages(t, c, path, size); !slices.Equal(got, whole) {
				t.Errorf("%s by %d:\n%v, want\n%v", path, size, got, whole)
			}
			if got := pages(t, c, path+"reverse=true&", size); !slices.Equal(got, back) {
				t.Errorf("%s reversed by %d:\n%v, want\n%v", path, size, got, back)
			}
		}
	}
	// The last job that changed comes first.
	if got := pages(t, c, "/v1/jobs/statuses?", 100); got[0] != fmt.Sprintf("job-%02d", 16*7%17) {
		t.Errorf("statuses begin with %v", got[:2])
	}
	// Evaluations come in the order of their creation, though their identifiers do not.
	if got := pages(t, c, "/v1/evaluations?", 3); got[0] != evalWeb.String() || got[len(got)-1] != id(0x400+16*11%17).String() {
		t.Errorf("evaluations: %v", got)
	}
}
