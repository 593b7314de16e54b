package executor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"drover/executor/driver"
)

// evaluateConfig evaluates a driver configuration: every text and every key of a map in it is an HCL template. A
// variable that does not exist is an error, not an empty text.
func evaluateConfig(config map[string]any, e *taskEnv) (map[string]any, error) {
	var context *hcl.EvalContext // most configurations need none
	evaluated := make(map[string]any, len(config))
	for _, option := range slices.Sorted(maps.Keys(config)) {
		src, err := json.Marshal(config[option])
		if err != nil {
			return nil, driver.Invalid{Err: fmt.Errorf("driver configuration: %s: %w", option, err)}
		}
		if !strings.Contains(string(src), "${") && !strings.Contains(string(src), "%{") {
			evaluated[option] = config[option]
			continue
		}
		if context == nil {
			context = &hcl.EvalContext{Variables: e.templateVariables(), Functions: templateFunctions}
		}
		if evaluated[option], err = evaluateOption(src, context); err != nil {
			return nil, driver.Invalid{Err: fmt.Errorf("driver configuration: %s: %w", option, err)}
		}
	}
	return evaluated, nil
}

func evaluateOption(src []byte, context *hcl.EvalContext) (evaluated any, err error) {
	expr, diags := hcljson.ParseExpression(src, "config")
	if diags.HasErrors() {
		return nil, diagError(diags, src)
	}
	value, diags := expr.Value(context)
	if diags.HasErrors() {
		return nil, diagError(diags, src)
	}
	out, err := ctyjson.Marshal(value, value.Type())
	if err != nil {
		return nil, err
	}
	return evaluated, json.Unmarshal(out, &evaluated)
}

// diagError is the first error of a list. It names what it is about by its text and not by its position: a machine made
// the text.
func diagError(diags hcl.Diagnostics, src []byte) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		about := ""
		if d.Subject != nil && d.Subject.CanSliceBytes(src) && !d.Subject.Empty() {
			about = " in " + string(d.Subject.SliceBytes(src))
		}
		return fmt.Errorf("%s%s: %s", d.Summary, about, d.Detail)
	}
	return diags
}

// templateFunctions are those that the field's job files may call on a node.
var templateFunctions = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "coalesce": stdlib.CoalesceFunc, "concat": stdlib.ConcatFunc, "hasindex": stdlib.HasIndexFunc,
	"int": stdlib.IntFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "length": stdlib.LengthFunc,
	"lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "min": stdlib.MinFunc, "reverse": stdlib.ReverseFunc,
	"strlen": stdlib.StrlenFunc, "substr": stdlib.SubstrFunc, "upper": stdlib.UpperFunc,
}

// templateVariables are the variables of a driver configuration: those of the task by name and as env["name"], and node.*,
// attr.*, meta.*, the latter two below node as well.
func (e *taskEnv) templateVariables() map[string]cty.Value {
	root := &valueTree{}
	env := make(map[string]cty.Value, len(e.vars)+len(e.named))
	for _, m := range []map[string]string{e.named, e.vars} {
		for name, value := range m {
			env[name] = cty.StringVal(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		root.put(name, env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(e.node)) {
		root.put(name, cty.StringVal(e.node[name]))
		if !strings.HasPrefix(name, "node.") {
			root.put("node."+name, cty.StringVal(e.node[name]))
		}
	}
	variables := make(map[string]cty.Value, len(root.below)+1)
	for name, t := range root.below {
		variables[name] = t.value()
	}
	variables["env"] = cty.ObjectVal(env)
	return variables
}

// valueTree nests values by the dots of their names. Where one name is the beginning of another the longer one wins.
type valueTree struct {
	leaf  cty.Value
	below map[string]*valueTree
}

func (t *valueTree) put(name string, v cty.Value) {
	for part := range strings.SplitSeq(name, ".") {
		if t.below == nil {
			t.below = make(map[string]*valueTree)
		}
		next, ok := t.below[part]
		if !ok {
			next = &valueTree{}
			t.below[part] = next
		}
		t = next
	}
	t.leaf = v
}

func (t *valueTree) value() cty.Value {
	if len(t.below) == 0 {
		return t.leaf
	}
	m := make(map[string]cty.Value, len(t.below))
	for name, below := range t.below {
		m[name] = below.value()
	}
	return cty.ObjectVal(m)
}
