package jobspec

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A reference whose root is neither var, local nor an iterator belongs to the node that will run the task
// (${attr.kernel.name}, ${NOMAD_PORT_http}). It is no error: it evaluates to its own source text, ${ and } included.
//
// references does that by giving each such reference a new root, named by that text, and remembering the text as the
// root's value. So expressions around it work on the string, as authors expect: ${lower(NOMAD_X)} is ${nomad_x}.
type references struct {
	src      source
	literals map[string]cty.Value // by new root name
}

// source is the text that ranges point into. For HCL's JSON syntax there is none: positions there count the decoded
// strings, so a reference is written anew from its parts.
type source struct {
	text []byte
	json bool
}

func (s source) of(t hcl.Traversal, r hcl.Range) string {
	if !s.json && r.CanSliceBytes(s.text) {
		return string(r.SliceBytes(s.text))
	}
	var text []byte
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			text = append(text, step.Name...)
		case hcl.TraverseAttr:
			text = append(append(text, '.'), step.Name...)
		case hcl.TraverseIndex:
			text = append(text, '[')
			if step.Key.Type() == cty.String {
				text = append(text, hclQuote(step.Key.AsString())...)
			} else {
				text = append(text, step.Key.AsBigFloat().Text('f', -1)...)
			}
			text = append(text, ']')
		}
	}
	return string(text)
}

func hclQuote(s string) string {
	quoted := []byte{'"'}
	for _, r := range s {
		switch r {
		case '"', '\\':
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, string(r)...)
	}
	return string(append(quoted, '"'))
}

// scope is the set of roots that are known while a text is read.
type scope map[string]bool

func (s scope) with(name string) scope {
	if s[name] {
		return s
	}
	wider := scope{name: true}
	for k := range s {
		wider[k] = true
	}
	return wider
}

// body rewrites everything inside a body. The content of a dynamic block knows its iterator too.
func (r *references) body(b *hclsyntax.Body, known scope) {
	for _, attr := range b.Attributes {
		r.expression(attr.Expr, known)
	}
	for _, blk := range b.Blocks {
		if blk.Type == "dynamic" && len(blk.Labels) == 1 {
			r.dynamic(blk, known)
			continue
		}
		r.body(blk.Body, known)
	}
}

func (r *references) dynamic(blk *hclsyntax.Block, known scope) {
	inside := known.with(iteratorName(blk))
	for name, attr := range blk.Body.Attributes {
		switch name {
		case "for_each":
			r.expression(attr.Expr, known)
		case "iterator": // a bare name, not a reference
		default:
			r.expression(attr.Expr, inside)
		}
	}
	for _, content := range blk.Body.Blocks {
		r.body(content.Body, inside)
	}
}

// iteratorName is the name under which a dynamic block's content sees the current element.
func iteratorName(blk *hclsyntax.Block) string {
	if attr, ok := blk.Body.Attributes["iterator"]; ok {
		if name := hcl.ExprAsKeyword(attr.Expr); name != "" {
			return name
		}
	}
	return blk.Labels[0]
}

func (r *references) expression(e hclsyntax.Expression, known scope) {
	hclsyntax.Walk(e, &referenceWalker{references: r, known: []scope{known}})
}

type referenceWalker struct {
	*references
	known []scope // innermost last: for expressions add their names

	// typeArgs are second arguments of convert(value, type): the names in them are types, not references.
	typeArgs []hclsyntax.Node
	inType   hclsyntax.Node // the one being walked
}

func (w *referenceWalker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if w.inType != nil {
		return nil
	}
	for _, t := range w.typeArgs {
		if n == t {
			w.inType = n
			return nil
		}
	}
	switch n := n.(type) {
	case hclsyntax.ChildScope:
		inside := w.known[len(w.known)-1]
		for name := range n.LocalNames {
			inside = inside.with(name)
		}
		w.known = append(w.known, inside)
	case *hclsyntax.FunctionCallExpr:
		if n.Name == "convert" && len(n.Args) == 2 {
			w.typeArgs = append(w.typeArgs, n.Args[1])
		}
	case *hclsyntax.ScopeTraversalExpr:
		if w.known[len(w.known)-1][n.Traversal.RootName()] {
			return nil
		}
		text := "${" + w.src.of(n.Traversal, n.SrcRange) + "}"
		w.literals[text] = cty.StringVal(text)
		n.Traversal = hcl.Traversal{hcl.TraverseRoot{Name: text, SrcRange: n.SrcRange}}
	}
	return nil
}

func (w *referenceWalker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if w.inType != nil {
		if n == w.inType {
			w.inType = nil
		}
		return nil
	}
	if _, ok := n.(hclsyntax.ChildScope); ok {
		w.known = w.known[:len(w.known)-1]
	}
	return nil
}
