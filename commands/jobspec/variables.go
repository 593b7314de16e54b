package jobspec

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// Prefixes of environment variables that set variables; the later wins.
var envPrefixes = []string{"NOMAD_VAR_", "DROVER_VAR_"}

// variable is one that a job file declares.
type variable struct {
	name        string
	at          hcl.Range
	typ         cty.Type // DynamicPseudoType when any type will do
	defaults    *typeexpr.Defaults
	value       cty.Value // NilVal until something sets it
	validations []*hclsyntax.Block
}

// variables evaluates the variables and locals of one file.
type variables struct {
	decoder
	functions map[string]function.Function
	declared  map[string]*variable
	flags     map[string]string // raw texts by name, for the submission
	warnings  []string
}

// literalContext knows the functions and the node's references, but no variables.
func (v *variables) context(refs *references) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: v.functions, Variables: refs.literals}
}

// declare reads variable and variables blocks.
func (v *variables) declare(body *hclsyntax.Body, refs *references) {
	ctx := v.context(refs)
	for _, blk := range body.Blocks {
		switch blk.Type {
		case "variables":
			for _, attr := range sortedAttributes(blk.Body) {
				value, diags := attr.Expr.Value(ctx)
				v.diags = append(v.diags, diags...)
				if !diags.HasErrors() {
					v.add(&variable{name: attr.Name, at: attr.NameRange, typ: value.Type(), value: value})
				}
			}
			for _, inner := range blk.Body.Blocks {
				v.fail(inner.DefRange(), "Unsupported block type", `A variables block holds names with their default values.`)
			}
		case "variable":
			if len(blk.Labels) != 1 {
				v.fail(blk.DefRange(), "Missing name for variable", "All variable blocks must have 1 label (name).")
				continue
			}
			v.declareOne(blk, ctx)
		}
	}
}

func (v *variables) declareOne(blk *hclsyntax.Block, ctx *hcl.EvalContext) {
	decl := &variable{name: blk.Labels[0], at: blk.DefRange(), typ: cty.DynamicPseudoType}
	if !hclsyntax.ValidIdentifier(decl.name) {
		v.fail(blk.LabelRanges[0], "Invalid variable name", fmt.Sprintf("%q is no name: letters, digits, _ and - are allowed, and a letter first.", decl.name))
		return
	}
	if attr := blk.Body.Attributes["type"]; attr != nil {
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(attr.Expr)
		v.diags = append(v.diags, diags...)
		if diags.HasErrors() {
			return
		}
		decl.typ, decl.defaults = typ, defaults
	}
	if attr := blk.Body.Attributes["default"]; attr != nil {
		value, diags := attr.Expr.Value(ctx)
		v.diags = append(v.diags, diags...)
		if diags.HasErrors() {
			return
		}
		if decl.typ == cty.DynamicPseudoType && !value.IsNull() {
			decl.typ = value.Type()
		}
		if !v.set(decl, value, attr.Expr.Range(), "its default") {
			return
		}
	}
	for _, attr := range sortedAttributes(blk.Body) {
		if variableBlock.byHCL[attr.Name] == nil {
			v.diags = append(v.diags, unexpectedArgument(variableBlock, attr.Name, attr.NameRange))
		}
	}
	for _, inner := range blk.Body.Blocks {
		if inner.Type != "validation" {
			v.diags = append(v.diags, unexpectedBlock(variableBlock, inner.Type, inner.DefRange()))
			continue
		}
		decl.validations = append(decl.validations, inner)
	}
	v.add(decl)
}

func (v *variables) add(decl *variable) {
	if _, dup := v.declared[decl.name]; dup {
		v.fail(decl.at, "Duplicate variable", fmt.Sprintf("A variable named %q was already declared.", decl.name))
		return
	}
	v.declared[decl.name] = decl
}

