package agentconfig

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
)

// node is a value as it was written: exactly one of the kinds is set. HCL and
// JSON look the same from here on.
type node struct {
	line    int
	literal *string // the text of a string, number or boolean
	list    []node
	fields  []field // of a block or object, in order; names may repeat
	object  bool    // it is a block or object, perhaps an empty one
	null    bool    // JSON's null
}

type field struct {
	name string
	line int
	val  node
}

// parse reads HCL or JSON. HCL is version 1 of it, which agent configuration
// files are written in: blocks may stand on one line and there are no expressions.
func parse(source string) (node, error) {
	if len(source) > fileMax {
		return node{}, fmt.Errorf("the file is longer than %d bytes", fileMax)
	}
	if strings.HasPrefix(strings.TrimSpace(source), "{") {
		return parseJSON(source)
	}
	return parseHCL(source)
}

func parseHCL(source string) (root node, err error) {
	defer func() {
		// The library panics on some malformed input instead of returning an error.
		if r := recover(); r != nil {
			root, err = node{}, fmt.Errorf("malformed configuration: %v", r)
		}
	}()
	file, err := hcl.Parse(source)
	if err != nil {
		return node{}, err
	}
	items, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return node{}, errors.New("a configuration is made of keys and blocks")
	}
	return object(items, 1, 0)
}

var errTooDeep = fmt.Errorf("blocks are nested more than %d deep", depthMax)

func object(items *ast.ObjectList, line, depth int) (node, error) {
	if depth > depthMax {
		return node{}, errTooDeep
	}
	n := node{line: line, object: true}
	for _, item := range items.Items {
		val, err := convert(item.Val, depth+1)
		if err != nil {
			return node{}, err
		}
		// A block with labels is an object in an object: `plugin "docker" {}` and
		// {"plugin": {"docker": {}}} are the same.
		keys := item.Keys
		for i := len(keys) - 1; i > 0; i-- {
			at := keys[i].Token.Pos.Line
			val = node{line: at, object: true, fields: []field{{name: keyText(keys[i]), line: at, val: val}}}
		}
		if len(keys) == 0 {
			return node{}, errors.New("a value without a key")
		}
		n.fields = append(n.fields, field{name: keyText(keys[0]), line: keys[0].Token.Pos.Line, val: val})
	}
	return n, nil
}

func keyText(k *ast.ObjectKey) string {
	if text, ok := k.Token.Value().(string); ok {
		return text
	}
	return k.Token.Text
}

func convert(from ast.Node, depth int) (node, error) {
	if depth > depthMax {
		return node{}, errTooDeep
	}
	switch v := from.(type) {
	case *ast.LiteralType:
		text := v.Token.Text
		switch v.Token.Type {
		case token.STRING, token.HEREDOC:
			value, ok := v.Token.Value().(string)
			if !ok {
				return node{}, fmt.Errorf("line %d: malformed string %s", v.Token.Pos.Line, text)
			}
			text = value
		case token.NUMBER, token.FLOAT, token.BOOL:
		default:
			return node{}, fmt.Errorf("line %d: unexpected %s", v.Token.Pos.Line, v.Token.Text)
		}
		return node{line: v.Token.Pos.Line, literal: &text}, nil
	case *ast.ObjectType:
		return object(v.List, v.Lbrace.Line, depth)
	case *ast.ListType:
		n := node{line: v.Lbrack.Line, list: []node{}}
		for _, element := range v.List {
			e, err := convert(element, depth+1)
			if err != nil {
				return node{}, err
			}
			n.list = append(n.list, e)
		}
		return n, nil
	}
	return node{}, fmt.Errorf("unexpected value of type %T", from)
}

// objects is the value as blocks: one block, or a list of them.
func (n node) objects() ([]node, bool) {
	if n.object {
		return []node{n}, true
	}
	if n.list == nil {
		return nil, false
	}
	for _, e := range n.list {
		if !e.object {
			return nil, false
		}
	}
	return n.list, true
}

// nearest is the known name closest to an unknown one, or "" when none is close
// enough to have been meant.
func nearest(name string, keys []entry) string {
	best, bestDistance := "", len(name)/2+1
	for _, e := range keys {
		if d := distance(strings.ToLower(name), e.name); d < bestDistance {
			best, bestDistance = e.name, d
		}
	}
	return best
}

// distance is the number of single-character edits between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			edit := diagonal
			if a[i-1] != b[j-1] {
				edit++
			}
			diagonal = row[j]
			row[j] = min(edit, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
