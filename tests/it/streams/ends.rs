//! Forwards of streams: how one side's end, half end or break looks on the other.

use std::time::Duration;

use netjobs::outcome::Close;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use super::{assert_reset, noise, read_all, reset, through};

const MB: usize = 1_000_000;

/// Case 1.
#[tokio::test]
async fn an_answer_arrives_whole_after_the_client_has_finished() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(b"ask").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut far).await.0, b"ask");
    sleep(Duration::from_millis(300)).await;
    let answer = noise(1, MB);
    let ((), (bytes, end)) = tokio::join!(
        async {
            far.write_all(&answer).await.unwrap();
            far.shutdown().await.unwrap();
        },
        read_all(&mut client)
    );
    assert!(bytes == answer && end.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 2.
#[tokio::test]
async fn an_upload_arrives_whole_after_the_server_has_finished() {
    let (service, mut client, mut far) = through("").await;
    far.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.0.is_empty());
    let upload = noise(2, MB);
    let ((), (bytes, end)) = tokio::join!(
        async {
            client.write_all(&upload).await.unwrap();
            client.shutdown().await.unwrap();
        },
        read_all(&mut far)
    );
    assert!(bytes == upload && end.is_ok());
    let (outcome, closes) = service.end().await;
    assert_eq!(closes, [Close::Finished]);
    assert_eq!(outcome.samples[0].find("received_bytes"), Some(&netjobs::outcome::Sample::Count(MB as u64)));
}

/// Case 3.
#[tokio::test]
async fn both_sides_may_finish_at_once() {
    let (service, mut client, mut far) = through("").await;
    let (a, b) = tokio::join!(client.shutdown(), far.shutdown());
    assert!(a.is_ok() && b.is_ok());
    let (at_client, at_far) = tokio::join!(read_all(&mut client), read_all(&mut far));
    assert!(at_client.1.is_ok() && at_far.1.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 4.
#[tokio::test]
async fn a_half_closed_connection_that_is_silent_ends() {
    let (service, mut client, mut far) = through(", half_closed_timeout: 200ms").await;
    client.shutdown().await.unwrap();
    assert_reset(&read_all(&mut client).await.1);
    let mut rest = vec![];
    let _ = far.read_to_end(&mut rest).await;
    assert_eq!(service.end().await.1, [Close::HalfClosedTimeout]);
}

/// Case 5.
#[tokio::test]
async fn a_half_closed_connection_that_trickles_lives() {
    let (service, mut client, mut far) = through(", half_closed_timeout: 2s").await;
    client.shutdown().await.unwrap();
    // Pauses far shorter than the timeout, also on a busy machine, and together longer.
    let trickle = async {
        for _ in 0..25 {
            far.write_all(b"x").await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        far.shutdown().await.unwrap();
    };
    let ((), (bytes, end)) = tokio::join!(trickle, read_all(&mut client));
    assert!(bytes.len() == 25 && end.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 7.
#[tokio::test]
async fn a_server_that_breaks_off_never_looks_like_a_clean_end() {
    let (service, mut client, mut far) = through("").await;
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await.unwrap();
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    reset(far);
    assert_reset(&read_all(&mut client).await.1);
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// Case 7 with `on_abort: fin`.
#[tokio::test]
async fn a_break_can_be_shown_as_an_end() {
    let (service, mut client, mut far) = through(", on_abort: fin").await;
    far.write_all(b"x").await.unwrap();
    client.read_u8().await.unwrap();
    reset(far);
    assert!(read_all(&mut client).await.1.is_ok());
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// What a server sent before it broke off a client that still sends must arrive: the answer of a server that refuses an
/// upload.
#[tokio::test]
async fn an_answer_before_a_break_arrives() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(&noise(1, 100)).await.unwrap();
    assert!(far.readable().await.is_ok());
    far.write_all(b"413 too large").await.unwrap();
    let mut answer = vec![0; 13];
    client.read_exact(&mut answer).await.unwrap();
    // Closed with bytes unread: the kernel sends RST.
    drop(far);
    let (_, end) = read_all(&mut client).await;
    assert_reset(&end);
    assert_eq!(answer, b"413 too large");
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// Case 56.
#[tokio::test]
async fn writing_to_a_client_that_is_gone_harms_nobody() {
    let (service, client, mut far) = through("").await;
    drop(client);
    while far.write_all(&[0; 1000]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.end().await.1.len(), 1);
}

/// Case 39, in part: a cancelled forward keeps its connections, and what is left when the grace is over is reset.
#[tokio::test]
async fn what_is_left_when_the_grace_is_over_is_reset() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(b"x").await.unwrap();
    far.read_u8().await.unwrap();
    let stop = service.stop.clone();
    stop.cancel.cancel();
    assert!(!service.run.is_finished());
    stop.kill.cancel();
    assert_reset(&read_all(&mut client).await.1);
    assert_eq!(service.end().await.1, [Close::Grace]);
}
