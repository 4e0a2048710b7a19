//! Much at once in one process: sweeps, pings and a forward, each at its own pace.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use netjobs::kind::sweep::Sweep;

use super::{pair, run, sweep::alive};
use crate::netns::Namespace;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How many echo requests each of the peer's counters has seen.
fn seen(peer: &Namespace) -> Vec<u32> {
    let list = peer.sh("nft list chain inet t i | grep -o 'packets [0-9]*' | cut -d' ' -f2");
    list.lines().map(|line| line.parse().unwrap()).collect()
}

/// The receiving sockets of a family that are open to a protocol; those that only send have protocol 255.
fn receiving(namespace: &Namespace, file: &str, protocol: u8) -> usize {
    let list = namespace.sh(&format!("cat /proc/net/{file}"));
    list.lines().skip(1).filter(|line| line.contains(&format!(":{protocol:04X} "))).count()
}

/// Answers each byte on port 7 of the peer, until the peer is gone.
fn answering(peer: &Namespace) {
    let listener = peer.run(|| TcpListener::bind("10.9.0.2:7").unwrap());
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
    });
}

/// The time that 99 of 100 exchanges of a byte through the forward do not exceed.
fn slowest_of_most(stream: &mut TcpStream) -> Duration {
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let start = now();
            stream.write_all(&[1]).unwrap();
            stream.read_exact(&mut [0]).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[197]
}

/// How many echo requests a second each of the peer's counters has seen for two seconds.
fn rates(peer: &Namespace) -> [f64; 3] {
    let (start, before) = (now(), seen(peer));
    while start.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    let (took, after) = (start.elapsed().as_secs_f64(), seen(peer));
    [0, 1, 2].map(|at| f64::from(after[at] - before[at]) / took)
}

const NETS: [(&str, u32); 2] = [("10.99.0.0/19", 300), ("10.99.64.0/19", 800)];

/// The job file: two sweeps at rates of their own, a hundred pings, a forward.
fn jobs() -> String {
    let mut jobs = String::from("jobs:\n");
    for (at, (net, rate)) in NETS.into_iter().enumerate() {
        let sweep = format!("targets: {net}, rate: {rate}/s, passes: 1, report: none");
        let _ = write!(jobs, "  - name: sweep-{at}\n    at: start\n    sweep: {{ {sweep} }}\n");
    }
    for last in 1..=100 {
        let ping = format!("host: 10.99.128.{last}, count: 1000, interval: 200ms");
        let _ = write!(jobs, "  - name: ping-{last}\n    at: start\n    ping: {{ {ping} }}\n");
    }
    jobs += "  - name: forward\n    forward: { listen: '127.0.0.1:7007', to: '10.9.0.2:7' }\n";
    jobs
}

/// Case 54 of the sweep's list, with the real program.
#[test]
fn two_sweeps_a_hundred_pings_and_a_forward_keep_their_paces_in_one_process() {
    let (ours, peer) = pair();
    for target in [NETS[0].0, NETS[1].0, "10.99.128.0/24"] {
        peer.sh(&format!("nft add rule inet t i ip daddr {target} icmp type echo-request counter"));
    }
    answering(&peer);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jobs.yaml"), jobs()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netjobs"));
    command.args(["run", "--web.listen-address", "127.0.0.1:0"]).arg(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = ours.spawn(command);
    let begun = now();
    while seen(&peer).iter().any(|count| *count < 100) {
        assert!(begun.elapsed() < Duration::from_secs(20), "not all of it runs: {:?}", seen(&peer));
    }
    let slowest = ours.run(|| {
        let mut stream = TcpStream::connect("127.0.0.1:7007").unwrap();
        stream.set_nodelay(true).unwrap();
        (0..10).map(|_| slowest_of_most(&mut stream)).min().unwrap()
    });
    assert_eq!(receiving(&ours, "raw", 1), 1, "one for all that is sent over IPv4");
    assert!(receiving(&ours, "raw6", 58) <= 1);
    // On a busy machine all keep their paces in one of three tries.
    let wanted = [300.0, 800.0, 500.0];
    let tries: Vec<_> = (0..3).map(|_| rates(&peer)).collect();
    let is_kept = |rates: &[f64; 3]| (0..3).all(|at| (0.8..1.1).contains(&(rates[at] / wanted[at])));
    assert!(tries.iter().any(is_kept), "{tries:?} a second where {wanted:?} are asked for");
    assert!(slowest < Duration::from_millis(20), "a byte through the forward and back took {slowest:?}");
}

#[test]
fn a_zone_that_is_not_there_is_told_as_that_and_fails_alone() {
    let (ours, _peer) = pair();
    let outcome = run::<Sweep>(&ours, "{ targets: ['fe80::1%nosuch0', 10.9.0.2], timeout: 300ms }");
    assert_eq!(alive(&outcome).len(), 1);
    assert_eq!(outcome.reason, Some(netjobs::outcome::Reason::NoInterface));
    assert_eq!(
        outcome.message.as_deref(),
        Some("1 of 2 hosts are dead: fe80::1%nosuch0 (no interface `nosuch0`)")
    );
    assert_eq!(outcome.detail.value()["hosts"][1]["reason"], "no_interface");
    let error = super::try_run::<Sweep>(&ours, "{ targets: ['fe80::1%nosuch0'] }").result.unwrap_err();
    assert_eq!(error.reason(), netjobs::outcome::Reason::NoInterface);
    assert!(error.hint().unwrap().contains("ip link"), "{error}");
}

#[test]
fn on_a_terminal_a_bar_tells_the_rate_the_living_and_how_long_it_takes_and_a_pipe_is_plain() {
    let (ours, _peer) = pair();
    let sweep = format!(
        "{} sweep 10.9.0.2 10.98.0.0/25 --rate 200/s --timeout 200ms --passes 1",
        env!("CARGO_BIN_EXE_netjobs")
    );
    let (_, shown, _) = ours.try_sh(&format!("TERM=xterm COLUMNS=120 script -qec '{sweep}' /dev/null"));
    assert!(
        shown.contains(" probes, 1 alive, ") && shown.contains("/s, ") && shown.contains(" left"),
        "{shown:?}"
    );
    let (_, out, err) = ours.try_sh(&sweep);
    assert!(!err.contains("probes") && !out.contains('\u{1b}') && !err.contains('\u{1b}'), "{out}{err}");
}
