package scheduler

import (
	"testing"

	"drover/eventlog/event"
)

func TestConstraintOperators(t *testing.T) {
	node := newNode("node-a", 4000, 8192, func(n *event.Node) {
		n.NodeClass, n.NodePool, n.Datacenter = "fast", "", "eu-1"
		n.Attributes = map[string]string{
			"cpu.arch": "amd64", "cpu.numcores": "8", "load": "0.75", "empty": "", "words": "a, b ,c",
			"v.plain": "1.2.3", "v.pre": "1.3.0-rc1", "v.build": "v1.2.3+meta", "v.short": "4.15", "v.bad": "latest",
			"unique.hostname": "box", "pattern": "^amd",
		}
		n.Meta = map[string]string{"rack": "r1", "cores": "8"}
	})
	id := node.ID.String()
	tests := []struct {
		left, operand, right string
		want                 bool
	}{
		// Equality, and what does not resolve.
		{"${attr.cpu.arch}", "=", "amd64", true},
		{"${attr.cpu.arch}", "==", "amd64", true},
		{"${attr.cpu.arch}", "is", "amd64", true},
		{"${attr.cpu.arch}", "", "amd64", true},
		{"${attr.cpu.arch}", "=", "arm64", false},
		{"${attr.none}", "=", "", false},
		{"${attr.empty}", "=", "", true},
		{"${attr.cpu.arch}", "!=", "arm64", true},
		{"${attr.cpu.arch}", "not", "amd64", false},
		{"${attr.none}", "!=", "amd64", true},
		{"${attr.none}", "not", "${attr.none}", true},
		{"linux", "=", "linux", true},

		// Every target, on both sides.
		{"${node.unique.id}", "=", id, true},
		{"${node.unique.name}", "=", "node-a", true},
		{"${node.datacenter}", "=", "eu-1", true},
		{"${node.class}", "=", "fast", true},
		{"${node.pool}", "=", "default", true},
		{"${meta.rack}", "=", "r1", true},
		{"${attr.cpu.numcores}", "=", "${meta.cores}", true},
		{"8", "=", "${meta.cores}", true},
		{"8", "=", "${meta.none}", false},
		{"${env[\"X\"]}", "=", "x", false},
		{"${NOMAD_DC}", "=", "eu-1", false},
		{"${NOMAD_DC}", "!=", "eu-1", true},
		{"x${meta.rack}", "=", "xr1", false},

		// Order: as whole numbers, else as numbers, else as bytes.
		{"${attr.cpu.numcores}", ">", "10", false},
		{"${attr.cpu.numcores}", "<", "10", true},
		{"${attr.cpu.numcores}", "<=", "8", true},
		{"${attr.cpu.numcores}", ">=", "8", true},
		{"${attr.cpu.numcores}", ">", "7.5", true},
		{"${attr.load}", "<", "1", true},
		{"${attr.load}", ">=", "0.750", true},
		{"${attr.cpu.arch}", "<", "arm64", true},
		{"${attr.cpu.arch}", ">", "10", true},
		{"10", "<", "9", false},
		{"10a", "<", "9", true},
		{"9007199254740993", ">", "9007199254740992", true},
		{"${attr.none}", "<", "1", false},
		{"${attr.none}", ">=", "1", false},

		// Regular expressions search, unanchored.
		{"${attr.cpu.arch}", "regexp", "d6", true},
		{"${attr.cpu.arch}", "regexp", "^d6", false},
		{"${attr.cpu.arch}", "regexp", "^(amd|arm)64$", true},
		{"${attr.cpu.arch}", "regexp", "${attr.pattern}", true},
		{"${attr.cpu.arch}", "regexp", "(", false},
		{"${attr.none}", "regexp", ".*", false},

		// Versions, read leniently; a prerelease only where it is named.
		{"${attr.v.plain}", "version", ">= 1.0, < 2.0", true},
		{"${attr.v.plain}", "version", ">= 1.0, < 1.2", false},
		{"${attr.v.plain}", "version", "= 1.2.3", true},
		{"${attr.v.plain}", "version", "!= 1.2.3", false},
		{"${attr.v.plain}", "version", "~> 1.2", true},
		{"${attr.v.plain}", "version", "~> 1.1.0", false},
		{"${attr.v.build}", "version", "> 1.2", true},
		{"${attr.v.short}", "version", ">= 4.14", true},
		{"${attr.v.pre}", "version", ">= 1.2.0", false},
		{"${attr.v.pre}", "version", ">= 1.3.0-beta1", true},
		{"${attr.v.pre}", "version", ">= 1.2.0-beta1", false},
		{"${attr.v.bad}", "version", ">= 0", false},
		{"${attr.v.plain}", "version", "newest", false},
		{"${attr.none}", "version", ">= 0", false},

		// Semantic versions, ordered by their own rules.
		{"${attr.v.plain}", "semver", ">= 1.2.0", true},
		{"${attr.v.plain}", "semver", ">= 1.0.0, < 1.2.3", false},
		{"${attr.v.plain}", "semver", "1.2.3", true},
		{"${attr.v.plain}", "semver", "= 1.2.3", true},
		{"${attr.v.plain}", "semver", "!= 1.2.3", false},
		{"${attr.v.plain}", "semver", "<= 1.2.3", true},
		{"${attr.v.pre}", "semver", ">= 1.2.0", true},
		{"${attr.v.pre}", "semver", "< 1.3.0", true},
		{"${attr.v.pre}", "semver", "> 1.3.0-beta", true},
		{"${attr.v.plain}", "semver", "~> 1.2.0", false},
		{"${attr.v.plain}", "semver", ">= 1.2", false},
		{"${attr.v.bad}", "semver", ">= 0.0.1", false},

		// Sets, with blanks around their members.
		{"${attr.words}", "set_contains", "a,b", true},
		{"${attr.words}", "set_contains", " c , a ", true},
		{"${attr.words}", "set_contains", "a,d", false},
		{"${attr.words}", "set_contains_all", "a,b,c", true},
		{"${attr.words}", "set_contains_any", "x,c", true},
		{"${attr.words}", "set_contains_any", "x,y", false},
		{"${attr.none}", "set_contains", "a", false},
		{"${attr.none}", "set_contains_any", "a", false},

		// Presence; there is no right side.
		{"${attr.cpu.arch}", "is_set", "", true},
		{"${attr.empty}", "is_set", "", true},
		{"${attr.none}", "is_set", "", false},
		{"${attr.none}", "is_not_set", "", true},
		{"${attr.cpu.arch}", "is_not_set", "", false},
		{"${attr.none}", "is_not_set", "${attr.none}", true},

		{"${attr.cpu.arch}", "resembles", "amd64", false},
	}
	for _, test := range tests {
		c := newCondition(event.Constraint{LTarget: test.left, Operand: test.operand, RTarget: test.right})
		for range 2 { // the second time with what was parsed before
			if got := c.met(node); got != test.want {
				t.Errorf("%s: %v, want %v", c.text, got, test.want)
			}
		}
	}
}

