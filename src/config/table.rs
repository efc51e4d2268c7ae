//! Every directive: one row each, and the [`Config`] struct made from the rows.
//!
//! A row reads: field, type and default; the name and, after `|`, its other name; what values are
//! accepted; flags; and whether it has an effect here. To add a directive add a row; CONFIG GET,
//! SET and REWRITE and the file syntax follow from it. Names, defaults, ranges and flags were read
//! off a running Redis 8.0; only `io-nap-us` and `io-spin-us` are our own.

use super::special::*;
use super::value::Rule::{Any, Check, Memory, Range};
use super::value::*;

const I32_MIN: i64 = i32::MIN as i64;
const I32_MAX: i64 = i32::MAX as i64;
const U32_MAX: i64 = u32::MAX as i64;

/// Cannot be changed by CONFIG SET.
pub const IMMUTABLE: u8 = 1 << 0;
/// CONFIG SET needs `enable-protected-configs`.
pub const PROTECTED: u8 = 1 << 1;
/// Left out when CONFIG GET matches a pattern.
pub const HIDDEN: u8 = 1 << 2;
/// The value must not be shown in logs.
pub const SENSITIVE: u8 = 1 << 3;
/// Takes several arguments; one argument is split into several.
pub const MULTI_ARG: u8 = 1 << 4;
/// CONFIG SET answers LOADING while a data set is loaded.
pub const DENY_LOADING: u8 = 1 << 5;

/// Whether a directive does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// As in Redis.
    Works,
    /// Kept, served and written, without effect. README lists these.
    StoredOnly,
    /// Any value but the default is an error, for this reason: ignoring it would be unsafe.
    Refused(&'static str),
}

