package jobspec

import (
	"regexp"
	"slices"
)

var forcedGetter = regexp.MustCompile(`^([A-Za-z0-9]+)(?:::|://)`)

// foreignGetter is the way of fetching that a source names, where no node knows it; "" for any other source.
func foreignGetter(source string) string {
	m := forcedGetter.FindStringSubmatch(source)
	if m == nil || slices.Contains([]string{"http", "https", "git", "ssh", "file"}, m[1]) {
		return ""
	}
	return m[1]
}