func TestConstraintsBeyondTheClass(t *testing.T) {
	for left, want := range map[string]bool{
		"${node.unique.id}": true, "${node.unique.name}": true, "${attr.unique.hostname}": true, "${meta.unique.x}": true,
		"${node.class}": false, "${attr.cpu.arch}": false, "${meta.rack}": false, "literal": false,
	} {
		c := newCondition(event.Constraint{LTarget: left, Operand: "=", RTarget: "x"})
		if c.escapes() != want {
			t.Errorf("%s escapes its class: %v, want %v", left, c.escapes(), want)
		}
		c = newCondition(event.Constraint{LTarget: "x", Operand: "=", RTarget: left})
		if c.escapes() != want {
			t.Errorf("x = %s escapes its class: %v, want %v", left, c.escapes(), want)
		}
	}
}

func TestConstraintText(t *testing.T) {
	for _, test := range []struct {
		c    event.Constraint
		want string
	}{
		{event.Constraint{LTarget: "${attr.x}", Operand: "version", RTarget: ">= 1"}, "${attr.x} version >= 1"},
		{event.Constraint{LTarget: "${attr.x}", RTarget: "y"}, "${attr.x} = y"},
		{event.Constraint{LTarget: "${attr.x}", Operand: "is_set"}, "${attr.x} is_set"},
	} {
		if got := constraintText(test.c); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestDatacenterPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"dc1", "dc1", true}, {"dc1", "dc10", false}, {"*", "dc1", true}, {"*", "", true},
		{"eu-*", "eu-1", true}, {"eu-*", "us-1", false}, {"*-1", "eu-1", true}, {"*-1", "eu-11", false},
		{"e*u*1", "eXuY1", true}, {"e*u*1", "eX1", false}, {"a*a", "a", false}, {"a**b", "ab", true}, {"", "", true}, {"", "x", false},
	} {
		if got := event.MatchGlob(test.pattern, test.name); got != test.want {
			t.Errorf("%q matches %q: %v, want %v", test.pattern, test.name, got, test.want)
		}
	}
}
