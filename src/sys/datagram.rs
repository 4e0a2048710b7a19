//! recvmmsg(2) and sendmmsg(2): many datagrams by one call, each with its sender, the address of ours that it was sent to,
//! and how many the kernel dropped.
#![allow(unsafe_code, reason = "nix panics on Unix senders without a name")]

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

use socket2::{SockAddr, SockAddrStorage};

use super::control::controls;

/// So many datagrams at most are moved by one call.
pub const MOST: usize = 32;

/// What the longest of our control messages take together: an error with its sender, and three stamps.
const CONTROL: usize = 192;

/// What an address of any family takes.
const NAME: libc::socklen_t = 128;
const _: () = assert!(size_of::<libc::sockaddr_storage>() == NAME as usize);

/// Control messages want to stand at the address of a word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Control {
    const EMPTY: Self = Self([0; CONTROL]);
}

/// Room for the datagrams of one call. A page that no datagram has reached takes no memory.
pub struct Batch {
    bytes: Vec<u8>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    filled: Vec<Filled>,
    slot: usize,
}

/// What the kernel says of one slot.
#[derive(Clone, Copy)]
struct Filled {
    length: usize,
    name: libc::socklen_t,
    control: usize,
    flags: libc::c_int,
}

/// A message as it came, control messages and all.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its bytes, or those for which there was room.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: SockAddr,
    /// The control messages, for [`controls`].
    pub control: &'a [u8],
    /// Whether there was no room for all of it.
    pub is_cut: bool,
}

/// A datagram that came.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its bytes, or those for which there was room.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: SockAddr,
    /// To which of our addresses, and the index of the interface.
    pub to: Option<(IpAddr, u32)>,
    /// Whether there was no room for all of it.
    pub is_cut: bool,
    /// How many this socket has dropped since it was opened for want of room, if any; it wraps around.
    pub drops: Option<u32>,
    /// When the kernel took it in, in nanoseconds of the wall clock, where that was asked for.
    pub stamp: Option<u64>,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// To whom; `None`: to whom the socket is connected.
    pub to: Option<&'a SockAddr>,
    /// From which of our addresses, and the index of the interface that a link-local one needs.
    pub from: Option<(IpAddr, u32)>,
    /// More control messages, as [`super::control::push`] writes them.
    pub control: &'a [u8],
}

impl Batch {
    /// Room for so many bytes in all.
    pub fn new(room: usize) -> Self {
        Self {
            // Zeroed memory of this size comes from the system untouched.
            bytes: vec![0; room],
            // SAFETY: an address is made of numbers, for which zero is a valid value.
            names: Box::new([unsafe { mem::zeroed() }; MOST]),
            controls: Box::new([Control::EMPTY; MOST]),
            filled: Vec::with_capacity(MOST),
            slot: room,
        }
    }

    /// Takes what has come, in slots of this size, without waiting; says whether more may have come than was taken. A Unix
    /// socket must not be asked for control messages: its peers could put descriptors into this process by them.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, slot: usize, wants_control: bool) -> io::Result<bool> {
        self.take(socket, slot, wants_control, 0)
    }

    /// The same from the queue of errors and transmit stamps.
    pub fn receive_errors(&mut self, socket: BorrowedFd<'_>, slot: usize) -> io::Result<bool> {
        self.take(socket, slot, true, libc::MSG_ERRQUEUE)
    }

    fn take(
        &mut self,
        socket: BorrowedFd<'_>,
        slot: usize,
        wants_control: bool,
        queue: libc::c_int,
    ) -> io::Result<bool> {
        self.filled.clear();
        self.slot = slot.max(1);
        // SAFETY: all of these structures are numbers and pointers, for which zero is a valid value.
        let (mut heads, mut parts): ([libc::mmsghdr; MOST], [libc::iovec; MOST]) = unsafe { mem::zeroed() };
        let rooms =
            self.bytes.chunks_exact_mut(self.slot).zip(self.names.iter_mut()).zip(self.controls.iter_mut());
        let mut count = 0;
        for (((room, name), control), (head, part)) in rooms.zip(heads.iter_mut().zip(&mut parts)) {
            *part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let head = &mut head.msg_hdr;
            head.msg_name = ptr::from_mut(name).cast();
            head.msg_namelen = NAME;
            head.msg_iov = part;
            head.msg_iovlen = 1;
            if wants_control {
                head.msg_control = control.0.as_mut_ptr().cast();
                head.msg_controllen = CONTROL;
            }
            count += 1;
        }
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | queue);
        // SAFETY: the first `count` headers point to a name, a slot and a control area of the sizes that they tell, no two to
        // the same, and all of them live and are not touched otherwise until the call returns.
        let got = unsafe { libc::recvmmsg(fd, heads.as_mut_ptr(), count, flags, ptr::null_mut()) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        self.filled.extend(heads.iter().take(got).map(|head| Filled {
            length: head.msg_len as usize,
            name: head.msg_hdr.msg_namelen,
            control: head.msg_hdr.msg_controllen,
            flags: head.msg_hdr.msg_flags,
        }));
        Ok(got == count as usize)
    }

    /// What has come, in order.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        self.messages().map(|Message { bytes, from, control, is_cut }| {
            let Said { to, drops, stamp } = read(control);
            Received { bytes, from, to, is_cut, drops, stamp }
        })
    }

    /// The same with control messages that are not read yet.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let slots = self.bytes.chunks_exact(self.slot).zip(self.names.iter().zip(&*self.controls));
        self.filled.iter().zip(slots).map(|(filled, (slot, (name, control)))| {
            // Of a sender without a name the kernel writes nothing: what stands there is another's.
            let name = if filled.name == 0 {
                SockAddrStorage::zeroed()
            } else {
                // SAFETY: `SockAddrStorage` is a `sockaddr_storage` and nothing else, and all of it is initialised.
                unsafe { ptr::from_ref(name).cast::<SockAddrStorage>().read() }
            };
            // SAFETY: the kernel has written an address of this length, which is no longer than the storage; or there is none,
            // and the family says so.
            let from = unsafe { SockAddr::new(name, filled.name.min(NAME)) };
            let bytes = &slot[..filled.length.min(slot.len())];
            let control = control.0.get(..filled.control).unwrap_or_default();
            Message { bytes, from, control, is_cut: filled.flags & libc::MSG_TRUNC != 0 }
        })
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.filled.len()
    }
}

