package jobspec

import (
	"fmt"
	"math"
	"math/big"
	"sort"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// decoder turns bodies into trees by the tables. It collects every problem rather than stopping at the first.
type decoder struct {
	diags    hcl.Diagnostics
	expanded int       // blocks made by dynamic blocks so far
	at       hcl.Range // header of the block being decoded, for what has no place of its own
	old      []oldName // that were written
}

func (d *decoder) fail(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at})
}

func (d *decoder) failBlock(summary, detail string) { d.fail(d.at, summary, detail) }

// written is a block as it stands in a file or as a dynamic block made it, with the names that its content may use.
type written struct {
	*hclsyntax.Block
	ctx *hcl.EvalContext
}

// blocks lists a body's blocks in order, dynamic ones expanded.
func (d *decoder) blocks(body *hclsyntax.Body, ctx *hcl.EvalContext) []written {
	list := make([]written, 0, len(body.Blocks))
	for _, blk := range body.Blocks {
		if blk.Type == "dynamic" {
			list = append(list, d.expand(blk, ctx)...)
			continue
		}
		list = append(list, written{blk, ctx})
	}
	return list
}

// expand makes one block per element of a dynamic block's for_each.
func (d *decoder) expand(blk *hclsyntax.Block, ctx *hcl.EvalContext) []written {
	if d.expanded > expandedBlocksMax { // reported when it was passed
		return nil
	}
	if len(blk.Labels) != 1 {
		d.fail(blk.DefRange(), "Invalid dynamic block", `A dynamic block has one label, the type of the blocks to make.`)
		return nil
	}
	var content *hclsyntax.Block
	for _, b := range blk.Body.Blocks {
		if b.Type != "content" || content != nil {
			d.fail(b.DefRange(), "Invalid dynamic block", `A dynamic block holds exactly one block, content.`)
			return nil
		}
		content = b
	}
	if content == nil {
		d.fail(blk.DefRange(), "Invalid dynamic block", `A dynamic block needs a content block.`)
		return nil
	}
	var forEach, labels *hclsyntax.Attribute
	for _, attr := range sortedAttributes(blk.Body) {
		switch attr.Name {
		case "for_each":
			forEach = attr
		case "labels":
			labels = attr
		case "iterator":
			if hcl.ExprAsKeyword(attr.Expr) == "" {
				d.fail(attr.Expr.Range(), "Invalid iterator", "The iterator is a single name.")
				return nil
			}
		default:
			d.fail(attr.NameRange, "Unsupported argument", fmt.Sprintf("A dynamic block takes for_each, iterator and labels, not %q.", attr.Name))
			return nil
		}
	}
	if forEach == nil {
		d.fail(blk.DefRange(), "Missing required argument", `The argument "for_each" is required.`)
		return nil
	}
	each, diags := forEach.Expr.Value(ctx)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return nil
	}
	each, _ = each.Unmark()
	if each.IsNull() || !each.IsWhollyKnown() || !each.CanIterateElements() {
		d.fail(forEach.Expr.Range(), "Invalid for_each", "A list, set, map or object is needed.")
		return nil
	}
	name := iteratorName(blk)
	var list []written
	for it := each.ElementIterator(); it.Next(); {
		if d.expanded++; d.expanded > expandedBlocksMax {
			d.fail(blk.DefRange(), "Too many blocks", fmt.Sprintf("Dynamic blocks may make at most %d blocks.", expandedBlocksMax))
			return nil
		}
		key, value := it.Element()
		if each.Type().IsSetType() {
			key = value
		}
		inner := ctx.NewChild()
		inner.Variables = map[string]cty.Value{name: cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})}
		made := &hclsyntax.Block{
			Type: blk.Labels[0], Body: content.Body, TypeRange: blk.LabelRanges[0],
			OpenBraceRange: content.OpenBraceRange, CloseBraceRange: content.CloseBraceRange,
		}
		if labels != nil {
			v, diags := labels.Expr.Value(inner)
			d.diags = append(d.diags, diags...)
			if diags.HasErrors() {
				return nil
			}
			texts, err := stringList(v)
			if err != nil {
				d.fail(labels.Expr.Range(), "Invalid labels", "Labels are a list of strings: "+err.Error()+".")
				return nil
			}
			for _, text := range texts {
				made.Labels = append(made.Labels, text)
				made.LabelRanges = append(made.LabelRanges, labels.Expr.Range())
			}
		}
		list = append(list, written{made, inner})
	}
	return list
}

