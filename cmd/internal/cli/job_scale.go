package cli

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
)

func jobScaleSpec() spec {
	return spec{
		name: "job scale", args: "<job> [<group>] <count>", general: true,
		synopsis: "Change the count of a job's group",
		about: "Have a group of a job run in another number, and wait until the scheduler has dealt with it. The group may be left\n" +
			"out if the job has only one. The exit code is 2 when something could not be placed.",
		setup: func(fs *flag.FlagSet) runFunc {
			var check number
			check.register(fs, "check-index", "Only if the job's modify index is still this `index`.")
			detach := fs.Bool("detach", false, "Return once the count is submitted.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 2 && len(args) != 3 {
					return in.usage("This command takes two or three arguments: <job> [<group>] <count>")
				}
				count, err := strconv.ParseInt(args[len(args)-1], 10, 64)
				if err != nil {
					return in.fail("Failed to convert count string to int: %q is no whole number", args[len(args)-1])
				}
				return in.onJob(args[0], *detach, *verbose, func(c *apiclient.Client, job string) (string, error) {
					group, err := in.scaledGroup(c, job, args[1:len(args)-1])
					if err != nil {
						return "", err
					}
					resp, err := c.ScaleJob(in.ctx, job, &apiclient.ScalingRequest{
						Count: &count, Target: map[string]string{"Job": job, "Group": group},
						Message: "submitted using the command line", JobModifyIndex: check.value,
					})
					if err != nil {
						return "", fmt.Errorf("Error submitting scaling request: %w", err)
					}
					in.jobWarnings(nil, resp.Warnings)
					return resp.EvalID, nil
				}, "Evaluation ID: %s")
			}
		},
	}
}

// scaledGroup is the group that was named, or else the job's only one.
func (in *invocation) scaledGroup(c *apiclient.Client, job string, named []string) (string, error) {
	if len(named) > 0 {
		return named[0], nil
	}
	status, _, err := c.JobScale(in.ctx, job)
	if err != nil {
		return "", fmt.Errorf("Error querying job scale status: %w", err)
	}
	if groups := sorted(status.TaskGroups); len(groups) != 1 {
		return "", fmt.Errorf("Group name required: job %q has the groups %s", job, strings.Join(groups, ", "))
	}
	return sorted(status.TaskGroups)[0], nil
}

func jobScalingEventsSpec() spec {
	return spec{
		name: "job scaling-events", args: "<job>", general: true,
		synopsis: "Display the most recent scaling events for a job",
		about: "Show what was last asked and said about the counts of a job's groups, newest first.\n" +
			"The argument may be a prefix of the job's ID that fits only one job.",
		setup: func(fs *flag.FlagSet) runFunc {
			verbose := fs.Bool("verbose", false, "Show messages, and full IDs of evaluations.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				return in.scalingEvents(args[0], *verbose)
			}
		},
	}
}

func (in *invocation) scalingEvents(typed string, verbose bool) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	status, _, err := c.InNamespace(stub.JobNamespace()).JobScale(in.ctx, stub.ID)
	if err != nil {
		return in.fail("Error listing scaling events: %s", err)
	}
	type said struct {
		group string
		apiclient.ScalingEvent
	}
	var all []said
	for _, group := range sorted(status.TaskGroups) {
		for _, e := range status.TaskGroups[group].Events {
			all = append(all, said{group, e})
		}
	}
	if len(all) == 0 {
		in.ui.Output("No events found")
		return 0
	}
	slices.SortStableFunc(all, func(a, b said) int { return cmp.Compare(b.CreateIndex, a.CreateIndex) })
	rows := [][]string{{"Task Group", "Count", "PrevCount", "Date"}}
	if verbose {
		rows = [][]string{{"Task Group", "Count", "PrevCount", "Error", "Message", "Eval ID", "Date"}}
	}
	for _, e := range all {
		count, eval := "", ""
		if e.Count != nil {
			count = strconv.FormatInt(*e.Count, 10)
		}
		if e.EvalID != nil {
			eval = *e.EvalID
		}
		row := []string{e.group, count, strconv.FormatInt(e.PreviousCount, 10)}
		if verbose {
			row = append(row, strconv.FormatBool(e.Error), e.Message, eval)
		}
		rows = append(rows, append(row, in.p.absolute(unixNano(e.Time))))
	}
	in.ui.Output(tableOf(rows...))
	return 0
}

