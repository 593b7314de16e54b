package agentconfig

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Host is what Load asks of the machine. [ThisHost] is the real one.
type Host struct {
	Name      func() (string, error) // the host's name
	PrivateIP func() (string, error) // first private address, "" when there is none
	Expand    func(string) (string, error)
	CPUs      int // processors
}

// ThisHost is the machine the program runs on.
func ThisHost() Host {
	return Host{Name: os.Hostname, PrivateIP: privateIP, Expand: expandAddress, CPUs: runtime.NumCPU()}
}

// The lowest layers are written as configuration files are.
const (
	builtin = `
region     = "global"
datacenter = "dc1"
log_level  = "INFO"
bind_addr  = "0.0.0.0"

ports { http = 4646 rpc = 4647 serf = 4648 raft = 4649 }

server {
  heartbeat_grace      = "10s"
  min_heartbeat_ttl    = "10s"
  job_max_source_size  = "1M"
  job_default_priority = 50

  job_gc_interval         = "5m"
  job_gc_threshold        = "4h"
  eval_gc_threshold       = "1h"
  batch_eval_gc_threshold = "24h"
  node_gc_threshold       = "24h"
  gc_kept_max             = 50000
}

client {
  node_pool        = "default"
  max_kill_timeout = "30s"
  min_dynamic_port = 20000
  max_dynamic_port = 32000

  gc_interval              = "1m"
  gc_parallel_destroys     = 2
  gc_disk_usage_threshold  = 80
  gc_inode_usage_threshold = 70
  gc_max_allocs            = 50

  artifact {
    http_read_timeout              = "30m"
    http_max_size                  = "100GB"
    git_timeout                    = "30m"
    decompression_size_limit       = "100GB"
    decompression_file_count_limit = 4096
  }
}
`
	devMode = `
bind_addr    = "127.0.0.1"
log_level    = "DEBUG"
enable_debug = true

telemetry { publish_allocation_metrics = true publish_node_metrics = true }

server { enabled = true bootstrap_expect = 1 }
client { enabled = true network_interface = "lo" gc_disk_usage_threshold = 99 gc_inode_usage_threshold = 99 }

plugin "raw_exec" { config { enabled = true } }
`
)

// Load reads the files of the command line, lays the flags over them, and
// checks the whole.
func Load(c *CommandLine, host Host) (Config, error) {
	given := tree{} // by files and flags, without defaults
	var sources, warnings []string
	for _, path := range c.Paths {
		t, files, warning, err := loadPath(path)
		if err != nil {
			return Config{}, fmt.Errorf("Error loading configuration from %s: %w", path, err)
		}
		given = merge(schema, given, t)
		sources = append(sources, files...)
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	given = merge(schema, given, c.layer)

	base := mustParse(builtin)
	if c.Dev {
		base = merge(schema, base, mustParse(devMode))
	}
	b := builder{host: host, line: c, t: merge(schema, base, given)}
	cfg, err := b.build()
	if err != nil {
		return Config{}, err
	}
	if names := slices.Concat(idle(schema, given, ""), b.idleDriver); len(names) > 0 {
		slices.Sort(names)
		warnings = append(warnings, "nothing acts on these keys yet: "+strings.Join(names, ", "))
	}
	cfg.Sources = sources
	cfg.Warnings = append(warnings, cfg.Warnings...)
	return cfg, nil
}

func mustParse(source string) tree {
	t, err := readSource(source)
	if err != nil {
		panic("agentconfig: defaults: " + err.Error())
	}
	return t
}

func readSource(source string) (tree, error) {
	n, err := parse(source)
	if err != nil {
		return nil, err
	}
	t, err := decode(n, schema, "")
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		if err == nil {
			_, err = plugin(t, name, drivers[name])
		}
	}
	return t, err
}

// loadPath reads a file, or the files of a directory in the order of their names.
func loadPath(path string) (t tree, files []string, warning string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, "", err
	}
	files = []string{path}
	if info.IsDir() {
		files = nil
		entries, err := os.ReadDir(path) // sorted by name
		if err != nil {
			return nil, nil, "", err
		}
		for _, e := range entries {
			if isConfigName(e.Name()) && !e.IsDir() {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	t = tree{}
	for _, file := range files {
		one, err := loadFile(file)
		if err != nil {
			return nil, nil, "", fmt.Errorf("Error loading %s: %w", file, err)
		}
		t = merge(schema, t, one)
	}
	if len(t) == 0 {
		warning = "No configuration loaded from " + path
	}
	return t, files, warning, nil
}

// isConfigName leaves out what editors leave behind.
func isConfigName(name string) bool {
	switch {
	case strings.HasSuffix(name, "~"), strings.HasPrefix(name, ".#"),
		strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#"):
		return false
	}
	return strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".json")
}

func loadFile(path string) (tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return readSource(string(data))
}
