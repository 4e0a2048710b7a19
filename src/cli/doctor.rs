//! `netjobs doctor`: what this machine lets the runner do, and the exact cure where it does not. Looks, changes nothing.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv6Addr, TcpListener},
};

use socket2::{Domain, Socket, Type};

use super::{out, predict};
use crate::{
    exit::Code,
    sys::{
        limits,
        rights::{self, Right},
    },
};

/// Say what this machine lets netjobs do, and how to allow the rest
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Each line is `ok`, `no` or `note`; under a `no` stands what would cure it. The exit code is
always 0: a machine that cannot ping is still fine for a forward.")]
pub struct Doctor {}

/// One thing that was looked at.
struct Finding {
    mark: Mark,
    what: &'static str,
    says: String,
    cures: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    No,
    Note,
}

impl Finding {
    fn new(mark: Mark, what: &'static str, says: impl Into<String>) -> Self {
        Self { mark, what, says: says.into(), cures: vec![] }
    }

    fn cured_by(mut self, cures: Vec<String>) -> Self {
        self.cures = cures;
        self
    }
}

impl Doctor {
    /// Looks and prints.
    pub fn run(&self) -> Code {
        let Self {} = self;
        rights::keep_only(Right::ALL);
        let raw = raw_icmp();
        let datagram = datagram_icmp(raw.mark);
        let findings = [raw, datagram, ipv6(), low_ports(), open_files(), threads(), names(), zone()];
        out::print(&render(&findings), Code::Passed)
    }
}

fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.mark {
            Mark::Ok => "ok",
            Mark::No => "no",
            Mark::Note => "note",
        };
        let _ = writeln!(text, "{mark:<5} {:<22} {}", finding.what, finding.says);
        for cure in &finding.cures {
            let _ = writeln!(text, "{:<28} cure: {cure}", "");
        }
    }
    text
}

/// The program's own path, for cures that can be pasted.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "netjobs".into(), |path| path.display().to_string())
}

fn raw_icmp() -> Finding {
    const WHAT: &str = "ICMP, raw sockets";
    match predict::open_icmp(Type::RAW) {
        Ok(()) => Finding::new(Mark::Ok, WHAT, "`ping` and `sweep` work at full speed"),
        Err(error) => {
            Finding::new(Mark::No, WHAT, format!("{error}; CAP_NET_RAW is missing")).cured_by(vec![
                format!("setcap cap_net_raw+p {}", program()),
                "systemd: AmbientCapabilities=CAP_NET_RAW".into(),
                "Kubernetes: securityContext.capabilities.add: [NET_RAW]".into(),
            ])
        }
    }
}

fn datagram_icmp(raw: Mark) -> Finding {
    const WHAT: &str = "ICMP, without a right";
    let group = nix::unistd::getegid();
    match predict::open_icmp(Type::DGRAM) {
        Ok(()) => Finding::new(Mark::Ok, WHAT, format!("group {group} is in net.ipv4.ping_group_range")),
        Err(error) => {
            let mark = if raw == Mark::Ok { Mark::Note } else { Mark::No };
            let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
            let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
            let says =
                format!("{error}; net.ipv4.ping_group_range is `{range}` and leaves group {group} out");
            Finding::new(mark, WHAT, says).cured_by(vec![
                format!("sysctl -w net.ipv4.ping_group_range=\"{group} {group}\""),
                "Kubernetes: securityContext.sysctls: [{name: net.ipv4.ping_group_range, value: \"0 2147483647\"}]"
                    .into(),
            ])
        }
    }
}

fn ipv6() -> Finding {
    const WHAT: &str = "IPv6";
    if let Err(error) = Socket::new(Domain::IPV6, Type::STREAM, None) {
        return Finding::new(
            Mark::No,
            WHAT,
            format!("open a socket: {error}; the kernel was built or started without it"),
        )
        .cured_by(vec!["remove `ipv6.disable=1` from the kernel's command line".into()]);
    }
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => Finding::new(Mark::Ok, WHAT, "sockets open and ::1 binds; `netjobs ipv6` says more"),
        Err(error) => Finding::new(Mark::No, WHAT, format!("bind [::1]: {error}"))
            .cured_by(vec!["sysctl -w net.ipv6.conf.lo.disable_ipv6=0".into()]),
    }
}

fn low_ports() -> Finding {
    const WHAT: &str = "ports below 1024";
    let start = predict::first_free_port();
    if rights::has(Right::NetBindService) {
        return Finding::new(Mark::Ok, WHAT, "CAP_NET_BIND_SERVICE is there");
    }
    if start <= 1 {
        return Finding::new(Mark::Ok, WHAT, "net.ipv4.ip_unprivileged_port_start lets everyone");
    }
    Finding::new(
        Mark::No,
        WHAT,
        format!("services may listen from port {start} on; CAP_NET_BIND_SERVICE is missing"),
    )
    .cured_by(vec![
        format!("setcap cap_net_bind_service,cap_net_raw+p {}", program()),
        "systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE".into(),
    ])
}

/// Below this many descriptors a busy forward has to turn connections away.
const MODEST: u64 = 4096;

fn open_files() -> Finding {
    const WHAT: &str = "open files";
    match limits::open_files() {
        None => Finding::new(Mark::Note, WHAT, "the system does not say"),
        Some(limits) if limits.hard < MODEST => {
            let says = format!("at most {}; a forward needs two for each connection", limits.hard);
            Finding::new(Mark::No, WHAT, says)
                .cured_by(vec![format!("ulimit -Hn {MODEST}"), "systemd: LimitNOFILE=1048576".into()])
        }
        Some(limits) => Finding::new(Mark::Ok, WHAT, format!("up to {} at once", limits.hard)),
    }
}

fn threads() -> Finding {
    const WHAT: &str = "threads";
    match limits::processes() {
        None => Finding::new(Mark::Ok, WHAT, "no limit"),
        Some(limit) => Finding::new(Mark::Ok, WHAT, format!("up to {limit} for this user")),
    }
}

fn names() -> Finding {
    const WHAT: &str = "name servers";
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("nameserver ").map(str::trim)).collect();
    if servers.is_empty() {
        let says = "/etc/resolv.conf names none: only addresses and /etc/hosts will do";
        return Finding::new(Mark::Note, WHAT, says);
    }
    Finding::new(Mark::Ok, WHAT, servers.join(", "))
}

fn zone() -> Finding {
    let zone = jiff::tz::TimeZone::system();
    let name = zone.iana_name().unwrap_or("unknown, so UTC").to_owned();
    let says =
        format!("this machine's is {name}; zone data are built in; `cron` is in UTC unless a job says else");
    Finding::new(Mark::Ok, "time zones", says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_prints_a_line_and_a_line_for_each_cure() {
        let finding =
            Finding::new(Mark::No, "IPv6", "off").cured_by(vec!["turn it on".into(), "or not".into()]);
        let text = render(&[finding]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("no    IPv6"));
        assert!(lines[1].ends_with("cure: turn it on"));
    }

    #[test]
    fn looking_finds_something_to_say_everywhere() {
        for finding in [ipv6(), low_ports(), open_files(), threads(), names(), zone()] {
            assert!(!finding.says.is_empty(), "{}", finding.what);
        }
    }
}
