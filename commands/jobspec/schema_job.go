package jobspec

import (
	"fmt"
	"time"
)

// Defaults that depend on the job's type.
var (
	restartDefaults = map[string]tree{
		"service": {"Attempts": int64(2), "Interval": 30 * time.Minute, "Delay": 15 * time.Second, "Mode": "fail", "RenderTemplates": false},
		"batch":   {"Attempts": int64(3), "Interval": 24 * time.Hour, "Delay": 15 * time.Second, "Mode": "fail", "RenderTemplates": false},
	}
	rescheduleDefaults = map[string]tree{
		"service": {"Attempts": int64(0), "Interval": time.Duration(0), "Delay": 30 * time.Second, "DelayFunction": "exponential", "MaxDelay": time.Hour, "Unlimited": true},
		"batch":   {"Attempts": int64(1), "Interval": 24 * time.Hour, "Delay": 5 * time.Second, "DelayFunction": "constant", "MaxDelay": time.Duration(0), "Unlimited": false},
	}
	updateDefaults = tree{
		"Stagger": 30 * time.Second, "MaxParallel": int64(1), "HealthCheck": "checks", "MinHealthyTime": 10 * time.Second,
		"HealthyDeadline": 5 * time.Minute, "ProgressDeadline": 10 * time.Minute, "Canary": int64(0), "AutoRevert": false, "AutoPromote": false,
	}
	migrateDefaults = tree{
		"MaxParallel": int64(1), "HealthCheck": "checks", "MinHealthyTime": 10 * time.Second, "HealthyDeadline": 5 * time.Minute,
	}
)

var constraintBlock = table("constraint",
	str("attribute", "LTarget").act(),
	str("value", "RTarget").act(),
	str("operator", "Operand").dflt("=").act(),
	str("version", "$version"),
	str("semver", "$semver"),
	str("regexp", "$regexp"),
	str("set_contains", "$set_contains"),
	str("set_contains_all", "$set_contains_all"),
	str("set_contains_any", "$set_contains_any"),
	flag("is_set", "$is_set"),
	flag("is_not_set", "$is_not_set"),
	flag("distinct_hosts", "$distinct_hosts"),
	str("distinct_property", "$distinct_property"),
	flag("hard", "$hard").was("is left out: every constraint is hard; for a wish there is the affinity block"),
	num("weight", "$weight").was("is left out: a constraint has no weight; for a wish there is the affinity block"),
).then(expandConstraint)

var affinityBlock = table("affinity",
	str("attribute", "LTarget").act(),
	str("value", "RTarget").act(),
	str("operator", "Operand").dflt("=").act(),
	num("weight", "Weight").within(-128, 127).dflt(50).act(),
	str("version", "$version"),
	str("semver", "$semver"),
	str("regexp", "$regexp"),
	str("set_contains", "$set_contains"),
	str("set_contains_all", "$set_contains_all"),
	str("set_contains_any", "$set_contains_any"),
).then(expandConstraint)

var spreadBlock = table("spread",
	str("attribute", "Attribute").act(),
	num("weight", "Weight").within(-128, 127).dflt(50).act(),
	many("target", "SpreadTarget", table("target",
		str("", "Value").act(),
		num("percent", "Percent").within(0, 255).act(),
	).labelled("Value")).act(),
)

var updateBlock = table("update",
	dur("stagger", "Stagger"),
	num("max_parallel", "MaxParallel"),
	str("health_check", "HealthCheck"),
	dur("min_healthy_time", "MinHealthyTime"),
	dur("healthy_deadline", "HealthyDeadline"),
	dur("progress_deadline", "ProgressDeadline"),
	num("canary", "Canary"),
	flag("auto_revert", "AutoRevert"),
	flag("auto_promote", "AutoPromote"),
)

var rescheduleBlock = table("reschedule",
	num("attempts", "Attempts"),
	dur("interval", "Interval"),
	dur("delay", "Delay"),
	str("delay_function", "DelayFunction"),
	dur("max_delay", "MaxDelay"),
	flag("unlimited", "Unlimited"),
)

var migrateBlock = table("migrate",
	num("max_parallel", "MaxParallel"),
	str("health_check", "HealthCheck"),
	dur("min_healthy_time", "MinHealthyTime"),
	dur("healthy_deadline", "HealthyDeadline"),
)

