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

/// A part of the hosts: each `of`th of them, from the `index`th on. All shards together have each host once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// How many of so many hosts are its own.
    pub fn count(self, all: u128) -> u128 {
        (all + u128::from(self.of - self.index)) / u128::from(self.of)
    }

    /// The number among its own of a host that has this number among all; `None` where it is another shard's.
    pub fn number(self, among_all: u128) -> Option<u128> {
        let own = among_all % u128::from(self.of) == u128::from(self.index - 1);
        own.then(|| among_all / u128::from(self.of))
    }

    /// The number among all of one of its own.
    pub fn among_all(self, number: u32) -> u128 {
        u128::from(number) * u128::from(self.of) + u128::from(self.index - 1)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 1, of: 1 }
    }
}

impl FromStr for Shard {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits)
        };
        let parts = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
        let (index, of) = parts.ok_or_else(|| {
            Wrong::new(
                format!("`{}` is not a shard", text.escape_debug()),
                "write such as `1/4`, the first of four",
            )
        })?;
        match (index, of) {
            (_, 0) => Err(Wrong::new(
                "a set cannot be split into no shards",
                "write such as `1/4`, the first of four",
            )),
            (0, _) => Err(Wrong::new("shards count from 1", format!("write `1/{of}` to `{of}/{of}`"))),
            (index, of) if index > of => Err(Wrong::new(
                format!("there is no shard {index} of {of}"),
                format!("write `1/{of}` to `{of}/{of}`"),
            )),
            (index, of) => Ok(Self { index, of }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

text_value!(
    Shard,
    "a shard, such as \"1/4\"",
    "A part of the hosts: `1/4` to `4/4` are four parts that have each host once.",
    ["1/4", "4/4"]
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn case_52_shards_partition_the_hosts(all in 0u128..2000, of in 1u32..40) {
            let mut seen = vec![];
            for index in 1..=of {
                let shard = Shard { index, of };
                prop_assert_eq!(shard.to_string().parse::<Shard>().unwrap(), shard);
                for number in 0..u32::try_from(shard.count(all)).unwrap() {
                    let among_all = shard.among_all(number);
                    prop_assert_eq!(shard.number(among_all), Some(number.into()));
                    seen.push(among_all);
                }
            }
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..all));
        }
    }

    #[test]
    fn a_wrong_shard_says_what_to_write() {
        #[track_caller]
        fn check(text: &str, wanted: &str) {
            assert_eq!(text.parse::<Shard>().unwrap_err().to_string(), wanted);
        }
        check("0/4", "shards count from 1; write `1/4` to `4/4`");
        check("5/4", "there is no shard 5 of 4; write `1/4` to `4/4`");
        check("4/0", "a set cannot be split into no shards; write such as `1/4`, the first of four");
        for text in ["x", "", "1", "/", "1/", "/4", "+1/4", "1/4/4", "1 / 4", "-1/4", "99999999999/4"] {
            check(text, &format!("`{text}` is not a shard; write such as `1/4`, the first of four"));
        }
    }

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
