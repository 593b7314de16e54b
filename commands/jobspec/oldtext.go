package jobspec

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Job files of 2015 to 2019 were written in HCL1, which is laxer than HCL2 in how a text is laid out. A file that HCL2
// refuses is brought into HCL2's form here and read once more; a file that HCL2 takes never gets here, so none changes
// its meaning. Places in messages stay those of the author's text.
//
// The edits only move, quote and escape what is there. Old names and values are another matter: see oldforms.go.

// edit replaces del bytes at an offset by a text.
type edit struct {
	at, del int
	ins     string
}

// modernText is an old text in HCL2's form.
type modernText struct {
	old, text []byte
	edits     []edit // by offset
	warnings  []string
}

// modernizeText returns nil when there is nothing to change or the text is no HCL1 either.
func modernizeText(src []byte, path string) *modernText {
	if isJSON(src) || len(src) > sourceBytesMax {
		return nil
	}
	o := &oldText{src: src, notes: map[string]*oldNote{}}
	if !o.scan() {
		return nil
	}
	if _, ok := o.body(topBlock, 0, true); !ok || len(o.edits) == 0 {
		return nil
	}
	slices.SortStableFunc(o.edits, func(a, b edit) int { return cmp.Or(a.at-b.at, a.del-b.del) })
	m := &modernText{old: src, edits: o.edits}
	var out bytes.Buffer
	pos := 0
	for _, e := range m.edits {
		if e.at < pos { // two edits of one place: not a text that anybody meant
			return nil
		}
		out.Write(src[pos:e.at])
		out.WriteString(e.ins)
		pos = e.at + e.del
	}
	out.Write(src[pos:])
	m.text = out.Bytes()
	for _, about := range o.order {
		m.warnings = append(m.warnings, m.warning(path, about, o.notes[about]))
	}
	return m
}

// newOffset is where a place of the old text is in the new one, in front of what was put in there.
func (m *modernText) newOffset(old int) int {
	shift := 0
	for _, e := range m.edits {
		if e.at >= old {
			break
		}
		shift += len(e.ins) - e.del
	}
	return min(max(old+shift, 0), len(m.text))
}

func (m *modernText) oldOffset(at int) int {
	shift := 0
	for _, e := range m.edits {
		start := e.at + shift // where the edit is in the new text
		if at < start {
			break
		}
		if at < start+len(e.ins) {
			return e.at
		}
		shift += len(e.ins) - e.del
	}
	return min(max(at-shift, 0), len(m.old))
}

func (m *modernText) oldPos(at int) hcl.Pos {
	offset := m.oldOffset(at)
	before := m.old[:offset]
	return hcl.Pos{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1,
		Byte:   offset,
	}
}

// place brings ranges of the new text back to where the author wrote what they are about.
func (m *modernText) place(diags hcl.Diagnostics, path string) {
	for _, d := range diags {
		if d.Subject == nil || d.Subject.Filename != path {
			continue
		}
		r := *d.Subject
		r.Start, r.End = m.oldPos(r.Start.Byte), m.oldPos(r.End.Byte)
		d.Subject = &r
	}
}

// oldName is an old name, or an old form of a value, that a file uses.
type oldName struct {
	at   hcl.Range
	text string
}

// oldNames words warnings about old names. m is the old text, nil when it was read as it is.
func (m *modernText) oldNames(names []oldName) []string {
	list := make([]string, len(names))
	for i, n := range names {
		line := n.at.Start.Line
		if m != nil {
			line = m.oldPos(n.at.Start.Byte).Line
		}
		list[i] = fmt.Sprintf("%s:%d: old syntax: %s", n.at.Filename, line, n.text)
	}
	return list
}

// modernLinesMax bounds the modern form that a warning shows, in lines: it is an example, not the file.
const modernLinesMax = 8

func (m *modernText) warning(path, about string, n *oldNote) string {
	line := bytes.Count(m.old[:n.start], []byte("\n")) + 1
	text := fmt.Sprintf("%s:%d: old syntax: %s", path, line, about)
	if n.more > 0 {
		text += fmt.Sprintf(" (and %d more)", n.more)
	}
	from := m.newOffset(n.start)
	part := bytes.TrimSpace(m.text[from:max(from, m.newOffset(n.end))])
	if n.raw {
		return text + "; modern form: " + string(part)
	}
	modern := strings.TrimSpace(string(hclwrite.Format(part)))
	lines := strings.Split(modern, "\n")
	if len(lines) > modernLinesMax {
		return text
	}
	return text + "; modern form:\n    " + strings.Join(lines, "\n    ")
}