// set converts a value to a variable's type and stores it.
func (v *variables) set(decl *variable, value cty.Value, at hcl.Range, source string) bool {
	if decl.defaults != nil && !value.IsNull() {
		value = decl.defaults.Apply(value)
	}
	converted, err := convert.Convert(value, decl.typ)
	if err != nil {
		v.fail(at, "Invalid value for variable", fmt.Sprintf("The value of variable %q from %s does not fit: %s.", decl.name, source, err))
		decl.value = cty.DynamicVal // one problem is reported once
		return false
	}
	decl.value = converted
	return true
}

// setText sets a variable from raw text: as it is for a string, number or bool, else read as an expression.
func (v *variables) setText(decl *variable, text, source string) {
	at := hcl.Range{Filename: source, Start: hcl.InitialPos, End: hcl.InitialPos}
	if !utf8.ValidString(text) {
		v.fail(at, "Invalid character encoding", fmt.Sprintf("The value of variable %q is not text in UTF-8.", decl.name))
		decl.value = cty.DynamicVal
		return
	}
	switch decl.typ {
	case cty.String, cty.Number, cty.Bool:
		v.set(decl, cty.StringVal(text), at, source)
		return
	}
	tokens, _ := hclsyntax.LexExpression([]byte(text), source, hcl.InitialPos)
	if diags := checkNesting(tokens); diags != nil {
		v.diags = append(v.diags, diags...)
		return
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), source, hcl.InitialPos)
	if !diags.HasErrors() {
		var value cty.Value
		value, diags = expr.Value(nil)
		if !diags.HasErrors() {
			v.set(decl, value, expr.Range(), source)
			return
		}
	}
	v.diags = append(v.diags, diags...)
	decl.value = cty.DynamicVal
}

// assign gives values in order of precedence, the last wins: environment, files, flags.
func (v *variables) assign(cfg ParseConfig) {
	for _, prefix := range envPrefixes {
		for _, kv := range cfg.Env {
			name, text, ok := strings.Cut(kv, "=")
			name, isVar := strings.CutPrefix(name, prefix)
			if decl := v.declared[name]; ok && isVar && decl != nil {
				v.setText(decl, text, "environment variable "+prefix+name)
				v.flags[name] = text
			}
		}
	}
	for _, file := range cfg.VarFiles {
		v.assignFile(file, cfg.Strict)
	}
	for _, kv := range cfg.Vars {
		name, text, ok := strings.Cut(kv, "=")
		at := hcl.Range{Filename: "-var", Start: hcl.InitialPos, End: hcl.InitialPos}
		if !ok || name == "" {
			v.fail(at, "Invalid variable setting", fmt.Sprintf("%q is not of the form name=value.", kv))
			continue
		}
		name = strings.TrimSpace(name)
		decl := v.declared[name]
		if decl == nil {
			v.undeclared(at, name, "a flag", cfg.Strict)
			continue
		}
		v.setText(decl, text, "-var "+name)
		v.flags[name] = text
	}
}

func (v *variables) assignFile(file VarFile, strict bool) {
	body, diags := parseBody(file.Body, file.Path, varFileBlock)
	v.diags = append(v.diags, diags...)
	if diags.HasErrors() || body == nil {
		return
	}
	for _, blk := range body.Blocks {
		v.fail(blk.DefRange(), "Unsupported block type", "A variable file holds names with their values.")
	}
	refs := &references{src: source{text: file.Body, json: isJSON(file.Body)}, literals: map[string]cty.Value{}}
	for _, attr := range sortedAttributes(body) {
		decl := v.declared[attr.Name]
		if decl == nil {
			v.undeclared(attr.NameRange, attr.Name, "a variable file", strict)
			continue
		}
		refs.expression(attr.Expr, scope{})
		value, diags := attr.Expr.Value(v.context(refs))
		v.diags = append(v.diags, diags...)
		if !diags.HasErrors() && v.set(decl, value, attr.Expr.Range(), "a variable file") {
			delete(v.flags, attr.Name)
		}
	}
}