func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	list := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, attr := range body.Attributes {
		list = append(list, attr)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].NameRange.Start.Byte < list[j].NameRange.Start.Byte })
	return list
}

// block decodes one block by its table.
func (d *decoder) block(w written, b *block) tree {
	t := tree{}
	switch {
	case b.label != "" && len(w.Labels) == 1:
		t[b.label] = w.Labels[0]
	case b.label != "" && len(w.Labels) == 0:
		d.fail(w.DefRange(), "Missing name for "+b.name, fmt.Sprintf("All %s blocks must have 1 label (name).", b.name))
	case len(w.Labels) > 0:
		detail := fmt.Sprintf("No labels are expected for %s blocks.", b.name)
		if b.label != "" {
			detail = fmt.Sprintf("Only 1 label (name) is expected for %s blocks.", b.name)
		}
		d.fail(w.LabelRanges[len(w.LabelRanges)-1], "Extraneous label for "+b.name, detail)
	}
	for _, attr := range sortedAttributes(w.Body) {
		f := b.byHCL[attr.Name]
		if f == nil {
			d.diags = append(d.diags, unexpectedArgument(b, attr.Name, attr.NameRange))
			continue
		}
		if f.kind.isBlock() {
			d.fail(attr.NameRange, "Unsupported argument",
				fmt.Sprintf("An argument named %q is not expected here. Did you mean to define a block of type %q?", attr.Name, attr.Name))
			continue
		}
		v, diags := attr.Expr.Value(w.ctx)
		d.diags = append(d.diags, diags...)
		if diags.HasErrors() {
			continue
		}
		value, err := decodeValue(f, v)
		if err != nil {
			d.fail(attr.Expr.Range(), "Incorrect attribute value type",
				fmt.Sprintf("Inappropriate value for attribute %q: %s.", attr.Name, err))
			continue
		}
		switch {
		case f.old != "":
			d.old = append(d.old, oldName{attr.NameRange, fmt.Sprintf("%s in %s %s", attr.Name, b.name, f.old)})
		case value != nil:
			t[f.json] = value
		}
	}
	for _, inner := range d.blocks(w.Body, w.ctx) {
		d.inner(w, inner, b, t)
	}
	for i := range b.fields {
		f := &b.fields[i]
		if _, ok := t[f.json]; f.required && !ok && w.Body.Attributes[f.hcl] == nil {
			d.fail(w.DefRange(), "Missing required argument", fmt.Sprintf("The argument %q is required, but no definition was found.", f.hcl))
		}
	}
	if b.after != nil {
		outer := d.at
		d.at = w.DefRange()
		b.after(d, t)
		d.at = outer
	}
	return t
}

// inner decodes a block inside another into the outer one's tree.
func (d *decoder) inner(outer, w written, b *block, t tree) {
	f := b.byHCL[w.Type]
	switch {
	case f == nil:
		d.diags = append(d.diags, unexpectedBlock(b, w.Type, w.DefRange()))
		return
	case !f.kind.isBlock() && !f.kind.isMap():
		d.fail(w.DefRange(), "Unsupported block type",
			fmt.Sprintf("Blocks of type %q are not expected here. Did you mean to define argument %q? If so, use the equals sign to assign it a value.", w.Type, w.Type))
		return
	}
	_, have := t[f.json]
	switch f.kind {
	case kindBlocks:
		list, _ := t[f.json].([]any)
		t[f.json] = append(list, d.block(w, f.block))
		return
	case kindBlockMap:
		m, _ := t[f.json].(tree)
		if m == nil {
			m = tree{}
			t[f.json] = m
		}
		v := d.block(w, f.block)
		label, _ := v[f.block.label].(string)
		if _, dup := m[label]; dup {
			d.fail(w.DefRange(), "Duplicate "+w.Type+" block", fmt.Sprintf("A %s named %q was already defined.", w.Type, label))
			return
		}
		m[label] = v
		return
	}
	if have || outer.Body.Attributes[w.Type] != nil {
		d.fail(w.DefRange(), "Duplicate "+w.Type+" block", fmt.Sprintf("Only one %q is allowed here, as a block or as an attribute.", w.Type))
		return
	}
	if f.kind == kindBlock {
		t[f.json] = d.block(w, f.block)
		return
	}
	number := plainNumber
	if f.kind != kindOpaque {
		number = numberText
	}
	content := d.opaque(w, number)
	if f.kind == kindOpaque {
		t[f.json] = content
		return
	}
	v, err := stringMapOf(f.kind, content)
	if err != nil {
		d.fail(w.DefRange(), "Incorrect attribute value type", fmt.Sprintf("Inappropriate value for %q: %s.", w.Type, err))
		return
	}
	t[f.json] = v
}

