//! dig asks a name server through a forward, over UDP and over TCP.

use std::sync::Arc;

use super::Host;
use crate::nameserver::{self, Answer};

#[test]
fn dig_asks_over_udp_and_over_tcp() {
    let host = Host::new();
    host.0.run(|| {
        nameserver::serve(Arc::new(|name: &str| match name {
            "small.test" => {
                Answer::Addresses(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()])
            }
            "large.test" => Answer::Truncated((1..=100).map(|last| [192, 0, 2, last].into()).collect()),
            _ => Answer::Nxdomain,
        }));
    });
    let both = [
        "forward",
        "udp://127.0.0.1:5300",
        "127.0.0.1:5300",
        "--to",
        "udp://127.0.0.1:53",
        "--to",
        "127.0.0.1:53",
    ];
    let forward = host.netjobs(&both);
    let dig = |arguments: &[&str]| {
        let server = ["@127.0.0.1", "-p", "5300", "+short", "+tries=1", "+time=10"];
        String::from_utf8(host.run("dig", &[&server, arguments].concat())).unwrap()
    };
    assert_eq!(dig(&["small.test", "A"]), "192.0.2.1\n");
    assert_eq!(dig(&["small.test", "AAAA"]), "2001:db8::1\n");
    assert_eq!(dig(&["small.test", "A", "+tcp"]), "192.0.2.1\n");
    assert_eq!(dig(&["none.test", "A"]), "");
    // Truncated over UDP, so dig asks again over TCP.
    assert_eq!(dig(&["large.test", "A"]).lines().filter(|line| line.starts_with("192.0.2.")).count(), 100);
    drop(forward);
}
