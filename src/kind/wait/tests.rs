//! Tests of the `wait` kind against real sockets of this machine.

use std::sync::PoisonError;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::*;
use crate::{
    context::testing::{Recorder, context},
    outcome::{Reason, Sample, Verdict},
};

/// A run of this spec, how long it took, and what it told.
async fn run(yaml: &str) -> (Outcome, Duration, Vec<(&'static str, &'static str)>) {
    let spec: Wait = serde_yaml::from_str(yaml).unwrap();
    let mut report = Report::default();
    spec.check(&mut report);
    assert!(!report.has_errors(), "{report:?}");
    let (cx, recorder) = context(vec![], None);
    let started = Instant::now();
    let outcome = spec.run(&cx).await.unwrap();
    (outcome, started.elapsed(), changes(&recorder))
}

fn changes(recorder: &Recorder) -> Vec<(&'static str, &'static str)> {
    let notices = recorder.notices.lock().unwrap_or_else(PoisonError::into_inner);
    let change = |notice: &Notice| match notice {
        Notice::StateChanged { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    notices.iter().filter_map(change).collect()
}

/// A run that must end at its timeout of 300 ms with this cause.
async fn check_timeout(yaml: &str, last_reason: &'static str) {
    let mut times = vec![];
    // What a busy machine adds to the time is not ours.
    for _ in 0..3 {
        let (outcome, took, _) = run(yaml).await;
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::Timeout)), "{yaml}");
        assert_eq!(outcome.samples[0].find("last_reason"), Some(&Sample::Word(last_reason)), "{yaml}");
        assert!(took >= Duration::from_millis(300), "{yaml}: {took:?}");
        if took < Duration::from_millis(350) {
            return;
        }
        times.push(took);
    }
    panic!("{yaml}: {times:?}");
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Answers each connection with these bytes after its first read, for as long as it is held.
async fn serve(listener: TcpListener, answer: &'static [u8]) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer).await;
    }
}

#[tokio::test]
async fn what_listens_has_come_at_the_first_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (outcome, took, changes) = run(&format!("{{ for: '{at}' }}")).await;
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(outcome.samples[0].find("attempts"), Some(&Sample::Count(1)));
    assert_eq!(outcome.samples[0].find("last_reason"), None);
    assert_eq!(changes, [("", "up")]);
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn a_service_that_comes_is_noticed_within_150_ms() {
    let port = free_port().await;
    let server = async {
        tokio::time::sleep(Duration::from_millis(730)).await;
        (TcpListener::bind(("127.0.0.1", port)).await.unwrap(), Instant::now())
    };
    let yaml = format!("{{ for: '127.0.0.1:{port}' }}");
    let waiting = async {
        let done = run(&yaml).await;
        (done, Instant::now())
    };
    let ((_listener, began), ((outcome, _, changes), noticed)) = tokio::join!(server, waiting);
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(outcome.samples[0].find("last_reason"), Some(&Sample::Word("refused")));
    assert_eq!(changes, [("", "refused"), ("refused", "up")]);
    assert!(noticed - began < Duration::from_millis(150), "{:?}", noticed - began);
}

#[tokio::test]
async fn every_endpoint_must_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (there, missing) = (listener.local_addr().unwrap(), free_port().await);
    let yaml = format!("{{ for: ['{there}', '127.0.0.1:{missing}'], timeout: 300ms }}");
    let (outcome, _, _) = run(&yaml).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    let message = outcome.message.unwrap();
    assert!(
        message
            .contains(&format!("tcp://127.0.0.1:{missing}: connect 127.0.0.1:{missing}: Connection refused")),
        "{message}"
    );
    assert!(!message.contains(&there.to_string()), "{message}");
}

#[tokio::test]
async fn each_kind_of_absence_has_its_cause_and_none_overshoots() {
    let free = free_port().await;
    check_timeout(&format!("{{ for: 'tcp://127.0.0.1:{free}', timeout: 300ms }}"), "refused").await;
    check_timeout(&format!("{{ for: 'http://127.0.0.1:{free}/', timeout: 300ms }}"), "refused").await;
    check_timeout(&format!("{{ for: 'udp://127.0.0.1:{free}', timeout: 300ms }}"), "port_unreachable").await;
    check_timeout("{ for: 'unix:@netjobs-nobody', timeout: 300ms }", "refused").await;
    check_timeout("{ for: 'unixgram:@netjobs-nobody', timeout: 300ms }", "refused").await;
    check_timeout("{ for: 'unix:///nonexistent/s', timeout: 300ms }", "refused").await;
    check_timeout("{ for: 'job:absent', timeout: 300ms }", "refused").await;
}

#[tokio::test]
async fn a_service_that_accepts_and_says_nothing_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    check_timeout(&format!("{{ for: 'http://{at}/', timeout: 300ms }}"), "timeout").await;
    #[cfg(feature = "tls")]
    check_timeout(&format!("{{ for: 'https://{at}/', timeout: 300ms }}"), "timeout").await;
}

#[tokio::test]
async fn a_full_queue_of_connections_is_a_connect_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut held = vec![];
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at)).await
    {
        held.push(stream);
    }
    check_timeout(&format!("{{ for: '{at}', timeout: 300ms }}"), "connect_timeout").await;
}

