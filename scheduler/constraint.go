package scheduler

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/hashicorp/go-version"

	"drover/eventlog/event"
)

// Operators that are about where the job's other allocations are.
const (
	distinctHosts    = "distinct_hosts"
	distinctProperty = "distinct_property"
)

// target is one side of a constraint: a literal, or something that a node says
// of itself.
type target struct {
	kind targetKind
	key  string // the literal, or the name of the attribute or meta key
}

type targetKind uint8

const (
	targetLiteral targetKind = iota
	targetNodeID
	targetNodeName
	targetDatacenter
	targetClass
	targetPool
	targetAttribute
	targetMeta
	targetUnknown // ${...} of a form that no node resolves
)

func parseTarget(text string) target {
	name, isTarget := strings.CutPrefix(text, "${")
	if !isTarget {
		return target{targetLiteral, text}
	}
	name = strings.TrimSuffix(name, "}")
	switch name {
	case "node.unique.id":
		return target{kind: targetNodeID}
	case "node.unique.name":
		return target{kind: targetNodeName}
	case "node.datacenter":
		return target{kind: targetDatacenter}
	case "node.class":
		return target{kind: targetClass}
	case "node.pool":
		return target{kind: targetPool}
	}
	if key, ok := strings.CutPrefix(name, "attr."); ok {
		return target{targetAttribute, key}
	}
	if key, ok := strings.CutPrefix(name, "meta."); ok {
		return target{targetMeta, key}
	}
	return target{kind: targetUnknown}
}

func (t target) resolve(n *event.Node) (string, bool) {
	switch t.kind {
	case targetLiteral:
		return t.key, true
	case targetNodeID:
		return n.ID.String(), true
	case targetNodeName:
		return n.Name, true
	case targetDatacenter:
		return n.Datacenter, true
	case targetClass:
		return n.NodeClass, true
	case targetPool:
		return event.PoolOf(n.NodePool), true
	case targetAttribute:
		value, ok := n.Attributes[t.key]
		return value, ok
	case targetMeta:
		value, ok := n.Meta[t.key]
		return value, ok
	}
	return "", false
}

// unique reports whether the target looks beyond the node's computed class.
func (t target) unique() bool {
	switch t.kind {
	case targetNodeID, targetNodeName:
		return true
	case targetAttribute, targetMeta:
		return strings.HasPrefix(t.key, "unique.")
	}
	return false
}

// condition is a constraint made ready to be checked on many nodes.
type condition struct {
	text        string // as users read it in explanations
	left, right target
	// unresolved is the verdict when a side does not resolve; otherwise holds decides.
	unresolved bool
	holds      func(left, right string) bool
}

// newCondition prepares a constraint that is about the node alone. An operator
// that does not exist, like a right side that cannot be read, is met by no node.
func newCondition(c event.Constraint) condition {
	made := condition{text: constraintText(c), left: parseTarget(c.LTarget), right: parseTarget(c.RTarget)}
	switch c.Operand {
	case "=", "==", "is", "":
		made.holds = func(l, r string) bool { return l == r }
	case "!=", "not":
		made.unresolved = true
		made.holds = func(l, r string) bool { return l != r }
	case "<":
		made.holds = func(l, r string) bool { return compareLoosely(l, r) < 0 }
	case "<=":
		made.holds = func(l, r string) bool { return compareLoosely(l, r) <= 0 }
	case ">":
		made.holds = func(l, r string) bool { return compareLoosely(l, r) > 0 }
	case ">=":
		made.holds = func(l, r string) bool { return compareLoosely(l, r) >= 0 }
	case "regexp":
		made.holds = matchRegexp()
	case "version":
		made.holds = matchVersion()
	case "semver":
		made.holds = matchSemver()
	case "set_contains", "set_contains_all":
		made.holds = func(l, r string) bool {
			has := listOf(l)
			return !slices.ContainsFunc(listOf(r), func(want string) bool { return !slices.Contains(has, want) })
		}
	case "set_contains_any":
		made.holds = func(l, r string) bool {
			has := listOf(l)
			return slices.ContainsFunc(listOf(r), func(want string) bool { return slices.Contains(has, want) })
		}
	case "is_set":
		made.right = target{}
		made.holds = func(string, string) bool { return true }
	case "is_not_set":
		made.right = target{}
		made.unresolved = true
		made.holds = func(string, string) bool { return false }
	default:
		made.holds = func(string, string) bool { return false }
	}
	return made
}

