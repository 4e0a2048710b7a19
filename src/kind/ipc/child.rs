//! The child of an `ipc`: sends each message back with its bytes inverted, until its parent ends or is gone.
//!
//! It is a process of its own without an event loop: it blocks in reads, and has nothing else to do.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    path::Path,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::LARGEST;

/// Serves as the child; the arguments are those behind the hidden command, as `parent` gives them.
pub fn child(arguments: &[OsString]) -> io::Result<()> {
    match arguments {
        [via] if via == "socketpair" => {
            let inherited = io::stdin().as_fd().try_clone_to_owned()?;
            answer_stream(UnixStream::from(inherited))
        }
        [via, path] if via == "unix_stream" => answer_stream(UnixStream::connect(path)?),
        [via, own, parent] if via == "unix_datagram" => answer_datagrams(own.as_ref(), parent.as_ref()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "this command is for `netjobs` itself only")),
    }
}

/// What a message is answered with.
pub(super) fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

/// A message is its length, four bytes with the highest first, and its bytes.
fn answer_stream(mut stream: UnixStream) -> io::Result<()> {
    let mut frame = vec![];
    loop {
        let mut head = [0; 4];
        if stream.read(&mut head[..1])? == 0 {
            return Ok(());
        }
        stream.read_exact(&mut head[1..])?;
        let length = u32::from_be_bytes(head);
        if u64::from(length) > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.clear();
        frame.extend_from_slice(&head);
        (&stream).take(length.into()).read_to_end(&mut frame)?;
        invert(&mut frame[head.len()..]);
        stream.write_all(&frame)?;
    }
}

/// The first datagram, an empty one, says that the socket is there. Standard input tells when the parent is gone.
fn answer_datagrams(own: &Path, parent: &Path) -> io::Result<()> {
    let socket = UnixDatagram::bind(own)?;
    socket.connect(parent)?;
    socket.send(&[])?;
    let stdin = io::stdin();
    let mut buffer = vec![0; usize::try_from(LARGEST).unwrap_or(usize::MAX)];
    loop {
        let mut ready =
            [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if is_ready(&ready[0]) {
            let length = socket.recv(&mut buffer)?;
            invert(&mut buffer[..length]);
            socket.send(&buffer[..length])?;
        } else if is_ready(&ready[1]) {
            return Ok(());
        }
    }
}