func scalingPolicyListSpec() spec {
	return spec{
		name: "scaling policy list", general: true,
		synopsis: "Display all scaling policies",
		about:    "List the scaling policies of jobs that are not stopped.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			job := fs.String("job", "", "Only those of this `job`.")
			kind := fs.String("type", "", "Only those of this `type`.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				q := apiclient.Query{Values: map[string][]string{}}
				for name, value := range map[string]string{"job": *job, "type": *kind} {
					if value != "" {
						q.Values[name] = []string{value}
					}
				}
				list, answer, err := c.ScalingPolicies(in.ctx, q)
				switch {
				case err != nil:
					return in.fail("Error listing scaling policies: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No policies found")
					return 0
				}
				in.ui.Output(policyTable(list, *verbose))
				return 0
			}
		},
	}
}

func policyTable(list []*apiclient.ScalingPolicy, verbose bool) string {
	rows := [][]string{{"ID", "Enabled", "Type", "Target"}}
	for _, p := range list {
		rows = append(rows, []string{shortID(p.ID, verbose), strconv.FormatBool(p.Enabled), p.Type, policyTarget(p)})
	}
	return tableOf(rows...)
}

// policyTarget says what a policy is about: "Group:web, Job:shop, Namespace:default".
func policyTarget(p *apiclient.ScalingPolicy) string {
	var parts []string
	for _, key := range sorted(p.Target) {
		parts = append(parts, key+":"+p.Target[key])
	}
	return strings.Join(parts, ", ")
}

var policySearch = search{"Identifier must contain at least two characters.", "No scaling policies with prefix or id %q found", "scaling policies", 1}

func scalingPolicyInfoSpec() spec {
	return spec{
		name: "scaling policy info", args: "<policy>", general: true,
		synopsis: "Display an individual scaling policy",
		about: "Display one scaling policy.\n" +
			"The argument may be a prefix of the policy's ID, of at least two characters.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <policy>")
				}
				return in.scalingPolicy(args[0], s, *verbose)
			}
		},
	}
}

func (in *invocation) scalingPolicy(typed string, s shaped, verbose bool) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, code, ok := one(in, policySearch, typed,
		func(prefix string) ([]*apiclient.ScalingPolicy, error) {
			list, _, err := c.InNamespace(apiclient.AllNamespaces).ScalingPolicies(in.ctx, apiclient.Query{Prefix: prefix})
			return list, err
		},
		func(p *apiclient.ScalingPolicy) string { return p.ID },
		func(list []*apiclient.ScalingPolicy) string { return policyTable(list, verbose) })
	if !ok {
		return code
	}
	policy, answer, err := c.ScalingPolicy(in.ctx, stub.ID)
	if err != nil {
		return in.fail("Error querying scaling policy: %s", err)
	}
	if s.wanted() {
		return in.print(s, answer.Body)
	}
	rules, err := json.MarshalIndent(policy.Policy, "", "  ")
	if err != nil {
		return in.fail("Error formatting the policy: %s", err)
	}
	var p pairs
	p.add("ID", shortID(policy.ID, verbose))
	p.add("Enabled", strconv.FormatBool(policy.Enabled))
	p.add("Type", policy.Type)
	p.add("Target", policyTarget(policy))
	p.add("Min", strconv.FormatInt(policy.Min, 10))
	p.add("Max", strconv.FormatInt(policy.Max, 10))
	in.ui.Output(p.String())
	in.section("Policy", string(rules))
	return 0
}
