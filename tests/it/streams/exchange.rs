//! Exchanges: each way an answer can be right or wrong, against echoes and servers of the test's own.

use std::time::Duration;

use netjobs::{
    context::testing::context,
    diagnostic::Report,
    kind::{Kind as _, exchange::Exchange},
    outcome::{Notice, Outcome, Reason, Sample, Verdict},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UdpSocket,
    time::{Instant, timeout},
};

use super::{BlackHole, PATIENCE, Service, nobody, reset, server, spec};

async fn run(yaml: &str) -> Outcome {
    let (cx, _) = context(vec![], None);
    timeout(PATIENCE, spec::<Exchange>(yaml).run(&cx)).await.expect("it ends").unwrap()
}

#[track_caller]
fn assert_failed(outcome: &Outcome, reason: Reason) {
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(reason)), "{:?}", outcome.message);
}

fn count(outcome: &Outcome, name: &str) -> u64 {
    match outcome.samples[0].find(name) {
        Some(Sample::Count(count)) => *count,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn an_echo_answers_on_every_net() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("netjobs-exchange-{}", std::process::id());
    let echo = Service::echo(&format!(
        "{{ listen: ['[::]:0', 'udp://[::]:0', 'unix://{0}/s', 'unixgram://{0}/d', 'unix:@{name}', 'unixgram:@{name}'] }}",
        folder.path().display()
    ))
    .await;
    let (tcp, udp) = (echo.at(0).port(), echo.at(1).port());
    let targets = [
        format!("127.0.0.1:{tcp}"),
        format!("tcp://[::1]:{tcp}"),
        format!("udp://127.0.0.1:{udp}"),
        format!("udp://[::1]:{udp}"),
        format!("unix://{}/s", folder.path().display()),
        format!("unixgram://{}/d", folder.path().display()),
        format!("unix:@{name}"),
        format!("unixgram:@{name}"),
    ];
    for to in targets {
        let outcome = run(&format!("{{ to: '{to}', send: 'Hello from ipv6 client', count: 3 }}")).await;
        assert_eq!(outcome.verdict, Verdict::Passed, "{to}: {:?}", outcome.message);
        assert_eq!((count(&outcome, "sent_bytes"), count(&outcome, "received_bytes")), (66, 66));
        let is_stream = !to.starts_with("udp") && !to.starts_with("unixgram");
        assert_eq!(outcome.samples[0].find("connect_time").is_some(), is_stream);
        assert!(outcome.samples[0].find("rtt_p99").is_some());
    }
    echo.end().await;
}

#[tokio::test]
async fn more_than_the_sockets_hold_comes_back_whole() {
    let echo = Service::echo("{ listen: 0 }").await;
    let outcome =
        run(&format!("{{ to: '{}', send: 'random: 1MiB', count: 5, timeout: 10s }}", echo.at(0))).await;
    assert_eq!(outcome.verdict, Verdict::Passed, "{:?}", outcome.message);
    assert_eq!(count(&outcome, "received_bytes"), 5 << 20);
    echo.end().await;
}

#[tokio::test]
async fn both_families_are_one_outcome() {
    let echo = Service::echo("{ listen: 'localhost:0' }").await;
    let port = echo.at(0).port();
    let outcome = run(&format!("{{ to: 'localhost:{port}', send: x, family: 4 }}")).await;
    assert_eq!(outcome.verdict, Verdict::Passed);
    let outcome = run(&format!("{{ to: 'localhost:{port}', send: x, family: both }}")).await;
    let families: Vec<_> = outcome.samples.iter().map(|samples| samples.family).collect();
    assert_eq!(families, [Some("ipv4"), Some("ipv6")]);
    echo.end().await;
}

#[tokio::test]
async fn a_refusal_and_a_silent_address_have_their_reasons() {
    assert_failed(&run(&format!("{{ to: '{}', send: x }}", nobody())).await, Reason::Refused);
    assert_failed(&run(&format!("{{ to: 'udp://{}', send: x }}", nobody())).await, Reason::Refused);
    assert_failed(&run("{ to: 'unix:@netjobs-nobody-listens', send: x }").await, Reason::Refused);
    let hole = BlackHole::new("127.0.0.1:0");
    let start = Instant::now();
    let outcome = run(&format!("{{ to: '{}', send: x, timeout: 300ms }}", hole.address)).await;
    assert_failed(&outcome, Reason::ConnectTimeout);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_service_that_says_nothing_is_a_timeout() {
    let (_listener, to) = server().await;
    let start = Instant::now();
    let outcome = run(&format!("{{ to: '{to}', send: x, timeout: 300ms }}")).await;
    assert_failed(&outcome, Reason::Timeout);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(outcome.message.unwrap(), format!("tcp://{to}: no answer within 300ms"));
}

/// Runs against a server that reads some bytes and then does as it is told.
async fn against<F, A>(options: &str, act: F) -> Outcome
where
    F: FnOnce(tokio::net::TcpStream) -> A,
    A: Future<Output = ()>,
{
    let (listener, to) = server().await;
    let yaml = format!("{{ to: '{to}', timeout: 500ms, {options} }}");
    let serve = async {
        let mut far = listener.accept().await.unwrap().0;
        far.read_exact(&mut [0; 4]).await.unwrap();
        act(far).await;
    };
    tokio::join!(run(&yaml), serve).0
}

#[tokio::test]
async fn each_wrong_answer_has_its_reason() {
    let closed = against("send: PING", |mut far| async move { far.write_all(b"PI").await.unwrap() }).await;
    assert_failed(&closed, Reason::Closed);
    assert_eq!((count(&closed, "sent_bytes"), count(&closed, "received_bytes")), (4, 2));
    assert!(closed.message.unwrap().ends_with("2 of 4 bytes had come"));
    let other = against("send: PING", |mut far| async move {
        far.write_all(b"POST").await.unwrap();
        let _ = far.read(&mut [0]).await;
    });
    let other = other.await;
    assert_failed(&other, Reason::Mismatch);
    assert!(other.message.unwrap().ends_with("differs from the wanted one at byte 1"));
    let broken = against("send: PING", |far| async move { reset(far) }).await;
    assert_failed(&broken, Reason::Reset);
    let without =
        against("send: PING, want: '/PO+NG/'", |mut far| async move { far.write_all(b"no").await.unwrap() });
    assert_failed(&without.await, Reason::Mismatch);
}

/// A break is a break also where the writing saw it first.
#[tokio::test]
async fn a_break_while_sending_is_a_reset() {
    for _ in 0..20 {
        let outcome = against("send: 'random: 1MiB'", |far| async move { reset(far) }).await;
        assert_failed(&outcome, Reason::Reset);
        assert!(count(&outcome, "sent_bytes") >= 4);
    }
}

#[tokio::test]
async fn a_pattern_and_a_text_can_be_wanted() {
    for want in ["PONG", "/^PO+NG/", "hex: 50 4f 4e 47"] {
        let options = format!("send: PING, want: '{want}'");
        let outcome = against(&options, |mut far| async move {
            far.write_all(b"PO").await.unwrap();
            tokio::task::yield_now().await;
            far.write_all(b"NG").await.unwrap();
            let _ = far.read(&mut [0]).await;
        });
        assert_eq!(outcome.await.verdict, Verdict::Passed, "{want}");
    }
}

/// A late answer is not taken for the next one's.
#[tokio::test]
async fn a_lost_datagram_spoils_only_itself() {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let yaml = format!(
        "{{ to: 'udp://{}', send: 'random: 32B', count: 3, timeout: 200ms }}",
        far.local_addr().unwrap()
    );
    let (cx, recorder) = context(vec![], None);
    let exchange = spec::<Exchange>(&yaml);
    let serve = async {
        let mut buffer = [0; 64];
        let (length, late) = far.recv_from(&mut buffer).await.unwrap();
        let first = buffer[..length].to_vec();
        for _ in 0..2 {
            let (length, from) = far.recv_from(&mut buffer).await.unwrap();
            let _ = far.send_to(&first, late).await;
            far.send_to(&buffer[..length], from).await.unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(exchange.run(&cx), serve);
    let outcome = outcome.unwrap();
    assert_failed(&outcome, Reason::Timeout);
    assert_eq!((count(&outcome, "sent_bytes"), count(&outcome, "received_bytes")), (96, 64));
    let notices = recorder.notices.lock().unwrap();
    let answers: Vec<bool> = notices.iter().filter_map(answered).collect();
    assert_eq!(answers, [false, true, true]);
}

fn answered(notice: &Notice) -> Option<bool> {
    match notice {
        Notice::Answer { rtt, .. } => Some(rtt.is_some()),
        _ => None,
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_a_finding() {
    let outcome = run("{ to: 'no-such-name.invalid:80', send: x, timeout: 1s }").await;
    assert_failed(&outcome, Reason::Dns);
}

#[test]
fn what_cannot_be_is_refused_by_the_check() {
    for (yaml, words) in [
        ("{ to: 'https://example.com/', send: x }", "does not speak `https`"),
        ("{ to: 'icmp://10.0.0.1', send: x }", "does not speak `icmp`"),
        ("{ to: 'db:80-90', send: x }", "asks one port"),
        ("{ to: 'db:80', send: '' }", "nothing to send"),
        ("{ to: 'db:80', send: 'random: 2MiB' }", "read up to 1MiB"),
        ("{ to: 'udp://db:80', send: 'random: 64KiB' }", "at most 65507 bytes"),
        ("{ to: 'db:80', send: x, timeout: 0s }", "is zero"),
        ("{ to: '10.0.0.1:80', send: x, family: both }", "is an IPv4 address"),
        ("{ to: 'unix:@x', send: x, family: 6 }", "no address family"),
    ] {
        let mut report = Report::default();
        serde_yaml::from_str::<Exchange>(yaml).unwrap().check(&mut report);
        assert_eq!(report.diagnostics.len(), 1, "{yaml}: {report:?}");
        assert!(report.diagnostics[0].message.contains(words), "{yaml}: {report:?}");
    }
}