// oldNote is the first place of a kind of old syntax.
type oldNote struct {
	start, end, more int
	raw              bool // a part of a text, not of the language
}

type oldTokenKind uint8

const (
	oldEnd oldTokenKind = iota
	oldNewline
	oldWord   // name or number
	oldString // with its quotes
	oldHeredoc
	oldPunct // one byte
)

type oldToken struct {
	kind       oldTokenKind
	start, end int
}

// oldText reads a text by HCL1's rules, as far as the two languages differ.
type oldText struct {
	src    []byte
	tokens []oldToken
	i      int
	depth  int
	config int // levels of driver configuration around: it is a template once more on the node
	edits  []edit
	notes  map[string]*oldNote
	order  []string
}

func (o *oldText) edit(at, del int, ins string) { o.edits = append(o.edits, edit{at, del, ins}) }

func (o *oldText) note(about string, start, end int) {
	if n := o.notes[about]; n != nil {
		n.more++
		return
	}
	o.notes[about] = &oldNote{start: start, end: end}
	o.order = append(o.order, about)
}

func isOldWord(c byte) bool {
	return c == '_' || c == '-' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// scan cuts the text into tokens; comments are left out. It fails at a string that does not end.
func (o *oldText) scan() bool {
	src := o.src
	for pos := 0; pos < len(src); {
		start := pos
		kind := oldPunct
		switch c := src[pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			pos++
			continue
		case c == '\n':
			pos, kind = pos+1, oldNewline
		case c == '#' || bytes.HasPrefix(src[pos:], []byte("//")):
			for pos < len(src) && src[pos] != '\n' {
				pos++
			}
			continue
		case bytes.HasPrefix(src[pos:], []byte("/*")):
			end := bytes.Index(src[pos:], []byte("*/"))
			if end < 0 {
				return false
			}
			pos += end + 2
			continue
		case c == '"':
			end := scanQuoted(src, pos)
			if end < 0 {
				return false
			}
			pos, kind = end, oldString
		case c == '<' && heredocEnd(src, pos) > 0:
			pos, kind = heredocEnd(src, pos), oldHeredoc
		case isOldWord(c) && c != '-' && c != '.':
			for pos < len(src) && isOldWord(src[pos]) {
				pos++
			}
			kind = oldWord
		default:
			pos++
		}
		o.tokens = append(o.tokens, oldToken{kind, start, pos})
	}
	o.tokens = append(o.tokens, oldToken{oldEnd, len(src), len(src)})
	return true
}

// scanQuoted finds the end of a quoted string, -1 when it has none on its line.
func scanQuoted(src []byte, pos int) int {
	for pos++; pos < len(src); pos++ {
		switch src[pos] {
		case '\\':
			pos++
		case '"':
			return pos + 1
		case '\n':
			return -1
		case '$', '%':
			if pos+1 < len(src) && src[pos+1] == '{' && (pos == 0 || src[pos-1] != src[pos]) {
				if end := closingBrace(src, pos+2); end > 0 {
					pos = end
				}
			}
		}
	}
	return -1
}

// closingBrace finds the brace that ends what begins at pos, on the same line; -1 when there is none.
func closingBrace(src []byte, pos int) int {
	depth := 0
	for quoted := false; pos < len(src) && src[pos] != '\n'; pos++ {
		switch c := src[pos]; {
		case c == '\\':
			pos++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return pos
			}
			depth--
		}
	}
	return -1
}

