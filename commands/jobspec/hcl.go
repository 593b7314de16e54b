package jobspec

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// parseBody reads a text in HCL's native or JSON syntax into the native syntax tree.
func parseBody(src []byte, path string, top *block) (*hclsyntax.Body, hcl.Diagnostics) {
	if len(src) > sourceBytesMax {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Text too large",
			Detail:  fmt.Sprintf("A job file may have at most %d bytes, this one has %d.", sourceBytesMax, len(src)),
			Subject: &hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos},
		}}
	}
	if !utf8.Valid(src) {
		valid := len(src)
		for i, r := range string(src) {
			if _, size := utf8.DecodeRune(src[i:]); r == utf8.RuneError && size == 1 {
				valid = i
				break
			}
		}
		at := hcl.Pos{Line: bytes.Count(src[:valid], []byte("\n")) + 1, Column: valid - bytes.LastIndexByte(src[:valid], '\n'), Byte: valid}
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Invalid character encoding", Detail: "A job file is text in UTF-8.",
			Subject: &hcl.Range{Filename: path, Start: at, End: at},
		}}
	}
	if isJSON(src) {
		if diags := checkJSONNesting(src, path); diags != nil {
			return nil, diags
		}
		return parseJSONSyntax(src, path, top)
	}
	if mayNestDeeply(src) {
		tokens, _ := hclsyntax.LexConfig(src, path, hcl.InitialPos)
		if diags := checkNesting(tokens); diags != nil {
			return nil, diags
		}
	}
	file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if file == nil || file.Body == nil {
		return nil, diags
	}
	return file.Body.(*hclsyntax.Body), diags
}

// isJSON tells HCL's JSON syntax from the native one by the first byte that is not blank.
func isJSON(src []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(src, " \t\r\n"), []byte("{"))
}

// mayNestDeeply spares texts with few brackets and operators the closer look, which costs as much as reading them.
func mayNestDeeply(src []byte) bool {
	brackets, operators := 0, 0
	for _, c := range src {
		switch c {
		case '[', '(', '{':
			brackets++
		case '*', '/', '+', '-', '%', '=', '<', '>', '&', '|', '!', '?':
			operators++
		}
	}
	return brackets > nestingMax || operators > operatorsMax
}

// checkNesting refuses texts whose evaluation would need a deep stack.
func checkNesting(tokens hclsyntax.Tokens) hcl.Diagnostics {
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp:
			depth++
		case hclsyntax.TokenTemplateControl:
			depth++
			operators++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenAnd, hclsyntax.TokenOr,
			hclsyntax.TokenBang, hclsyntax.TokenQuestion:
			operators++
		}
		if depth > nestingMax || operators > operatorsMax {
			return hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Text too deeply nested",
				Detail:  fmt.Sprintf("At most %d levels of nesting and %d operators are allowed.", nestingMax, operatorsMax),
				Subject: &t.Range,
			}}
		}
	}
	return nil
}

// checkJSONNesting does the same for JSON, where only brackets outside of strings nest.
func checkJSONNesting(src []byte, path string) hcl.Diagnostics {
	depth, inString := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth > nestingMax {
			return hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Text too deeply nested",
				Detail:  fmt.Sprintf("At most %d levels of nesting are allowed.", nestingMax),
				Subject: &hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos},
			}}
		}
	}
	return nil
}

// Tables of what may stand outside the job block.
var (
	variableBlock = table("variable",
		field{hcl: "type", json: "type", kind: kindOpaque},
		field{hcl: "default", json: "default", kind: kindOpaque},
		str("description", "description"),
		flag("sensitive", "sensitive"),
		many("validation", "validation", table("validation",
			flag("condition", "condition").need(),
			str("error_message", "error_message").need(),
		)),
	).labelled("name")

	topBlock = (&block{name: "job file", fields: []field{
		many("job", "job", jobBlock),
		many("variable", "variable", variableBlock),
		{hcl: "variables", json: "variables", kind: kindOpaque},
		{hcl: "locals", json: "locals", kind: kindOpaque},
	}}).seal().hint(
		"group", "it belongs in the job block",
		"task", "it belongs in a group",
	)
)
