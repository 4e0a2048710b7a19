//! The words that only `sweep` knows: how to ask a host, how fast, in what order, what to tell.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{EventRate, Wrong, text_value};

/// How a host is asked whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// ICMP where this process may, else TCP; on a link, an answer to ARP is enough.
    #[default]
    Auto,
    /// ICMP echo.
    Icmp,
    /// ARP or neighbour solicitation.
    Arp,
    /// A TCP connection to this port; a refusal is life, too.
    Tcp(u16),
}

impl FromStr for Method {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "write `auto`, `icmp`, `arp` or a port such as `tcp/443`";
        match text {
            "auto" => Ok(Self::Auto),
            "icmp" => Ok(Self::Icmp),
            "arp" => Ok(Self::Arp),
            _ => {
                let port = text
                    .strip_prefix("tcp/")
                    .ok_or_else(|| Wrong::new(format!("`{}` is not a method", text.escape_debug()), HINT))?;
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let number = port.parse::<u16>().ok().filter(|number| digits && *number > 0);
                number.map(Self::Tcp).ok_or_else(|| {
                    Wrong::new(format!("`{}` is not a port", port.escape_debug()), HINT).at("tcp/".len())
                })
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Icmp => f.write_str("icmp"),
            Self::Arp => f.write_str("arp"),
            Self::Tcp(port) => write!(f, "tcp/{port}"),
        }
    }
}

text_value!(
    Method,
    "a method, such as \"icmp\" or \"tcp/443\"",
    "How a host is asked: `auto`, `icmp`, `arp` or `tcp/PORT`.",
    ["auto", "icmp", "tcp/443"]
);

/// How many probes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// At most this many a second; below the usual rate, the cap of a network stays.
    Limited(EventRate),
    /// As many as this machine can send without losing answers.
    Max,
}

impl FromStr for Rate {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        match text {
            "max" => Ok(Self::Max),
            _ => text.parse().map(Self::Limited).map_err(|_| {
                Wrong::new(
                    format!("`{}` is not a rate", text.escape_debug()),
                    "write probes a second such as `1000/s`, or `max`",
                )
            }),
        }
    }
}

text_value!(
    Rate,
    "a rate, such as \"1000/s\" or \"max\"",
    "Probes a second, or `max`.",
    ["1000/s", "50/s", "max"]
);

/// What becomes of the network and broadcast address of an IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// They are left out of networks of /30 or shorter.
    #[default]
    Skip,
    /// They are probed like any other.
    Include,
}

/// In what order hosts are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Scattered where there are more than 256 targets, so that no network gets all probes at once; else plain.
    #[default]
    Auto,
    /// Scattered.
    Random,
    /// By address, ascending.
    Plain,
}

/// Which hosts are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// Those that changed; all at the first sweep.
    #[default]
    Changes,
    /// All, each time.
    All,
    /// None: only the counts.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_rates_read_and_refuse() {
        for text in ["auto", "icmp", "arp", "tcp/443"] {
            assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
        }
        for text in ["", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/+1", "udp/53"] {
            assert!(text.parse::<Method>().is_err(), "{text}");
        }
        assert_eq!("max".parse::<Rate>().unwrap(), Rate::Max);
        assert_eq!("60/m".parse::<Rate>().unwrap(), Rate::Limited(EventRate(1.0)));
        assert!("0/s".parse::<Rate>().is_err() && "1000".parse::<Rate>().is_err());
    }
}
