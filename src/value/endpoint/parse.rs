//! Endpoints out of text. Only the spelling is judged.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{Bind, Endpoint, Host, LONGEST_SOCKET_PATH, Ports, SocketPath};
use crate::value::Wrong;

const SAMPLE: &str = "write `host:port`, `udp://host:port`, `unix:///path`, `unix:@name` or `job:NAME`";
const BIND_SAMPLE: &str =
    "write `8800`, `host:port`, `udp://host:port`, `unix:///path` or `unixgram:///path`";
/// The longest path and query of a URL, in bytes.
const LONGEST_PATH: usize = 8 << 10;
const NO_HOST: &str = "write a name such as `db.example.com` or an address";

impl FromStr for Host {
    type Err = Wrong;

    /// A host without a port: `db`, `10.0.0.1`, `::1`, `[::1]`, `fe80::1%eth0`.
    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            return Err(Wrong::new("an empty host", NO_HOST));
        }
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
        if text.contains("://") {
            let message = format!("`{}` is a URL, and a host is wanted", text.escape_debug());
            return Err(Wrong::new(message, NO_HOST));
        }
        if bare.matches(':').count() == 1 {
            let message = format!("`{}` has a port, and a host alone is wanted", text.escape_debug());
            return Err(Wrong::new(message, NO_HOST));
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
            return Err(Wrong::new(format!("`{}` is not a host name", bare.escape_debug()), NO_HOST));
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
        let rest = text.find("://").map_or(text, |at| &text[at + "://".len()..]);
        if rest.starts_with(':') {
            let with = |host: &str| {
                format!("{}{host}{rest}", &text[..text.len() - rest.len()]).escape_debug().to_string()
            };
            let (all, loopback) = (with("[::]"), with("127.0.0.1"));
            let hint = format!("write `{all}` for all addresses, or `{loopback}` for this machine alone");
            return Err(Wrong::new(format!("`{}` has no host", text.escape_debug()), hint));
        }
        let endpoint = match bare_ports(text) {
            Some((net, ports)) => net(Host::Ip(Ipv4Addr::LOCALHOST.into()), parse_ports(ports)?),
            // What else may be written there is not what may be listened on.
            None => parse(text).map_err(|wrong| match &wrong.hint {
                Some(hint) if hint == SAMPLE => Wrong { hint: Some(BIND_SAMPLE.into()), ..wrong },
                _ => wrong,
            })?,
        };
        match endpoint {
            Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports) if ports.first == 0 && ports.last > 0 => Err(
                Wrong::new("a range of ports starts at 0", "write a range such as `8000-8010`, or `0` alone"),
            ),
            Endpoint::Tcp(..) | Endpoint::Udp(..) | Endpoint::Unix(_) | Endpoint::Unixgram(_) => {
                Ok(Self(endpoint))
            }
            other => Err(Wrong::new(format!("nothing listens on `{}`", other.scheme()), BIND_SAMPLE)),
        }
    }
}

/// Makes the endpoint of a scheme with hosts and ports.
type Net = fn(Host, Ports) -> Endpoint;

/// `8800`, `8000-8010`, `tcp://8800` or `udp://8800`: ports without a host.
fn bare_ports(text: &str) -> Option<(Net, &str)> {
    let (net, ports): (Net, &str) = match text.split_once("://") {
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
    if text.contains(',') {
        let hint = "write a list of them; on the command line, the flag once for each";
        return Err(Wrong::new(format!("`{}` is more than one", text.escape_debug()), hint));
    }
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
    if let Some(odd) = path.chars().find(|c| "\"<>`".contains(*c)) {
        let hint = format!("write it as `%{:02X}`", u32::from(odd));
        return Err(Wrong::new(format!("a URL has {odd:?} in it"), hint));
    }
    if path.len() > LONGEST_PATH {
        let message = format!("the URL's path has {} bytes, and servers take {LONGEST_PATH}", path.len());
        return Err(Wrong::new(message, "choose a shorter one"));
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
