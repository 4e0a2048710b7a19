//! Forwards of datagrams under load: many sources, unwanted sources, and what does not fit.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket as StdUdpSocket},
    os::unix::net::UnixDatagram as StdUnixDatagram,
    process::Command,
    time::Duration,
};

use netjobs::{
    kind::forward::Forward,
    outcome::{Close, Notice},
};
use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout};

use super::{
    PATIENCE, Service,
    datagrams::{end, receive, socket, through},
    noise, process, spec,
};
use crate::program::{Daemon, netjobs};

/// The value of a series in a scrape; `None` where it is not shown.
pub(super) fn value(scrape: &str, name: &str, label: &str) -> Option<f64> {
    let line = scrape.lines().find(|line| line.starts_with(name) && line.contains(label))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Memory that is the process's own, in bytes.
fn memory(id: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// Asks again and again, for what gives no event.
#[track_caller]
pub(super) fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never is");
        #[expect(clippy::disallowed_methods, reason = "another process gives no event")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Cases 51 and 53 of the forward's list, fault case 60: however many sources speak, there are so many sessions and no more,
/// each takes at most 4 KiB, none of their datagrams is lost, and in the end all is given back. `NETJOBS_TEST_SOURCES=100000`
/// makes it as many.
#[test]
fn a_flood_of_sources_takes_no_more_than_the_cap() {
    let sources: u32 = std::env::var("NETJOBS_TEST_SOURCES").map_or(4000, |count| count.parse().unwrap());
    let cap = (sources / 2).min(5000);
    let upstream = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = StdUdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    let yaml = format!(
        "jobs:\n  - name: f\n    forward: {{ listen: 'udp://127.0.0.1:{port}', to: 'udp://{}', sessions: {cap}, idle_timeout: 4s }}\n",
        upstream.local_addr().unwrap()
    );
    fs::write(&file, yaml).unwrap();
    let log = folder.path().join("log");
    let daemon = Daemon::start(netjobs(&["run", file.to_str().unwrap(), "--log.file"]).arg(&log));
    until(|| fs::read_to_string(&log).unwrap_or_default().contains("job_ready"));
    let id = daemon.process.child.id();
    let descriptors = || fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let speak = |number: u32| {
        let source = Ipv4Addr::from(0x7f01_0000 + number);
        let client = StdUdpSocket::bind((source, 0)).unwrap();
        client.send_to(&number.to_be_bytes(), ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(upstream.recv(&mut buffer).unwrap(), 4);
        assert_eq!(buffer[..4], number.to_be_bytes());
    };
    let active =
        |daemon: &Daemon| value(&daemon.get("/metrics"), "netjobs_forward_connections_active", "").unwrap();
    speak(0);
    let (memory_before, before) = (memory(id), descriptors());
    for number in 1..cap {
        speak(number);
    }
    let each = memory(id).saturating_sub(memory_before) / u64::from(cap);
    println!("{each} bytes a session");
    assert!(each <= 4096, "{each} bytes a session");
    for number in cap..sources {
        speak(number);
    }
    assert!(active(&daemon) <= f64::from(cap));
    assert!(descriptors() <= before + cap as usize + 8, "{} descriptors", descriptors());
    until(|| active(&daemon) == 0.0);
    assert!(descriptors() <= before, "{} descriptors", descriptors());
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// What is told of a forward's connections.
fn lines(service: &Service) -> usize {
    super::closes(&service.recorder).len()
}

/// Case 28 of the forward's list, fault case 60: a flood from a source that `allow` keeps out is counted whole and told once, and
/// the others are served.
#[tokio::test]
async fn a_flood_that_is_denied_does_not_flood_the_log() {
    const FLOOD: usize = 2000;
    let (far, to) = socket("127.0.0.1:0").await;
    let process = process();
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}', deny: 127.66.0.0/16 }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    let (unwanted, _) = socket("127.66.0.1:0").await;
    unwanted.connect(service.at(0)).await.unwrap();
    for round in 0..FLOOD / 20 {
        for _ in 0..20 {
            unwanted.send(b"no").await.unwrap();
        }
        client.send(b"yes").await.unwrap();
        assert_eq!(receive(&far).await.0, b"yes", "{round}");
    }
    let scrape = scrape(&process);
    let dropped = |reason: &str| {
        value(&scrape, "netjobs_forward_dropped_datagrams_total", &format!("reason=\"{reason}\""))
    };
    assert_eq!(dropped("denied"), Some(FLOOD as f64));
    assert_eq!(dropped("kernel"), Some(0.0));
    assert_eq!(value(&scrape, "netjobs_forward_closes_total", "reason=\"denied\""), Some(FLOOD as f64));
    assert_eq!(lines(&service), 1, "one line of the source that is kept out");
    assert_eq!(end(service).await, [Close::Denied, Close::Grace]);
}

pub(super) fn scrape(process: &netjobs::context::Shared) -> String {
    let mut text = String::new();
    process.registry.render(&mut text);
    text
}

/// Fault case 60: of many forged sources that are kept out only the first are told.
#[tokio::test]
async fn many_denied_sources_are_told_up_to_a_number() {
    let (service, client, far) = through(", allow: 127.0.0.1").await;
    for number in 0..300_u32 {
        let unwanted = StdUdpSocket::bind((Ipv4Addr::from(0x7f42_0000 + number), 0)).unwrap();
        unwanted.send_to(b"no", service.at(0)).unwrap();
    }
    client.send(b"yes").await.unwrap();
    assert_eq!(receive(&far).await.0, b"yes");
    assert_eq!(lines(&service), 64);
    let (outcome, _) = {
        service.stop.kill.cancel();
        service.end().await
    };
    assert_eq!(outcome.detail.value()["dropped_datagrams"]["denied"], 300);
}

/// Fault case 60: of many sources that push each other out only the first are told; all are counted.
#[tokio::test]
async fn many_sources_that_push_each_other_out_are_told_up_to_a_number() {
    let (far, to) = socket("127.0.0.1:0").await;
    let process = process();
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}', sessions: 2 }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    for number in 0..300_u32 {
        let source = StdUdpSocket::bind((Ipv4Addr::from(0x7f43_0000 + number), 0)).unwrap();
        source.send_to(b"x", service.at(0)).unwrap();
        receive(&far).await;
    }
    let pushed_out = || value(&scrape(&process), "netjobs_forward_closes_total", "reason=\"limit\"");
    let counted = timeout(PATIENCE, async {
        while pushed_out() != Some(298.0) {
            tokio::task::yield_now().await;
        }
    });
    counted.await.expect("each is counted");
    assert_eq!(lines(&service), 64);
    end(service).await;
}

/// Case 46: what is sent before the upstream is reached waits in order, and nothing is cut or joined when much comes at once.
#[tokio::test]
async fn datagrams_of_many_senders_keep_their_bounds_and_their_order() {
    let (service, _, far) = through("").await;
    let mut clients = vec![];
    for _ in 0..4 {
        let (client, _) = socket("127.0.0.1:0").await;
        client.connect(service.at(0)).await.unwrap();
        clients.push(client);
    }
    let size = |number: u8| usize::from(number) * 13 % 300;
    for number in 0..50_u8 {
        for (sender, client) in clients.iter().enumerate() {
            let mut bytes = noise(u64::from(number), 2 + size(number));
            (bytes[0], bytes[1]) = (u8::try_from(sender).unwrap(), number);
            client.send(&bytes).await.unwrap();
        }
    }
    let mut next = [0_u8; 4];
    for _ in 0..200 {
        let (bytes, session) = receive(&far).await;
        let (sender, number) = (usize::from(bytes[0]), bytes[1]);
        assert_eq!(number, next[sender], "of {sender}");
        assert!(bytes[2..] == noise(u64::from(number), 2 + size(number))[2..]);
        next[sender] += 1;
        far.send_to(&bytes, session).await.unwrap();
    }
    for (sender, client) in clients.iter().enumerate() {
        for number in 0..50_u8 {
            let (bytes, _) = receive(client).await;
            assert_eq!((usize::from(bytes[0]), bytes[1], bytes.len()), (sender, number, 2 + size(number)));
        }
    }
    assert_eq!(end(service).await, [Close::Grace; 4]);
}

/// Case 46: what is too large for UDP, or for anything, is lost alone and counted, never cut.
#[tokio::test]
async fn what_is_too_large_is_lost_alone() {
    let folder = tempfile::tempdir().unwrap();
    let near = folder.path().join("near");
    let (far, to) = socket("127.0.0.1:0").await;
    let process = process();
    let yaml = format!("{{ listen: 'unixgram://{}', to: 'udp://{to}' }}", near.display());
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let client = StdUnixDatagram::bind(folder.path().join("client")).unwrap();
    socket2::SockRef::from(&client).set_send_buffer_size(1 << 20).unwrap();
    for (size, arrives) in
        [(1, true), (100_000, false), (300_000, false), (65_507, true), (65_508, false), (0, true)]
    {
        let bytes = noise(3, size);
        client.send_to(&bytes, &near).unwrap();
        if arrives {
            assert!(receive(&far).await.0 == bytes, "{size}");
        }
    }
    let scrape = scrape(&process);
    let dropped = |reason: &str| {
        value(&scrape, "netjobs_forward_dropped_datagrams_total", &format!("reason=\"{reason}\""))
    };
    assert_eq!((dropped("too_big"), dropped("cut")), (Some(2.0), Some(1.0)));
    let warned = service
        .recorder
        .notices
        .lock()
        .unwrap()
        .iter()
        .any(|notice| matches!(notice, Notice::Warning { message } if message.contains("262144 bytes")));
    assert!(warned);
    assert_eq!(end(service).await, [Close::Grace]);
}

/// Case 54, beside a Unix client that never reads its answers: the others are answered. Not where it is connected to the
/// listener: then the system lets it take all of the listener's buffer.
#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let near = folder.path().join("near");
    let (far, to) = socket("127.0.0.1:0").await;
    let yaml = format!("{{ listen: 'unixgram://{}', to: 'udp://{to}' }}", near.display());
    let service = Service::forward(&yaml).await;
    let named = |name: &str| tokio::net::UnixDatagram::bind(folder.path().join(name)).unwrap();
    let (deaf, honest) = (named("deaf"), named("honest"));
    deaf.send_to(b"deaf", &near).await.unwrap();
    let deaf_session = receive(&far).await.1;
    honest.send_to(b"honest", &near).await.unwrap();
    let session = receive(&far).await.1;
    let (mut buffer, mut times) = ([0; 16], vec![]);
    for round in 0..20 {
        for _ in 0..50 {
            far.send_to(b"unread", deaf_session).await.unwrap();
        }
        far.send_to(b"answer", session).await.unwrap();
        let start = Instant::now();
        let answered = timeout(PATIENCE, honest.recv(&mut buffer)).await;
        assert_eq!(answered.expect("it is answered").unwrap(), 6, "{round}");
        times.push(start.elapsed());
    }
    // Far less than the 200 ms for which the session of the other waits; some may be late on a busy machine.
    times.sort_unstable();
    assert!(times[10] < Duration::from_millis(150), "{times:?}");
    assert_eq!(end(service).await, [Close::Grace, Close::Grace]);
}