var restartBlock = table("restart",
	num("attempts", "Attempts").act(),
	dur("interval", "Interval").act(),
	dur("delay", "Delay").act(),
	str("mode", "Mode").act(),
	flag("render_templates", "RenderTemplates").act(),
	flag("on_success", "$on_success").was("is left out: a service's task is always restarted, a batch job's only after a failure"),
)

var disconnectBlock = table("disconnect",
	dur("lost_after", "LostAfter").dflt(time.Duration(0)),
	dur("stop_on_client_after", "StopOnClientAfter"),
	flag("replace", "Replace").dflt(true),
	str("reconcile", "Reconcile").dflt("best_score"),
)

var networkBlock = table("network",
	str("mode", "Mode").act(), // no node makes others than the host's, which the validator says
	str("device", "Device"),
	str("cidr", "CIDR"),
	str("ip", "IP"),
	num("mbits", "MBits").act(), // ignored, which the validator says
	strs("dynamic_ports", "$dynamic_ports"),
	field{hcl: "reserved_ports", json: "$reserved_ports", kind: kindInts, lo: 1, hi: 65535},
	str("hostname", "Hostname"),
	one("dns", "DNS", table("dns",
		strs("servers", "Servers"),
		strs("searches", "Searches"),
		strs("options", "Options"),
	)),
	one("cni", "CNI", table("cni", strMap("args", "Args"))),
	many("port", "$ports", portBlock),
	many("", "ReservedPorts", portBlock).act(),
	many("", "DynamicPorts", portBlock).act(),
).then(splitPorts)

var portBlock = table("port",
	str("", "Label").act(),
	num("static", "Value").act(),
	num("to", "To").act(),
	str("host_network", "HostNetwork").dflt("default").act(),
	flag("ignore_collision", "IgnoreCollision").act(),
).labelled("Label")

var volumeBlock = table("volume",
	str("", "Name"),
	str("type", "Type"),
	str("source", "Source"),
	flag("read_only", "ReadOnly"),
	flag("sticky", "Sticky"),
	flag("per_alloc", "PerAlloc"),
	str("access_mode", "AccessMode"),
	str("attachment_mode", "AttachmentMode"),
	one("mount_options", "MountOptions", table("mount_options",
		str("fs_type", "FSType"),
		strs("mount_flags", "MountFlags"),
	)),
).labelled("Name")

var scalingBlock = table("scaling",
	num("min", "Min").act(),
	num("max", "Max").need().act(),
	flag("enabled", "Enabled").dflt(true).act(),
	str("type", "Type").dflt("horizontal").act(),
	opaque("policy", "Policy").act(), // autoscalers read it
	str("", "ID"),
	str("", "Namespace"),
	strMap("", "Target"),
)

var consulBlock = table("consul",
	str("namespace", "Namespace"),
	str("cluster", "Cluster").dflt("default"),
	str("partition", "Partition"),
)

var groupBlock = table("group",
	str("", "Name").act(),
	num("count", "Count").act(),
	many("task", "Tasks", taskBlock).act(),
	many("constraint", "Constraints", constraintBlock).act(),
	one("restart", "RestartPolicy", restartBlock).act(),
	one("ephemeral_disk", "EphemeralDisk", table("ephemeral_disk",
		num("size", "SizeMB").dflt(300).act(),
		flag("sticky", "Sticky").actFor(false),
		flag("migrate", "Migrate").actFor(false),
	)).ever().act(),
	many("network", "Networks", networkBlock).act(),
	strMap("meta", "Meta").act(),
	many("affinity", "Affinities", affinityBlock).act(),
	many("spread", "Spreads", spreadBlock).act(),
	mapped("volume", "Volumes", volumeBlock).act(), // no node offers any, which the validator says
	one("disconnect", "Disconnect", disconnectBlock),
	one("reschedule", "ReschedulePolicy", rescheduleBlock),
	one("update", "Update", updateBlock),
	one("migrate", "Migrate", migrateBlock),
	many("service", "Services", serviceBlock),
	one("scaling", "Scaling", scalingBlock).act(),
	one("consul", "Consul", consulBlock),
	dur("shutdown_delay", "ShutdownDelay").act(),
	dur("max_run_duration", "MaxRunDuration").act(),
	dur("stop_after_client_disconnect", "StopAfterClientDisconnect"),
	dur("max_client_disconnect", "MaxClientDisconnect"),
	flag("prevent_reschedule_on_lost", "PreventRescheduleOnLost"),
	one("vault", "$vault", vaultBlock),
	many("secret", "$secrets", secretBlock),
).labelled("Name").then(func(d *decoder, t tree) {
	// Only a file tells a limit of nothing from none: the API's JSON has 0 where there is no limit.
	if limit, written := t["MaxRunDuration"].(time.Duration); written && limit <= 0 {
		d.failBlock("Invalid max_run_duration", fmt.Sprintf("%s is no limit; leave the argument out where there is none.", limit))
	}
}).hint(
	"driver", "it belongs in a task",
	"config", "it belongs in a task",
	"resources", "it belongs in a task",
	"env", "it belongs in a task",
)

