package agentconfig

// kind is the shape of a key's value, which also decides how a later layer's
// value joins an earlier one's.
type kind uint8

const (
	text     kind = iota // string; a later non-empty one wins
	boolean              // true or false; can only be switched on, unless free
	number               // whole number; a later one that is not 0 wins
	fraction             // number; the same
	duration             // Go duration as a string; the same
	size                 // bytes as a number, or a string with a unit; the same
	list                 // of strings; a later one replaces
	appended             // of strings; a later one is appended
	table                // of strings; merged key by key
	section              // one block; merged key by key
	named                // blocks with a label; merged label by label
	opaque               // accepted with whatever is in it
)

// entry is one known key.
type entry struct {
	name string
	kind kind
	acts bool    // something in this version acts on it
	free bool    // a boolean that a later layer may also switch off
	sub  []entry // of a section, or of each named block
}

// acting marks keys that this version acts on; all others are accepted with a
// warning.
func acting(k kind, names ...string) []entry { return entries(true, k, names) }

// known makes keys that are accepted and not acted on.
func known(k kind, names ...string) []entry { return entries(false, k, names) }

func entries(acts bool, k kind, names []string) []entry {
	list := make([]entry, len(names))
	for i, name := range names {
		list[i] = entry{name: name, kind: k, acts: acts}
	}
	return list
}

// tristate makes booleans that a later layer may switch off again; nothing acts
// on them yet.
func tristate(names ...string) []entry {
	list := known(boolean, names...)
	for i := range list {
		list[i].free = true
	}
	return list
}

func block(name string, sub ...[]entry) []entry {
	return []entry{{name: name, kind: section, sub: join(sub...)}}
}

func labelled(name string, sub ...[]entry) []entry {
	return []entry{{name: name, kind: named, sub: join(sub...)}}
}