/// One row of the table.
pub struct Directive {
    /// Which row this is.
    pub id: Id,
    /// The name.
    pub name: &'static str,
    /// The other name.
    pub alias: Option<&'static str>,
    /// [`IMMUTABLE`], [`PROTECTED`], …
    pub flags: u8,
    /// Whether it does anything here.
    pub effect: Effect,
    pub(super) rule: Rule,
    pub(super) get: fn(&Config) -> &dyn Setting,
    pub(super) get_mut: fn(&mut Config) -> &mut dyn Setting,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! directives {
    ($($field:ident: $type:ty = $default:expr, $name:literal $(| $alias:literal)?, $rule:expr, $flags:expr, $effect:expr;)+) => {
        /// The value of every directive, as a field of its own type.
        ///
        /// Cheap to read, a few KiB to clone. CONFIG SET replaces it as a whole.
        #[derive(Clone, Debug)]
        pub struct Config {
            $(#[doc = concat!("`", $name, "`")] pub $field: $type,)+
            /// The absolute path of the configuration file, when there is one.
            pub file: Option<std::path::PathBuf>,
            /// `rename-command` lines, in order.
            pub renames: Vec<Rename>,
        }

        impl Default for Config {
            fn default() -> Config {
                Config { $($field: $default,)+ file: None, renames: Vec::new() }
            }
        }

        /// Names a directive; the variant is the field of [`Config`].
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Id { $(#[doc = concat!("`", $name, "`")] $field),+ }

        /// All directives, by name.
        pub static DIRECTIVES: &[Directive] = &[$(Directive {
            id: Id::$field,
            name: $name,
            alias: { let alias: Option<&'static str> = None; $(let _ = alias; let alias = Some($alias);)? alias },
            flags: $flags,
            effect: $effect,
            rule: $rule,
            get: |config| &config.$field,
            get_mut: |config| &mut config.$field,
        }),+];
    };
}

use super::check;
use super::load::Rename;
use Effect::{Refused, StoredOnly, Works};

#[rustfmt::skip]
directives! {
    acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, "acl-pubsub-default", Any, 0, StoredOnly;
    aclfile: Text = Text::from(""), "aclfile", Any, IMMUTABLE, Refused("access control lists are not implemented yet");
    acllog_max_len: i64 = 128, "acllog-max-len", Range(0, i64::MAX), 0, StoredOnly;
    active_defrag_cycle_max: i64 = 25, "active-defrag-cycle-max", Range(1, 99), 0, StoredOnly;
    active_defrag_cycle_min: i64 = 1, "active-defrag-cycle-min", Range(1, 99), 0, StoredOnly;
    active_defrag_ignore_bytes: i64 = 104857600, "active-defrag-ignore-bytes", Memory(1, i64::MAX), 0, StoredOnly;
    active_defrag_max_scan_fields: i64 = 1000, "active-defrag-max-scan-fields", Range(1, i64::MAX), 0, StoredOnly;
    active_defrag_threshold_lower: i64 = 10, "active-defrag-threshold-lower", Range(0, 1000), 0, StoredOnly;
    active_defrag_threshold_upper: i64 = 100, "active-defrag-threshold-upper", Range(0, 1000), 0, StoredOnly;
    active_expire_effort: i64 = 1, "active-expire-effort", Range(1, 10), 0, StoredOnly;
    activedefrag: bool = false, "activedefrag", Any, 0, StoredOnly;
    activerehashing: bool = true, "activerehashing", Any, 0, StoredOnly;
    always_show_logo: bool = false, "always-show-logo", Any, IMMUTABLE, Works;
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", Any, HIDDEN, StoredOnly;
    aof_load_truncated: bool = true, "aof-load-truncated", Any, 0, StoredOnly;
    aof_rewrite_cpulist: Text = Text::from(""), "aof-rewrite-cpulist" | "aof_rewrite_cpulist", Any, IMMUTABLE, StoredOnly;
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", Any, 0, StoredOnly;
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", Any, 0, StoredOnly;
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", Any, 0, StoredOnly;
    appenddirname: Text = Text::from("appendonlydir"), "appenddirname", Check(check::append_dir_name), IMMUTABLE, StoredOnly;
    appendfilename: Text = Text::from("appendonly.aof"), "appendfilename", Check(check::append_file_name), IMMUTABLE, StoredOnly;
    appendfsync: AppendFsync = AppendFsync::EverySecond, "appendfsync", Any, 0, StoredOnly;
    appendonly: bool = false, "appendonly", Any, DENY_LOADING, Refused("the append-only file is not implemented yet");
    auto_aof_rewrite_min_size: i64 = 67108864, "auto-aof-rewrite-min-size", Memory(0, i64::MAX), 0, StoredOnly;
    auto_aof_rewrite_percentage: i64 = 100, "auto-aof-rewrite-percentage", Range(0, I32_MAX), 0, StoredOnly;
    bgsave_cpulist: Text = Text::from(""), "bgsave-cpulist" | "bgsave_cpulist", Any, IMMUTABLE, StoredOnly;
    bind: Bind = Bind::default(), "bind", Any, MULTI_ARG, Works;
    bind_source_addr: Text = Text::from(""), "bind-source-addr", Any, 0, Works;
    bio_cpulist: Text = Text::from(""), "bio-cpulist" | "bio_cpulist", Any, IMMUTABLE, StoredOnly;
    busy_reply_threshold: i64 = 5000, "busy-reply-threshold" | "lua-time-limit", Range(0, i64::MAX), 0, StoredOnly;
    client_output_buffer_limit: OutputLimits = OutputLimits::default(), "client-output-buffer-limit", Any, MULTI_ARG, Works;
    client_query_buffer_limit: i64 = 1073741824, "client-query-buffer-limit", Memory(1048576, i64::MAX), 0, Works;
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", Any, 0, StoredOnly;
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", Any, 0, StoredOnly;
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", Any, 0, StoredOnly;
    cluster_announce_bus_port: i64 = 0, "cluster-announce-bus-port", Range(0, 65535), 0, StoredOnly;
    cluster_announce_hostname: Text = Text::from(""), "cluster-announce-hostname", Check(check::announced_host), 0, StoredOnly;
    cluster_announce_human_nodename: Text = Text::from(""), "cluster-announce-human-nodename", Check(check::announced_name), 0, StoredOnly;
    cluster_announce_ip: Text = Text::from(""), "cluster-announce-ip", Any, 0, StoredOnly;
    cluster_announce_port: i64 = 0, "cluster-announce-port", Range(0, 65535), 0, StoredOnly;
    cluster_announce_tls_port: i64 = 0, "cluster-announce-tls-port", Range(0, 65535), 0, StoredOnly;
    cluster_compatibility_sample_ratio: i64 = 0, "cluster-compatibility-sample-ratio", Range(0, 100), 0, StoredOnly;
    cluster_config_file: Text = Text::from("nodes.conf"), "cluster-config-file", Any, IMMUTABLE, StoredOnly;
    cluster_enabled: bool = false, "cluster-enabled", Any, IMMUTABLE, Refused("cluster mode is not implemented yet");
    cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", Any, 0, StoredOnly;
    cluster_migration_barrier: i64 = 1, "cluster-migration-barrier", Range(0, I32_MAX), 0, StoredOnly;
    cluster_node_timeout: i64 = 15000, "cluster-node-timeout", Range(0, i64::MAX), 0, StoredOnly;
    cluster_ping_interval: i64 = 0, "cluster-ping-interval", Range(0, i64::MAX), HIDDEN, StoredOnly;
    cluster_port: i64 = 0, "cluster-port", Range(0, 65535), IMMUTABLE, StoredOnly;
    cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip, "cluster-preferred-endpoint-type", Any, 0, StoredOnly;
    cluster_replica_no_failover: bool = false, "cluster-replica-no-failover" | "cluster-slave-no-failover", Any, 0, StoredOnly;
    cluster_replica_validity_factor: i64 = 10, "cluster-replica-validity-factor" | "cluster-slave-validity-factor", Range(0, I32_MAX), 0, StoredOnly;
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", Any, 0, StoredOnly;
    crash_log_enabled: bool = true, "crash-log-enabled", Any, 0, Works;
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", Any, 0, StoredOnly;
    daemonize: bool = false, "daemonize", Any, IMMUTABLE, Works;
    databases: i64 = 16, "databases", Range(1, I32_MAX), IMMUTABLE, Works;
    dbfilename: Text = Text::from("dump.rdb"), "dbfilename", Check(check::file_name), PROTECTED, Works;
    dir: Text = Text::from("."), "dir", Any, PROTECTED|DENY_LOADING, Works;
    disable_thp: bool = true, "disable-thp", Any, IMMUTABLE, Works;
    dynamic_hz: bool = true, "dynamic-hz", Any, 0, StoredOnly;
    enable_debug_command: Permit = Permit::No, "enable-debug-command", Any, IMMUTABLE, Works;
    enable_module_command: Permit = Permit::No, "enable-module-command", Any, IMMUTABLE, Works;
    enable_protected_configs: Permit = Permit::No, "enable-protected-configs", Any, IMMUTABLE, Works;
    hash_max_listpack_entries: i64 = 512, "hash-max-listpack-entries" | "hash-max-ziplist-entries", Range(0, i64::MAX), 0, Works;
    hash_max_listpack_value: i64 = 64, "hash-max-listpack-value" | "hash-max-ziplist-value", Memory(0, i64::MAX), 0, Works;
    hide_user_data_from_log: bool = false, "hide-user-data-from-log", Any, 0, Works;
    hll_sparse_max_bytes: i64 = 3000, "hll-sparse-max-bytes", Memory(0, i64::MAX), 0, Works;
    hz: i64 = 10, "hz", Range(0, I32_MAX), 0, Works;
    ignore_warnings: Text = Text::from(""), "ignore-warnings", Any, 0, StoredOnly;
    io_nap_us: i64 = 150, "io-nap-us", Range(0, 1000), 0, Works;
    io_spin_us: i64 = 20, "io-spin-us", Range(0, 1000), 0, Works;
    io_threads: i64 = 1, "io-threads", Range(1, 128), IMMUTABLE, StoredOnly;
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", Any, 0, Works;
    key_load_delay: i64 = 0, "key-load-delay", Range(I32_MIN, I32_MAX), HIDDEN, Works;
    latency_monitor_threshold: i64 = 0, "latency-monitor-threshold", Range(0, i64::MAX), 0, Works;
    latency_tracking: bool = true, "latency-tracking", Any, 0, Works;
    latency_tracking_info_percentiles: Percentiles = Percentiles::default(), "latency-tracking-info-percentiles", Any, MULTI_ARG, Works;
    lazyfree_lazy_eviction: bool = false, "lazyfree-lazy-eviction", Any, 0, StoredOnly;
    lazyfree_lazy_expire: bool = false, "lazyfree-lazy-expire", Any, 0, Works;
    lazyfree_lazy_server_del: bool = false, "lazyfree-lazy-server-del", Any, 0, StoredOnly;
    lazyfree_lazy_user_del: bool = false, "lazyfree-lazy-user-del", Any, 0, StoredOnly;
    lazyfree_lazy_user_flush: bool = false, "lazyfree-lazy-user-flush", Any, 0, Works;
    lfu_decay_time: i64 = 1, "lfu-decay-time", Range(0, I32_MAX), 0, Works;
    lfu_log_factor: i64 = 10, "lfu-log-factor", Range(0, I32_MAX), 0, Works;
    list_compress_depth: i64 = 0, "list-compress-depth", Range(0, I32_MAX), 0, StoredOnly;
    list_max_listpack_size: i64 = -2, "list-max-listpack-size" | "list-max-ziplist-size", Range(I32_MIN, I32_MAX), 0, Works;
    loading_process_events_interval_bytes: i64 = 524288, "loading-process-events-interval-bytes", Range(1024, I32_MAX), HIDDEN, Works;
    locale_collate: Text = Text::from(""), "locale-collate", Check(check::locale), 0, StoredOnly;
    logfile: Text = Text::from(""), "logfile", Any, IMMUTABLE, Works;
    loglevel: LogLevel = LogLevel::Notice, "loglevel", Any, 0, Works;
    lua_enable_deprecated_api: bool = false, "lua-enable-deprecated-api", Any, IMMUTABLE|HIDDEN, StoredOnly;
    masterauth: Text = Text::from(""), "masterauth", Any, SENSITIVE, Works;
    masteruser: Text = Text::from(""), "masteruser", Any, SENSITIVE, Works;
    max_new_connections_per_cycle: i64 = 10, "max-new-connections-per-cycle", Range(1, 1000), 0, StoredOnly;
    max_new_tls_connections_per_cycle: i64 = 1, "max-new-tls-connections-per-cycle", Range(1, 1000), 0, StoredOnly;
    maxclients: i64 = 10000, "maxclients", Range(1, U32_MAX), 0, Works;
    maxmemory: u64 = 0, "maxmemory", Any, 0, Works;
    maxmemory_clients: MemoryOrPercent = MemoryOrPercent::Bytes(0), "maxmemory-clients", Any, 0, StoredOnly;
    maxmemory_eviction_tenacity: i64 = 10, "maxmemory-eviction-tenacity", Range(0, 100), 0, StoredOnly;
    maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, "maxmemory-policy", Any, 0, Works;
    maxmemory_samples: i64 = 5, "maxmemory-samples", Range(1, 64), 0, StoredOnly;
    min_replicas_max_lag: i64 = 10, "min-replicas-max-lag" | "min-slaves-max-lag", Range(0, I32_MAX), 0, Works;
    min_replicas_to_write: i64 = 0, "min-replicas-to-write" | "min-slaves-to-write", Range(0, I32_MAX), 0, Works;
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", Any, 0, StoredOnly;
    notify_keyspace_events: NotifyEvents = NotifyEvents::default(), "notify-keyspace-events", Any, 0, Works;
    oom_score_adj: OomScoreAdj = OomScoreAdj::No, "oom-score-adj", Any, 0, Works;
    oom_score_adj_values: OomScores = OomScores([0, 200, 800]), "oom-score-adj-values", Any, MULTI_ARG, Works;
    pidfile: Text = Text::from(""), "pidfile", Any, IMMUTABLE, Works;
    port: i64 = 6379, "port", Range(0, 65535), 0, Works;
    proc_title_template: Text = Text::from("{title} {listen-addr} {server-mode}"), "proc-title-template", Check(check::title_template), 0, Works;
    propagation_error_behavior: PropagationError = PropagationError::Stop, "propagation-error-behavior", Any, 0, Works;
    protected_mode: bool = true, "protected-mode", Any, 0, Works;
    proto_max_bulk_len: i64 = 536870912, "proto-max-bulk-len", Memory(1048576, i64::MAX), 0, Works;
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", Any, 0, StoredOnly;
    rdb_key_save_delay: i64 = 0, "rdb-key-save-delay", Range(I32_MIN, I32_MAX), HIDDEN, Works;
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", Any, 0, Works;
    rdbchecksum: bool = true, "rdbchecksum", Any, IMMUTABLE, Works;
    rdbcompression: bool = true, "rdbcompression", Any, 0, Works;
    repl_backlog_size: i64 = 1048576, "repl-backlog-size", Memory(1, i64::MAX), 0, Works;
    repl_backlog_ttl: i64 = 3600, "repl-backlog-ttl", Range(0, i64::MAX), 0, Works;
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", Any, 0, StoredOnly;
    repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, "repl-diskless-load", Any, 0, Works;
    repl_diskless_sync: bool = true, "repl-diskless-sync", Any, 0, Works;
    repl_diskless_sync_delay: i64 = 5, "repl-diskless-sync-delay", Range(0, I32_MAX), 0, Works;
    repl_diskless_sync_max_replicas: i64 = 0, "repl-diskless-sync-max-replicas", Range(0, I32_MAX), 0, Works;
    repl_ping_replica_period: i64 = 10, "repl-ping-replica-period" | "repl-ping-slave-period", Range(1, I32_MAX), 0, Works;
    repl_rdb_channel: bool = true, "repl-rdb-channel", Any, HIDDEN, StoredOnly;
    repl_timeout: i64 = 60, "repl-timeout", Range(1, I32_MAX), 0, Works;
    replica_announce_ip: Text = Text::from(""), "replica-announce-ip" | "slave-announce-ip", Any, 0, Works;
    replica_announce_port: i64 = 0, "replica-announce-port" | "slave-announce-port", Range(0, 65535), 0, Works;
    replica_announced: bool = true, "replica-announced", Any, 0, Works;
    replica_full_sync_buffer_limit: i64 = 0, "replica-full-sync-buffer-limit", Memory(0, i64::MAX), 0, StoredOnly;
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", Any, 0, StoredOnly;
    replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" | "slave-ignore-maxmemory", Any, 0, StoredOnly;
    replica_lazy_flush: bool = false, "replica-lazy-flush" | "slave-lazy-flush", Any, 0, StoredOnly;
    replica_priority: i64 = 100, "replica-priority" | "slave-priority", Range(0, I32_MAX), 0, Works;
    replica_read_only: bool = true, "replica-read-only" | "slave-read-only", Any, 0, Works;
    replica_serve_stale_data: bool = true, "replica-serve-stale-data" | "slave-serve-stale-data", Any, 0, Works;
    replicaof: ReplicaOf = ReplicaOf::default(), "replicaof" | "slaveof", Any, IMMUTABLE|MULTI_ARG, Works;
    requirepass: Text = Text::from(""), "requirepass", Any, SENSITIVE, Works;
    sanitize_dump_payload: SanitizeDump = SanitizeDump::No, "sanitize-dump-payload", Any, 0, StoredOnly;
    save: SavePoints = SavePoints::default(), "save", Any, MULTI_ARG, Works;
    server_cpulist: Text = Text::from(""), "server-cpulist" | "server_cpulist", Any, IMMUTABLE, Works;
    set_max_intset_entries: i64 = 512, "set-max-intset-entries", Range(0, i64::MAX), 0, Works;
    set_max_listpack_entries: i64 = 128, "set-max-listpack-entries", Range(0, i64::MAX), 0, Works;
    set_max_listpack_value: i64 = 64, "set-max-listpack-value", Range(0, i64::MAX), 0, Works;
    set_proc_title: bool = true, "set-proc-title", Any, IMMUTABLE, Works;
    shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(), "shutdown-on-sigint", Any, MULTI_ARG, Works;
    shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(), "shutdown-on-sigterm", Any, MULTI_ARG, Works;
    shutdown_timeout: i64 = 10, "shutdown-timeout", Range(0, I32_MAX), 0, Works;
    slowlog_log_slower_than: i64 = 10000, "slowlog-log-slower-than", Range(-1, i64::MAX), 0, Works;
    slowlog_max_len: i64 = 128, "slowlog-max-len", Range(0, i64::MAX), 0, Works;
    socket_mark_id: i64 = 0, "socket-mark-id", Range(0, U32_MAX), IMMUTABLE, Refused("marking sockets is not implemented");
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", Any, 0, Works;
    stream_node_max_bytes: i64 = 4096, "stream-node-max-bytes", Memory(0, i64::MAX), 0, Works;
    stream_node_max_entries: i64 = 100, "stream-node-max-entries", Range(0, i64::MAX), 0, Works;
    supervised: Supervised = Supervised::No, "supervised", Any, IMMUTABLE, Works;
    syslog_enabled: bool = false, "syslog-enabled", Any, IMMUTABLE, Works;
    syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", Any, IMMUTABLE, Works;
    syslog_ident: Text = Text::from("redis"), "syslog-ident", Any, IMMUTABLE, Works;
    tcp_backlog: i64 = 511, "tcp-backlog", Range(0, I32_MAX), IMMUTABLE, Works;
    tcp_keepalive: i64 = 300, "tcp-keepalive", Range(0, I32_MAX), 0, Works;
    timeout: i64 = 0, "timeout", Range(0, I32_MAX), 0, Works;
    tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, "tls-auth-clients", Any, 0, StoredOnly;
    tls_ca_cert_dir: Text = Text::from(""), "tls-ca-cert-dir", Any, 0, StoredOnly;
    tls_ca_cert_file: Text = Text::from(""), "tls-ca-cert-file", Any, 0, StoredOnly;
    tls_cert_file: Text = Text::from(""), "tls-cert-file", Any, 0, StoredOnly;
    tls_ciphers: Text = Text::from(""), "tls-ciphers", Any, 0, StoredOnly;
    tls_ciphersuites: Text = Text::from(""), "tls-ciphersuites", Any, 0, StoredOnly;
    tls_client_cert_file: Text = Text::from(""), "tls-client-cert-file", Any, 0, StoredOnly;
    tls_client_key_file: Text = Text::from(""), "tls-client-key-file", Any, 0, StoredOnly;
    tls_client_key_file_pass: Text = Text::from(""), "tls-client-key-file-pass", Any, SENSITIVE, StoredOnly;
    tls_cluster: bool = false, "tls-cluster", Any, 0, Refused("TLS is not implemented yet");
    tls_dh_params_file: Text = Text::from(""), "tls-dh-params-file", Any, 0, StoredOnly;
    tls_key_file: Text = Text::from(""), "tls-key-file", Any, 0, StoredOnly;
    tls_key_file_pass: Text = Text::from(""), "tls-key-file-pass", Any, SENSITIVE, StoredOnly;
    tls_port: i64 = 0, "tls-port", Range(0, 65535), 0, Refused("TLS is not implemented yet");
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", Any, 0, StoredOnly;
    tls_protocols: Text = Text::from(""), "tls-protocols", Any, 0, StoredOnly;
    tls_replication: bool = false, "tls-replication", Any, 0, Refused("TLS is not implemented yet");
    tls_session_cache_size: i64 = 20480, "tls-session-cache-size", Range(0, I32_MAX), 0, StoredOnly;
    tls_session_cache_timeout: i64 = 300, "tls-session-cache-timeout", Range(0, I32_MAX), 0, StoredOnly;
    tls_session_caching: bool = true, "tls-session-caching", Any, 0, StoredOnly;
    tracking_table_max_keys: i64 = 1000000, "tracking-table-max-keys", Range(0, i64::MAX), 0, StoredOnly;
    unixsocket: Text = Text::from(""), "unixsocket", Any, IMMUTABLE, Works;
    unixsocketperm: OctalMode = OctalMode::default(), "unixsocketperm", Any, IMMUTABLE, Works;
    use_exit_on_panic: bool = false, "use-exit-on-panic", Any, HIDDEN, Works;
    watchdog_period: i64 = 0, "watchdog-period", Range(0, I32_MAX), HIDDEN, Works;
    zset_max_listpack_entries: i64 = 128, "zset-max-listpack-entries" | "zset-max-ziplist-entries", Range(0, i64::MAX), 0, Works;
    zset_max_listpack_value: i64 = 64, "zset-max-listpack-value" | "zset-max-ziplist-value", Memory(0, i64::MAX), 0, Works;
}

impl Directive {
    /// Which of the two names `written` is.
    pub fn spelled(&self, written: &[u8]) -> &'static str {
        match self.alias {
            Some(alias) if alias.as_bytes().eq_ignore_ascii_case(written) => alias,
            _ => self.name,
        }
    }
}

impl Id {
    /// The row.
    pub fn row(self) -> &'static Directive {
        &DIRECTIVES[self as usize]
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// The row of a name or other name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|row| {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        is(row.name) || row.alias.is_some_and(is)
    })
}
