//! Where something listens or connects: `host:port`, `udp://[::1]:53`, `unix:///run/x.sock`, `https://…`, `job:NAME`.
//!
//! Only the spelling is judged here; which schemes a kind takes is the kind's own business, names are resolved later.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
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

const SAMPLE: &str = "write `host:port`, `udp://host:port`, `unix:///path`, `unix:@name` or `job:NAME`";

/// The longest path of a Unix socket, in bytes.
pub const LONGEST_SOCKET_PATH: usize = 107;

impl FromStr for Host {
    type Err = Wrong;

    /// A host without a port: `db`, `10.0.0.1`, `::1`, `[::1]`, `fe80::1%eth0`.
    fn from_str(text: &str) -> Result<Self, Wrong> {
        let bare = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(|| {
                Wrong::new(format!("`{text}` has no closing `]`"), "write an IPv6 address as `[::1]`")
            })?,
            None => text,
        };
        if let Some((address, zone)) = bare.split_once('%') {
            let address: Ipv6Addr = address.parse().map_err(|_| {
                Wrong::new(format!("`{address}` is not an IPv6 address"), "write a zone as in `fe80::1%eth0`")
            })?;
            if zone.is_empty() {
                return Err(Wrong::new(
                    format!("`{text}` has an empty zone"),
                    "write the interface: `fe80::1%eth0`",
                ));
            }
            return Ok(Self::Scoped(address, zone.to_owned()));
        }
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        if bare.contains(':') || text.starts_with('[') {
            return Err(Wrong::new(
                format!("`{bare}` is not an IPv6 address"),
                "write it as `[2001:db8::1]`",
            ));
        }
        if bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(Wrong::new(
                format!("`{bare}` is not an IPv4 address"),
                "write four numbers from 0 to 255 without leading zeros, such as `10.0.2.2`",
            ));
        }
        let label = |label: &str| !label.is_empty() && label.len() <= 63;
        let trimmed = bare.strip_suffix('.').unwrap_or(bare);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if trimmed.len() > 253 || !trimmed.split('.').all(label) || !trimmed.chars().all(allowed) {
            return Err(Wrong::new(
                format!("`{}` is not a host name", bare.escape_debug()),
                "write a name such as `db.example.com` or an address",
            ));
        }
        Ok(Self::Name(bare.to_owned()))
    }
}

impl FromStr for Endpoint {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let endpoint = parse(text)?;
        if let Self::Tcp(_, ports) | Self::Udp(_, ports) = &endpoint
            && ports.first == 0
        {
            return Err(Wrong::new("port 0 stands only in `listen`", "write a port from 1 to 65535"));
        }
        Ok(endpoint)
    }
}

impl FromStr for Bind {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let endpoint = match bare_ports(text) {
            Some((net, ports)) => net(Host::Ip(Ipv4Addr::LOCALHOST.into()), parse_ports(ports)?),
            None => parse(text)?,
        };
        match endpoint {
            Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports) if ports.first == 0 && ports.last > 0 => Err(
                Wrong::new("a range of ports starts at 0", "write a range such as `8000-8010`, or `0` alone"),
            ),
            Endpoint::Tcp(..) | Endpoint::Udp(..) | Endpoint::Unix(_) | Endpoint::Unixgram(_) => {
                Ok(Self(endpoint))
            }
            other => Err(Wrong::new(
                format!("nothing listens on `{}`", other.scheme()),
                "write `8800`, `host:port`, `udp://host:port`, `unix:///path` or `unixgram:///path`",
            )),
        }
    }
}

/// `8800`, `8000-8010`, `tcp://8800` or `udp://8800`: ports without a host.
fn bare_ports(text: &str) -> Option<(fn(Host, Ports) -> Endpoint, &str)> {
    let (net, ports): (fn(Host, Ports) -> Endpoint, &str) = match text.split_once("://") {
        None => (Endpoint::Tcp, text),
        Some(("tcp", ports)) => (Endpoint::Tcp, ports),
        Some(("udp", ports)) => (Endpoint::Udp, ports),
        Some(_) => return None,
    };
    let bare = !ports.is_empty() && ports.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    bare.then_some((net, ports))
}

fn parse(text: &str) -> Result<Endpoint, Wrong> {
    if text.contains('\0') {
        return Err(Wrong::new("an endpoint has a NUL byte in it", SAMPLE));
    }
    if let Some(name) = text.strip_prefix("job:") {
        return name.parse().map(Endpoint::Job);
    }
    for (scheme, unix) in
        [("unix:", Endpoint::Unix as fn(SocketPath) -> Endpoint), ("unixgram:", Endpoint::Unixgram)]
    {
        if let Some(rest) = text.strip_prefix(scheme) {
            return parse_socket(rest, scheme).map(unix);
        }
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return parse_host_ports(text).map(|(host, ports)| Endpoint::Tcp(host, ports));
    };
    match scheme {
        "tcp" => parse_host_ports(rest).map(|(host, ports)| Endpoint::Tcp(host, ports)),
        "udp" => parse_host_ports(rest).map(|(host, ports)| Endpoint::Udp(host, ports)),
        "icmp" => rest.parse().map(Endpoint::Icmp),
        "http" => parse_http(rest, false),
        "https" => parse_http(rest, true),
        _ => Err(Wrong::new(format!("`{}` is not a scheme", scheme.escape_debug()), SAMPLE).at(0)),
    }
}

