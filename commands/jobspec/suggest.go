package jobspec

import (
	"fmt"
	"sort"

	"github.com/hashicorp/hcl/v2"
)

func unexpectedArgument(b *block, name string, at hcl.Range) *hcl.Diagnostic {
	return unexpected(b, "Unsupported argument", fmt.Sprintf("An argument named %q is not expected here", name), name, at)
}

func unexpectedBlock(b *block, name string, at hcl.Range) *hcl.Diagnostic {
	return unexpected(b, "Unsupported block type", fmt.Sprintf("Blocks of type %q are not expected here", name), name, at)
}

func unexpected(b *block, summary, detail, name string, at hcl.Range) *hcl.Diagnostic {
	detail += " (in " + b.name + ")."
	if hint, ok := b.hints[name]; ok {
		detail += " Hint: " + hint + "."
	} else if near := nearest(name, b); near != "" {
		detail += fmt.Sprintf(" Did you mean %q?", near)
	}
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// nearest is the known name that differs by the fewest edits, if that is at most a third of the name.
func nearest(name string, b *block) string {
	names := make([]string, 0, len(b.byHCL))
	for known := range b.byHCL {
		names = append(names, known)
	}
	sort.Strings(names)
	best, bestDistance := "", max(1, len(name)/3)+1
	if len(name) > 64 {
		return ""
	}
	for _, known := range names {
		if n := editDistance(name, known); n < bestDistance {
			best, bestDistance = known, n
		}
	}
	return best
}

// editDistance counts insertions, deletions, substitutions and swaps of neighbours.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
