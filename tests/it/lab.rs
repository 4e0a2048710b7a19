//! Two hosts on one machine: network namespaces joined by a veth pair, `near` (10.9.0.1, `fd00:9::1`) and `far` (.2, `::2`).
//!
//! Each namespace belongs to a process that ends at the end of its input, so nothing is left behind however a test ends.

use std::process::{Command, Stdio};

use crate::program::Running;

/// One host: a network namespace.
#[derive(Debug)]
pub(crate) struct Host(Running);

impl Host {
    /// A host of its own with loopback up.
    pub(crate) fn new() -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]).stdin(Stdio::piped());
        let mut holder = Running::start(&mut unshare);
        holder.line_with("up");
        let host = Self(holder);
        // Addresses are usable at once, without a second of duplicate detection; anyone may ping.
        host.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        host
    }

    /// A command that will run on this host.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.0.child.id().to_string(), "--net", program]).env("NO_COLOR", "1");
        command
    }

    /// Runs a shell line to its end and asserts that it succeeds.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        let output = self.command("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Two hosts and the link between them, which is called `link` on both.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Where the program under test runs.
    pub near: Host,
    /// The other host.
    pub far: Host,
}

impl Lab {
    /// Makes both hosts and the link.
    pub(crate) fn new() -> Self {
        let (near, far) = (Host::new(), Host::new());
        let (a, b) = (near.0.child.id(), far.0.child.id());
        let output = Command::new("ip")
            .args(["link", "add", "link", "netns", &a.to_string(), "type", "veth"])
            .args(["peer", "name", "link", "netns", &b.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (host, number) in [(&near, 1), (&far, 2)] {
            host.sh(&format!(
                "ip addr add 10.9.0.{number}/24 dev link && ip addr add fd00:9::{number}/64 dev link nodad && ip link set link up"
            ));
        }
        Self { near, far }
    }
}
