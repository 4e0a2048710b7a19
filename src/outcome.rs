//! What a run came to: verdicts, reasons, samples and notices. All that sinks may know of a kind, and nothing else.
//!
//! The enums here are closed sets: they become label and log values, so no peer's bytes can ever be one of them.

use std::time::Duration;

/// Declares a closed set of words, with its spelling in labels and logs.
macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $meaning:literal] $item:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $(#[doc = $meaning] $item,)* }

        impl $name {
            /// Every word of the set, in order.
            pub const ALL: &'static [Self] = &[$(Self::$item,)*];

            /// The word as it stands in labels, logs and `expect`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)* }
            }

            /// What the word means, a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$item => $meaning.trim_ascii_start(),)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

closed! {
    /// What a run came to; one to one with JUnit's four states.
    Verdict {
        /// We looked, and all that was expected holds.
        Passed = "passed",
        /// We looked, and something expected does not hold.
        Failed = "failed",
        /// We could not look.
        Errored = "errored",
        /// The run did not take place.
        Skipped = "skipped",
    }
}

closed! {
    /// Why a run failed or errored.
    Reason {
        /// No answer to a connection attempt within its time.
        ConnectTimeout = "connect_timeout",
        /// No answer within its time.
        Timeout = "timeout",
        /// The peer answered that nobody listens.
        Refused = "refused",
        /// The peer broke the connection off.
        Reset = "reset",
        /// The peer ended the connection in order, before the answer was whole.
        Closed = "closed",
        /// The name did not resolve.
        Dns = "dns",
        /// TLS could not be agreed on, or the certificate is not trusted.
        Tls = "tls",
        /// The HTTP status is not the wanted one.
        HttpStatus = "http_status",
        /// A router or the kernel says: no such host.
        HostUnreachable = "host_unreachable",
        /// A router or the kernel says: no such network.
        NetUnreachable = "net_unreachable",
        /// The host says: nobody listens on that port.
        PortUnreachable = "port_unreachable",
        /// A filter on the way says no.
        AdminProhibited = "admin_prohibited",
        /// The packet's hops ran out.
        TtlExceeded = "ttl_exceeded",
        /// The packet is too big for the way, and may not be split.
        TooBig = "too_big",
        /// This machine has no route to the target.
        NoRoute = "no_route",
        /// This machine does not speak IPv6.
        NoIpv6 = "no_ipv6",
        /// There is no such interface.
        NoInterface = "no_interface",
        /// The answer is not the wanted one.
        Mismatch = "mismatch",
        /// Nothing went wrong, and a comparison of `expect` failed.
        Expectation = "expectation",
        /// This process lacks a right.
        Permission = "permission",
        /// The address to listen on is taken.
        AddressInUse = "address_in_use",
        /// This machine is out of descriptors, memory or processes.
        Resources = "resources",
        /// This machine itself lost packets.
        LocalLoss = "local_loss",
        /// An input or output error that has no name of its own here.
        Io = "io",
        /// The run was ended from outside.
        Cancelled = "cancelled",
        /// A defect of this program.
        Bug = "bug",
    }
}

closed! {
    /// Why a connection of a service ended.
    Close {
        /// Both sides finished in order.
        Finished = "finished",
        /// The client broke it off.
        ClientReset = "client_reset",
        /// The upstream broke it off.
        UpstreamReset = "upstream_reset",
        /// The upstream refused.
        Refused = "refused",
        /// The upstream did not answer in time.
        ConnectTimeout = "connect_timeout",
        /// There is no way to the upstream.
        Unreachable = "unreachable",
        /// The upstream's name does not resolve.
        Dns = "dns",
        /// No byte passed for `idle_timeout`.
        IdleTimeout = "idle_timeout",
        /// One side had finished and the other was silent for `half_closed_timeout`.
        HalfClosedTimeout = "half_closed_timeout",
        /// The peer no longer answers.
        Vanished = "vanished",
        /// `allow` or `deny` says no.
        Denied = "denied",
        /// A limit of the job was reached.
        Limit = "limit",
        /// The connection leads back to its own listener.
        Loop = "loop",
        /// No upstream is in.
        NoUpstream = "no_upstream",
        /// The PROXY header is missing or wrong.
        ProxyHeader = "proxy_header",
        /// It was idle while the job drained.
        Drained = "drained",
        /// It was still busy when the grace ended.
        Grace = "grace",
        /// `inject` asked for it.
        Injected = "injected",
        /// This machine is out of descriptors or memory.
        Resources = "resources",
        /// A defect of this program.
        Bug = "bug",
    }
}

closed! {
    /// What a host's life is concluded from.
    Evidence {
        /// An ICMP echo reply.
        Echo = "echo",
        /// An ARP reply.
        Arp = "arp",
        /// A neighbour advertisement.
        Nd = "nd",
        /// An accepted TCP connection.
        TcpOpen = "tcp_open",
        /// A refused TCP connection.
        TcpRefused = "tcp_refused",
    }
}

closed! {
    /// What a sweep found of a host.
    HostState {
        /// It answered.
        Alive = "alive",
        /// Nothing answered.
        Silent = "silent",
        /// Something answered that the host cannot be reached.
        Unreachable = "unreachable",
    }
}

closed! {
    /// Why a start did not become a run.
    Cause {
        /// The previous run still goes.
        Overlap = "overlap",
        /// The runner was stopped or asleep.
        Missed = "missed",
        /// A job that comes first does not hold.
        Needs = "needs",
        /// The runner is stopping.
        Shutdown = "shutdown",
        /// A limit of the runner was reached.
        Limit = "limit",
    }
}

/// The unit of a measurement, always a base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of one, 0 to 1.
    Ratio,
    /// True or false.
    Flag,
    /// A word of a closed set.
    Word,
}

