//! How bytes are moved, copied or by the kernel: whole and in order, whatever the sizes and whoever pauses.

use std::time::Duration;

use netjobs::{
    context::testing::Recorder,
    kind::forward::Forward,
    meter::Counter,
    net::{
        relay::{self, Abort, Ending, Lane, Limits},
        stream::Stream,
    },
    outcome::{Close, Notice},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    PATIENCE, Service, assert_broken_off, assert_reset, next, nobody, noise, process, read_all, reset,
    server, spec, through,
};

const MB: usize = 1_000_000;

/// How the bytes of the connections were moved, as the log says.
fn engines(recorder: &Recorder) -> Vec<&'static str> {
    let notices = recorder.notices.lock().unwrap();
    let engine = |notice: &Notice| match notice {
        Notice::ConnectionClosed { engine, .. } => Some(*engine),
        _ => None,
    };
    notices.iter().filter_map(engine).collect()
}

/// Sends bytes and reads as many at the other side.
async fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    let (written, read) =
        timeout(PATIENCE, async { tokio::join!(from.write_all(bytes), to.read_exact(&mut got)) })
            .await
            .expect("it passes");
    assert!(written.is_ok() && read.is_ok() && got == bytes);
}

/// Writes until nothing more is taken; gives what was.
async fn fill(to: &mut TcpStream, chunk: &[u8]) -> Vec<u8> {
    let mut sent = vec![];
    while let Ok(count) = timeout(Duration::from_millis(100), to.write(chunk)).await {
        sent.extend_from_slice(&chunk[..count.unwrap()]);
        assert!(sent.len() < 256 * MB, "nothing holds the source back");
    }
    sent
}