/// Case 52: an upstream that takes nothing gets what fits in its queue once it reads again, in order; the rest is counted.
#[tokio::test]
async fn what_waits_for_a_slow_upstream_arrives_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let slow = folder.path().join("slow");
    let far = tokio::net::UnixDatagram::bind(&slow).unwrap();
    let process = process();
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'unixgram://{}' }}", slow.display());
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    for number in 0..300_u16 {
        client.send(&number.to_be_bytes()).await.unwrap();
    }
    let dropped =
        || value(&scrape(&process), "netjobs_forward_dropped_datagrams_total", "reason=\"queue\"").unwrap();
    let overflows = timeout(PATIENCE, async {
        while dropped() == 0.0 {
            tokio::task::yield_now().await;
        }
    });
    overflows.await.expect("the queue has an end");
    let (mut count, mut last, mut buffer) = (0_u32, None, [0; 8]);
    while f64::from(count) + dropped() < 300.0 {
        assert_eq!(timeout(PATIENCE, far.recv(&mut buffer)).await.unwrap().unwrap(), 2);
        let number = u16::from_be_bytes([buffer[0], buffer[1]]);
        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
        (last, count) = (Some(number), count + 1);
    }
    assert!(count >= 64, "{count}");
    assert_eq!(end(service).await, [Close::Grace]);
}

