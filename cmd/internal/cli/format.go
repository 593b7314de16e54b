package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
)

const noneCell = "<none>"

// tableOf lays out rows in columns, two spaces apart. The first row is the head.
func tableOf(rows ...[]string) string { return layTable(rows, noneCell) }

// bareTable is tableOf with empty cells left empty.
func bareTable(rows ...[]string) string { return layTable(rows, "") }

func layTable(rows [][]string, empty string) string {
	var widths []int
	cell := func(text string) string {
		if text == "" {
			return empty
		}
		return text
	}
	for _, row := range rows {
		for i, text := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell(text)))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, text := range row {
			text = cell(text)
			b.WriteString(text)
			if j < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(text)+2))
			}
		}
		lines[i] = b.String()
	}
	return strings.Join(lines, "\n")
}

// pairs are the lines of a key/value list.
type pairs [][2]string

func (p *pairs) add(key, value string) { *p = append(*p, [2]string{key, value}) }

func (p pairs) String() string {
	width := 0
	for _, pair := range p {
		width = max(width, utf8.RuneCountInString(pair[0]))
	}
	lines := make([]string, len(p))
	for i, pair := range p {
		value := pair[1]
		if value == "" {
			value = noneCell
		}
		lines[i] = fmt.Sprintf("%-*s = %s", width, pair[0], value)
	}
	return strings.Join(lines, "\n")
}

// shortID is the form of an ID that people read.
func shortID(id string, verbose bool) string {
	if verbose || len(id) <= 8 {
		return id
	}
	return id[:8]
}

// absolute is a moment in the program's zone; "" for none.
func (p *Program) absolute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(p.Zone).Format(time.RFC3339)
}

func unixNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// ago is a moment relative to now: "1m13s ago", "4m58s from now".
func (p *Program) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := p.Now().Sub(t)
	if d > -time.Second {
		return coarse(d) + " ago"
	}
	return coarse(-d) + " from now"
}

// since is ago, or absolute when verbose.
func (p *Program) since(t time.Time, verbose bool) string {
	if verbose {
		return p.absolute(t)
	}
	return p.ago(t)
}

// coarse shows a duration in its two coarsest units.
func coarse(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{
		{"y", 365 * 24 * time.Hour}, {"mo", 30 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
	}
	for i, unit := range units {
		if d < unit.size {
			continue
		}
		text := fmt.Sprintf("%d%s", d/unit.size, unit.name)
		if i+1 < len(units) {
			if rest := d % unit.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// mebibytes shows a size that is counted in MiB.
func mebibytes(n int64) string { return byteSize(uint64(max(0, n)) << 20) }

// byteSize shows a size in the largest unit that it has one of.
func byteSize(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 {
		value /= 1024
		unit++
	}
	if value < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", value, units[unit])
	}
	return fmt.Sprintf("%.0f %s", value, units[unit])
}

// shaped are the flags of commands that can print objects as they are.
type shaped struct {
	json bool
	tmpl string
}

func (s *shaped) register(fs *flag.FlagSet) {
	fs.BoolVar(&s.json, "json", false, "Print the object as JSON.")
	fs.StringVar(&s.tmpl, "t", "", "Print the object through a Go `template`.")
}

func (s *shaped) wanted() bool { return s.json || s.tmpl != "" }

// print shows the body of an answer as JSON or through the template.
func (in *invocation) print(s shaped, body []byte) int {
	if s.json && s.tmpl != "" {
		return in.fail("Both json and template formatting are not allowed")
	}
	if s.json {
		var b bytes.Buffer
		if err := json.Indent(&b, bytes.TrimSpace(body), "", "    "); err != nil {
			return in.fail("Error formatting the data: %s", err)
		}
		in.ui.Output(b.String())
		return 0
	}
	t, err := template.New("format").Funcs(sprig.TxtFuncMap()).Parse(s.tmpl)
	if err != nil {
		return in.fail("Error formatting the data: %s", err)
	}
	object, err := generic(body)
	if err != nil {
		return in.fail("Error formatting the data: %s", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, object); err != nil {
		return in.fail("Error formatting the data: %s", err)
	}
	in.ui.Output(b.String())
	return 0
}

// generic decodes JSON for templates: whole numbers stay whole, so that they can
// be compared and printed as such.
func generic(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var object any
	if err := d.Decode(&object); err != nil {
		return nil, err
	}
	return numbers(object), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = numbers(value)
		}
	case []any:
		for i, value := range v {
			v[i] = numbers(value)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	}
	return v
}

// object makes one JSON object of several answers.
func object(fields map[string]json.RawMessage) []byte {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // each is JSON already
	}
	return body
}

// paging are the flags of commands that list page by page.
type paging struct {
	perPage int
	token   string
	filter  string
}

func (p *paging) register(fs *flag.FlagSet) {
	fs.IntVar(&p.perPage, "per-page", 0, "How many results to show; the rest follows with -page-token.")
	fs.StringVar(&p.token, "page-token", "", "Where to start, a `token` that an earlier page ended with.")
	fs.StringVar(&p.filter, "filter", "", "Show only what this `expression` holds for.")
}

// footer says how to see the next page.
func (in *invocation) footer(next string) {
	if next == "" {
		return
	}
	line := []string{"drover", in.name}
	for i := 0; i < len(in.raw); i++ {
		switch word := strings.TrimLeft(in.raw[i], "-"); {
		case word == "page-token":
			i++ // its value
		case !strings.HasPrefix(word, "page-token="):
			line = append(line, in.raw[i])
		}
	}
	in.ui.Output(fmt.Sprintf("\nResults have been paginated. To get the next page run:\n\n%s -page-token %s", strings.Join(line, " "), next))
}
