//! Answers of web servers: whatever comes, in whatever pieces, is a status with a bounded body or a reason.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use netjobs::{
    net::http::{Answer, Ask, BODY_LIMIT, over},
    outcome::Reason,
    value::Host,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = ask(bytes, bytes.len().max(1));
    if piece == 0 {
        return;
    }
    let split = ask(bytes, piece.into());
    match (&whole, &split) {
        (Ok(whole), Ok(split)) => {
            assert_eq!((whole.status, &whole.body), (split.status, &split.body), "by {piece}");
            assert!((100..1000).contains(&whole.status) && whole.body.len() <= BODY_LIMIT);
        }
        (Err(whole), Err(split)) => {
            for reason in [whole, split] {
                assert!(matches!(reason, Reason::Mismatch | Reason::Closed), "{reason:?}");
            }
        }
        _ => panic!("{whole:?} at once, {split:?} by {piece}"),
    }
});

/// What the client makes of these bytes, written so many at a time and then ended.
fn ask(bytes: &[u8], piece: usize) -> Result<Answer, Reason> {
    let host = Host::Ip(Ipv4Addr::LOCALHOST.into());
    let ask = Ask { host: &host, port: 80, path: "/", body: true, tls: None };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (ours, mut theirs) = duplex(4096);
            let server = async {
                let mut request = [0; 512];
                let _ = theirs.read(&mut request).await;
                for piece in bytes.chunks(piece) {
                    // The client may have heard enough before all is written.
                    if theirs.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(theirs);
            };
            let (answer, ()) = tokio::join!(over(ours, ask), server);
            answer.map_err(|miss| miss.reason)
        })
    })
}