/// Case 46, by a true client: dig asks a name server through the forward.
#[test]
fn a_name_is_looked_up_through_a_forward() {
    let server = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let script: crate::nameserver::Script =
        std::sync::Arc::new(|_| crate::nameserver::Answer::Addresses(vec!["192.0.2.7".parse().unwrap()]));
    crate::nameserver::serve_udp(server, script);
    let mut forward = crate::program::Running::start(
        netjobs(&["forward", "udp://127.0.0.1:0", "--to", &format!("udp://{to}")])
            .stderr(std::process::Stdio::null()),
    );
    let at = forward.ready("udp://");
    let (host, port) = at.rsplit_once(':').unwrap();
    let dig = Command::new("dig")
        .args([&format!("@{host}"), "-p", port, "+short", "+tries=1", "+time=10", "host.example.", "A"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&dig.stdout).trim(), "192.0.2.7", "{dig:?}");
    assert_eq!(forward.end(Signal::SIGTERM), Some(0));
}

/// Case 49: while the upstream is down, a sender's datagrams end one session after the other: each is counted with its reason,
/// and one has a line. Those of the session that is open when it comes back all arrive.
#[tokio::test]
async fn an_upstream_that_comes_back_is_found_by_the_next_datagram() {
    let (far, to) = socket("127.0.0.1:0").await;
    drop(far);
    let process = process();
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    for round in 1..=30 {
        client.send(b"lost").await.unwrap();
        let refused =
            || value(&scrape(&process), "netjobs_forward_closes_total", "reason=\"refused\"").unwrap_or(0.0);
        let counted = timeout(PATIENCE, async {
            while refused() < f64::from(round) {
                tokio::task::yield_now().await;
            }
        });
        counted.await.expect("a refusal is counted");
    }
    let far = tokio::net::UdpSocket::bind(to).await.unwrap();
    for number in 0..20_u8 {
        client.send(&[number]).await.unwrap();
    }
    for number in 0..20_u8 {
        assert_eq!(receive(&far).await.0, [number]);
    }
    let recorder = service.recorder.clone();
    assert_eq!(end(service).await, [Close::Refused, Close::Grace]);
    let is_rest = |notice: &Notice| matches!(notice, Notice::Warning { message } if message.starts_with("29 more failed"));
    assert!(recorder.notices.lock().unwrap().iter().any(is_rest));
}
