//! The integration tests, one binary: an index with a sentence a module.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot go on panics; the helpers serve this binary only"
)]

// Two hosts on one machine, for the tests that need a network.
mod lab;
// A name server that answers by script.
mod nameserver;
// Network namespaces that leave nothing behind, for the tests of every topic.
mod netns;
// The built program and real peers as child processes.
mod program;

// The command line: exit codes, verbs, signals, rights.
mod cli;
// What every test of a boundary calls.
mod check;
// Job files: what is refused and with which words, what loads, and the schema.
mod jobfiles;
// Inputs that are too large, too deep or no files at all.
mod joblimits;
// The JSON schema is current and holds what we show.
mod schema;

// The daemon as a whole: what a scrape shows, what a reload changes, what a drain says.
mod daemon;
// Each numbered case has a test that names it.
mod cases;
// Documents that are made from the code are current.
mod documents;
// When runs start, what becomes of them, and how the engine ends.
mod engine;
// What a user copies from `examples/` works.
mod examples;
// A network that lies and fails, and what the built program makes of it.
mod falsenet;
// Pings and sweeps against real kernels, forged answers and broken networks.
mod icmp;
// The twelve one-liners, each against a real program that is not ours.
mod oneliners;
// tokio-cron-scheduler agrees on plain schedules.
mod oracle;
// The built forward between real programs: curl, nginx, iperf3, rsync, ssh, dig, socat, openssl.
mod peers;
// Waits, interfaces, IPv6 and children, against real kernels, services and name servers.
mod probes;
// The README is true.
mod readme;
// Clocks that change, in all zones, by an oracle of its own.
mod zones;
// A small network, jobs, and what must come of them: one file each.
mod scene;
// All sinks together: promtool, the schema, full disks, hostile text.
mod sinks;
// What survives a restart, and disks that fail.
mod state;
// Output that nobody reads, closed, full, held or renamed.
mod stuck;
// Forward, echo and exchange over real sockets of this machine.
mod streams;
// The house rules: heads, sizes, imports, closed sets, one job file a kind.
mod tidy;