#[tokio::test]
async fn a_host_that_answers_an_echo_has_come() {
    let (outcome, _, _) = run("{ for: 'icmp://127.0.0.1' }").await;
    assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
}

#[tokio::test]
async fn until_down_waits_for_what_answers_to_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    check_timeout(&format!("{{ for: '{at}', until: down, timeout: 300ms }}"), "up").await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        drop(listener);
    };
    let yaml = format!("{{ for: '{at}', until: down }}");
    let ((), (outcome, took, changes)) = tokio::join!(ending, run(&yaml));
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(changes, [("", "up"), ("up", "refused")]);
    assert!(took < Duration::from_millis(450), "{took:?}");
}

#[tokio::test]
async fn successes_are_counted_in_a_row() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let (outcome, _, _) = run(&format!("{{ for: 'udp://{at}', successes: 3, interval: 10ms }}")).await;
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(outcome.samples[0].find("attempts"), Some(&Sample::Count(3)));
}

#[tokio::test]
async fn both_families_have_samples_of_their_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let yaml = format!("{{ for: 'localhost:{port}', family: both, timeout: 300ms }}");
    let (outcome, _, _) = run(&yaml).await;
    let families: Vec<_> = outcome.samples.iter().map(|samples| samples.family).collect();
    assert_eq!(families, [Some("ipv4"), Some("ipv6")]);
    assert_eq!(outcome.samples[0].find("last_reason"), None);
    assert!(outcome.samples[1].find("last_reason").is_some(), "nobody listens on ::1");
    assert_eq!(outcome.verdict, Verdict::Failed);
}

#[tokio::test]
async fn an_http_answer_is_judged_by_status_and_body() {
    let busy: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let checks = async {
        check_timeout(&format!("{{ for: 'http://{at}/', timeout: 300ms }}"), "http_status").await;
        let (outcome, _, _) =
            run(&format!("{{ for: 'http://{at}/', http: {{ status: [5xx, 200] }} }}")).await;
        assert_eq!(outcome.verdict, Verdict::Passed);
        let body = format!("{{ for: 'http://{at}/', http: {{ status: 503, body: ell }} }}");
        assert_eq!(run(&body).await.0.verdict, Verdict::Passed);
        let body = format!("{{ for: 'http://{at}/', timeout: 300ms, http: {{ status: 503, body: nope }} }}");
        check_timeout(&body, "mismatch").await;
    };
    tokio::select! { () = serve(listener, busy) => {}, () = checks => {} }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_that_does_not_speak_tls_has_that_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let check =
        check_timeout_owned(format!("{{ for: 'https://{at}/', timeout: 300ms, http: {{ verify: false }} }}"));
    tokio::select! { () = serve(listener, b"HTTP/1.1 400 Bad Request\r\n\r\n") => {}, () = check => {} }
}

#[cfg(feature = "tls")]
async fn check_timeout_owned(yaml: String) {
    check_timeout(&yaml, "tls").await;
}

#[tokio::test]
async fn a_missing_ca_file_means_that_we_cannot_look() {
    let spec: Wait =
        serde_yaml::from_str("{ for: 'https://127.0.0.1:1/', http: { ca: nonexistent.pem } }").unwrap();
    let (cx, _) = context(vec![], None);
    let error = spec.run(&cx).await.unwrap_err();
    assert!(error.to_string().contains("nonexistent.pem"), "{error}");
}

#[tokio::test]
async fn a_cancelled_wait_says_what_it_has() {
    let spec: Wait = serde_yaml::from_str("{ for: 'unix:@netjobs-nobody' }").unwrap();
    let (cx, _) = context(vec![], None);
    let cancel = cx.stop().cancel.clone();
    let (outcome, ()) = tokio::join!(spec.run(&cx), async { cancel.cancel() });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::Cancelled)));
    assert!(outcome.samples[0].find("attempts").is_some());
}

#[track_caller]
fn check_refused(yaml: &str, path: &str, message: &str) {
    let spec: Wait = serde_yaml::from_str(yaml).unwrap();
    let mut report = Report::default();
    spec.check(&mut report);
    let found: Vec<_> =
        report.diagnostics.iter().map(|found| (found.path.as_str(), found.message.as_str())).collect();
    assert_eq!(found, [(path, message)]);
}

#[test]
fn keys_that_would_do_nothing_are_refused() {
    let lone = "`http` is given and no endpoint is `http://` or `https://`";
    check_refused("{ for: 'h:1', http: {} }", "http", lone);
    let plain = "`http.ca` is given and no endpoint is `https://`";
    check_refused("{ for: 'http://h/', http: { ca: x } }", "http.ca", plain);
    check_refused("{ for: 'h:1', timeout: 0s }", "timeout", "`timeout` is zero");
    check_refused(
        "{ for: ['h:1', '10.0.0.1:1'], family: 6 }",
        "for[1]",
        "`tcp://10.0.0.1:1` has no IPv6 address",
    );
    let many = "2000 endpoints are too many to wait for, the most are 1000";
    check_refused("{ for: 'h:1-2000' }", "for", many);
}
