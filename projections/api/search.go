package api

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// A search looks in contexts: one sort of object each.
const (
	contextAll        = "all"
	contextJobs       = "jobs"
	contextEvals      = "evals"
	contextAllocs     = "allocs"
	contextNodes      = "nodes"
	contextNamespaces = "namespaces"
	contextNodePools  = "node_pools"
	contextPolicies   = "scaling_policy"
	contextGroups     = "groups"
	contextTasks      = "tasks"
	contextServices   = "services"
	contextImages     = "images"
	contextCommands   = "commands"
	contextClasses    = "classes"
)

var (
	prefixContexts = []string{contextJobs, contextEvals, contextAllocs, contextNodes, contextNodePools, contextNamespaces, contextPolicies}
	// jobParts are found by what stands in jobs.
	jobParts      = []string{contextJobs, contextGroups, contextTasks, contextServices, contextImages, contextCommands, contextClasses}
	fuzzyContexts = append(slices.Clone(jobParts), contextEvals, contextAllocs, contextNodes, contextNodePools, contextNamespaces, contextPolicies)
	// emptyContexts are those of objects that this version knows none of.
	emptyContexts = []string{"deployment", "plugins", "volumes", "host_volumes", "vars"}
)

// SearchResult is what /v1/search answers: identifiers by context, and whether
// there are more than these.
type SearchResult struct {
	Matches     map[string][]string
	Truncations map[string]bool
}

// FuzzyResult is what /v1/search/fuzzy answers.
type FuzzyResult struct {
	Matches     map[string][]FuzzyMatch
	Truncations map[string]bool
}

// FuzzyMatch is one thing whose name holds the text.
type FuzzyMatch struct {
	ID string // a name, or an identifier where there is none
	// Scope is where it is: namespace, job, group, task, as far as they apply; for
	// an allocation namespace and ID, for a node its ID.
	Scope []string `json:",omitempty"`
}

func (a *API) registerSearch(rt *rest.Router) {
	rt.Handle("PUT POST", "/v1/search", a.search(func(k *ask, prefix, _ string, contexts []string) (any, error) {
		return searchPrefix(k, prefix, contexts), nil
	}, prefixContexts))
	rt.Handle("PUT POST", "/v1/search/fuzzy", a.search(func(k *ask, _, text string, contexts []string) (any, error) {
		if n := len([]rune(text)); n < fuzzyTextMin {
			return nil, fmt.Errorf("fuzzy search query must be at least %d characters, got %d", fuzzyTextMin, n)
		}
		return searchFuzzy(k, text, contexts), nil
	}, fuzzyContexts))
}

// search reads a question and answers it by find, which is told the contexts to look in.
func (a *API) search(find func(k *ask, prefix, text string, contexts []string) (any, error), all []string) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		k, err := a.ask(r)
		if err != nil {
			return err
		}
		var asked struct{ Prefix, Text, Context, Namespace string }
		if err := rest.DecodeJSON(w, r, searchBytesMax, &asked); err != nil {
			return err
		}
		if k.Get("namespace") == "" && asked.Namespace != "" {
			k.Namespace = asked.Namespace
		}
		contexts := []string{asked.Context}
		switch {
		case asked.Context == "" || asked.Context == contextAll:
			contexts = slices.Concat(all, emptyContexts)
		case !slices.Contains(all, asked.Context) && !slices.Contains(emptyContexts, asked.Context):
			return fmt.Errorf("context must be one of %v or %q; got %q instead", slices.Concat(all, emptyContexts), contextAll, asked.Context)
		}
		k.Index = 0 // a search does not wait
		return a.answer(w, k, view{
			index: func(k *ask) uint64 {
				return max(jobsIndex(k), evaluationsIndex(k), allocationsIndex(k), nodesIndex(k), nodePoolsIndex(k), namespacesIndex(k), scalingPoliciesIndex(k))
			},
			matter: nothing,
			show:   func(k *ask) (any, error) { return find(k, asked.Prefix, asked.Text, contexts) },
		})
	}
}

// some takes at most n of a sequence, and reports whether there are more.
func some[T any](n int, objects iter.Seq[T]) (list []T, more bool) {
	for object := range objects {
		if len(list) == n {
			return list, true
		}
		list = append(list, object)
	}
	return list, false
}

func searchPrefix(k *ask, prefix string, contexts []string) SearchResult {
	result := SearchResult{Matches: make(map[string][]string), Truncations: make(map[string]bool)}
	for _, context := range contexts {
		list, more := some(searchResultsMax, identifiers(k, context, prefix))
		result.Matches[context], result.Truncations[context] = orEmpty(list), more
	}
	return result
}