/// A measurement that a kind declares: what `expect`, the log and the tables may name.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name, such as `rtt_p95`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The kind's own expectation of it, such as `> 0`.
    pub own: Option<&'static str>,
    /// What it means, a sentence.
    pub help: &'static str,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A number of things.
    Count(u64),
    /// Seconds, bytes or a ratio.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A word of a closed set.
    Word(&'static str),
}

impl From<Duration> for Sample {
    fn from(duration: Duration) -> Self {
        Self::Number(duration.as_secs_f64())
    }
}

/// Samples under the names of the kind's measures; one set a run, or one a family with `family: both`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// `ipv4` or `ipv6` where a run holds one set for each.
    pub family: Option<&'static str>,
    /// Name and value, in the order in which they are shown.
    pub values: Vec<(&'static str, Sample)>,
}

impl Samples {
    /// Adds a value.
    pub fn push(&mut self, name: &'static str, value: Sample) {
        self.values.push((name, value));
    }

    /// Adds a number of things.
    pub fn count(&mut self, name: &'static str, value: u64) {
        self.push(name, Sample::Count(value));
    }

    /// The value under a name.
    pub fn find(&self, name: &str) -> Option<&Sample> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// What a room found: it looked, and this is what it saw.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `Passed` or `Failed` by the kind's own lights; comparisons of `expect` are judged by the engine.
    pub verdict: Verdict,
    /// The commonest reason of what went wrong; `None` where nothing did.
    pub reason: Option<Reason>,
    /// A sentence for people: what went wrong, with names and numbers.
    pub message: Option<String>,
    /// What was measured.
    pub samples: Vec<Samples>,
    /// The kind's own record, as `interface.md` gives it; `Null` where there is none.
    pub detail: serde_json::Value,
}

impl Outcome {
    /// A run that found what it hoped for.
    pub fn passed(samples: Samples) -> Self {
        Self {
            verdict: Verdict::Passed,
            reason: None,
            message: None,
            samples: vec![samples],
            detail: serde_json::Value::Null,
        }
    }

    /// A run that did not.
    pub fn failed(reason: Reason, message: impl Into<String>, samples: Samples) -> Self {
        Self {
            verdict: Verdict::Failed,
            reason: Some(reason),
            message: Some(message.into()),
            ..Self::passed(samples)
        }
    }

    /// The same outcome with the kind's own record.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }
}

/// Something that happened inside a run and that sinks may want to tell.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A connection of a service ended.
    ConnectionClosed {
        /// The client's address, made by the kernel.
        peer: String,
        /// The upstream's address or name as the file gives it; empty for an echo.
        upstream: String,
        /// Why it ended.
        close: Close,
        /// Bytes from the client.
        received_bytes: u64,
        /// Bytes to the client.
        sent_bytes: u64,
        /// From accept to close.
        duration: Duration,
        /// How bytes were moved: `copy`, `splice`, `datagram`.
        engine: &'static str,
    },
    /// A host of a sweep was seen for the first time or changed.
    HostChanged {
        /// The host's address.
        host: String,
        /// What it was; `None` at first sight.
        from: Option<HostState>,
        /// What it is.
        to: HostState,
        /// What the state rests on: an `Evidence` or a `Reason`.
        why: &'static str,
        /// The round trip of an alive one.
        rtt: Option<Duration>,
    },
    /// One answer of a run that goes on: a ping's reply or loss, an exchange's answer.
    Answer {
        /// Counts from 1.
        sequence: u64,
        /// Who answered, or who was asked.
        from: String,
        /// The round trip; `None` where nothing came.
        rtt: Option<Duration>,
        /// Why nothing came.
        reason: Option<Reason>,
        /// More to show, such as `ttl=64`; made by us, never a peer's bytes.
        note: String,
    },
    /// What a waiting run sees has changed, such as from `refused` to `connect_timeout`.
    StateChanged {
        /// What is waited for, as the file gives it.
        what: String,
        /// The word before; empty at first.
        from: &'static str,
        /// The word now.
        to: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// How far a long run has come.
    Progress {
        /// Things done.
        done: u64,
        /// Things in all.
        total: u64,
        /// What they are, such as `probes`.
        what: &'static str,
    },
    /// Something that the operator should know and that is no outcome.
    Warning {
        /// A sentence for people.
        message: String,
    },
}

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// A metric family with series per job, declared once; `meter` holds its series.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name, such as `netjobs_ping_rtt_seconds`.
    pub name: &'static str,
    /// Its type.
    pub r#type: MetricType,
    /// Label names besides `job_name`, `kind` and the job's own.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets, ascending, without +Inf; empty otherwise.
    pub buckets: &'static [f64],
    /// Its help line.
    pub help: &'static str,
}

impl Metric {
    /// Declares a counter.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, r#type: MetricType::Counter, labels, buckets: &[], help }
    }

    /// Declares a gauge.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, r#type: MetricType::Gauge, labels, buckets: &[], help }
    }

    /// Declares a histogram.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self { name, r#type: MetricType::Histogram, labels, buckets, help }
    }
}

/// Histogram bounds for times on a network, in seconds: 50 µs, doubled up to 26 s.
pub const NETWORK_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2,
    0.102_4, 0.204_8, 0.409_6, 0.819_2, 1.638_4, 3.276_8, 6.553_6, 13.107_2, 26.214_4,
];