// varFileBlock marks a file of nothing but attributes.
var varFileBlock = table("variable file")

func (v *variables) undeclared(at hcl.Range, name, source string, strict bool) {
	detail := fmt.Sprintf("The variable %q is set by %s, but the job file does not declare it.", name, source)
	if strict {
		v.fail(at, "Undefined variable", detail)
		return
	}
	v.warnings = append(v.warnings, detail)
}

// values checks that every variable has a value that satisfies its validations, and returns them as one object.
func (v *variables) values(refs *references) cty.Value {
	names := make([]string, 0, len(v.declared))
	for name := range v.declared {
		names = append(names, name)
	}
	sort.Strings(names)
	all := map[string]cty.Value{}
	for _, name := range names {
		decl := v.declared[name]
		if decl.value == cty.NilVal {
			v.fail(decl.at, "Unset variable", fmt.Sprintf("The variable %q has no default: set it with -var, a variable file or the environment.", name))
			decl.value = cty.DynamicVal
		}
		all[name] = decl.value
		if !decl.value.IsKnown() {
			continue
		}
		for _, blk := range decl.validations {
			v.validate(decl, blk, refs)
		}
	}
	return cty.ObjectVal(all)
}

func (v *variables) validate(decl *variable, blk *hclsyntax.Block, refs *references) {
	ctx := v.context(refs).NewChild()
	ctx.Variables = map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{decl.name: decl.value})}
	t := v.block(written{blk, ctx}, variableBlock.byHCL["validation"].block)
	holds, ok := t["condition"].(bool)
	message, hasMessage := t["error_message"].(string)
	if ok && hasMessage && !holds {
		v.fail(decl.at, "Invalid value for variable", fmt.Sprintf("%s (variable %q)", message, decl.name))
	}
}

// locals evaluates the locals blocks. They may refer to each other in any order.
func (v *variables) locals(body *hclsyntax.Body, root *hcl.EvalContext) cty.Value {
	attrs := map[string]*hclsyntax.Attribute{}
	for _, blk := range body.Blocks {
		if blk.Type != "locals" {
			continue
		}
		for _, inner := range blk.Body.Blocks {
			v.fail(inner.DefRange(), "Unsupported block type", "A locals block holds names with their values.")
		}
		for _, attr := range sortedAttributes(blk.Body) {
			if _, dup := attrs[attr.Name]; dup {
				v.fail(attr.NameRange, "Duplicate local", fmt.Sprintf("A local named %q was already defined.", attr.Name))
				continue
			}
			attrs[attr.Name] = attr
		}
	}
	names := make([]string, 0, len(attrs))
	for name := range attrs {
		names = append(names, name)
	}
	sort.Strings(names)

	done := map[string]cty.Value{}
	visiting := map[string]bool{}
	var visit func(name string, depth int)
	visit = func(name string, depth int) {
		attr := attrs[name]
		if _, ok := done[name]; ok || attr == nil {
			return
		}
		if visiting[name] || depth > nestingMax {
			v.fail(attr.NameRange, "Cycle in locals", fmt.Sprintf("The local %q refers to itself, through others perhaps.", name))
			done[name] = cty.DynamicVal
			return
		}
		visiting[name] = true
		for _, t := range attr.Expr.Variables() {
			if t.RootName() != "local" || len(t) < 2 {
				continue
			}
			if step, ok := t[1].(hcl.TraverseAttr); ok {
				visit(step.Name, depth+1)
			}
		}
		if _, ok := done[name]; ok { // closed a cycle, reported there
			return
		}
		ctx := root.NewChild()
		ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(done)}
		value, diags := attr.Expr.Value(ctx)
		v.diags = append(v.diags, diags...)
		if diags.HasErrors() {
			value = cty.DynamicVal
		}
		done[name] = value
	}
	for _, name := range names {
		visit(name, 0)
	}
	return cty.ObjectVal(done)
}
