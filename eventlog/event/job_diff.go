package event

import (
	"bytes"
	"maps"
	"reflect"
)

// SpecChanged reports whether two jobs ask for different things. Facts about a job, such as its version and status, are
// left out, as they are from the encoding.
func SpecChanged(a, b *Job) bool { return changed(a, b) }

// effect is what a change of a field means for allocations that run already.
type effect uint8

const (
	inPlace     effect = iota + 1 // they go on and get the new job
	destructive                   // they are replaced
	apart                         // compared in a way of its own, or not part of the spec
)

// The one table of what a change of each field does. A test holds every field of the three structs against it, so that
// a new field cannot be forgotten.
var (
	jobEffects = map[string]effect{
		"Region": inPlace, "Namespace": inPlace, "ID": inPlace, "Name": inPlace, "Type": inPlace, "Priority": inPlace,
		"AllAtOnce": inPlace, "Datacenters": inPlace, "NodePool": inPlace, "Constraints": inPlace, "Affinities": inPlace,
		"Update": inPlace, "Multiregion": inPlace, "Spreads": inPlace, "Periodic": inPlace, "ParameterizedJob": inPlace,
		"Reschedule": inPlace, "Migrate": inPlace, "UI": inPlace, "ParentID": inPlace, "DispatchIdempotencyToken": inPlace,
		"NomadTokenID": inPlace,

		"Payload": destructive, "ConsulNamespace": destructive, "VaultNamespace": destructive,

		"TaskGroups": apart, // each group for itself
		"Meta":       apart, // merged into each task's
		"Stop":       apart, "Dispatched": apart, "Status": apart, "StatusDescription": apart, "Stable": apart, "Version": apart,
		"SubmitTime": apart, "CreateIndex": apart, "ModifyIndex": apart, "JobModifyIndex": apart, "VersionTag": apart,
	}
	groupEffects = map[string]effect{
		"Name": inPlace, "Count": inPlace, "Constraints": inPlace, "Affinities": inPlace, "Spreads": inPlace,
		"Disconnect": inPlace, "ReschedulePolicy": inPlace, "Update": inPlace, "Migrate": inPlace, "ShutdownDelay": inPlace,
		"MaxRunDuration": inPlace, "Scaling": inPlace, "StopAfterClientDisconnect": inPlace, "MaxClientDisconnect": inPlace,
		"PreventRescheduleOnLost": inPlace,

		"Volumes": destructive, "EphemeralDisk": destructive, "Networks": destructive, "Consul": destructive,

		"Tasks": apart, "Meta": apart, "RestartPolicy": apart, "Services": apart,
	}
	taskEffects = map[string]effect{
		"Constraints": inPlace, "Affinities": inPlace, "KillTimeout": inPlace, "KillSignal": inPlace, "ShutdownDelay": inPlace,
		"Leader": inPlace, "Lifecycle": inPlace, "Actions": inPlace, "ScalingPolicies": inPlace,

		"Name": destructive, "Driver": destructive, "User": destructive, "Config": destructive, "Env": destructive,
		"Resources": destructive, "Artifacts": destructive, "Vault": destructive, "Consul": destructive, "Templates": destructive,
		"DispatchPayload": destructive, "VolumeMounts": destructive, "CSIPluginConfig": destructive, "Kind": destructive,
		"Secrets": destructive, "Identity": destructive, "Identities": destructive, "Schedule": destructive,

		"Meta": apart, "RestartPolicy": apart, "Services": apart, "LogConfig": apart,
	}
)