// heredocEnd finds the end of the heredoc that begins at pos, without its last line break; -1 when there is none.
func heredocEnd(src []byte, pos int) int {
	marker, _, ok := heredocStart(src, pos)
	if !ok {
		return -1
	}
	for at := pos; ; {
		next := bytes.IndexByte(src[at:], '\n')
		if next < 0 {
			return -1
		}
		at += next + 1
		line := src[at:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		if string(bytes.TrimSpace(line)) == marker {
			return at + len(bytes.TrimRight(line, " \t\r"))
		}
	}
}

// heredocStart reads << and the marker; body is where the first line begins.
func heredocStart(src []byte, pos int) (marker string, markerEnd int, ok bool) {
	if !bytes.HasPrefix(src[pos:], []byte("<<")) {
		return "", 0, false
	}
	at := pos + 2
	if at < len(src) && src[at] == '-' {
		at++
	}
	start := at
	for at < len(src) && isOldWord(src[at]) {
		at++
	}
	return string(src[start:at]), at, at > start
}

func (o *oldText) peek() oldToken { return o.tokens[o.i] }

func (o *oldText) isPunct(t oldToken, c byte) bool { return t.kind == oldPunct && o.src[t.start] == c }

func (o *oldText) text(t oldToken) string { return string(o.src[t.start:t.end]) }

const (
	oldOneLine = "a block on one line holds one argument at most; every item has its own line"
	oldQuoted  = "the names of arguments are not quoted"
	oldComma   = "there are no commas between arguments"
	oldEquals  = "a block has no equals sign"
	oldKeys    = "names with other characters than letters, digits, _ and - need a map"
	oldBrace   = "the opening brace is on the line of the block's name"
	oldLabel   = "a block's name is taken as it is, nothing in it is replaced; use the arguments id and name for that"
	oldDollar  = "${ that begins no expression is doubled, in a driver's config twice"
	oldPercent = "%{ that begins no directive is doubled, in a driver's config twice"
	oldEscape  = "escapes are \\n, \\r, \\t, \\\", \\\\ and \\uNNNN"
)

// bodyInfo is what the outside of a body needs to know about it.
type bodyInfo struct {
	asMap bool  // it can only be written as a map
	opens []int // offsets of the braces of blocks in it, at any depth
	named bool  // a block in it has a label, so it cannot be a map
}

// body reads what stands between braces, or the whole text. b is its table, nil for opaque content; start is where the
// block begins.
func (o *oldText) body(b *block, start int, top bool) (info bodyInfo, ok bool) {
	if o.depth++; o.depth > nestingMax {
		return info, false
	}
	defer func() { o.depth-- }()
	type item struct {
		start   int
		newline bool // before it
	}
	var items []item
	blocks := false
	newline := top
	for {
		switch t := o.peek(); {
		case t.kind == oldNewline:
			newline = true
			o.i++
		case t.kind == oldEnd && top:
			return info, true
		case o.isPunct(t, '}') && !top:
			if len(items) == 1 && !blocks && !items[0].newline && !newline || len(items) == 0 {
				o.i++
				return info, true
			}
			items = append(items, item{t.start, newline})
			broken := false
			for _, it := range items {
				if !it.newline {
					o.edit(it.start, 0, "\n")
					broken = true
				}
			}
			o.i++
			if broken {
				o.note(oldOneLine, start, t.end)
			}
			return info, true
		case o.isPunct(t, ','):
			o.edit(t.start, 1, "")
			o.note(oldComma, o.lineStart(t.start), t.start)
			o.i++
		case t.kind == oldWord || t.kind == oldString:
			if top && !newline {
				o.edit(t.start, 0, "\n")
			}
			items = append(items, item{t.start, newline})
			isBlock, ok := o.item(b, &info)
			if !ok {
				return info, false
			}
			blocks = blocks || isBlock
			newline = false
		default:
			return info, false
		}
	}
}

// lineStart is where the first word of a place's line begins.
func (o *oldText) lineStart(at int) int {
	start := bytes.LastIndexByte(o.src[:at], '\n') + 1
	for start < at && (o.src[start] == ' ' || o.src[start] == '\t') {
		start++
	}
	return start
}

// item reads an argument or a block.
func (o *oldText) item(b *block, info *bodyInfo) (isBlock, ok bool) {
	name := o.peek()
	o.i++
	var labels []oldToken
	for t := o.peek(); t.kind == oldWord || t.kind == oldString; t = o.peek() {
		labels = append(labels, t)
		o.i++
	}
	last := o.tokens[o.i-1]
	ahead := o.i
	for o.tokens[ahead].kind == oldNewline {
		ahead++
	}
	next := o.tokens[ahead]
	if ahead > o.i && (o.isPunct(next, '{') || o.isPunct(next, '=')) {
		o.edit(last.end, next.start-last.end, " ")
		o.note(oldBrace, name.start, next.end)
		o.i = ahead
	}
	word := o.text(name)
	if name.kind == oldString {
		word = word[1 : len(word)-1]
	}
	var f *field
	if b != nil {
		f = b.byHCL[word]
	}
	if f != nil && f.json == "Config" {
		o.config++
		defer func() { o.config-- }()
	}
	switch next = o.peek(); {
	case o.isPunct(next, '='):
		o.i++
		value := o.i
		for o.tokens[value].kind == oldNewline {
			value++
		}
		if value > o.i {
			o.edit(next.end, o.tokens[value].start-next.end, " ")
			o.i = value
		}
		if o.isPunct(o.peek(), '{') && (len(labels) > 0 || f != nil && f.kind.isBlock() || o.holdsBlock()) {
			o.edit(next.start, 1, "")
			o.note(oldEquals, name.start, o.peek().end)
			return true, o.block(f, name, word, labels, info)
		}
		if len(labels) > 0 {
			return false, false
		}
		switch {
		case hclsyntax.ValidIdentifier(word) && name.kind == oldString:
			o.edit(name.start, name.end-name.start, word)
			if !o.expression() {
				return false, false
			}
			o.note(oldQuoted, name.start, o.tokens[o.i-1].end)
			return false, true
		case hclsyntax.ValidIdentifier(word):
		case f == nil && b == nil: // a map or opaque content
			info.asMap = true
			if name.kind == oldWord {
				o.edit(name.start, name.end-name.start, `"`+word+`"`)
			} else {
				o.template(name, false)
			}
		default:
			return false, false
		}
		return false, o.expression()
	case o.isPunct(next, '{'):
		return true, o.block(f, name, word, labels, info)
	}
	return false, false
}

// block reads a block from its opening brace on.
func (o *oldText) block(f *field, name oldToken, word string, labels []oldToken, info *bodyInfo) bool {
	if !hclsyntax.ValidIdentifier(word) {
		return false
	}
	if name.kind == oldString {
		o.edit(name.start, name.end-name.start, word)
		o.note(oldQuoted, name.start, o.peek().end)
	}
	for _, l := range labels {
		if l.kind == oldString {
			o.label(l, name)
		}
	}
	open := o.peek()
	o.i++
	var table *block
	if f != nil && f.kind.isBlock() {
		table = f.block
	}
	inner, ok := o.body(table, name.start, false)
	if !ok {
		return false
	}
	if inner.asMap {
		if len(labels) > 0 || inner.named {
			return false
		}
		for _, at := range append(inner.opens, open.start) {
			o.edit(at, 0, "= ")
		}
		o.note(oldKeys, name.start, o.tokens[o.i-1].end)
	} else {
		info.opens = append(append(info.opens, inner.opens...), open.start)
	}
	info.named = info.named || inner.named || len(labels) > 0
	return true
}

// label escapes what would be replaced in a block's label. Who uses variables means today's language, where that is a
// mistake.
func (o *oldText) label(l, name oldToken) {
	if text := o.text(l); strings.Contains(text, "var.") || strings.Contains(text, "local.") {
		return
	}
	for at := l.start; at+1 < l.end; at++ {
		c := o.src[at]
		if (c == '$' || c == '%') && o.src[at+1] == '{' && o.src[at-1] != c {
			o.edit(at, 0, string(c))
			o.note(oldLabel, name.start, l.end)
		}
	}
}

// holdsBlock tells whether there is a block between the braces that begin here, which no map can hold.
func (o *oldText) holdsBlock() bool {
	depth := 0
	for i := o.i; i < len(o.tokens); i++ {
		switch t := o.tokens[i]; {
		case o.isPunct(t, '{'):
			if before := o.tokens[i-1]; depth > 0 && (before.kind == oldWord || before.kind == oldString) {
				return true
			}
			depth++
		case o.isPunct(t, '}'):
			if depth--; depth == 0 {
				return false
			}
		}
	}
	return false
}

// expression reads a value up to where it ends: at a line break, a comma, a closing brace, or where the next item begins
// on the same line.
func (o *oldText) expression() bool {
	type level struct {
		open       byte
		expression bool // of for expressions, where names stand beside names
	}
	var stack []level
	operand := false // the token before ends a value
	begin := o.i
	for {
		t := o.peek()
		c := o.src[min(t.start, len(o.src)-1)]
		depth := len(stack)
		switch {
		case t.kind == oldEnd:
			return depth == 0 && o.i > begin
		case t.kind == oldNewline && depth == 0:
			return o.i > begin
		case t.kind == oldNewline:
		case t.kind == oldPunct && (c == '{' || c == '[' || c == '('):
			next := o.tokens[o.i+1]
			if depth > nestingMax {
				return false
			}
			stack = append(stack, level{c, next.kind == oldWord && o.text(next) == "for"})
			operand = false
		case t.kind == oldPunct && (c == '}' || c == ']' || c == ')'):
			if depth == 0 {
				return c == '}' && o.i > begin
			}
			stack = stack[:depth-1]
			operand = true
		case t.kind == oldPunct && c == ',' && depth == 0:
			return o.i > begin
		case t.kind == oldPunct:
			operand = false
		default:
			if operand {
				switch {
				case depth == 0:
					return true
				case stack[depth-1].open == '{' && !stack[depth-1].expression && o.tokens[o.i-1].kind != oldNewline:
					o.edit(o.tokens[o.i-1].end, 0, ",")
					o.note("the entries of a map on one line are separated by commas", o.lineStart(t.start), t.end)
				}
			}
			switch t.kind {
			case oldString:
				o.template(t, false)
			case oldHeredoc:
				o.heredoc(t)
			}
			operand = true
		}
		o.i++
	}
}

// heredoc leaves out blanks after the marker, which HCL2 refuses, and looks at the text.
func (o *oldText) heredoc(t oldToken) {
	_, end, _ := heredocStart(o.src, t.start)
	line := end + bytes.IndexByte(o.src[end:], '\n')
	if blanks := line - end; blanks > 0 && string(o.src[end:line]) != "\r" {
		o.edit(end, blanks, "")
	}
	o.template(oldToken{t.kind, line, t.end}, true)
}

// template escapes what HCL2 would take for a template and cannot read, as HCL1 took any text.
func (o *oldText) template(t oldToken, heredoc bool) {
	for at := t.start; at+1 < t.end; at++ {
		switch c := o.src[at]; {
		case c == '\\' && !heredoc:
			o.escape(at)
			at++
		case (c == '$' || c == '%') && o.src[at+1] == c && at+2 < t.end && o.src[at+2] == '{':
			at += 2
		case (c == '$' || c == '%') && o.src[at+1] == '{':
			end := closingBrace(o.src[:t.end], at+2)
			if end < 0 {
				continue
			}
			inside := strings.Trim(string(o.src[at+2:end]), "~ \t")
			if c == '$' && mayBeExpression(inside) || c == '%' && isDirective(inside) {
				at = end
				continue
			}
			again := string(c)
			if o.config > 0 {
				again += again
			}
			o.edit(at, 0, again)
			about := oldDollar
			if c == '%' {
				about = oldPercent
			}
			o.note(about, at, end+1)
			o.notes[about].raw = true
		}
	}
}

// mayBeExpression tells text for a shell, such as ${PORT:-80}, from an expression. What is like an expression of today,
// with a mistake in it, is left as it is and reported as such.
func mayBeExpression(text string) bool {
	if strings.Contains(text, "var.") || strings.Contains(text, "local.") || strings.Contains(text, "(") {
		return true
	}
	if mayNestDeeply([]byte(text)) || len(text) > 4096 {
		return true // it is looked at where limits are reported
	}
	_, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	return !diags.HasErrors()
}

func isDirective(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	return slices.Contains([]string{"if", "else", "endif", "for", "endfor"}, word)
}

// escape brings an escape that only HCL1 knows into HCL2's form.
func (o *oldText) escape(at int) {
	digits := func(from, most int, allowed string) string {
		end := from
		for end < len(o.src) && end-from < most && strings.IndexByte(allowed, o.src[end]) >= 0 {
			end++
		}
		return string(o.src[from:end])
	}
	replace := func(n int, r rune) {
		o.edit(at, n, fmt.Sprintf(`\u%04x`, r))
		o.note(oldEscape, at, at+n)
		o.notes[oldEscape].raw = true
	}
	if named := strings.IndexByte("abfv", o.src[at+1]); named >= 0 {
		replace(2, []rune{'\a', '\b', '\f', '\v'}[named])
		return
	}
	var n rune
	if o.src[at+1] == 'x' {
		if hex := digits(at+2, 2, "0123456789abcdefABCDEF"); len(hex) == 2 {
			fmt.Sscanf(hex, "%x", &n)
			replace(4, n)
		}
		return
	}
	if octal := digits(at+1, 3, "01234567"); len(octal) == 3 {
		fmt.Sscanf(octal, "%o", &n)
		replace(4, n)
	}
}
