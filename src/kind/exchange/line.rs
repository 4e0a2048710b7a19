//! The way to the peer of an exchange: connected once, then asked again and again.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UdpSocket, UnixDatagram},
    time::{Instant, timeout_at},
};

use super::answer::{Judgement, Wanted};
use crate::{
    context::Context,
    net::{
        self,
        dial::{self, Failure, Options},
        reason_of,
        stream::Stream,
    },
    outcome::Reason,
    value::{Endpoint, Family, Host, SocketPath, Timespan},
};

/// A connected peer.
pub(super) enum Line {
    /// Bytes without boundaries.
    Stream(Stream),
    /// UDP.
    Udp(UdpSocket),
    /// Unix datagrams.
    Unixgram(UnixDatagram),
}

/// What has passed of one message and its answer, also where that came to nothing.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) sent: usize,
    pub(super) answer: Vec<u8>,
}

impl Line {
    /// Connects to where the file says.
    pub(super) async fn connect(
        to: &Endpoint,
        family: Family,
        timeout: Timespan,
        cx: &Context,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout.0;
        let options = || Options::within(deadline.saturating_duration_since(Instant::now()));
        match to {
            Endpoint::Tcp(host, ports) => {
                let addresses = resolve(host, ports.first, family, deadline, timeout, cx).await?;
                let (stream, _) = dial::tcp(&addresses, &options()).await?;
                Ok(Self::Stream(Stream::Tcp(stream)))
            }
            Endpoint::Udp(host, ports) => {
                let addresses = resolve(host, ports.first, family, deadline, timeout, cx).await?;
                Ok(Self::Udp(dial::udp(&addresses, &options()).await?.0))
            }
            Endpoint::Unix(path) => {
                Ok(Self::Stream(Stream::Unix(dial::unix(&based(path, cx), &options()).await?)))
            }
            Endpoint::Unixgram(path) => dial::unixgram(&based(path, cx)).map(Self::Unixgram),
            other => {
                Err(Failure::told(Reason::Io, format!("`exchange` does not speak `{}`", other.scheme())))
            }
        }
    }

    /// Whether boundaries are kept, so that a lost answer leaves the next one whole.
    pub(super) fn is_datagram(&self) -> bool {
        !matches!(self, Self::Stream(_))
    }

    /// Sends a message and reads until the answer is as wanted.
    pub(super) async fn ask(
        &mut self,
        send: &[u8],
        wanted: &Wanted<'_>,
        timeout: Timespan,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout.0;
        let asked = match self {
            Self::Stream(stream) => timeout_at(deadline, ask_stream(stream, send, wanted, passed)).await,
            Self::Udp(udp) => timeout_at(deadline, ask_udp(udp, send, wanted, passed)).await,
            Self::Unixgram(unix) => timeout_at(deadline, ask_unixgram(unix, send, wanted, passed)).await,
        };
        match asked {
            Ok(done) => done,
            Err(_) if passed.answer.is_empty() => {
                Err(Failure::told(Reason::Timeout, format!("no answer within {timeout}")))
            }
            Err(_) => {
                let message = format!("no whole answer within {timeout}: {}", wanted.so_far(&passed.answer));
                Err(Failure::told(Reason::Timeout, message))
            }
        }
    }
}

