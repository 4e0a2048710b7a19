//! Where something listens or connects: `host:port`, `udp://[::1]:53`, `unix:///run/x.sock`, `https://…`, `job:NAME`.
//!
//! Only the spelling is judged here; which schemes a kind takes is the kind's own business, names are resolved later.

mod parse;
mod print;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use super::{JobName, Wrong, text_value};

/// A host as the file writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A link-local address and its zone: the name or index of an interface.
    Scoped(Ipv6Addr, String),
    /// A name, resolved anew for each run or connection.
    Name(String),
}

/// One port, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last; the first where there is only one.
    pub last: u16,
}

/// Where a Unix socket lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketPath {
    /// A file; a relative one starts at the job file.
    File(PathBuf),
    /// A name in Linux' abstract namespace, without the leading NUL.
    Abstract(String),
}

/// What a probe aims at or a forward connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `host:port` or `tcp://host:port`.
    Tcp(Host, Ports),
    /// `udp://host:port`.
    Udp(Host, Ports),
    /// `unix:///path` or `unix:@name`: a stream.
    Unix(SocketPath),
    /// `unixgram:///path` or `unixgram:@name`: datagrams.
    Unixgram(SocketPath),
    /// `icmp://host`.
    Icmp(Host),
    /// `http://…` or `https://…`.
    Http {
        /// Whether it is `https`.
        tls: bool,
        /// The host.
        host: Host,
        /// The port, 80 or 443 where none is written.
        port: u16,
        /// Path and query, at least `/`.
        path: String,
    },
    /// `job:NAME`: the first address on which that service is ready.
    Job(JobName),
}

/// What a service listens on: an endpoint whose port may be 0, and a bare port is on 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bind(pub Endpoint);

impl Host {
    /// Its address; `None` for a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Scoped(address, _) => Some((*address).into()),
            Self::Name(_) => None,
        }
    }

    /// What its address is where no single host has it, such as `a multicast address`. Names are not looked up.
    pub fn is_nobody(&self) -> Option<&'static str> {
        match self.address()? {
            IpAddr::V4(address) if address.is_broadcast() => Some("a broadcast address"),
            address if address.is_multicast() => Some("a multicast address"),
            address if address.is_unspecified() => Some("the unspecified address"),
            _ => None,
        }
    }
}

impl Ports {
    /// A single port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// How many ports these are.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Each port in order.
    pub fn each(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl Endpoint {
    /// The scheme's word.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp(..) => "tcp",
            Self::Udp(..) => "udp",
            Self::Unix(_) => "unix",
            Self::Unixgram(_) => "unixgram",
            Self::Icmp(_) => "icmp",
            Self::Http { tls: false, .. } => "http",
            Self::Http { tls: true, .. } => "https",
            Self::Job(_) => "job",
        }
    }

    /// The service that it names, if it is `job:NAME`.
    pub fn job(&self) -> Option<&JobName> {
        match self {
            Self::Job(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it stands for boundaries of messages rather than a stream of bytes.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(..) | Self::Unixgram(_))
    }

    /// One endpoint a port, where ports are a range; itself otherwise.
    pub fn each(&self) -> Vec<Self> {
        match self {
            Self::Tcp(host, ports) => {
                ports.each().map(|port| Self::Tcp(host.clone(), Ports::one(port))).collect()
            }
            Self::Udp(host, ports) => {
                ports.each().map(|port| Self::Udp(host.clone(), Ports::one(port))).collect()
            }
            other => vec![other.clone()],
        }
    }
}

/// The longest path of a Unix socket, in bytes.
pub const LONGEST_SOCKET_PATH: usize = 107;

text_value!(
    Host,
    "a host name or address",
    "A host name, an IPv4 address, or an IPv6 address, with or without a zone.",
    ["db.example.com", "10.0.2.2", "fe80::1%eth0"]
);
text_value!(
    Endpoint,
    "an endpoint, such as \"db:5432\"",
    "Where to connect.",
    [
        "db:5432",
        "udp://10.0.0.1:53",
        "unix:///run/x.sock",
        "unix:@name",
        "icmp://10.0.0.1",
        "https://example.com/",
        "job:echo"
    ]
);

impl<'de> serde::Deserialize<'de> for Bind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port or an endpoint, such as \"127.0.0.1:8800\"")
            }
            fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<Bind, E> {
                self.visit_str(&port.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<Bind, E> {
                self.visit_str(&port.to_string())
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bind, E> {
                text.parse().map_err(Wrong::into_serde)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Bind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bind".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Where to listen: a port on 127.0.0.1, or an endpoint.",
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 65535 }, { "type": "string" }],
            "examples": [8800, "127.0.0.1:8800", "udp://[::]:8807", "unix:///run/x.sock", "unixgram:@name"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(endpoint.to_string(), canonical);
        assert_eq!(canonical.parse::<Endpoint>().unwrap(), endpoint);
    }

    #[test]
    fn endpoints_read_and_print() {
        check("db:5432", "tcp://db:5432");
        check("tcp://[::1]:80", "tcp://[::1]:80");
        check("udp://10.0.0.1:8000-8010", "udp://10.0.0.1:8000-8010");
        check("tcp://[fe80::1%eth0]:80", "tcp://[fe80::1%eth0]:80");
        check("unix:///run/x.sock", "unix:///run/x.sock");
        check("unixgram:@name", "unixgram:@name");
        check("icmp://::1", "icmp://[::1]");
        check("https://example.com", "https://example.com/");
        check("http://[::1]:8080/a?b#c", "http://[::1]:8080/a?b");
        check("job:echo", "job:echo");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let wrong = [
            "",
            "80",
            "db",
            "db:",
            ":80",
            "db:0",
            "db:65536",
            "db:-1",
            "db:80-70",
            "::1",
            "::1:80",
            "[::1]",
            "ftp://db:21",
            "unix:",
            "10.0.0.256:80",
            "010.0.0.1:80",
            "a b:80",
            "http://u:p@x/",
            "tcp://",
            "icmp://",
            "http://x:0/",
            "http://x/<a>",
            "http://x/?a=\"b\"",
            "http://x/`",
            "a:80,b:80",
        ];
        for text in wrong {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_port_listens_on_loopback() {
        assert_eq!("8800".parse::<Bind>().unwrap().to_string(), "tcp://127.0.0.1:8800");
        assert_eq!("udp://0".parse::<Bind>().unwrap().to_string(), "udp://127.0.0.1:0");
        assert_eq!("8000-8010".parse::<Bind>().unwrap().to_string(), "tcp://127.0.0.1:8000-8010");
        assert!("0-10".parse::<Bind>().is_err());
        assert!("icmp://::1".parse::<Bind>().is_err());
    }

    #[test]
    fn what_other_programs_take_is_refused_with_what_to_write() {
        let hint = |text: &str| text.parse::<Bind>().unwrap_err().hint.unwrap();
        let all = "write `udp://[::]:80` for all addresses, or `udp://127.0.0.1:80` for this machine alone";
        assert_eq!(hint("udp://:80"), all);
        assert!(hint(":80").starts_with("write `[::]:80` for"));
        assert!(hint("80,81").starts_with("write a list of them"));
        assert!(hint("a:80,b:80").starts_with("write a list of them"));
    }
}
