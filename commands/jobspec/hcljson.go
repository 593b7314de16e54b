package jobspec

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
)

// parseJSONSyntax reads HCL's JSON syntax. What is a block and what an attribute cannot be told from JSON alone, so the
// table guides the conversion; map-like blocks (meta, env, config) become attributes, which mean the same.
func parseJSONSyntax(src []byte, path string, top *block) (*hclsyntax.Body, hcl.Diagnostics) {
	file, diags := hcljson.Parse(src, path)
	if diags.HasErrors() {
		return nil, diags
	}
	c := &jsonConverter{}
	if top == varFileBlock {
		return c.names(file.Body), append(diags, c.diags...)
	}
	body := c.body(file.Body, top)
	return body, append(diags, c.diags...)
}

type jsonConverter struct {
	diags hcl.Diagnostics
}

func (c *jsonConverter) body(from hcl.Body, b *block) *hclsyntax.Body {
	to := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: from.MissingItemRange(), EndRange: from.MissingItemRange()}
	schema := &hcl.BodySchema{}
	for name, f := range b.byHCL {
		switch {
		case f.kind.isBlock():
			header := hcl.BlockHeaderSchema{Type: name}
			if f.block.label != "" {
				header.LabelNames = []string{"name"}
			}
			schema.Blocks = append(schema.Blocks, header)
		case b == topBlock: // locals and variables
			schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: name})
		default:
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
		}
	}
	if b != topBlock {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: "dynamic", LabelNames: []string{"type"}})
	}
	content, diags := from.Content(schema)
	c.diags = append(c.diags, diags...)
	for name, attr := range content.Attributes {
		to.Attributes[name] = &hclsyntax.Attribute{
			Name: name, Expr: c.attribute(b, name, attr.Expr), SrcRange: attr.Range, NameRange: attr.NameRange, EqualsRange: attr.NameRange,
		}
	}
	for _, blk := range content.Blocks {
		var child *hclsyntax.Body
		if f := b.byHCL[blk.Type]; f != nil && !f.kind.isBlock() {
			child = c.names(blk.Body)
		} else if blk.Type == "dynamic" {
			f := b.byHCL[blk.Labels[0]]
			if f == nil || !f.kind.isBlock() {
				c.diags = append(c.diags, unexpectedBlock(b, blk.Labels[0], blk.DefRange))
				continue
			}
			child = c.dynamic(blk.Body, f.block)
		} else {
			child = c.body(blk.Body, b.byHCL[blk.Type].block)
		}
		to.Blocks = append(to.Blocks, &hclsyntax.Block{
			Type: blk.Type, Labels: blk.Labels, Body: child,
			TypeRange: blk.TypeRange, LabelRanges: blk.LabelRanges, OpenBraceRange: blk.DefRange, CloseBraceRange: blk.DefRange,
		})
	}
	return to
}

// names converts a body that holds names with values of any type.
func (c *jsonConverter) names(from hcl.Body) *hclsyntax.Body {
	to := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: from.MissingItemRange(), EndRange: from.MissingItemRange()}
	attrs, diags := from.JustAttributes()
	c.diags = append(c.diags, diags...)
	for name, attr := range attrs {
		to.Attributes[name] = &hclsyntax.Attribute{
			Name: name, Expr: c.expression(attr.Expr), SrcRange: attr.Range, NameRange: attr.NameRange, EqualsRange: attr.NameRange,
		}
	}
	return to
}

func (c *jsonConverter) dynamic(from hcl.Body, b *block) *hclsyntax.Body {
	to := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: from.MissingItemRange(), EndRange: from.MissingItemRange()}
	content, diags := from.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "for_each"}, {Name: "iterator"}, {Name: "labels"}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "content"}},
	})
	c.diags = append(c.diags, diags...)
	for name, attr := range content.Attributes {
		expr := hclsyntax.Expression(nil)
		if name == "iterator" {
			expr = c.bare(attr.Expr)
		} else {
			expr = c.expression(attr.Expr)
		}
		to.Attributes[name] = &hclsyntax.Attribute{Name: name, Expr: expr, SrcRange: attr.Range, NameRange: attr.NameRange, EqualsRange: attr.NameRange}
	}
	for _, blk := range content.Blocks {
		to.Blocks = append(to.Blocks, &hclsyntax.Block{
			Type: blk.Type, Body: c.body(blk.Body, b),
			TypeRange: blk.TypeRange, OpenBraceRange: blk.DefRange, CloseBraceRange: blk.DefRange,
		})
	}
	return to
}

// attribute converts one attribute. A map-like block may stand in a list of one, as HCL's JSON allows for blocks.
func (c *jsonConverter) attribute(b *block, name string, e hcl.Expression) hclsyntax.Expression {
	if b == variableBlock && name == "type" {
		return c.bare(e)
	}
	if f := b.byHCL[name]; f != nil && f.kind.isMap() && b != variableBlock {
		if list, diags := hcl.ExprList(e); !diags.HasErrors() && len(list) == 1 {
			e = list[0]
		}
	}
	return c.expression(e)
}

// bare reads a JSON string as an expression rather than as a template: type constraints and iterator names.
func (c *jsonConverter) bare(e hcl.Expression) hclsyntax.Expression {
	v, _ := e.Value(nil)
	if v.IsNull() || v.Type() != cty.String {
		return c.expression(e)
	}
	text := []byte(v.AsString())
	start := e.Range().Start
	tokens, _ := hclsyntax.LexExpression(text, e.Range().Filename, start)
	if diags := checkNesting(tokens); diags != nil {
		c.diags = append(c.diags, diags...)
		return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: e.Range()}
	}
	expr, diags := hclsyntax.ParseExpression(text, e.Range().Filename, start)
	c.diags = append(c.diags, diags...)
	return expr
}

func (c *jsonConverter) expression(e hcl.Expression) hclsyntax.Expression {
	if pairs, diags := hcl.ExprMap(e); !diags.HasErrors() {
		obj := &hclsyntax.ObjectConsExpr{SrcRange: e.Range(), OpenRange: e.StartRange()}
		for _, p := range pairs {
			obj.Items = append(obj.Items, hclsyntax.ObjectConsItem{
				KeyExpr:   &hclsyntax.ObjectConsKeyExpr{Wrapped: c.expression(p.Key), ForceNonLiteral: true},
				ValueExpr: c.expression(p.Value),
			})
		}
		return obj
	}
	if list, diags := hcl.ExprList(e); !diags.HasErrors() {
		tuple := &hclsyntax.TupleConsExpr{SrcRange: e.Range(), OpenRange: e.StartRange()}
		for _, item := range list {
			tuple.Exprs = append(tuple.Exprs, c.expression(item))
		}
		return tuple
	}
	v, diags := e.Value(nil)
	c.diags = append(c.diags, diags...)
	if v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return &hclsyntax.LiteralValueExpr{Val: v, SrcRange: e.Range()}
	}
	text := []byte(v.AsString())
	start := e.Range().Start
	start.Column++ // past the quote
	start.Byte++
	if mayNestDeeply(text) {
		tokens, _ := hclsyntax.LexTemplate(text, e.Range().Filename, start)
		if diags := checkNesting(tokens); diags != nil {
			c.diags = append(c.diags, diags...)
			return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: e.Range()}
		}
	}
	expr, diags := hclsyntax.ParseTemplate(text, e.Range().Filename, start)
	c.diags = append(c.diags, diags...)
	return expr
}