/// Writes and reads at the same time: an echo of more than the sockets hold would block otherwise.
async fn ask_stream(
    stream: &mut Stream,
    send: &[u8],
    wanted: &Wanted<'_>,
    passed: &mut Passed,
) -> Result<(), Failure> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let Passed { sent, answer } = passed;
    let mut buffer = vec![0; BUFFER];
    let mut broken = None;
    let mut is_held = wanted.judge(answer, 0) == Judgement::Holds;
    while !(is_held && *sent == send.len()) {
        tokio::select! {
            written = writer.write(&send[*sent..]), if *sent < send.len() && broken.is_none() => match written {
                Ok(count) => *sent += count,
                Err(error) if is_held => return Err(io_failure("send", &error)),
                // The peer may have answered before it broke off.
                Err(error) => broken = Some(error),
            },
            read = reader.read(&mut buffer) => match (read, &broken) {
                // The writing has taken the error, and the reading finds an end.
                (Ok(0), Some(error)) => return Err(io_failure("send", error)),
                (Ok(0), None) => return Err(ended(wanted, answer)),
                // What follows a held pattern while the rest is still being sent is not looked at.
                (Ok(_), None) if is_held => {}
                (Ok(length), _) => {
                    answer.extend_from_slice(&buffer[..length]);
                    match wanted.judge(answer, length) {
                        Judgement::Holds => is_held = true,
                        Judgement::More => {}
                        Judgement::Mismatch(why) => return Err(Failure::told(Reason::Mismatch, why)),
                    }
                }
                (Err(error), _) => return Err(io_failure("receive", &error)),
            }
        }
        if is_held && let Some(error) = &broken {
            return Err(io_failure("send", error));
        }
    }
    Ok(())
}

fn ended(wanted: &Wanted<'_>, answer: &[u8]) -> Failure {
    let reason = if wanted.is_other(answer) { Reason::Mismatch } else { Reason::Closed };
    Failure::told(reason, format!("the peer ended the connection when {}", wanted.so_far(answer)))
}

async fn ask_udp(
    udp: &UdpSocket,
    send: &[u8],
    wanted: &Wanted<'_>,
    passed: &mut Passed,
) -> Result<(), Failure> {
    passed.sent = udp.send(send).await.map_err(|error| io_failure("send", &error))?;
    let mut buffer = vec![0; BUFFER];
    let length = udp.recv(&mut buffer).await.map_err(|error| io_failure("receive", &error))?;
    passed.answer.extend_from_slice(&buffer[..length]);
    judge_whole(wanted, &passed.answer)
}

async fn ask_unixgram(
    unix: &UnixDatagram,
    send: &[u8],
    wanted: &Wanted<'_>,
    passed: &mut Passed,
) -> Result<(), Failure> {
    passed.sent = unix.send(send).await.map_err(|error| io_failure("send", &error))?;
    let mut buffer = vec![0; net::datagram::LARGEST];
    let length = unix.recv(&mut buffer).await.map_err(|error| io_failure("receive", &error))?;
    passed.answer.extend_from_slice(&buffer[..length]);
    judge_whole(wanted, &passed.answer)
}

/// A datagram is a whole answer: nothing of it comes later.
fn judge_whole(wanted: &Wanted<'_>, answer: &[u8]) -> Result<(), Failure> {
    match wanted.judge(answer, answer.len()) {
        Judgement::Holds => Ok(()),
        Judgement::More => {
            Err(Failure::told(Reason::Mismatch, format!("the answer is another: {}", wanted.so_far(answer))))
        }
        Judgement::Mismatch(why) => Err(Failure::told(Reason::Mismatch, why)),
    }
}

async fn resolve(
    host: &Host,
    port: u16,
    family: Family,
    deadline: Instant,
    timeout: Timespan,
    cx: &Context,
) -> Result<Vec<std::net::SocketAddr>, Failure> {
    let lookup = cx.shared().resolver.lookup(host, port, family);
    match timeout_at(deadline, lookup).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Failure::told(error.reason(), error.to_string())),
        Err(_) => Err(Failure::told(
            Reason::Dns,
            format!("resolve {host}: no name server answers within {timeout}"),
        )),
    }
}

/// A relative path starts at the job file.
fn based(path: &SocketPath, cx: &Context) -> SocketPath {
    match path {
        SocketPath::File(file) => SocketPath::File(cx.path(file)),
        name @ SocketPath::Abstract(_) => name.clone(),
    }
}

fn io_failure(operation: &str, error: &std::io::Error) -> Failure {
    Failure::told(reason_of(error), format!("{operation}: {error}"))
}

/// The largest read, and more than the largest UDP datagram.
const BUFFER: usize = 64 << 10;
