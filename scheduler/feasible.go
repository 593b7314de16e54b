package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
)

// Why a node was filtered, as users read it. A constraint that is not met is
// named by its own text.
const (
	filteredClass         = "computed class ineligible"
	filteredDrivers       = "missing drivers"
	filteredDevices       = "missing devices"
	filteredNetwork       = "missing network"
	filteredSecrets       = "missing secrets provider"
	filteredHostVolumes   = "missing compatible host volumes"
	filteredDistinctHosts = distinctHosts
)

// verdict is what is known of a computed class.
type verdict uint8

const (
	verdictUnknown verdict = iota
	verdictMet
	verdictUnmet
)

// conditions are the constraints of one level (the job, or a group with its
// tasks) that are about the node alone, with what is known by class.
type conditions struct {
	list    []condition
	escapes bool // a class does not decide them
	byClass []verdict
}

func newConditions(lists ...[]event.Constraint) *conditions {
	c := new(conditions)
	for _, list := range lists {
		for _, constraint := range list {
			if constraint.Operand == distinctHosts || constraint.Operand == distinctProperty {
				continue
			}
			made := newCondition(constraint)
			c.escapes = c.escapes || made.escapes()
			c.list = append(c.list, made)
		}
	}
	return c
}

// unmet is the text of the first constraint that the node does not meet.
func (c *conditions) unmet(n *event.Node) (text string, unmet bool) {
	for i := range c.list {
		if !c.list[i].met(n) {
			return c.list[i].text, true
		}
	}
	return "", false
}

func (c *conditions) known(class int) verdict {
	if class < 0 || c.escapes || class >= len(c.byClass) {
		return verdictUnknown
	}
	return c.byClass[class]
}

func (c *conditions) learn(class int, v verdict) {
	if class < 0 || c.escapes {
		return
	}
	for class >= len(c.byClass) {
		c.byClass = append(c.byClass, verdictUnknown)
	}
	c.byClass[class] = v
}

// check is unmet with the answer looked up by class where that decides.
func (c *conditions) check(n *event.Node, class int) (text string, unmet bool) {
	if c.known(class) == verdictMet {
		return "", false
	}
	text, unmet = c.unmet(n)
	if unmet {
		c.learn(class, verdictUnmet)
	} else {
		c.learn(class, verdictMet)
	}
	return text, unmet
}

// propertyLimit is a distinct_property constraint.
type propertyLimit struct {
	tally
	text  string
	limit int32
}

// closed reports whether no further allocation may go where the property has
// the value.
func (l *propertyLimit) closed(value int32) bool {
	return value == noValue || l.count(value) >= l.limit
}

// closedAt is closed by mark.
func (l *propertyLimit) closedAt(mark int32) bool {
	if !l.wide || mark == noValue {
		return l.closed(mark)
	}
	return mark/2 >= l.limit
}

// explain says why a node with the value is filtered; "" when it is not.
func (l *propertyLimit) explain(value int32) string {
	switch {
	case value == noValue:
		return fmt.Sprintf("missing property %q", l.text)
	case l.closed(value):
		return fmt.Sprintf("distinct_property: %s=%s used by %d allocs", l.text, l.names[value], l.count(value))
	}
	return ""
}

// distinct gathers the constraints of one list that are about where the other
// allocations are.
func (r *jobRules) distinct(list []event.Constraint) (hosts bool, limits []*propertyLimit) {
	for _, c := range list {
		switch c.Operand {
		case distinctHosts:
			on, err := strconv.ParseBool(c.RTarget)
			hosts = hosts || (on || err != nil) && !r.everyNode
		case distinctProperty:
			limit, err := strconv.ParseInt(c.RTarget, 10, 32)
			if err != nil || limit < 1 {
				limit = 1
			}
			limits = append(limits, &propertyLimit{tally: tally{values: r.valuesOf(c.LTarget)}, text: c.LTarget, limit: int32(limit)})
		}
	}
	return hosts, limits
}

// jobRules is what a job demands of every node that runs any of its groups.
type jobRules struct {
	fit           fit // how nodes are ranked
	datacenters   []string
	pool          string
	conditions    *conditions
	distinctHosts bool
	limits        []*propertyLimit
	everyNode     bool               // of the job's type; nothing then asks for distinct hosts
	attributes    map[string]*values // that allocations are counted by
}

func newJobRules(job *event.Job) *jobRules {
	r := &jobRules{
		datacenters: job.Datacenters, pool: event.PoolOf(job.NodePool), conditions: newConditions(job.Constraints),
		attributes: make(map[string]*values), everyNode: event.EveryNode(job.Type),
	}
	r.distinctHosts, r.limits = r.distinct(job.Constraints)
	return r
}