/// Case 13: a pipe is full of small segments long before it is full of bytes.
#[tokio::test]
async fn many_small_segments_do_not_stall_a_reader_that_pauses() {
    let (service, mut client, mut far) = through("").await;
    client.set_nodelay(true).unwrap();
    pass(&mut client, &mut far, &noise(13, 4 * MB)).await;
    let sent = fill(&mut client, &noise(13, 100)).await;
    let writer = async {
        client.shutdown().await.unwrap();
        client
    };
    let (client, (bytes, end)) = tokio::join!(writer, read_all(&mut far));
    assert!(bytes == sent && end.is_ok(), "{} of {}", bytes.len(), sent.len());
    drop((client, far));
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 15: the client has finished while its last bytes wait for the server to read.
#[tokio::test]
async fn all_arrives_also_when_the_end_came_before_the_reader() {
    for is_spliced in [false, true] {
        let (service, mut client, mut far) = through("").await;
        if is_spliced {
            pass(&mut client, &mut far, &noise(1, 4 * MB)).await;
        }
        let sent = fill(&mut client, &noise(15, 300_000)).await;
        drop(client);
        let (bytes, end) = read_all(&mut far).await;
        assert!(bytes == sent && end.is_ok(), "{} of {}", bytes.len(), sent.len());
        drop(far);
        assert_eq!(service.end().await.1, [Close::Finished]);
    }
}

/// splice(2) takes no byte beyond urgent data and says that the stream has ended there once it has: none of what follows may
/// be lost. The urgent byte itself is no part of the stream.
#[tokio::test]
async fn bytes_behind_urgent_data_arrive_before_the_end() {
    let (service, mut client, mut far) = through("").await;
    pass(&mut client, &mut far, &noise(1, 4 * MB)).await;
    let (before, after) = (noise(2, 300_000), noise(3, 1000));
    let write = async {
        client.write_all(&before).await.unwrap();
        while socket2::SockRef::from(&client).send_out_of_band(b"!").is_err() {
            tokio::task::yield_now().await;
        }
        client.write_all(&after).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let (got, ()) = timeout(PATIENCE, async { tokio::join!(read_all(&mut far), write) }).await.unwrap();
    let sent = [before, after].concat();
    assert!(got.0 == sent && got.1.is_ok(), "{} of {}", got.0.len(), sent.len());
    drop((client, far));
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// A read stops at urgent data, and nothing tells that there is more behind it: as where an FTP client breaks a download off.
#[tokio::test]
async fn bytes_behind_urgent_data_do_not_wait_for_more() {
    let ((client, near), (far, mut server)) = (pair().await, pair().await);
    client.writable().await.unwrap();
    // All three are there before the relay reads.
    assert_eq!(client.try_write(b"ab").unwrap(), 2);
    assert_eq!(socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap(), 1);
    assert_eq!(client.try_write(b"tail").unwrap(), 4);
    let (token, day) = (CancellationToken::new, Duration::from_hours(24));
    let ending = Ending { drain: token(), drain_idle: day, finish: None, kill: token() };
    let limits = Limits { idle: day, half_closed: day, vanished: day, abort: Abort::Reset };
    let (near, far, up, down) = (Stream::Tcp(near), Stream::Tcp(far), Lane::default(), Lane::default());
    let read = async {
        let mut got = [0; 6];
        let all = timeout(PATIENCE, server.read_exact(&mut got)).await;
        ending.kill.cancel();
        all.expect("all arrives").unwrap();
        got
    };
    let (end, got) = tokio::join!(relay::relay(near, far, up, down, &limits, &ending), read);
    assert_eq!((end.close, &got), (Close::Grace, b"abtail"));
}

/// Case 18: the way of moving changes back and forth, and the counter of bytes that were not copied shows it.
#[tokio::test]
async fn bulk_and_crumbs_in_turn_keep_their_order() {
    let (listener, to) = server().await;
    let process = process();
    let service = Service::start_in(spec::<Forward>(&format!("{{ listen: 0, to: '{to}' }}")), &process).await;
    let mut client = service.connect().await;
    let mut far = listener.accept().await.unwrap().0;
    let spliced = || {
        let mut text = String::new();
        process.registry.render(&mut text);
        let line =
            text.lines().find(|line| line.starts_with("netjobs_forward_spliced_bytes_total{")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    let mut before = spliced();
    for round in 0..10 {
        pass(&mut client, &mut far, &noise(round, 4 * MB)).await;
        pass(&mut far, &mut client, &noise(round, 4 * MB)).await;
        let after = spliced();
        assert!(after > before, "round {round}");
        for crumb in 0..20 {
            pass(&mut client, &mut far, &noise(crumb, 100)).await;
            pass(&mut far, &mut client, &noise(crumb, 1000)).await;
        }
        // The first crumbs still go the way that the bulk went.
        let crumbs = spliced() - after;
        assert!(crumbs < 300_000, "{crumbs} in round {round}");
        before = spliced();
    }
    drop((client, far));
    assert_eq!(run_out(service).await, (vec![Close::Finished], vec!["splice"]));
}

/// Ends it: the closes and how the bytes were moved.
async fn run_out(service: Service) -> (Vec<Close>, Vec<&'static str>) {
    let recorder = service.recorder.clone();
    (service.end().await.1, engines(&recorder))
}

/// A few bytes are copied, and so is what has to be counted first; none are not moved at all.
#[tokio::test]
async fn the_log_says_how_bytes_were_moved() {
    for (options, size, engine) in [
        ("", 0, "none"),
        ("", 1000, "copy"),
        ("", 8 * MB, "splice"),
        (", rate: { bytes: 1GiB/s }", 8 * MB, "copy"),
    ] {
        let (service, mut client, mut far) = through(options).await;
        pass(&mut client, &mut far, &noise(1, size)).await;
        drop((client, far));
        assert_eq!(run_out(service).await, (vec![Close::Finished], vec![engine]), "{options} {size}");
    }
    let service = Service::forward(&format!("{{ listen: 0, to: '{}' }}", nobody())).await;
    assert_broken_off(&service).await;
    assert_eq!(run_out(service).await, (vec![Close::Refused], vec!["none"]));
}

/// Case 17 of the forward's list and fault case 27: small buffers make most writes short. `NETJOBS_SEEDS=1000` by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sizes_and_pauses_lose_nothing_in_either_direction() {
    let seeds: u64 = std::env::var("NETJOBS_SEEDS").map_or(60, |text| text.parse().unwrap());
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}' }}")).await;
    for seed in 0..seeds {
        let talk = timeout(PATIENCE, talk_randomly(&service, &listener, seed));
        talk.await.unwrap_or_else(|_| panic!("seed {seed} does not end"));
    }
    let recorder = service.recorder.clone();
    let (_, closes) = service.end().await;
    assert!(closes.iter().all(|close| *close == Close::Finished));
    let engines = engines(&recorder);
    let spliced = engines.iter().filter(|engine| **engine == "splice").count();
    assert!(spliced > 0 && spliced < engines.len(), "{spliced} of {} were spliced", engines.len());
}

async fn talk_randomly(service: &Service, listener: &TcpListener, seed: u64) {
    let mut state = seed;
    let mut below = |most: u64| usize::try_from(next(&mut state) % most).unwrap();
    let is_narrow = seed.is_multiple_of(3);
    let client = TcpSocket::new_v4().unwrap();
    for socket in [socket2::SockRef::from(&client), socket2::SockRef::from(listener)] {
        // A window below the segment size moves only by the kernel's timers.
        socket.set_tcp_mss(if is_narrow { 1000 } else { 32_000 }).unwrap();
        if is_narrow {
            socket.set_recv_buffer_size(below(60_000) + 8000).unwrap();
            socket.set_send_buffer_size(below(60_000) + 8000).unwrap();
        }
    }
    let client = client.connect(service.at(0)).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    let (most, chunk) = if seed.is_multiple_of(2) { (3_000_000, 1_000_000) } else { (200_000, 30_000) };
    let (up, down) = (noise(seed, below(most)), noise(seed + 1000, below(most)));
    let ((from_client, to_client), (from_far, to_far)) = (client.into_split(), far.into_split());
    let (got_down, got_up, (), ()) = tokio::join!(
        read_randomly(from_client, chunk, seed),
        read_randomly(from_far, chunk, seed + 1),
        write_randomly(to_client, &up, chunk, seed + 2),
        write_randomly(to_far, &down, chunk, seed + 3),
    );
    assert!(got_up == up && got_down == down, "seed {seed}");
}

async fn read_randomly(mut from: impl AsyncRead + Unpin, most: u64, mut seed: u64) -> Vec<u8> {
    let (mut all, mut buffer) = (vec![], vec![0; usize::try_from(most).unwrap()]);
    loop {
        let size = usize::try_from(next(&mut seed) % most + 1).unwrap();
        match from.read(&mut buffer[..size]).await.unwrap() {
            0 => return all,
            length => all.extend_from_slice(&buffer[..length]),
        }
        if next(&mut seed).is_multiple_of(4) {
            tokio::task::yield_now().await;
        }
    }
}

async fn write_randomly(mut to: impl AsyncWrite + Unpin, bytes: &[u8], most: u64, mut seed: u64) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = usize::try_from(next(&mut seed) % most + 1).unwrap().min(rest.len());
        to.write_all(&rest[..length]).await.unwrap();
        rest = &rest[length..];
        tokio::task::yield_now().await;
    }
    to.shutdown().await.unwrap();
}

/// Case 31: between a mouse's question and its answer eight elephants on the same thread move only so many bytes. Not a
/// time: the machine has others to serve.
#[tokio::test]
async fn mice_are_served_beside_elephants() {
    const SHARE: u64 = 256 << 10;
    let tasks = tokio_util::task::TaskTracker::new();
    let moved = Counter::default();
    let stop = CancellationToken::new();
    let relayed = async |counter: Counter| {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let (up, stop) = (Lane { counter, ..Lane::default() }, stop.clone());
        tasks.spawn(async move {
            let (token, day) = (CancellationToken::new, Duration::from_hours(24));
            let ending = Ending { drain: token(), drain_idle: day, finish: None, kill: stop };
            let limits = Limits { idle: day, half_closed: day, vanished: day, abort: Abort::Reset };
            relay::relay(Stream::Tcp(near), Stream::Tcp(far), up, Lane::default(), &limits, &ending).await
        });
        (client, server)
    };
    for _ in 0..8 {
        let (mut client, mut server) = relayed(moved.clone()).await;
        tasks.spawn(async move {
            let chunk = vec![0; 1 << 20];
            while client.write_all(&chunk).await.is_ok() {}
            relay::End::without_bytes(Close::ClientReset)
        });
        tasks.spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            while !matches!(server.read(&mut buffer).await, Ok(0) | Err(_)) {}
            relay::End::without_bytes(Close::UpstreamReset)
        });
    }
    let (mut mouse, mut server) = relayed(Counter::default()).await;
    let mut meanwhile = vec![];
    for _ in 0..50 {
        let before = moved.value();
        pass(&mut mouse, &mut server, b"?").await;
        pass(&mut server, &mut mouse, b"!").await;
        meanwhile.push(moved.value() - before);
    }
    meanwhile.sort_unstable();
    // Four steps: each way the relay's and the reader's. For each the runtime of this test looks for news after 61 polls
    // (tokio's `event_interval`), and each poll moves no more than its share.
    assert!(meanwhile[25] <= 4 * 61 * SHARE, "{} bytes", meanwhile[25]);
    assert!(meanwhile[49] > 0, "the elephants move");
    stop.cancel();
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let (listener, at) = server().await;
    (TcpStream::connect(at).await.unwrap(), listener.accept().await.unwrap().0)
}

/// Cases 7 and 56, while the kernel moves the bytes: the cut download is no clean end, the upload to a dead client no signal.
#[tokio::test]
async fn a_break_in_the_middle_of_bulk_is_a_break() {
    let (service, mut client, mut far) = through("").await;
    pass(&mut far, &mut client, &noise(7, 4 * MB)).await;
    fill(&mut far, &noise(7, MB)).await;
    reset(far);
    assert_reset(&read_all(&mut client).await.1);
    drop(client);
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);

    let (service, mut client, mut far) = through("").await;
    pass(&mut far, &mut client, &noise(7, 4 * MB)).await;
    fill(&mut far, &noise(7, MB)).await;
    // Closed with bytes unread: the kernel sends RST.
    drop(client);
    while timeout(PATIENCE, far.write_all(&noise(7, 1000))).await.expect("it breaks").is_ok() {}
    assert_eq!(service.end().await.1, [Close::ClientReset]);
}