// identifiers visits those of one context that begin so.
func identifiers(k *ask, context, prefix string) iter.Seq[string] {
	begins := func(name string) bool { return strings.HasPrefix(name, prefix) }
	switch context {
	case contextJobs:
		k.Prefix = prefix
		return names(jobsIn(k), func(j *projections.Job) string { return j.Key.ID })
	case contextNamespaces:
		return where(names(k.state.Namespaces(), func(n *projections.Namespace) string { return n.Name }), begins)
	case contextNodePools:
		return where(names(k.state.NodePools(), func(p *projections.NodePool) string { return p.Name }), begins)
	}
	// Half a byte more than what tables are searched by is looked at here.
	lower := strings.ToLower(prefix)
	digits := strings.ReplaceAll(lower, "-", "")
	raw, err := rest.ParseIDPrefix(digits[:len(digits)/2*2])
	if err != nil {
		return func(func(string) bool) {}
	}
	var found iter.Seq[string]
	text := event.ID.String
	switch context {
	case contextEvals:
		found = names(where(k.state.EvaluationsByPrefix(raw), func(e *event.Evaluation) bool { return k.InNamespace(e.Namespace) }),
			func(e *event.Evaluation) string { return text(e.ID) })
	case contextAllocs:
		found = names(where(k.state.AllocationsByPrefix(raw), func(a *projections.Allocation) bool { return k.InNamespace(a.Job.Namespace) }),
			func(a *projections.Allocation) string { return text(a.ID) })
	case contextNodes:
		found = names(k.state.NodesByPrefix(raw), func(n *projections.Node) string { return text(n.Info.ID) })
	case contextPolicies:
		found = names(slices.Values(k.policies("", "")), func(p *scalingPolicy) string { return text(p.id) })
	default:
		return func(func(string) bool) {}
	}
	return where(found, func(id string) bool {
		return strings.HasPrefix(id, lower) || strings.HasPrefix(strings.ReplaceAll(id, "-", ""), lower)
	})
}

func names[T any](objects iter.Seq[T], name func(T) string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for object := range objects {
			if !yield(name(object)) {
				return
			}
		}
	}
}

// fuzzy collects what a text is found in, the best first: where it stands
// earlier, then the shorter name.
type fuzzy struct {
	text  string // lower case
	found map[string][]ranked
}

type ranked struct {
	FuzzyMatch
	at int // where the text begins
}

// try takes in a name if it holds the text. It returns false when the context has
// been searched enough: whoever finds hundreds will type another letter.
func (f *fuzzy) try(context, name string, scope ...string) bool {
	list, wanted := f.found[context]
	if !wanted || len(list) == fuzzyMatchesMax {
		return false
	}
	if at := strings.Index(strings.ToLower(name), f.text); at >= 0 {
		f.found[context] = append(list, ranked{FuzzyMatch{name, scope}, at})
	}
	return true
}

func searchFuzzy(k *ask, text string, contexts []string) FuzzyResult {
	f := &fuzzy{text: strings.ToLower(text), found: make(map[string][]ranked)}
	for _, context := range contexts {
		f.found[context] = nil
	}
	wants := func(contexts ...string) bool {
		return slices.ContainsFunc(contexts, func(c string) bool { _, ok := f.found[c]; return ok })
	}
	if wants(jobParts...) {
		for j := range jobsIn(k) {
			f.job(j)
		}
	}
	if wants(contextNodes) {
		for n := range k.state.Nodes() {
			if !f.try(contextNodes, n.Info.Name, n.Info.ID.String()) {
				break
			}
		}
	}
	if wants(contextNamespaces) {
		for n := range k.state.Namespaces() {
			f.try(contextNamespaces, n.Name)
		}
	}
	if wants(contextNodePools) {
		for p := range k.state.NodePools() {
			f.try(contextNodePools, p.Name)
		}
	}
	if wants(contextAllocs) {
		for a := range k.state.Allocations() {
			if k.InNamespace(a.Job.Namespace) && !f.try(contextAllocs, a.Name(), a.Job.Namespace, a.ID.String()) {
				break
			}
		}
	}
	result := FuzzyResult{Matches: make(map[string][]FuzzyMatch), Truncations: make(map[string]bool)}
	for context, list := range f.found {
		slices.SortFunc(list, func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID), slices.Compare(a.Scope, b.Scope))
		})
		matches := []FuzzyMatch{}
		for _, m := range list[:min(len(list), searchResultsMax)] {
			matches = append(matches, m.FuzzyMatch)
		}
		result.Matches[context], result.Truncations[context] = matches, len(list) > searchResultsMax
	}
	for _, context := range []string{contextEvals, contextPolicies} { // they have no names
		if !wants(context) {
			continue
		}
		list, more := some(searchResultsMax, identifiers(k, context, text))
		matches := []FuzzyMatch{}
		for _, id := range list {
			matches = append(matches, FuzzyMatch{ID: id})
		}
		result.Matches[context], result.Truncations[context] = matches, more
	}
	return result
}

// job looks into one job: at its name, and at those of its parts.
func (f *fuzzy) job(j *projections.Job) {
	namespace, id := j.Key.Namespace, j.Key.ID
	f.try(contextJobs, j.Spec.Job.Name, namespace, id)
	for _, g := range j.Spec.Job.TaskGroups {
		f.try(contextGroups, g.Name, namespace, id)
		for i := range g.Services {
			f.try(contextServices, g.Services[i].Name, namespace, id, g.Name)
		}
		for _, t := range g.Tasks {
			f.try(contextTasks, t.Name, namespace, id, g.Name)
			for i := range t.Services {
				f.try(contextServices, t.Services[i].Name, namespace, id, g.Name, t.Name)
			}
			for context, key := range map[string]string{contextImages: "image", contextCommands: "command", contextClasses: "class"} {
				if value, ok := t.Config[key].(string); ok {
					f.try(context, value, namespace, id, g.Name, t.Name)
				}
			}
		}
	}
}