// valuesOf numbers the values of an attribute, the same for all who count by it.
func (r *jobRules) valuesOf(attribute string) *values {
	v := r.attributes[attribute]
	if v == nil {
		v = newValues(attribute)
		r.attributes[attribute] = v
	}
	return v
}

// groupRules is what a group demands beyond that.
type groupRules struct {
	job           *jobRules
	conditions    *conditions
	drivers       []string
	group         *event.TaskGroup
	distinctHosts bool
	limits        []*propertyLimit
	// networkEscapes says that the name of a port's host network has something of a single node in it.
	networkEscapes bool
}

func newGroupRules(job *jobRules, group *event.TaskGroup) *groupRules {
	r := &groupRules{job: job, group: group}
	lists := [][]event.Constraint{group.Constraints}
	for _, t := range group.Tasks {
		lists = append(lists, t.Constraints)
		if !slices.Contains(r.drivers, t.Driver) {
			r.drivers = append(r.drivers, t.Driver)
		}
	}
	r.conditions = newConditions(lists...)
	r.distinctHosts, r.limits = job.distinct(group.Constraints)
	for _, port := range projections.GroupPorts(group) {
		r.networkEscapes = r.networkEscapes || strings.Contains(port.HostNetwork, ".unique.")
	}
	return r
}

// escapes reports whether a class does not decide where the group can run.
func (r *groupRules) escapes() bool {
	return r.job.conditions.escapes || r.conditions.escapes || r.networkEscapes
}

// filter says why the group cannot run on the node, whatever else runs there; ""
// if it can. class is a small number for the node's computed class, or -1. Of the
// nodes of one class the first is filtered by the constraint that it does not
// meet, the others by their class; which of them comes first makes no difference.
//
// What a node says of drivers, networks and volumes is no part of its computed
// class.
func (r *groupRules) filter(n *event.Node, class int) string {
	if r.job.conditions.known(class) == verdictUnmet {
		return filteredClass
	}
	if text, unmet := r.job.conditions.check(n, class); unmet {
		return text
	}
	if !r.hasDrivers(n) {
		return filteredDrivers
	}
	if r.conditions.known(class) == verdictUnmet {
		return filteredClass
	}
	if text, unmet := r.conditions.check(n, class); unmet {
		return text
	}
	return r.missing(n)
}

func (r *groupRules) hasDrivers(n *event.Node) bool {
	for _, name := range r.drivers {
		if d := n.Drivers[name]; d == nil || !d.Detected || !d.Healthy {
			return false
		}
	}
	return true
}

// missing names what the group needs and the node does not offer.
func (r *groupRules) missing(n *event.Node) string {
	for _, t := range r.group.Tasks {
		if len(t.Resources.Devices) > 0 {
			return filteredDevices // no node offers devices
		}
	}
	if text := missingNetwork(r.group, n); text != "" {
		return text
	}
	for _, t := range r.group.Tasks {
		if len(t.Secrets) > 0 {
			return filteredSecrets // no node offers secrets providers
		}
	}
	return missingVolume(r.group, n)
}

func missingNetwork(group *event.TaskGroup, n *event.Node) string {
	if len(group.Networks) == 0 {
		return ""
	}
	network := group.Networks[0]
	if network.Mode == "bridge" || network.Mode == "none" || strings.HasPrefix(network.Mode, "cni/") {
		offers := func(o event.NetworkResource) bool { return o.Mode == network.Mode }
		offersNode := func(o event.NodeNetwork) bool { return o.Mode == network.Mode }
		res := n.NodeResources
		if res == nil || !slices.ContainsFunc(res.Networks, offers) && !slices.ContainsFunc(res.NodeNetworks, offersNode) {
			return filteredNetwork
		}
	}
	for _, port := range projections.GroupPorts(group) {
		alias := n.HostNetworkOn(port.HostNetwork)
		if alias != "" && alias != "default" && n.HostNetworks[alias] == nil {
			return fmt.Sprintf("missing host network %q for port %q", alias, port.Label)
		}
	}
	return ""
}

func missingVolume(group *event.TaskGroup, n *event.Node) string {
	var csi []string
	hostMissing := false
	for _, v := range group.Volumes {
		switch v.Type {
		case "csi":
			csi = append(csi, v.Source)
		default:
			offered := n.HostVolumes[v.Source]
			hostMissing = hostMissing || offered == nil || offered.ReadOnly && !v.ReadOnly
		}
	}
	switch {
	case hostMissing:
		return filteredHostVolumes
	case len(csi) > 0:
		slices.Sort(csi)
		return "missing CSI volume(s) " + strings.Join(csi, ", ")
	}
	return ""
}

// covers reports whether the job may use the node's pool and data center at all.
func (r *jobRules) covers(n *event.Node) (pool, datacenter bool) {
	return event.PoolCovers(r.pool, n.NodePool), event.DatacentersCover(r.datacenters, n.Datacenter)
}