/// `HOST:PORT` or `HOST:FIRST-LAST`.
fn parse_host_ports(text: &str) -> Result<(Host, Ports), Wrong> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::new(format!("`{text}` names a port and no host"), "write `host:port`"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(Wrong::new(
            format!("`{text}` is an IPv6 address without brackets"),
            format!("write `[{text}]:PORT`"),
        ));
    }
    let missing = || Wrong::new(format!("`{}` has no port", text.escape_debug()), SAMPLE);
    let colon = match text.rfind(']') {
        Some(bracket) => text[bracket..].find(':').map(|at| bracket + at),
        None => text.rfind(':'),
    };
    let at = colon.ok_or_else(missing)?;
    let host = &text[..at];
    if host.is_empty() {
        return Err(Wrong::new(format!("`{text}` has no host"), SAMPLE));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(Wrong::new(
            format!("`{host}` needs brackets before a port"),
            format!("write `[{host}]:{}`", &text[at + 1..]),
        ));
    }
    let ports = parse_ports(&text[at + 1..]).map_err(|wrong| {
        let offset = wrong.offset.unwrap_or_default();
        wrong.at(at + 1 + offset)
    })?;
    Ok((host.parse()?, ports))
}

fn parse_ports(text: &str) -> Result<Ports, Wrong> {
    let port = |text: &str| {
        // `012` is ten to some readers and twelve to others.
        let padded = text.len() > 1 && text.starts_with('0');
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !padded;
        text.parse::<u16>().ok().filter(|_| digits).ok_or_else(|| {
            Wrong::new(format!("`{}` is not a port", text.escape_debug()), "write a port from 1 to 65535")
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) if !first.is_empty() => (port(first)?, port(last)?),
        _ => (port(text)?, port(text)?),
    };
    if last < first {
        return Err(Wrong::new(format!("the range `{text}` is reversed"), format!("write `{last}-{first}`")));
    }
    Ok(Ports { first, last })
}

fn parse_socket(rest: &str, scheme: &str) -> Result<SocketPath, Wrong> {
    let sample = format!("write `{scheme}///run/x.sock` or `{scheme}@name`");
    let path = match rest.strip_prefix('@') {
        Some(name) => SocketPath::Abstract(name.to_owned()),
        None => SocketPath::File(rest.strip_prefix("//").unwrap_or(rest).into()),
    };
    let length = match &path {
        SocketPath::Abstract(name) => name.len(),
        SocketPath::File(path) => path.as_os_str().len(),
    };
    match length {
        0 => Err(Wrong::new(format!("`{scheme}{rest}` names no socket"), sample)),
        1..=LONGEST_SOCKET_PATH => Ok(path),
        _ => Err(Wrong::new(
            format!("the socket's path has {length} bytes, and the system takes {LONGEST_SOCKET_PATH}"),
            "choose a shorter one",
        )),
    }
}

fn parse_http(rest: &str, tls: bool) -> Result<Endpoint, Wrong> {
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let path = path.split('#').next().unwrap_or_default();
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Wrong::new("a URL has a blank or a control character in it", "write it as `%20`"));
    }
    if authority.contains('@') {
        return Err(Wrong::new("a URL with a user and a password in it", "leave them out"));
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let has_port = match authority.rfind(']') {
        Some(bracket) => authority[bracket..].contains(':'),
        None => authority.matches(':').count() == 1,
    };
    let (host, port) = if has_port {
        let (host, ports) = parse_host_ports(authority)?;
        if ports.count() > 1 || ports.first == 0 {
            return Err(Wrong::new(
                "a URL has exactly one port, from 1 to 65535",
                "write `http://host:8080/path`",
            ));
        }
        (host, ports.first)
    } else {
        (authority.parse()?, if tls { 443 } else { 80 })
    };
    Ok(Endpoint::Http { tls, host, port, path })
}

impl fmt::Display for Host {
    /// As it stands before a port: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Scoped(address, zone) => write!(f, "[{address}%{zone}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "//{}", path.display()),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Display for Endpoint {
    /// The canonical spelling, which reads back as the same endpoint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, ports) => write!(f, "tcp://{host}:{ports}"),
            Self::Udp(host, ports) => write!(f, "udp://{host}:{ports}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Unixgram(path) => write!(f, "unixgram:{path}"),
            Self::Icmp(host) => write!(f, "icmp://{host}"),
            Self::Http { tls, host, port, path } => {
                let usual = if *tls { 443 } else { 80 };
                write!(f, "{}://{host}", self.scheme())?;
                if *port != usual {
                    write!(f, ":{port}")?;
                }
                f.write_str(path)
            }
            Self::Job(name) => write!(f, "job:{name}"),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
}