/// What a control area says of a datagram.
#[derive(Default)]
struct Said {
    to: Option<(IpAddr, u32)>,
    drops: Option<u32>,
    stamp: Option<u64>,
}

/// Reads a control area. Of a dual-stack socket's two addresses the IPv4 one is the true one.
fn read(control: &[u8]) -> Said {
    let Said { mut to, mut drops, mut stamp } = Said::default();
    for (level, kind, data) in controls(control) {
        let word =
            |at: usize| data.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_ne_bytes);
        let v6 = || data.get(..16).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
        match (level, kind) {
            // struct in_pktinfo: the interface, the local address, the header's.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let spec = word(4).map(|address| Ipv4Addr::from(address.to_ne_bytes()));
                to = spec.zip(word(0)).map(|(address, interface)| (address.into(), interface)).or(to);
            }
            // struct in6_pktinfo: the address, the interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = v6().zip(word(16));
                to = to.or(info.map(|(octets, interface)| (Ipv6Addr::from(octets).into(), interface)));
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => drops = word(0),
            // struct timespec: seconds, nanoseconds.
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                let long = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
                let time = long(0).zip(long(8));
                stamp =
                    time.map(|(seconds, nanos)| seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
            }
            _ => {}
        }
    }
    Said { to, drops, stamp }
}

/// Sends datagrams in order, at most [`MOST`], without waiting; how many have gone. An error is about the first.
pub fn send(socket: BorrowedFd<'_>, messages: &[Outgoing<'_>]) -> io::Result<usize> {
    // SAFETY: all of these structures are numbers and pointers, for which zero is a valid value.
    let (mut heads, mut parts): ([libc::mmsghdr; MOST], [libc::iovec; MOST]) = unsafe { mem::zeroed() };
    let mut controls = [const { mem::MaybeUninit::<Control>::uninit() }; MOST];
    let mut count = 0;
    for (message, (head, (part, control))) in
        messages.iter().zip(heads.iter_mut().zip(parts.iter_mut().zip(&mut controls)))
    {
        // The kernel only reads what it is to send.
        let base = message.bytes.as_ptr().cast_mut().cast();
        *part = libc::iovec { iov_base: base, iov_len: message.bytes.len() };
        let head = &mut head.msg_hdr;
        head.msg_iov = part;
        head.msg_iovlen = 1;
        if let Some(to) = message.to {
            head.msg_name = to.as_ptr().cast_mut().cast();
            head.msg_namelen = to.len();
        }
        if message.from.is_some() || !message.control.is_empty() {
            let control = control.write(Control::EMPTY);
            let own = message.from.map_or(0, |(address, interface)| write(control, address, interface));
            let end = own + message.control.len();
            control.0[own..end].copy_from_slice(message.control);
            head.msg_controllen = end;
            head.msg_control = control.0.as_mut_ptr().cast();
        }
        count += 1;
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: the first `count` headers point to bytes, names and control areas of the sizes that they tell, which live until
    // the call returns; sendmmsg writes to none of them.
    let sent = unsafe { libc::sendmmsg(fd, heads.as_mut_ptr(), count, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes the control message that names our address; gives its length.
fn write(control: &mut Control, address: IpAddr, interface: u32) -> usize {
    const HEAD: usize = size_of::<libc::cmsghdr>();
    let (level, kind, mut data, length) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, [0; 20], 12),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [0; 20], 20),
    };
    match address {
        IpAddr::V4(v4) => data[4..8].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => {
            data[..16].copy_from_slice(&v6.octets());
            data[16..].copy_from_slice(&interface.to_ne_bytes());
        }
    }
    let area = &mut control.0;
    area[..size_of::<usize>()].copy_from_slice(&(HEAD + length).to_ne_bytes());
    area[HEAD - 8..HEAD - 4].copy_from_slice(&level.to_ne_bytes());
    area[HEAD - 4..HEAD].copy_from_slice(&kind.to_ne_bytes());
    area[HEAD..HEAD + length].copy_from_slice(&data[..length]);
    (HEAD + length).next_multiple_of(size_of::<usize>())
}
