//! Fault cases 56 and 57, and what each path answers.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::{
    event::Event,
    meter::Registry,
    outcome::Verdict,
    sink::{
        Sink,
        testing::{self, job},
    },
};

struct Host {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
    history: History,
}

async fn host(reload: Option<Reload>) -> Host {
    let registry = Registry::new(100);
    let metrics = Metrics::new(registry.clone()).unwrap();
    let history = History::new();
    let (mut first, mut second) = (metrics.sink(), history.sink());
    let jobs = vec![job("gateway", "ping"), job("web", "forward")];
    let added: Vec<Event> = jobs.iter().map(|job| Event::JobAdded { job: job.clone() }).collect();
    testing::enrol(&registry, &added);
    for event in std::iter::once(Event::Started { jobs }).chain(added).chain([
        Event::JobReady { job: job("web", "forward"), addresses: vec!["tcp://127.0.0.1:1".into()] },
        testing::run("gateway", "ping", Verdict::Passed),
    ]) {
        first.event(&event);
        second.event(&event);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let site = Site { metrics, history: history.clone(), reload, plan: None, spare: super::Spare::open() };
    let served = TaskTracker::new().spawn(serve(listener, site, stop.clone()));
    Host { address, stop, served, history }
}

impl Host {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes; a reset counts as the end.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    async fn request(&self, method: &str, path: &str, header: &str) -> String {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        self.exchange(text.as_bytes()).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn check(answer: &str, status: &str, body: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    let (_, found) = answer.split_once("\r\n\r\n").unwrap();
    assert!(found.contains(body), "no `{body}` in {answer}");
}

#[tokio::test]
async fn each_path_answers_and_others_say_what_there_is() {
    let host = host(None).await;
    check(&host.request("GET", "/metrics", "").await, "200", "netjobs_runs_total{job_name=\"gateway\"");
    check(&host.request("GET", "/-/healthy", "").await, "200", "healthy\n");
    check(&host.request("GET", "/-/ready", "").await, "200", "ready\n");
    check(&host.request("GET", "/api/v1/jobs", "").await, "200", "\"job_name\":\"gateway\"");
    check(&host.request("GET", "/api/v1/jobs/gateway/runs", "").await, "200", "\"run_id\":\"gateway@");
    check(&host.request("GET", "/api/v1/jobs/nobody/runs", "").await, "404", "nothing here");
    check(&host.request("GET", "/api/v1/status", "").await, "200", "\"passed\":1");
    check(&host.request("GET", "/?x=1", "").await, "200", "<td>gateway</td>");
    check(&host.request("GET", "/none", "").await, "404", "nothing here: try /, /metrics");
    check(&host.request("POST", "/none", "").await, "404", "nothing here");
    let refused = host.request("DELETE", "/metrics", "").await;
    check(&refused, "405", "this path takes GET");
    assert!(refused.contains("allow: GET, HEAD"), "{refused}");
    let head = host.request("HEAD", "/api/v1/status", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    host.stop().await;
}

#[tokio::test]
async fn readiness_names_the_services_that_do_not_serve() {
    let host = host(None).await;
    let mut keeper = host.history.sink();
    keeper.event(&testing::run("web", "forward", Verdict::Errored));
    check(&host.request("GET", "/-/ready", "").await, "503", "not ready: web\n");
    keeper.event(&Event::Stopped);
    check(&host.request("GET", "/-/ready", "").await, "503", "the runner is starting or stopping");
    host.stop().await;
}

#[tokio::test]
async fn a_reload_is_done_only_where_it_is_allowed_and_asked_for_by_post() {
    let closed = host(None).await;
    check(&closed.request("POST", "/-/reload", "").await, "403", "--web.enable-lifecycle");
    closed.stop().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let open = host(Some(Box::new(move || {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let said = if first { Ok("reloaded: 1 added".into()) } else { Err("jobs/a.yaml:1:1: no".into()) };
        Box::pin(async move { said })
    })))
    .await;
    check(&open.request("POST", "/-/reload", "").await, "200", "reloaded: 1 added\n");
    check(&open.request("POST", "/-/reload", "").await, "500", "jobs/a.yaml:1:1: no\n");
    check(&open.request("GET", "/-/reload", "").await, "405", "this path takes POST");
    check(&open.request("POST", "/-/reload", "Sec-Fetch-Site: cross-site\r\n").await, "403", "another site");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    open.stop().await;
}

/// Fault case 56: slow headers.
#[tokio::test(start_paused = true)]
async fn case_56_a_header_that_trickles_is_cut_off_after_five_seconds_in_all() {
    let host = host(None).await;
    let (mut reader, mut writer) = host.connect().await.into_split();
    let begin = Instant::now();
    let trickle = async {
        writer.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        loop {
            sleep(Duration::from_secs(1)).await;
            let _ = writer.write_all(b"x").await;
        }
    };
    let closed = async { while let Ok(1..) = reader.read(&mut [0; 512]).await {} };
    tokio::select! {
        () = trickle => unreachable!("it never ends"),
        () = closed => {}
    }
    let took = begin.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(7)).contains(&took), "{took:?}");
    host.stop().await;
}

/// Fault case 56: a header of a megabyte.
#[tokio::test]
async fn case_56_a_header_of_a_megabyte_is_refused() {
    let host = host(None).await;
    let mut request = b"GET / HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
    request.resize(1 << 20, b'x');
    check(&host.exchange(&request).await, "431", "");
    let many = "A: x\r\n".repeat(500);
    check(&host.request("GET", "/", &many).await, "431", "");
    host.stop().await;
}

/// Fault case 56: pipelining.
#[tokio::test]
async fn case_56_pipelined_requests_are_answered_in_order() {
    let host = host(None).await;
    let requests = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n\
                    GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = host.exchange(requests.as_bytes()).await;
    let statuses: Vec<&str> = answers.lines().filter(|line| line.starts_with("HTTP/1.1")).collect();
    assert_eq!(statuses, ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"]);
    host.stop().await;
}

/// Fault case 56: bad bytes.
#[tokio::test]
async fn case_56_bad_bytes_end_that_connection_alone() {
    let host = host(None).await;
    for bytes in [
        b"\x00\xff\x80 nothing\r\n\r\n".as_slice(),
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut stream = host.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    check(&host.request("GET", "/-/healthy", "").await, "200", "healthy");
    host.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_after_the_request_gets_its_answer() {
    let host = host(None).await;
    let mut stream = host.connect().await;
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    check(&read_all(&mut stream).await, "200", "healthy");
    host.stop().await;
}

/// Fault case 57: a thousand scrapes at once; that they share encodes is shown in `scrape`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_57_a_thousand_scrapes_at_once_are_all_answered() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).unwrap();
    let host = Arc::new(host(None).await);
    let tasks = TaskTracker::new();
    let scrape = |host: Arc<Host>| async move { host.request("GET", "/metrics", "").await };
    let all: Vec<_> = (0..1000).map(|_| tasks.spawn(scrape(host.clone()))).collect();
    for one in all {
        let answer = one.await.unwrap();
        check(&answer, "200", "netjobs_job_up{job_name=\"gateway\",kind=\"ping\",site=\"lab\"} 1\n");
        assert!(answer.ends_with('\n'));
    }
    Arc::into_inner(host).unwrap().stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_beyond_all_places_is_told_so_and_a_place_comes_free_again() {
    let go = CancellationToken::new();
    let gone = go.clone();
    let slow = move || -> Pin<Box<dyn Future<Output = Reloaded> + Send>> {
        let gone = gone.clone();
        Box::pin(async move {
            gone.cancelled().await;
            Ok(String::new())
        })
    };
    let host = host(Some(Box::new(slow))).await;
    let mut waiting = vec![];
    for _ in 0..CLIENTS {
        let mut client = host.connect().await;
        client.write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        waiting.push(client);
    }
    // One that has asked already hears it too, and no reset in its place.
    check(&host.exchange(b"").await, "503", "all places are taken: come back soon\n");
    check(&host.request("GET", "/metrics", "").await, "503", "all places are taken: come back soon\n");
    go.cancel();
    for mut client in waiting {
        check(&read_all(&mut client).await, "200", "\n");
    }
    check(&host.request("GET", "/-/healthy", "").await, "200", "healthy");
    host.stop().await;
}

/// Fault case 56: clients that say nothing, more than there are places.
#[tokio::test(start_paused = true)]
async fn case_56_who_says_nothing_gives_way_to_who_asks() {
    let host = host(None).await;
    let mut idle = vec![];
    for _ in 0..CLIENTS {
        idle.push(host.connect().await);
    }
    check(&host.request("GET", "/-/healthy", "").await, "200", "healthy");
    host.stop().await;
}

#[tokio::test]
async fn a_stopping_server_lets_go_of_idle_clients_at_once() {
    let host = host(None).await;
    let mut stream = host.connect().await;
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let begin = Instant::now();
    host.stop().await;
    assert!(begin.elapsed() < FAREWELL, "it did not wait for the client to go");
    read_all(&mut stream).await;
}
