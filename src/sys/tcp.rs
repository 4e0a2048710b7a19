//! What the kernel knows of a TCP connection: the option `TCP_INFO` (tcp(7), linux/tcp.h).
#![allow(unsafe_code, reason = "a socket option whose structure grows with the kernel")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

/// How the peer answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How often in a row the oldest bytes on the way were sent again without an acknowledgement.
    pub retransmits: u8,
    /// How long the next acknowledgement is waited for; doubled by each retransmission.
    pub patience: Duration,
    /// How many questions in a row whether the closed window has opened, or whether the peer is there, had no answer.
    pub probes: u8,
    /// Whether bytes or an end wait to be sent or acknowledged.
    pub is_owed: bool,
    /// How long ago the peer acknowledged anything.
    pub last: Duration,
}

/// Words of `struct tcp_info` up to `tcpi_notsent_bytes`.
const WORDS: usize = 37;
const RTO: usize = 2;
const UNACKED: usize = 6;
const LAST_ACK_RECEIVED: usize = 14;
const NOT_SENT: usize = 36;

/// Asks the kernel; fails on a socket that is not TCP.
pub fn answers(socket: BorrowedFd<'_>) -> io::Result<Answers> {
    let mut words = [0u32; WORDS];
    let mut length = libc::socklen_t::try_from(size_of_val(&words)).map_err(io::Error::other)?;
    // SAFETY: `words` and `length` live through the call, and the kernel writes at most `length` bytes, the size of
    // `words`; any bytes are values of u32.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            words.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // The first eight fields are bytes: state, congestion state, retransmits, probes, …
    let [_, _, retransmits, probes] = words[0].to_ne_bytes();
    Ok(Answers {
        retransmits,
        patience: Duration::from_micros(words[RTO].into()),
        probes,
        is_owed: words[UNACKED] > 0 || words[NOT_SENT] > 0,
        last: Duration::from_millis(words[LAST_ACK_RECEIVED].into()),
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn what_a_peer_does_not_read_is_owed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let fresh = answers(stream.as_fd()).unwrap();
        assert_eq!((fresh.retransmits, fresh.probes, fresh.is_owed), (0, 0, false));
        assert!(fresh.last < Duration::from_secs(5), "{fresh:?}");
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 12]).is_ok() {}
        assert!(answers(stream.as_fd()).unwrap().is_owed);
        assert!(answers(std::os::unix::net::UnixStream::pair().unwrap().0.as_fd()).is_err());
    }
}
