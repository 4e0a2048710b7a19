//! The closed sets: words that become label and log values, each with its meaning. No peer's bytes can ever be one.

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
        /// The connection leads back to its own listener, or came through eight forwards of this process already.
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
    /// Where the round trips of a ping were measured.
    RttSource {
        /// In the kernel: it stamped both ends of each.
        Kernel = "kernel",
        /// In this program: they are longer by the way to the kernel and back.
        User = "user",
        /// Some here, some there.
        Mixed = "mixed",
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