func constraintText(c event.Constraint) string {
	operand := c.Operand
	if operand == "" {
		operand = "="
	}
	return strings.TrimSpace(c.LTarget + " " + operand + " " + c.RTarget)
}

func (c *condition) met(n *event.Node) bool {
	left, ok := c.left.resolve(n)
	if !ok {
		return c.unresolved
	}
	right, ok := c.right.resolve(n)
	if !ok {
		return c.unresolved
	}
	return c.holds(left, right)
}

// escapes reports whether nodes of one computed class may differ in it.
func (c *condition) escapes() bool { return c.left.unique() || c.right.unique() }

// compareLoosely compares as whole numbers if both are, else as numbers if both
// are, else as bytes.
func compareLoosely(l, r string) int {
	if a, err := strconv.ParseInt(l, 10, 64); err == nil {
		if b, err := strconv.ParseInt(r, 10, 64); err == nil {
			return cmp.Compare(a, b)
		}
	}
	if a, err := strconv.ParseFloat(l, 64); err == nil {
		if b, err := strconv.ParseFloat(r, 64); err == nil {
			return cmp.Compare(a, b)
		}
	}
	return cmp.Compare(l, r)
}

func listOf(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// lastParsed keeps what the right side was read as: it is nearly always the
// same literal for every node.
func lastParsed[T any](parse func(string) (T, bool)) func(string) (T, bool) {
	var text string
	var value T
	var ok, done bool
	return func(next string) (T, bool) {
		if !done || next != text {
			text, done = next, true
			value, ok = parse(next)
		}
		return value, ok
	}
}

func matchRegexp() func(l, r string) bool {
	parse := lastParsed(func(text string) (*regexp.Regexp, bool) {
		pattern, err := regexp.Compile(text)
		return pattern, err == nil
	})
	return func(l, r string) bool {
		pattern, ok := parse(r)
		return ok && pattern.MatchString(l)
	}
}

func matchVersion() func(l, r string) bool {
	parse := lastParsed(func(text string) (version.Constraints, bool) {
		wanted, err := version.NewConstraint(text)
		return wanted, err == nil
	})
	return func(l, r string) bool {
		wanted, ok := parse(r)
		if !ok {
			return false
		}
		have, err := version.NewVersion(l)
		return err == nil && wanted.Check(have)
	}
}

type semverBound struct {
	operator string
	version  *semver.Version
}

func matchSemver() func(l, r string) bool {
	parse := lastParsed(parseSemverBounds)
	return func(l, r string) bool {
		bounds, ok := parse(r)
		if !ok {
			return false
		}
		have, err := semver.NewVersion(l)
		if err != nil {
			return false
		}
		for _, b := range bounds {
			if !b.met(have) {
				return false
			}
		}
		return true
	}
}

func parseSemverBounds(text string) ([]semverBound, bool) {
	var bounds []semverBound
	for _, part := range listOf(text) {
		operator := "="
		for _, candidate := range []string{">=", "<=", "!=", "=", ">", "<"} {
			if rest, ok := strings.CutPrefix(part, candidate); ok {
				operator, part = candidate, strings.TrimSpace(rest)
				break
			}
		}
		v, err := semver.StrictNewVersion(part)
		if err != nil {
			return nil, false
		}
		bounds = append(bounds, semverBound{operator, v})
	}
	return bounds, true
}

func (b semverBound) met(have *semver.Version) bool {
	c := have.Compare(b.version)
	switch b.operator {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}
