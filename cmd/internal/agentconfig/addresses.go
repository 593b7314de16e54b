package agentconfig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	sockaddr "github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/go-sockaddr/template"
)

func privateIP() (string, error) { return sockaddr.GetPrivateIP() }

// expandAddress resolves an address template such as {{ GetInterfaceIP "eth0" }}.
func expandAddress(s string) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	out, err := template.Parse(s)
	if err != nil {
		return "", fmt.Errorf("address template %q: %w", s, err)
	}
	if strings.TrimSpace(out) == "" {
		return "", fmt.Errorf("address template %q gives no address", s)
	}
	return out, nil
}

// service is one of the agent's listeners.
type service struct {
	key  string
	port int
}

// addresses works out where the agent listens and where others reach it.
func (b *builder) addresses(cfg *Config) error {
	services := []service{
		{"http", cfg.Ports.HTTP}, {"rpc", cfg.Ports.RPC}, {"serf", cfg.Ports.Serf}, {"raft", cfg.Ports.Raft},
	}
	bind := map[string][]string{}
	advertise := map[string]string{}
	for _, s := range services {
		if s.port < 1 || s.port > 65535 {
			return fmt.Errorf("ports.%s must be between 1 and 65535, not %d", s.key, s.port)
		}
		ips, err := b.bindIPs(s.key)
		if err != nil {
			return err
		}
		for _, ip := range ips {
			bind[s.key] = append(bind[s.key], net.JoinHostPort(ip, strconv.Itoa(s.port)))
		}
		if s.key != "http" && !cfg.Server.Enabled {
			continue // only servers are reached there
		}
		if advertise[s.key], err = b.advertised(s, ips[0], cfg.Dev); err != nil {
			return err
		}
	}
	for i, s := range services {
		for _, other := range services[:i] {
			if s.port == other.port && bind[s.key][0] == bind[other.key][0] {
				return fmt.Errorf("ports.%s and ports.%s are both %d on the same address", other.key, s.key, s.port)
			}
		}
	}
	if cfg.Server.Enabled {
		if err := logAddress("addresses", bind["raft"][0]); err != nil {
			return err
		}
		if err := logAddress("advertise", advertise["raft"]); err != nil {
			return err
		}
	}
	cfg.Bind = Bind{HTTP: bind["http"], RPC: bind["rpc"][0], Serf: bind["serf"][0], Raft: bind["raft"][0]}
	cfg.Advertise = Advertise{HTTP: advertise["http"], RPC: advertise["rpc"], Serf: advertise["serf"], Raft: advertise["raft"]}
	return nil
}

// bindIPs is where one service listens: its own address, or the common one.
// Only HTTP may listen on several. The log, of which Nomad's configurations
// know nothing, is where RPC is unless it is told otherwise.
func (b *builder) bindIPs(key string) ([]string, error) {
	name, written := "addresses."+key, b.t.text("addresses", key)
	if written == "" && key == "raft" {
		name, written = "addresses.rpc", b.t.text("addresses", "rpc")
	}
	if written == "" {
		name, written = "bind_addr", b.t.text("bind_addr")
	}
	expanded, err := b.host.Expand(written)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ips := strings.Fields(expanded)
	if len(ips) == 0 || len(ips) > 1 && key != "http" {
		return nil, fmt.Errorf("%s must be one address, not %q", name, expanded)
	}
	for i, ip := range ips {
		ips[i] = strings.Trim(ip, "[]")
		if _, err := netip.ParseAddr(ips[i]); err != nil && ips[i] != "localhost" {
			return nil, fmt.Errorf("%s must be an IP address, not %q", name, ip)
		}
	}
	return ips, nil
}

// advertised is where others reach a service that listens on ip.
func (b *builder) advertised(s service, ip string, dev bool) (string, error) {
	if written := b.t.text("advertise", s.key); written != "" {
		expanded, err := b.host.Expand(written)
		if err != nil {
			return "", fmt.Errorf("advertise.%s: %w", s.key, err)
		}
		return withPort(expanded, s.port), nil
	}
	if written := b.t.text("advertise", "rpc"); written != "" && s.key == "raft" {
		expanded, err := b.host.Expand(written)
		if err != nil {
			return "", fmt.Errorf("advertise.rpc: %w", err)
		}
		host, _, err := net.SplitHostPort(expanded)
		if err != nil {
			host = strings.Trim(expanded, "[]") // without a port
		}
		return net.JoinHostPort(host, strconv.Itoa(s.port)), nil
	}
	addr, err := netip.ParseAddr(ip)
	switch {
	case err != nil || addr.IsLoopback(): // "localhost" is the one name that may stand here
		if !dev {
			return "", errors.New("Defaulting advertise to localhost is unsafe, please set advertise manually")
		}
	case addr.IsUnspecified():
		private, err := b.host.PrivateIP()
		if err != nil {
			return "", fmt.Errorf("find an address to advertise: %w", err)
		}
		switch {
		case private != "":
			ip = private
		case dev:
			ip = "127.0.0.1"
		default:
			return "", fmt.Errorf("this machine has no private address to advertise: set advertise { %s = \"<address>\" }", s.key)
		}
	}
	return net.JoinHostPort(ip, strconv.Itoa(s.port)), nil
}

// logAddress refuses what the replicated log's transport cannot use, before it
// says so in words that name neither the address nor the key.
func logAddress(block, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s.raft: %w", block, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		return fmt.Errorf("%s.raft: the log's replicas cannot talk over IPv6 yet, and its address would be %s; set %s { raft = \"<an IPv4 address or a name>\" }", block, address, block)
	}
	return nil
}

// ServerAddress completes the address of a server, host or host:port.
func ServerAddress(address string) string { return withPort(strings.TrimSpace(address), rpcPort) }

// withPort adds the port where an address has none.
func withPort(address string, port int) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(port))
}

// checkPorts checks a list of ports and ranges such as "22,80,8500-8600".
func checkPorts(list string) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a port or a range of ports", part)
		}
		to, err := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a port or a range of ports", part)
		}
		if from > to {
			return fmt.Errorf("%q is a range whose end comes before its start", part)
		}
	}
	return nil
}
