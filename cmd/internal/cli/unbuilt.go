package cli

import (
	"fmt"
	"strings"

	hcli "github.com/hashicorp/cli"
)

// fieldCommands are commands that the field knows and that this version may lack:
// a name, or several with a common beginning, and after the colon what is not there.
// Whoever types one must be able to tell "not yet" from a mistyped name. One that is
// built goes before its line here.
const fieldCommands = `
job dispatch                         : parameterized jobs
job periodic force                   : periodic jobs
job promote                          : canaries and deployments
job deployments                      : deployments; "job history" shows the versions of a job
job action                           : actions of tasks
alloc pause                          : schedules of tasks, an enterprise feature
alloc checks                         : services and their checks
node drain                           : draining nodes; "node eligibility -disable" keeps new allocations off a node
node identity get|renew              : identities of nodes
node intro create                    : introduction tokens of nodes
deployment list|status|promote|fail|pause|resume|unblock : deployments; a changed job is replaced at once
monitor export                       : exporting stored logs; "monitor" follows them
operator autopilot get-config|set-config : settings of autopilot; "operator autopilot health" shows what it sees
operator client-state                : reading the state of a node agent from its disk
operator debug                       : collecting an archive for support; "operator api", "monitor" and "operator metrics" show its parts
operator gossip keyring generate|install|list|remove|use : gossip among servers
operator raft remove-peer|transfer-leadership : clusters of several servers
operator raft info|logs|state|migrate-backend : looking into a Raft directory; "event verify" and "event stream" read the event log
operator root keyring list|rotate|remove : encryption keys
operator snapshot save|inspect|restore|redact|state : snapshots; a copy of a stopped server's data directory is one
operator utilization                 : utilization reports, an enterprise feature
acl bootstrap                        : access control lists
acl policy apply|delete|info|list|self : access control lists
acl token create|update|delete|info|list|self : access control lists
acl role create|update|info|list|delete : access control lists
acl auth-method create|update|info|list|delete : access control lists
acl binding-rule create|update|info|list|delete : access control lists
login                                : access control lists
var get|put|list|purge|init|lock     : variables
service list|info|delete             : services
volume create|register|deregister|detach|delete|status|init : volumes
volume snapshot create|delete|list   : volumes
volume claim list|delete             : volumes
plugin status                        : storage plugins
tls ca create|info                   : making certificates
tls cert create|info                 : making certificates
ui                                   : a web console
setup consul|vault                   : Consul and Vault
license get|put|inspect              : licenses: there are none to have
quota apply|delete|init|inspect|list|status : quotas, an enterprise feature
recommendation apply|dismiss|info|list : recommendations, an enterprise feature
sentinel apply|delete|list|read      : Sentinel policies, an enterprise feature
`

// fieldAliases are old names of such commands.
var fieldAliases = map[string]string{
	"node-drain": "node drain", "action": "job action",
	"debug": "operator debug", "keyring": "operator gossip keyring", "keygen": "operator gossip keyring generate",
	"server-join": "server join", "server-force-leave": "server force-leave", "scale": "job scale",
	"dispatch": "job dispatch", "promote": "job promote",
}

// unbuiltCommand answers for a command, or for a group that has only such commands.
type unbuiltCommand struct {
	p          *Program
	name, what string
}

func (c *unbuiltCommand) Run([]string) int {
	ui := newTerm(c.p)
	ui.Error(fmt.Sprintf("Drover does not have %q yet. Not built in this version: %s.", "drover "+c.name, c.what))
	return 1
}

func (c *unbuiltCommand) Help() string {
	return fmt.Sprintf("Drover does not have %q yet. Not built in this version: %s.", "drover "+c.name, c.what)
}

func (c *unbuiltCommand) Synopsis() string { return "not in this version: " + c.what }

// addUnbuilt adds the commands of the field that are not there, unseen in lists of
// commands.
func (p *Program) addUnbuilt(app *hcli.CLI) {
	add := func(name, what string) {
		if app.Commands[name] != nil {
			return
		}
		app.Commands[name] = func() (hcli.Command, error) { return &unbuiltCommand{p, name, what}, nil }
		app.HiddenCommands = append(app.HiddenCommands, name)
	}
	groups := map[string]string{}
	for _, c := range unbuiltNames() {
		add(c.name, c.what)
		for at := strings.LastIndexByte(c.name, ' '); at > 0; at = strings.LastIndexByte(c.name[:at], ' ') {
			group := c.name[:at]
			if groups[group] == "" {
				groups[group] = c.what
			}
		}
	}
	for _, group := range sorted(groups) {
		add(group, groups[group])
	}
	for _, alias := range sorted(fieldAliases) {
		if built := app.Commands[fieldAliases[alias]]; built != nil && app.Commands[alias] == nil {
			app.Commands[alias] = p.underOldName(alias, fieldAliases[alias], built)
			app.HiddenCommands = append(app.HiddenCommands, alias)
		}
	}
}

// unbuiltNames spells out fieldCommands.
func unbuiltNames() (list []struct{ name, what string }) {
	for line := range strings.Lines(fieldCommands) {
		names, what, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		words := strings.Fields(names)
		last := len(words) - 1
		for verb := range strings.SplitSeq(words[last], "|") {
			name := strings.Join(append(words[:last:last], verb), " ")
			list = append(list, struct{ name, what string }{name, strings.TrimSpace(what)})
		}
	}
	return list
}