// opaque decodes a block whose content no table knows: attributes by name, and a list per type of nested block.
func (d *decoder) opaque(w written, number func(*big.Float) (any, error)) map[string]any {
	m := map[string]any{}
	for _, attr := range sortedAttributes(w.Body) {
		v, diags := attr.Expr.Value(w.ctx)
		d.diags = append(d.diags, diags...)
		if diags.HasErrors() {
			continue
		}
		value, err := plain(v, number)
		if err != nil {
			d.fail(attr.Expr.Range(), "Incorrect attribute value type", fmt.Sprintf("Inappropriate value for attribute %q: %s.", attr.Name, err))
			continue
		}
		m[attr.Name] = value
	}
	for _, inner := range d.blocks(w.Body, w.ctx) {
		value := d.opaque(inner, number)
		for i := len(inner.Labels) - 1; i >= 0; i-- {
			value = map[string]any{inner.Labels[i]: []any{value}}
		}
		have, ok := m[inner.Type]
		list, isList := have.([]any)
		if ok && !isList {
			d.fail(inner.DefRange(), "Duplicate "+inner.Type, fmt.Sprintf("%q is given both as an attribute and as a block.", inner.Type))
			continue
		}
		m[inner.Type] = append(list, value)
	}
	return m
}

// decodeValue brings a value into a field's type. It returns nil for null: a null attribute is an absent one.
func decodeValue(f *field, v cty.Value) (any, error) {
	v, _ = v.Unmark()
	if !v.IsWhollyKnown() {
		return nil, fmt.Errorf("the value is not known")
	}
	if v.IsNull() {
		if f.kind == kindDuration {
			return nil, fmt.Errorf("a duration is required, not null")
		}
		return nil, nil
	}
	switch f.kind {
	case kindString:
		v, err := convert.Convert(v, cty.String)
		if err != nil {
			return nil, err
		}
		return v.AsString(), nil
	case kindBool:
		v, err := convert.Convert(v, cty.Bool)
		if err != nil {
			return nil, err
		}
		return v.True(), nil
	case kindInt:
		return integer(v, f.lo, f.hi)
	case kindDuration:
		return duration(v)
	case kindStrings:
		texts, err := stringList(v)
		if err != nil {
			return nil, err
		}
		list := make([]any, len(texts))
		for i := range texts {
			list[i] = texts[i]
		}
		return list, nil
	case kindInts:
		if !v.CanIterateElements() || v.Type().IsMapType() || v.Type().IsObjectType() {
			return nil, fmt.Errorf("a list of numbers is required")
		}
		list := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			n, err := integer(e, f.lo, f.hi)
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		return list, nil
	case kindStringMap, kindStringsMap, kindOpaque:
		number := plainNumber
		if f.kind != kindOpaque {
			number = numberText
		}
		p, err := plain(v, number)
		if err != nil {
			return nil, err
		}
		m, ok := p.(map[string]any)
		if list, isList := p.([]any); isList && len(list) == 1 {
			m, ok = list[0].(map[string]any)
		}
		if !ok {
			return nil, fmt.Errorf("a map is required")
		}
		if f.kind == kindOpaque {
			return m, nil
		}
		return stringMapOf(f.kind, m)
	}
	return nil, fmt.Errorf("no value can be given here")
}

