//! CLUSTER, ASKING, READONLY and READWRITE of a server that is no part of a cluster: clients ask them to learn that.
//! Source: the replies of redis-server 8.0.

use super::*;

const SLOTS_GIVEN: &str = "O(N) where N is the total number of hash slot arguments";
const SLOTS_BETWEEN: &str =
    "O(N) where N is the total number of the slots between the start slot and end slot arguments.";

/// A subcommand that changes the cluster.
const fn change(name: &'static str, arity: i16) -> Command {
    Command::new(name, arity, disabled).flags(ADMIN | STALE | NO_ASYNC_LOADING)
}

/// A subcommand that looks at it.
const fn look(name: &'static str, arity: i16) -> Command {
    Command::new(name, arity, disabled).flags(STALE)
}

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("asking", 1, disabled)
        .flags(FAST)
        .categories(CAT_CONNECTION)
        .doc(Group::Cluster, "3.0.0", "O(1)", "Allows the next command to use a hash slot that is being moved here."),
    Command::new("readonly", 1, disabled)
        .flags(LOADING | STALE | FAST)
        .categories(CAT_CONNECTION)
        .doc(Group::Cluster, "3.0.0", "O(1)", "Allows reads on a replica of a cluster."),
    Command::new("readwrite", 1, disabled)
        .flags(LOADING | STALE | FAST)
        .categories(CAT_CONNECTION)
        .doc(Group::Cluster, "3.0.0", "O(1)", "Takes back READONLY."),
    Command::new("cluster", -2, disabled)
        .doc(Group::Cluster, "3.0.0", "Depends on subcommand.", "Holds the commands of a cluster.")
        .subcommands(&[
        change("addslots", -3)
            .doc(Group::Cluster, "3.0.0", SLOTS_GIVEN, "Assigns hash slots to this node.")
            .syntax("slot{:integer} [slot{:integer} ...]"),
        change("addslotsrange", -4)
            .doc(Group::Cluster, "7.0.0", SLOTS_BETWEEN, "Assigns ranges of hash slots to this node.")
            .syntax("<start-slot{:integer} end-slot{:integer}>{=range} ..."),
        change("bumpepoch", 2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Raises this node's epoch.")
            .tips(&["nondeterministic_output"]),
        Command::new("count-failure-reports", 3, disabled)
            .flags(ADMIN | STALE)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the number of failure reports", "Returns how many nodes report a node as failing.")
            .syntax("node-id")
            .tips(&["nondeterministic_output"]),
        look("countkeysinslot", 3)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Returns the number of keys in a hash slot.")
            .syntax("slot{:integer}"),
        change("delslots", -3)
            .doc(Group::Cluster, "3.0.0", SLOTS_GIVEN, "Takes hash slots from this node.")
            .syntax("slot{:integer} [slot{:integer} ...]"),
        change("delslotsrange", -4)
            .doc(Group::Cluster, "7.0.0", SLOTS_BETWEEN, "Takes ranges of hash slots from this node.")
            .syntax("<start-slot{:integer} end-slot{:integer}>{=range} ..."),
        change("failover", -2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Makes this replica its primary's successor.")
            .syntax("[FORCE | TAKEOVER]{=options}"),
        change("flushslots", 2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Takes all hash slots from this node."),
        change("forget", 3)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Removes a node from the table of nodes.")
            .syntax("node-id"),
        look("getkeysinslot", 4)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the number of requested keys", "Returns names of keys in a hash slot.")
            .syntax("slot{:integer} count{:integer}")
            .tips(&["nondeterministic_output"]),
        Command::new("help", 2, disabled)
            .flags(LOADING | STALE)
            .doc(Group::Cluster, "5.0.0", "O(1)", "Describes the subcommands."),
        look("info", 2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Returns the state of the cluster.")
            .tips(&["nondeterministic_output"]),
        look("keyslot", 3)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the number of bytes in the key", "Returns the hash slot of a key.")
            .syntax("key{:string}"),
        look("links", 2)
            .doc(Group::Cluster, "7.0.0", "O(N) where N is the total number of Cluster nodes", "Returns the links to and from other nodes.")
            .tips(&["nondeterministic_output"]),
        change("meet", -4)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Joins this node with another.")
            .syntax("ip port{:integer} [cluster-bus-port{:integer @4.0.0}]")
            .history(&[("4.0.0", "Added the optional `cluster_bus_port` argument.")]),
        look("myid", 2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Returns this node's id."),
        look("myshardid", 2)
            .doc(Group::Cluster, "7.2.0", "O(1)", "Returns the id of this node's shard.")
            .tips(&["nondeterministic_output"]),
        look("nodes", 2)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the total number of Cluster nodes", "Returns the nodes as nodes.conf lists them.")
            .tips(&["nondeterministic_output"]),
        Command::new("replicas", 3, disabled)
            .flags(ADMIN | STALE)
            .doc(Group::Cluster, "5.0.0", "O(N) where N is the number of replicas.", "Returns the replicas of a primary.")
            .syntax("node-id")
            .tips(&["nondeterministic_output"]),
        change("replicate", 3)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Makes this node the replica of another.")
            .syntax("node-id"),
        Command::new("reset", -2, disabled)
            .flags(ADMIN | STALE | NOSCRIPT)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.", "Forgets the cluster.")
            .syntax("[HARD | SOFT]{=reset-type}"),
        change("saveconfig", 2)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Writes nodes.conf to the disk."),
        change("set-config-epoch", 3)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Sets the epoch of a new node.")
            .syntax("config-epoch{:integer}"),
        change("setslot", -4)
            .doc(Group::Cluster, "3.0.0", "O(1)", "Binds a hash slot to a node, or moves it.")
            .syntax("slot{:integer} <IMPORTING node-id{=importing} | MIGRATING node-id{=migrating} | NODE node-id{=node} | STABLE>{=subcommand}"),
        Command::new("shards", 2, disabled)
            .flags(LOADING | STALE)
            .doc(Group::Cluster, "7.0.0", "O(N) where N is the total number of cluster nodes", "Returns the hash slots and nodes of every shard.")
            .tips(&["nondeterministic_output"]),
        Command::new("slaves", 3, disabled)
            .flags(ADMIN | STALE)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the number of replicas.", "Returns the replicas of a primary.")
            .syntax("node-id")
            .tips(&["nondeterministic_output"])
            .deprecated("5.0.0", "`CLUSTER REPLICAS`"),
        Command::new("slots", 2, disabled)
            .flags(LOADING | STALE)
            .doc(Group::Cluster, "3.0.0", "O(N) where N is the total number of Cluster nodes", "Returns the nodes of every range of hash slots.")
            .history(&[("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")])
            .tips(&["nondeterministic_output"])
            .deprecated("7.0.0", "`CLUSTER SHARDS`"),
    ]),
];

/// Any of them. Errors: always, as Redis where `cluster-enabled` is no. O(1).
fn disabled(_: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::text(
        "ERR This instance has cluster support disabled",
    ))
}
