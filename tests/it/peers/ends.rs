//! Half-closed connections through the built program, with the delays and sizes of the list.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{Host, PATIENCE, interrupt, noise, read_all, stopped};
use crate::program::Running;

const MB: usize = 1_000_000;

/// A host, a forward on it, and both ends of a connection through it.
fn through() -> (Host, Running, TcpStream, TcpStream) {
    let host = Host::new();
    let listener: TcpListener = host.listen("127.0.0.1:7000");
    let forward = host.forward("127.0.0.1:7000");
    let client = host.connect("127.0.0.1:8800");
    let far = listener.accept().unwrap().0;
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.set_write_timeout(Some(PATIENCE)).unwrap();
    (host, forward, client, far)
}

/// Writes all and finishes, on a thread of its own.
fn send(stream: &TcpStream, bytes: &[u8]) -> thread::JoinHandle<()> {
    let (mut stream, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
    thread::spawn(move || {
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    })
}

/// Case 1 of the forward's list.
#[test]
fn a_server_may_answer_1_mb_300_ms_after_the_client_has_finished() {
    let (_host, forward, mut client, mut far) = through();
    client.write_all(b"ask").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut far).0, b"ask");
    let asked = Instant::now();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let early = client.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "the client's side is still open");
    assert!(asked.elapsed() >= Duration::from_millis(300));
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let answer = noise(1, MB);
    let sender = send(&far, &answer);
    let (bytes, end) = read_all(&mut client);
    sender.join().unwrap();
    assert!(bytes == answer && end.is_ok(), "{} bytes, {end:?}", bytes.len());
    let said = stopped(forward);
    assert!(said.contains(" finished: 3 B in, 977 KiB out"), "{said}");
}

/// Case 2 of the forward's list.
#[test]
fn a_client_may_upload_1_mb_after_the_server_has_finished() {
    let (_host, forward, mut client, mut far) = through();
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let upload = noise(2, MB);
    let sender = send(&client, &upload);
    let (bytes, end) = read_all(&mut far);
    sender.join().unwrap();
    assert!(bytes == upload && end.is_ok(), "{} bytes, {end:?}", bytes.len());
    let said = stopped(forward);
    assert!(said.contains(" finished: 977 KiB in, 0 B out"), "{said}");
}

/// Case 39 of the forward's list: what a second signal cuts off does not look finished, on either side.
#[test]
fn a_second_signal_breaks_connections_off() {
    let (host, mut forward, mut client, mut far) = through();
    client.write_all(b"x").unwrap();
    assert_eq!(far.read(&mut [0]).unwrap(), 1);
    interrupt(&forward);
    // The first one is taken once nobody is accepted any more.
    let deadline = Instant::now() + PATIENCE;
    while host.0.run(|| TcpStream::connect("127.0.0.1:8800").is_ok()) {
        assert!(Instant::now() < deadline, "it still listens");
    }
    let second = Instant::now();
    interrupt(&forward);
    for side in [&mut client, &mut far] {
        let end = read_all(side).1.map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
    }
    let said = forward.rest();
    assert_eq!(forward.wait(), Some(130), "{said}");
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert!(said.contains(" grace: 1 B in, 0 B out"), "{said}");
}

/// Case 3 of the forward's list: both send 1 MB and finish at once.
#[test]
fn both_sides_may_send_1_mb_and_finish_at_once() {
    let (_host, forward, mut client, mut far) = through();
    let (up, down) = (noise(3, MB), noise(4, MB));
    let senders = [send(&client, &up), send(&far, &down)];
    let reader = thread::spawn(move || read_all(&mut far));
    let (bytes, end) = read_all(&mut client);
    assert!(bytes == down && end.is_ok(), "{} bytes, {end:?}", bytes.len());
    let (bytes, end) = reader.join().unwrap();
    assert!(bytes == up && end.is_ok(), "{} bytes, {end:?}", bytes.len());
    for sender in senders {
        sender.join().unwrap();
    }
    let said = stopped(forward);
    assert!(said.contains(" finished: 977 KiB in, 977 KiB out"), "{said}");
}
