//! Dumps of the kernel's tables of links, addresses and routes: netlink(7), rtnetlink(7). Reads only, changes nothing.
//!
//! A table that changes while it is dumped comes out torn; the kernel says so, and `dump` says it on.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, sockopt},
    time::{TimeVal, TimeValLike},
};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Room for one read; the kernel fills at most 32 KiB at once.
const ROOM: usize = 64 << 10;
/// The kernel answers at once; this only keeps a defect from hanging a thread.
const PATIENCE_SECONDS: i64 = 5;

/// What a dump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Every entry, as of one moment.
    Whole,
    /// The table changed meanwhile; ask again.
    Torn,
}

/// Asks for a table (`RTM_GETLINK`, …) with a request body of at least the table's own header, and hands over the
/// body of each entry.
pub fn dump(table: u16, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<Dump> {
    let fd = open()?;
    send(&fd, table, request)?;
    let mut buffer = vec![0; ROOM];
    let mut torn = false;
    loop {
        let length = receive(&fd, &mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((kind, flags, body, tail)) = split_message(rest) {
            torn |= flags & libc::NLM_F_DUMP_INTR != 0;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(if torn { Dump::Torn } else { Dump::Whole }),
                libc::NLMSG_ERROR => return Err(error_of(body)),
                libc::NLMSG_NOOP => {}
                _ => each(body),
            }
            rest = tail;
        }
    }
}

/// The attributes behind an entry's own header: type (without its flag bits) and value.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn open() -> io::Result<OwnedFd> {
    let fd = socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
    Ok(fd)
}

fn send(fd: &OwnedFd, table: u16, request: &[u8]) -> io::Result<()> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    let length = u32::try_from(HEADER + request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&table.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence and port: this socket asks only once
    message.extend_from_slice(request);
    loop {
        match socket::send(fd.as_raw_fd(), &message, MsgFlags::empty()) {
            Err(nix::errno::Errno::EINTR) => {}
            sent => return sent.map(drop).map_err(io::Error::from),
        }
    }
}

fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // MSG_TRUNC gives the true length, so that a message that does not fit is seen.
        match socket::recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Ok(length) if length > buffer.len() => {
                return Err(io::Error::other("a netlink message is longer than the kernel promises"));
            }
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => return Ok(length),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Type, flags, body, and what follows; `None` at the end, or where the length is nonsense.
fn split_message(bytes: &[u8]) -> Option<(u16, i32, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let kind = u16_at(bytes, 4)?;
    let flags = i32::from(u16_at(bytes, 6)?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, flags, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

fn error_of(body: &[u8]) -> io::Error {
    let code = u32_at(body, 0).map_or(libc::EPROTO, |code| code.cast_signed().wrapping_neg());
    io::Error::from_raw_os_error(code)
}

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_a_link_of_index_one() {
        let mut indices = vec![];
        dump(libc::RTM_GETLINK, &[0; 16], |body| indices.extend(u32_at(body, 4))).unwrap();
        assert!(indices.contains(&1), "{indices:?}");
    }

    #[test]
    fn an_unknown_table_is_an_error_and_no_hang() {
        assert!(dump(0x7fff, &[0; 16], |_| ()).is_err());
    }

    #[test]
    fn attributes_end_where_their_lengths_are_nonsense() {
        let mut bytes = vec![];
        bytes.extend_from_slice(&5u16.to_ne_bytes());
        bytes.extend_from_slice(&3u16.to_ne_bytes());
        bytes.extend_from_slice(&[7, 0, 0, 0]);
        bytes.extend_from_slice(&[200, 0, 1, 0]);
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, &[7u8][..])]);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
    }
}
