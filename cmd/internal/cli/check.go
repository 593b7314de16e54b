package cli

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"drover/cmd/internal/apiclient"
)

// checkCritical is the exit code of an agent that is not well, as monitoring systems have it.
const checkCritical = 2

func checkSpec() spec {
	return spec{
		name: "check", general: true, hidden: true,
		synopsis: "Say whether an agent is well, to a monitoring system",
		about: "Ask an agent how it fares, and say so in a line. The exit code is 0 when all is well and 2 when something is not:\n" +
			"the agent does not answer or says so itself, a server has no leader or too few peers, a node knows too few servers\n" +
			"or has not been heard by one within the time that it has.",
		setup: func(fs *flag.FlagSet) runFunc {
			peers := fs.Uint("min-peers", 0, "How many other servers a server must know, a `number`. Default = 0.")
			servers := fs.Uint("min-servers", 1, "How many servers a node must know, a `number`. Default = 1.")
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return checkCritical
				}
				return in.check(c, *peers, *servers)
			}
		},
	}
}

func (in *invocation) check(c *apiclient.Client, minPeers, minServers uint) int {
	self, _, err := c.AgentSelf(in.ctx)
	if err != nil {
		in.fail("Error querying agent info: %s", err)
		return checkCritical
	}
	health, err := c.Health(in.ctx)
	if err != nil {
		in.fail("Error querying agent health: %s", err)
		return checkCritical
	}
	var well, ill []string
	for _, part := range sorted(health) {
		if !health[part].OK {
			ill = append(ill, part+": "+health[part].Message)
		}
	}
	say := func(good string, bad error) {
		if bad != nil {
			ill = append(ill, bad.Error())
			return
		}
		well = append(well, good)
	}
	if self.Stats["nomad"] != nil {
		say(serverWell(self.Stats, minPeers))
	}
	if client := self.Stats["client"]; client != nil {
		say(nodeWell(client, minServers))
	}
	if len(ill) > 0 {
		in.fail("%s", strings.Join(ill, "; "))
		return checkCritical
	}
	in.ui.Output(strings.Join(well, "; "))
	return 0
}

// serverWell looks at what a server says of itself.
func serverWell(stats map[string]map[string]string, minPeers uint) (string, error) {
	peers, err := strconv.ParseUint(stats["raft"]["num_peers"], 10, 32)
	switch {
	case err != nil:
		return "", fmt.Errorf("server: it does not say how many peers it has: %w", err)
	case uint(peers) < minPeers:
		return "", fmt.Errorf("server: it knows %d peers, expected are at least %d", peers, minPeers)
	}
	return fmt.Sprintf("server: ok, %d peers", peers), nil
}

// nodeWell looks at what a node says of itself.
func nodeWell(client map[string]string, minServers uint) (string, error) {
	known := uint(0)
	for address := range strings.SplitSeq(client["known_servers"], ",") {
		if address != "" {
			known++
		}
	}
	if known < minServers {
		return "", fmt.Errorf("client: it knows %d servers, expected are at least %d", known, minServers)
	}
	if client["last_heartbeat"] == "never" {
		return "", errors.New("client: no server has heard it yet")
	}
	last, err := time.ParseDuration(client["last_heartbeat"])
	if err != nil {
		return "", fmt.Errorf("client: it does not say when a server heard it last: %w", err)
	}
	ttl, err := time.ParseDuration(client["heartbeat_ttl"])
	if err != nil {
		return "", fmt.Errorf("client: it does not say how often a server is to hear it: %w", err)
	}
	if last > ttl {
		return "", fmt.Errorf("client: a server heard it %s ago, and is to hear it within %s", last, ttl)
	}
	return fmt.Sprintf("client: ok, %d servers, heard %s ago", known, last), nil
}
