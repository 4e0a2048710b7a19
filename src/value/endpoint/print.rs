//! Endpoints as text: the canonical spelling, which reads back as the same endpoint.

use std::{fmt, net::IpAddr};

use super::{Bind, Endpoint, Host, Ports, SocketPath};

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