var jobBlock = table("job",
	str("id", "ID").act(),
	str("name", "Name").act(),
	str("type", "Type").dflt("service").act(),
	str("region", "Region").dflt("global").act(),
	str("namespace", "Namespace").dflt("default").act(),
	num("priority", "Priority").dflt(50).act(),
	flag("all_at_once", "AllAtOnce").act(),
	strs("datacenters", "Datacenters").dflt([]string{"*"}).act(),
	str("node_pool", "NodePool").act(),
	many("group", "TaskGroups", groupBlock).act(),
	many("constraint", "Constraints", constraintBlock).act(),
	strMap("meta", "Meta").act(),
	many("affinity", "Affinities", affinityBlock).act(),
	many("spread", "Spreads", spreadBlock).act(),
	one("update", "Update", updateBlock),
	one("reschedule", "Reschedule", rescheduleBlock),
	one("migrate", "Migrate", migrateBlock),
	// Periodic, parameterized and multiregion jobs are refused, which is an act.
	one("periodic", "Periodic", table("periodic",
		flag("enabled", "Enabled").dflt(true),
		str("cron", "Spec"),
		strs("crons", "Specs"),
		str("", "SpecType").dflt("cron"),
		flag("prohibit_overlap", "ProhibitOverlap"),
		str("time_zone", "TimeZone").dflt("UTC"),
	).acting()).act(),
	one("parameterized", "ParameterizedJob", table("parameterized",
		str("payload", "Payload").dflt("optional"),
		strs("meta_required", "MetaRequired"),
		strs("meta_optional", "MetaOptional"),
	).acting()).act(),
	one("multiregion", "Multiregion", table("multiregion",
		one("strategy", "Strategy", table("strategy",
			num("max_parallel", "MaxParallel"),
			str("on_failure", "OnFailure"),
		).acting()),
		many("region", "Regions", table("region",
			str("", "Name"),
			num("count", "Count"),
			strs("datacenters", "Datacenters"),
			str("node_pool", "NodePool"),
			strMap("meta", "Meta"),
		).labelled("Name").acting()),
	).acting()).act(),
	one("ui", "UI", table("ui",
		str("description", "Description"),
		many("link", "Links", table("link",
			str("label", "Label"),
			str("url", "URL"),
		).acting()),
	).acting()).act(),
	str("consul_namespace", "ConsulNamespace").actFor(""),
	str("vault_namespace", "VaultNamespace").actFor(""),
	flag("", "Stop").act(),
	flag("", "Dispatched").act(),
	str("", "ParentID").act(),
	field{json: "Payload", kind: kindBytes, acts: true},
	// Tokens are accepted and dropped: a stored token is a leaked one.
	str("vault_token", "$vault_token"),
	str("consul_token", "$consul_token"),
	many("service", "$services", serviceBlock),
	many("task", "$tasks", taskBlock),
	one("vault", "$vault", vaultBlock),
	many("secret", "$secrets", secretBlock),
).labelled("$label").then(expandJob).hint(
	"network", "move it into a group",
	"count", "move it into a group",
	"driver", "it belongs in a task",
	"config", "it belongs in a task",
	"resources", "it belongs in a task",
	"restart", "move it into a group or a task",
	"env", "it belongs in a task",
	"volume", "move it into a group",
	"ephemeral_disk", "move it into a group",
)