func integer(v cty.Value, lo, hi int64) (int64, error) {
	v, err := convert.Convert(v, cty.Number)
	if err != nil {
		return 0, err
	}
	if v.IsNull() {
		return 0, fmt.Errorf("a number is required, not null")
	}
	n, acc := v.AsBigFloat().Int64()
	switch {
	case acc != big.Exact && v.AsBigFloat().IsInt() || acc == big.Exact && (n < lo || n > hi):
		return 0, fmt.Errorf("a number from %d to %d is required", lo, hi)
	case acc != big.Exact:
		return 0, fmt.Errorf("a whole number is required")
	}
	return n, nil
}

// duration reads "1h30m", or a number of nanoseconds.
func duration(v cty.Value) (time.Duration, error) {
	if v.Type() == cty.String {
		d, err := time.ParseDuration(v.AsString())
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as \"30s\" or \"1h30m\"", v.AsString())
		}
		return d, nil
	}
	n, err := integer(v, math.MinInt64, math.MaxInt64)
	if err != nil {
		return 0, fmt.Errorf("a duration such as \"30s\", or a number of nanoseconds, is required")
	}
	return time.Duration(n), nil
}

func stringList(v cty.Value) ([]string, error) {
	if v.IsNull() || !v.CanIterateElements() || v.Type().IsMapType() || v.Type().IsObjectType() {
		return nil, fmt.Errorf("a list of strings is required")
	}
	var list []string
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		s, err := convert.Convert(e, cty.String)
		if err != nil || s.IsNull() {
			return nil, fmt.Errorf("a list of strings is required")
		}
		list = append(list, s.AsString())
	}
	return list, nil
}

// plain turns a value into what JSON could hold. What becomes of a number is the caller's choice.
func plain(v cty.Value, number func(*big.Float) (any, error)) (any, error) {
	v, _ = v.Unmark()
	switch t := v.Type(); {
	case !v.IsKnown():
		return nil, fmt.Errorf("the value is not known")
	case v.IsNull():
		return nil, nil
	case t == cty.String:
		return v.AsString(), nil
	case t == cty.Bool:
		return v.True(), nil
	case t == cty.Number:
		return number(v.AsBigFloat())
	case t.IsObjectType() || t.IsMapType():
		m := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			key, e := it.Element()
			p, err := plain(e, number)
			if err != nil {
				return nil, err
			}
			m[key.AsString()] = p
		}
		return m, nil
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		list := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			p, err := plain(e, number)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return list, nil
	}
	return nil, fmt.Errorf("a string, number, bool, list or map is required, not %s", v.Type().FriendlyName())
}

// plainNumber gives a number of opaque content its one form from every source: an int64 if it is one, else a float64.
func plainNumber(f *big.Float) (any, error) {
	if n, acc := f.Int64(); acc == big.Exact {
		return n, nil
	}
	x, _ := f.Float64()
	if math.IsInf(x, 0) {
		return nil, fmt.Errorf("the number is too large")
	}
	return canonicalFloat(x), nil
}

// canonicalFloat is plainNumber for what is known no more exactly than as a float64.
func canonicalFloat(x float64) any {
	if x == math.Trunc(x) && x >= math.MinInt64 && x < -math.MinInt64 {
		return int64(x)
	}
	return x
}

// numberText writes a number out where strings are wanted, every digit of it. Numbers beyond a float64's range, which
// would have thousands of digits, are refused.
func numberText(f *big.Float) (any, error) {
	switch x, _ := f.Float64(); {
	case math.IsInf(x, 0):
		return nil, fmt.Errorf("the number is too large")
	case x == 0 && f.Sign() != 0:
		return nil, fmt.Errorf("the number is too small")
	}
	return f.Text('f', -1), nil
}

// stringMapOf checks that a decoded map holds strings, or lists of strings, only.
func stringMapOf(k kind, m map[string]any) (map[string]any, error) {
	for key, v := range m {
		if k == kindStringsMap {
			list, ok := v.([]any)
			if !ok {
				return nil, fmt.Errorf("%q: a list of strings is required", key)
			}
			for i := range list {
				s, ok := scalarString(list[i])
				if !ok {
					return nil, fmt.Errorf("%q: a list of strings is required", key)
				}
				list[i] = s
			}
			continue
		}
		s, ok := scalarString(v)
		if !ok {
			return nil, fmt.Errorf("%q: a string is required", key)
		}
		m[key] = s
	}
	return m, nil
}

func scalarString(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}
