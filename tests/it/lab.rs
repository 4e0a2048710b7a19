//! Two hosts on one machine: namespaces joined by a link, `near` (10.9.0.1, `fd00:9::1`) and `far` (10.9.0.2, `fd00:9::2`).

use std::process::{Command, Output};

use crate::netns::Namespace;

/// Two hosts and the link between them, which is called `link` on both.
pub(crate) struct Lab {
    /// Where the program under test runs.
    pub(crate) near: Namespace,
    /// The other host.
    pub(crate) far: Namespace,
}

impl Lab {
    /// Makes both hosts and the link. Addresses that are added later are usable at once.
    pub(crate) fn new() -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        for host in [&near, &far] {
            host.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        }
        let (here, there) = (["10.9.0.1/24", "fd00:9::1/64"], ["10.9.0.2/24", "fd00:9::2/64"]);
        near.join(("link", &here), &far, ("link", &there));
        Self { near, far }
    }

    /// Runs the built program on the near host to its end.
    pub(crate) fn netjobs(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netjobs"));
        command.args(arguments).env("NO_COLOR", "1");
        self.near.run(move || command.output().unwrap())
    }
}
