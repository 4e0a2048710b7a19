//! The parent's end of an `ipc`: the child that was started, and messages to and from it.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixDatagram, UnixListener, UnixStream},
    process::{Child, Command},
};

use super::{Program, Via, folder::Folder};

/// What messages go over.
#[derive(Debug)]
pub(super) enum Channel {
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

/// A channel that waits for the child to come to it.
#[derive(Debug)]
pub(super) enum Coming {
    Here(UnixStream),
    Stream(UnixListener, Folder),
    Datagram(UnixDatagram, Folder),
}

/// Opens the parent's end and starts the child, which is killed if it is dropped.
pub(super) fn start(via: Via, program: &Program) -> io::Result<(Coming, Child)> {
    match via {
        Via::Socketpair => {
            let (ours, theirs) = StdUnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let ours = UnixStream::from_std(ours)?;
            let child = spawn(program, &["socketpair".into()], Stdio::from(OwnedFd::from(theirs)))?;
            Ok((Coming::Here(ours), child))
        }
        Via::UnixStream => {
            let folder = Folder::new()?;
            let path = folder.join("s");
            let listener = UnixListener::bind(&path)?;
            let child = spawn(program, &["unix_stream".into(), path.into()], Stdio::null())?;
            Ok((Coming::Stream(listener, folder), child))
        }
        Via::UnixDatagram => {
            let folder = Folder::new()?;
            let (own, theirs) = (folder.join("parent"), folder.join("child"));
            let socket = UnixDatagram::bind(&own)?;
            let child = spawn(program, &["unix_datagram".into(), theirs.into(), own.into()], Stdio::piped())?;
            Ok((Coming::Datagram(socket, folder), child))
        }
    }
}

fn spawn(program: &Program, arguments: &[OsString], stdin: Stdio) -> io::Result<Child> {
    Command::new(&program.path)
        .arg0(OsStr::new("netjobs"))
        .args(&program.arguments)
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

impl Coming {
    /// Waits until the child is there.
    pub(super) async fn met(self) -> io::Result<Channel> {
        match self {
            Self::Here(stream) => Ok(Channel::Stream(stream)),
            Self::Stream(listener, _folder) => Ok(Channel::Stream(listener.accept().await?.0)),
            Self::Datagram(socket, folder) => {
                socket.recv(&mut [0; 1]).await?;
                // Both know each other now, and the folder goes: whoever is killed later leaves nothing behind.
                socket.connect(folder.join("child"))?;
                Ok(Channel::Datagram(socket))
            }
        }
    }
}

impl Channel {
    /// Sends a message and fills `answer`, whose length is that of the answer to come; the length that came.
    pub(super) async fn ask(&mut self, message: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => {
                let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
                stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
                let length = stream.read_u32().await?;
                // A wrong length is told and not read.
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length == answer.len() {
                    stream.read_exact(answer).await?;
                }
                Ok(length)
            }
            Self::Datagram(socket) => {
                socket.send(message).await?;
                socket.recv(answer).await
            }
        }
    }
}

/// The exit status as shells give it: 128 and the number of the signal that ended it.
pub(super) fn code(status: ExitStatus) -> u64 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u64::try_from(code).ok()).unwrap_or_default()
}
