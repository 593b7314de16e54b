package agent

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// prometheusName is a metric's name as Prometheus allows it.
func prometheusName(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == ':':
			return c
		}
		return '_'
	}, name)
}

// quantiles of what was measured last, as the field's dashboards show them.
var quantiles = []float64{0.5, 0.9, 0.99}

// writePrometheus shows the metrics in Prometheus's text format, version 0.0.4.
func writePrometheus(w http.ResponseWriter, answer *metricsAnswer) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := bufio.NewWriter(w)
	last := ""
	head := func(name, kind string) {
		if name != last { // rows of one name stand together
			fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, name, name, kind)
			last = name
		}
	}
	row := func(name string, labels map[string]string, value float64, more ...string) {
		out.WriteString(name)
		pairs := more
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, key, labels[key])
		}
		for i := 0; i < len(pairs); i += 2 {
			separator := ","
			if i == 0 {
				separator = "{"
			}
			fmt.Fprintf(out, "%s%s=\"%s\"", separator, prometheusName(pairs[i]), labelEscapes.Replace(pairs[i+1]))
		}
		if len(pairs) > 0 {
			out.WriteByte('}')
		}
		fmt.Fprintf(out, " %s\n", strconv.FormatFloat(value, 'g', -1, 64))
	}
	for _, g := range answer.Gauges {
		name := prometheusName(g.Name)
		head(name, "gauge")
		row(name, g.Labels, g.Value)
	}
	for _, s := range answer.Counters {
		name := prometheusName(s.Name)
		head(name, "counter")
		row(name, s.Labels, s.Sum)
	}
	for _, s := range answer.Samples {
		name := prometheusName(s.Name)
		head(name, "summary")
		for i, q := range quantiles {
			row(name, s.Labels, s.quantiles[i], "quantile", strconv.FormatFloat(q, 'g', -1, 64))
		}
		row(name+"_sum", s.Labels, s.Sum)
		row(name+"_count", s.Labels, float64(s.Count))
	}
	return out.Flush()
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