// TaskGroupChange tells what going from one version of a job to another means for the running allocations of a group:
// they must be replaced, or they only get the new job, or (neither) nothing that concerns them differs. A group that
// exists in one version only is a destructive change. Whether the allocations may stay where they are is another
// question, which needs their nodes.
func TaskGroupChange(a, b *Job, group string) (replace, update bool) {
	from, to := a.LookupGroup(group), b.LookupGroup(group)
	if from == nil || to == nil {
		return true, false
	}
	worst := worse(compareFields(a, b, jobEffects), compareFields(from, to, groupEffects))
	worst = worse(worst, compareRestart(from.RestartPolicy, to.RestartPolicy))
	worst = worse(worst, compareServices(from.Services, to.Services))
	if len(from.Tasks) != len(to.Tasks) {
		return true, false
	}
	for _, task := range from.Tasks {
		other := to.LookupTask(task.Name)
		if other == nil {
			return true, false
		}
		worst = worse(worst, compareTasks(a, from, task, b, to, other))
	}
	if worst == 0 && (!maps.Equal(a.Meta, b.Meta) || !maps.Equal(from.Meta, to.Meta)) {
		worst = inPlace // overridden by every task, so none sees it
	}
	return worst == destructive, worst == inPlace
}

// TaskChange tells the same of one task, as far as it is the task's own doing. A task that exists in one version only is
// a destructive change.
func TaskChange(a, b *Job, group, task string) (replace, update bool) {
	from, to := a.LookupGroup(group), b.LookupGroup(group)
	if from == nil || to == nil {
		return true, false
	}
	was, is := from.LookupTask(task), to.LookupTask(task)
	if was == nil || is == nil {
		return true, false
	}
	worst := compareTasks(a, from, was, b, to, is)
	return worst == destructive, worst == inPlace
}

// compareTasks compares a task of one version with the task of that name of another one.
func compareTasks(a *Job, from *TaskGroup, task *Task, b *Job, to *TaskGroup, other *Task) effect {
	worst := compareFields(task, other, taskEffects)
	worst = worse(worst, compareRestart(task.RestartPolicy, other.RestartPolicy))
	worst = worse(worst, compareServices(task.Services, other.Services))
	switch {
	case task.LogConfig.Disabled != other.LogConfig.Disabled:
		worst = destructive
	case changed(task.LogConfig, other.LogConfig):
		worst = worse(worst, inPlace)
	}
	if !maps.Equal(mergeMeta(a, from, task), mergeMeta(b, to, other)) {
		worst = destructive
	}
	return worst
}

func worse(a, b effect) effect { return max(a, b) }

// compareFields finds the worst effect of the fields that differ.
func compareFields(a, b any, effects map[string]effect) (worst effect) {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		e := effects[va.Type().Field(i).Name]
		if e != apart && e > worst && changed(va.Field(i).Interface(), vb.Field(i).Interface()) {
			worst = e
		}
	}
	return worst
}

// Whether templates are rendered again belongs to how a task was started. The rest of the policy is asked only when
// the task ends.
func compareRestart(a, b RestartPolicy) effect {
	switch {
	case a.RenderTemplates != b.RenderTemplates:
		return destructive
	case a != b:
		return inPlace
	}
	return 0
}

// Services are registered anew while the tasks run; only what Connect puts beside the tasks cannot be.
func compareServices(a, b []Service) effect {
	switch {
	case !changed(a, b):
		return 0
	case changed(connected(a), connected(b)):
		return destructive
	}
	return inPlace
}

func connected(services []Service) (list []Service) {
	for _, s := range services {
		if s.Connect != nil {
			list = append(list, s)
		}
	}
	return list
}

// mergeMeta is what a task sees: its own meta over its group's over the job's.
func mergeMeta(j *Job, g *TaskGroup, t *Task) map[string]string {
	merged := make(map[string]string, len(j.Meta)+len(g.Meta)+len(t.Meta))
	for _, m := range []map[string]string{j.Meta, g.Meta, t.Meta} {
		maps.Copy(merged, m)
	}
	return merged
}

// changed compares by the encoding, for which nil and empty are the same.
func changed(a, b any) bool { return !bytes.Equal(encoded(a), encoded(b)) }

func encoded(v any) []byte {
	// Empty and nil lists and maps are one in a struct, where they are left out; alone they would differ.
	data, err := Marshal(struct {
		V any `cbor:"1,keyasint,omitempty"`
	}{emptyAsNil(v)})
	if err != nil {
		panic("event: encode a job: " + err.Error())
	}
	return data
}

func emptyAsNil(v any) any {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Map, reflect.Slice:
		if r.Len() == 0 {
			return nil
		}
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
	}
	return v
}
