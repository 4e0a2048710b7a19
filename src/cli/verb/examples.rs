//! Examples for the help of ad-hoc verbs; a kind without a row simply has none.

/// The examples of a kind.
pub fn of(kind: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(name, _)| *name == kind).map(|(_, examples)| *examples)
}

const EXAMPLES: &[(&str, &str)] = &[
    (
        "forward",
        "\
Examples:
  netjobs forward --listen 8800 --to www.example.com:80
  netjobs forward 0.0.0.0:8800 --to 10.0.0.2:80 --allow 10.0.0.0/8
  netjobs forward udp://127.0.0.1:5300 --to udp://10.0.0.53:53",
    ),
    (
        "echo",
        "\
Examples:
  netjobs echo 8800
  netjobs echo --listen '[::]:8800'
  netjobs echo --listen unixgram:///run/e.sock --stop-on DONE",
    ),
    (
        "exchange",
        "\
Examples:
  netjobs exchange '[::1]:8800' --send 'Hello from ipv6 client'
  netjobs exchange unixgram:///run/e.sock --send DONE
  netjobs exchange 127.0.0.1:6379 --send 'PING' --want '/PONG/'",
    ),
    (
        "ping",
        "\
Examples:
  netjobs ping 10.0.2.2
  netjobs ping db.example.com -c 10 --interval 200ms --expect 'loss<=5%' --expect 'rtt_p95<20ms'
  netjobs ping db.example.com --family both --json",
    ),
    (
        "sweep",
        "\
Examples:
  netjobs sweep 10.0.2.2-4
  netjobs sweep 10.0.2.0/24 --exclude 10.0.2.7 --expect dead=0
  netjobs sweep 10.0.2.2-4 --every 10s",
    ),
    (
        "wait",
        "\
Examples:
  netjobs wait tcp://db:5432
  netjobs wait tcp://db:5432 http://api:8080/health -t 30s -- ./app --serve
  netjobs wait tcp://db:5432 --until down

Exit codes: 0 it came, 124 time ran out; with `-- CMD` that of CMD, which takes the place of netjobs.",
    ),
    (
        "interfaces",
        "\
Examples:
  netjobs interfaces
  netjobs interfaces eth0 --family 4
  netjobs interfaces eth0 --expect up=1
  netjobs interfaces --family 6",
    ),
    (
        "ipv6",
        "\
Examples:
  netjobs ipv6
  netjobs ipv6 --reach 'tcp://[2001:db8::1]:443'",
    ),
    (
        "ipc",
        "\
Examples:
  netjobs ipc
  netjobs ipc unix_datagram --messages 1000 --size 1KiB",
    ),
];
