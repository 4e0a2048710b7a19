//! One HTTP/1.1 request over a connection that is there already (RFC 9112): status and the start of the body. Follows no
//! redirect, keeps no connection, knows no proxy.
//!
//! What a server sends is bounded: 16 KiB of headers, 1 MiB of body.

mod tls;

use std::error::Error as _;

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

pub use tls::{Tls, Trust};

use super::probe::Miss;
use crate::{outcome::Reason, value::Host};

/// The most of a body that is read.
pub const BODY_LIMIT: usize = 1 << 20;
/// The most of status line and headers.
const HEAD_LIMIT: usize = 16 << 10;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whom, for the `Host` header and the certificate.
    pub host: &'a Host,
    /// The port, named where it is not the usual one.
    pub port: u16,
    /// Path and query.
    pub path: &'a str,
    /// Whether to read the body.
    pub body: bool,
    /// How to encrypt, for `https`.
    pub tls: Option<&'a Tls>,
}

/// What came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// At most `BODY_LIMIT` of the body; empty where it was not asked for.
    pub body: Vec<u8>,
}

/// Asks once. Cancel it at a deadline: it has none of its own.
pub async fn get(stream: TcpStream, ask: Ask<'_>) -> Result<Answer, Miss> {
    match ask.tls {
        Some(tls) => over(tls.wrap(stream, ask.host).await?, ask).await,
        None => over(stream, ask).await,
    }
}

/// Asks over a stream that is encrypted already, or need not be.
#[doc(hidden)]
pub async fn over<S>(stream: S, ask: Ask<'_>) -> Result<Answer, Miss>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request(ask).map_err(|error| Miss::new(Reason::Bug, error.to_string()))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| sorted(&error))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = if ask.body { read(response.into_body()).await? } else { vec![] };
        Ok(Answer { status, body })
    };
    tokio::pin!(answer);
    let whole = tokio::select! {
        biased;
        whole = &mut answer => Some(whole),
        _ = connection => None,
    };
    // The connection may end before the last bytes of the answer were taken from it.
    match whole {
        Some(whole) => whole,
        None => answer.await,
    }
    .map_err(|error: hyper::Error| sorted(&error))
}

fn request(ask: Ask<'_>) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let usual = if ask.tls.is_some() { 443 } else { 80 };
    let name = match ask.host {
        Host::Scoped(address, _) => format!("[{address}]"),
        other => other.to_string(),
    };
    let host = if ask.port == usual { name } else { format!("{name}:{}", ask.port) };
    Request::get(ask.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("netjobs/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = vec![];
    while bytes.len() < BODY_LIMIT {
        let Some(frame) = body.frame().await else { break };
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(BODY_LIMIT - bytes.len())]);
        }
    }
    Ok(bytes)
}

fn sorted(error: &hyper::Error) -> Miss {
    let system = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    match system {
        Some(system) => tls::sorted(system),
        None if error.is_parse() => Miss::new(Reason::Mismatch, "the answer is not HTTP"),
        None => Miss::new(Reason::Closed, "the connection ended before the answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Asks a server that reads the request's head and answers with these bytes, then ends.
    async fn ask(answer: Vec<u8>) -> (Result<Answer, Miss>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // The client may have heard enough before all is written.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(head).unwrap()
        };
        let client = async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let host = Host::Ip(Ipv4Addr::LOCALHOST.into());
            get(stream, Ask { host: &host, port, path: "/x?y=1", body: true, tls: None }).await
        };
        let (head, answer) = tokio::join!(server, client);
        (answer, head)
    }

    #[track_caller]
    fn check_miss(answer: Result<Answer, Miss>, reason: Reason) {
        assert_eq!(answer.unwrap_err().reason, reason);
    }

    #[tokio::test]
    async fn an_answer_is_a_status_and_a_body() {
        let (answer, head) = ask(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello".to_vec()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, &b"hello"[..]));
        assert!(head.starts_with("GET /x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
    }

    #[tokio::test]
    async fn a_body_that_ends_with_the_connection_is_whole() {
        let (answer, _) = ask(b"HTTP/1.0 200 OK\r\n\r\nhello".to_vec()).await;
        assert_eq!(answer.unwrap().body, b"hello");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let mut bytes = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + 3 * BODY_LIMIT, b'x');
        let (answer, _) = ask(bytes).await;
        assert_eq!(answer.unwrap().body.len(), BODY_LIMIT);
    }

    #[tokio::test]
    async fn what_is_no_whole_answer_has_its_reason() {
        check_miss(ask(b"SSH-2.0-x\r\n".to_vec()).await.0, Reason::Mismatch);
        check_miss(ask(vec![]).await.0, Reason::Closed);
        check_miss(ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel".to_vec()).await.0, Reason::Closed);
        let mut endless = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        endless.resize(1 << 20, b'x');
        check_miss(ask(endless).await.0, Reason::Mismatch);
    }
}