func join(lists ...[]entry) []entry {
	var all []entry
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// schema is every key of a configuration file. The order is that of the
// reference documentation of the field.
var schema = join(
	acting(text, "region", "datacenter", "name", "data_dir", "bind_addr", "log_level", "log_file"),
	acting(boolean, "log_json", "log_include_location", "leave_on_interrupt", "leave_on_terminate", "enable_debug"),
	acting(table, "http_api_response_headers"),
	known(text, "plugin_dir", "syslog_facility"),
	known(duration, "log_rotate_duration"),
	known(number, "log_rotate_bytes", "log_rotate_max_files"),
	known(boolean, "enable_syslog", "disable_anonymous_signature"),
	tristate("disable_update_check"),

	block("ports", acting(number, "http", "rpc", "serf", "raft")),
	block("addresses", acting(text, "http", "rpc", "serf", "raft")),
	block("advertise", acting(text, "http", "rpc", "serf", "raft")),

	block("server",
		acting(boolean, "enabled"),
		acting(number, "bootstrap_expect", "num_schedulers", "gc_kept_max"), // the last one is ours
		acting(duration, "heartbeat_grace", "min_heartbeat_ttl", "job_gc_interval", "job_gc_threshold", "eval_gc_threshold",
			"batch_eval_gc_threshold", "node_gc_threshold"),
		known(size, "job_max_source_size"),
		known(number, "job_default_priority"),
		acting(appended, "start_join", "retry_join"), // refused, which is an act
		known(text, "data_dir", "authoritative_region", "encrypt", "oidc_issuer", "redundancy_zone", "upgrade_version", "license_path"),
		known(boolean, "rejoin_after_leave", "non_voting_server", "non_production"),
		tristate("enable_event_broker"),
		known(number, "raft_protocol", "raft_multiplier", "raft_trailing_logs", "raft_snapshot_threshold", "event_buffer_size",
			"plan_apply_pipeline", "job_max_priority", "job_max_count", "job_tracked_versions", "retry_max", "protocol_version"),
		known(fraction, "max_heartbeats_per_second", "deploy_query_rate_limit"),
		known(duration, "raft_snapshot_interval", "failover_heartbeat_ttl", "deployment_gc_threshold", "csi_volume_claim_gc_interval",
			"csi_volume_claim_gc_threshold", "csi_plugin_gc_threshold", "acl_token_gc_threshold", "root_key_gc_interval",
			"root_key_gc_threshold", "root_key_rotation_threshold", "start_timeout", "retry_interval"),
		acting(appended, "enabled_schedulers"),
		block("raft_logstore", known(text, "backend"), known(boolean, "disable_log_cache"),
			block("boltdb", known(boolean, "no_freelist_sync")),
			block("wal", known(number, "segment_size_mb")),
			block("verification", known(boolean, "enabled"), known(duration, "interval"))),
		block("raft_boltdb", known(boolean, "no_freelist_sync")),
		block("plan_rejection_tracker", known(boolean, "enabled"), known(number, "node_threshold"), known(duration, "node_window")),
		block("search", tristate("fuzzy_enabled"), known(number, "limit_query", "limit_results", "min_term_length")),
		block("default_scheduler_config", acting(text, "scheduler_algorithm"),
			acting(boolean, "memory_oversubscription_enabled", "reject_job_registration", "pause_eval_broker"),
			known(number, "node_limit_for_feasibility_checks"), // kept in the cluster; nothing acts on it, nor on the next
			block("preemption_config", tristate("system_scheduler_enabled", "sysbatch_scheduler_enabled", "batch_scheduler_enabled", "service_scheduler_enabled"))),
		block("client_introduction", known(text, "enforcement"), known(duration, "default_identity_ttl", "max_identity_ttl")),
		block("server_join", join(acting(appended, "start_join", "retry_join"), known(number, "retry_max"), known(duration, "retry_interval"))),
	),

	block("client",
		acting(boolean, "enabled", "default_ineligible"),
		acting(text, "state_dir", "alloc_dir", "node_class", "node_pool", "network_interface"),
		acting(appended, "servers"),
		acting(table, "meta", "options", "chroot_env"),
		acting(number, "cpu_total_compute", "memory_total_mb", "disk_total_mb", "min_dynamic_port", "max_dynamic_port"),
		acting(duration, "max_kill_timeout"),
		block("reserved", acting(number, "cpu", "memory", "disk"), acting(text, "reserved_ports"), known(text, "cores")),
		block("server_join", join(acting(appended, "retry_join"), known(appended, "start_join"), known(number, "retry_max"), known(duration, "retry_interval"))),
		known(boolean, "disable_remote_exec", "gc_volumes_on_node_gc", "cpu_disable_dmidecode", "bridge_network_hairpin_mode"),
		tristate("no_host_uuid", "nomad_service_discovery", "bind_wildcard_default_host_network"),
		known(text, "alloc_mounts_dir", "host_volumes_dir", "host_volume_plugin_dir", "common_plugin_dir", "preferred_address_family",
			"reservable_cores", "cgroup_parent", "cni_path", "cni_config_dir", "bridge_network_name", "bridge_network_subnet",
			"bridge_network_subnet_ipv6"),
		known(number, "client_min_port", "client_max_port"),
		acting(number, "network_speed", "node_max_allocs", "gc_parallel_destroys", "gc_max_allocs"),
		acting(fraction, "gc_disk_usage_threshold", "gc_inode_usage_threshold"),
		acting(duration, "gc_interval"),
		labelled("host_volume", acting(text, "path"), acting(boolean, "read_only")),
		labelled("host_network", acting(text, "cidr", "interface", "reserved_ports")),
		labelled("fingerprint", known(duration, "retry_interval"), known(number, "retry_attempts"), known(boolean, "exit_on_failure")),
		block("template", known(list, "function_denylist", "function_blacklist"), known(boolean, "disable_file_sandbox", "use_client_consul_token"),
			known(duration, "max_stale", "block_query_wait", "vault_default_lease_duration"),
			known(opaque, "wait", "wait_bounds", "consul_retry", "vault_retry", "nomad_retry")),
		block("artifact",
			acting(duration, "http_read_timeout", "git_timeout"), known(duration, "gcs_timeout", "hg_timeout", "s3_timeout"),
			acting(size, "http_max_size", "decompression_size_limit"), acting(number, "decompression_file_count_limit"),
			tristate("disable_artifact_inspection", "disable_filesystem_isolation"),
			known(list, "filesystem_isolation_extra_paths"), known(text, "set_environment_variables")),
		block("drain_on_shutdown", known(duration, "deadline"), known(boolean, "ignore_system_jobs", "force")),
		block("users", known(number, "dynamic_user_min", "dynamic_user_max")),
	),

	labelled("plugin", known(list, "args"), known(opaque, "config")),

	block("acl", known(boolean, "enabled"), known(text, "replication_token"),
		known(duration, "token_ttl", "policy_ttl", "role_ttl", "token_min_expiration_ttl", "token_max_expiration_ttl")),
	block("tls", known(boolean, "http", "rpc", "verify_server_hostname", "verify_https_client", "rpc_upgrade_mode", "tls_prefer_server_cipher_suites"),
		known(text, "ca_file", "cert_file", "key_file", "tls_cipher_suites", "tls_min_version")),
	block("limits", known(duration, "https_handshake_timeout", "rpc_handshake_timeout"), known(number, "http_max_conns_per_client", "rpc_max_conns_per_client")),
	block("rpc", known(number, "accept_backlog"),
		known(duration, "keep_alive_interval", "connection_write_timeout", "stream_open_timeout", "stream_close_timeout", "dial_timeout")),
	block("autopilot", tristate("cleanup_dead_servers"), known(duration, "last_contact_threshold", "server_stabilization_time"),
		known(number, "max_trailing_logs", "min_quorum"),
		known(boolean, "enable_redundancy_zones", "disable_upgrade_migration", "enable_custom_upgrades")),
	block("ui", tristate("enabled", "show_cli_hints"),
		block("consul", known(text, "ui_url")), block("vault", known(text, "ui_url")),
		block("label", known(text, "text", "background_color", "text_color")), known(opaque, "content_security_policy")),
	block("telemetry",
		known(duration, "collection_interval", "in_memory_collection_interval", "in_memory_retention_period"),
		acting(boolean, "prometheus_metrics"), // they are served in any case
		acting(boolean, "publish_allocation_metrics", "publish_node_metrics", "disable_hostname", "use_node_name"),
		known(boolean, "include_alloc_metadata_in_metrics",
			"disable_dispatched_job_summary_metrics", "disable_quota_utilization_metrics",
			"disable_rpc_rate_metrics_labels", "disable_allocation_hook_metrics"),
		tristate("filter_default"),
		known(appended, "allowed_metadata_keys_in_metrics"), known(list, "datadog_tags", "prefix_filter"),
		known(text, "statsd_address", "statsite_address", "datadog_address", "circonus_api_token", "circonus_api_app", "circonus_api_url",
			"circonus_submission_interval", "circonus_submission_url", "circonus_check_id", "circonus_check_force_metric_activation",
			"circonus_check_instance_id", "circonus_check_search_tag", "circonus_check_display_name", "circonus_check_tags",
			"circonus_broker_id", "circonus_broker_select_tag")),
	// Kept whole: the set of their keys is open, and none acts.
	known(opaque, "consul", "vault", "keyring", "audit", "sentinel", "reporting", "eventlog"),
)

// dockerSchema is the config of the docker driver.
var dockerSchema = join(
	acting(text, "endpoint"), acting(boolean, "allow_privileged", "disable_log_collection"), acting(list, "allow_caps", "extra_labels"),
	block("auth", acting(text, "config", "helper")),
	block("volumes", []entry{{name: "enabled", kind: boolean, acts: true, free: true}}, known(text, "selinuxlabel")),
	block("gc", []entry{{name: "image", kind: boolean, acts: true, free: true}, {name: "container", kind: boolean, acts: true, free: true}},
		acting(duration, "image_delay"),
		block("dangling_containers", []entry{{name: "enabled", kind: boolean, acts: true, free: true}}, acting(boolean, "dry_run"),
			acting(duration, "period", "creation_grace"))),
	block("tls", known(text, "cert", "key", "ca")),
	block("logging", known(text, "type", "driver"), known(table, "config")),
	known(list, "allow_runtimes"), known(text, "infra_image", "nvidia_runtime"), known(number, "pids_limit"),
	known(duration, "infra_image_pull_timeout", "pull_activity_timeout", "image_pull_timeout"),
	known(boolean, "windows_allow_insecure_container_admin", "disable_container_exec"),
)

// qemuSchema is the config of the qemu driver.
var qemuSchema = acting(list, "image_paths", "args_allowlist", "emulators_allowlist")

// containersSchema is the config of the drivers exec, java and oci.
var containersSchema = join(acting(text, "default_pid_mode", "default_ipc_mode"), acting(list, "allow_caps"))

// chrootSchema is that of exec and java.
var chrootSchema = join(containersSchema, acting(boolean, "no_pivot_root"), acting(text, "denied_host_uids", "denied_host_gids"))

// rawExecSchema is the config of the raw_exec driver.
var rawExecSchema = join(acting(boolean, "enabled"), acting(boolean, "no_cgroups"), // its tasks have none in any case
	acting(text, "denied_host_uids", "denied_host_gids"), acting(list, "denied_envvars"))

func lookup(keys []entry, name string) (entry, bool) {
	for _, e := range keys {
		if e.name == name {
			return e, true
		}
	}
	return entry{}, false
}
