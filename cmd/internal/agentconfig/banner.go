package agentconfig

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Preamble is what the agent prints before it starts anything: warnings, what it
// was configured from, and that it starts. Each line ends with a newline.
func Preamble(cfg Config) string {
	var b strings.Builder
	for _, w := range cfg.Warnings {
		fmt.Fprintf(&b, "==> WARNING: %s\n", w)
	}
	if len(cfg.Sources) == 0 {
		b.WriteString("==> No configuration files loaded\n")
	} else {
		fmt.Fprintf(&b, "==> Loaded configuration from %s\n", strings.Join(cfg.Sources, ", "))
	}
	b.WriteString("==> Starting Drover agent...\n")
	return b.String()
}

// Banner is what the agent prints once it runs, after the Preamble and before
// the log. extra adds lines, or replaces one of the same key; a server's "Node Id"
// belongs there.
func Banner(cfg Config, extra map[string]string) string {
	a, l := cfg.Advertise, cfg.Bind
	advertise := []string{"HTTP: " + a.HTTP}
	bind := []string{fmt.Sprintf("HTTP: %v", l.HTTP)}
	if cfg.Server.Enabled {
		advertise = append(advertise, "RPC: "+a.RPC, "Serf: "+a.Serf)
		bind = append(bind, "RPC: "+l.RPC, "Serf: "+l.Serf)
	}
	lines := map[string]string{
		"Advertise Addrs": strings.Join(advertise, "; "),
		"Bind Addrs":      strings.Join(bind, "; "),
		"Client":          strconv.FormatBool(cfg.Client.Enabled),
		"Log Level":       LevelWord(cfg.Log.Level.Level()),
		"Region":          fmt.Sprintf("%s (DC: %s)", cfg.Region, cfg.Datacenter),
		"Server":          strconv.FormatBool(cfg.Server.Enabled),
		"Version":         cfg.Version,
	}
	maps.Copy(lines, extra)
	var b strings.Builder
	b.WriteString("==> Drover agent configuration:\n\n")
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		// The colon stands in column 23.
		fmt.Fprintf(&b, "%22s: %s\n", key, lines[key])
	}
	b.WriteString("\n==> Drover agent started! Log data will stream in below:\n\n")
	return b.String()
}
