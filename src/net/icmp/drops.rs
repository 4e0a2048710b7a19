//! What this machine itself lost in front of a socket, and how often probes are sent again for that.

use std::{io, os::fd::AsFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::sys::{
    self,
    rights::{self, Right},
};

/// Counts the packets that a full buffer has cost a socket.
///
/// In front of a raw IPv6 socket for which the kernel checks sums it counts what has a wrong one, too. A second such socket,
/// which takes nothing in, counts nothing else.
#[derive(Debug)]
pub(in super::super) struct Drops {
    witness: Option<Socket>,
    /// Drops that were counted so far, and those of them that were losses; both wrap around.
    counted: u32,
    lost: u32,
}

/// How many probes may still be sent again for what this machine lost. Who floods us makes us lose as much as he likes: in
/// all, three for each probe, and some more so that also the only one is asked for often enough.
#[derive(Debug)]
pub(in super::super) struct Resends(u64);

/// How often drops are counted until they are those of one moment.
const LOOKS: usize = 4;
/// The end of a packet filter.
const RETURN: u16 = 0x06;
const FOR_EACH: u64 = 3;

impl Drops {
    /// Counts those of a socket from now on.
    pub(in super::super) fn new(socket: impl AsFd, witness: Option<Socket>) -> io::Result<Self> {
        let spoiled = witness.as_ref().map_or(Ok(0), sys::icmp::drops)?;
        let counted = sys::icmp::drops(socket)?;
        Ok(Self { witness, counted, lost: counted.wrapping_sub(spoiled) })
    }

    /// How many packets were lost since the last call.
    pub(in super::super) fn fresh(&mut self, socket: impl AsFd) -> u32 {
        let mut counted = sys::icmp::drops(&socket).unwrap_or(self.counted);
        if counted == self.counted {
            return 0;
        }
        let mut spoiled = self.spoiled();
        // While more come, the two counts are not of one moment: look again.
        for _ in 0..LOOKS {
            counted = sys::icmp::drops(&socket).unwrap_or_default();
            let now = self.spoiled();
            if std::mem::replace(&mut spoiled, now) == now {
                break;
            }
        }
        self.counted = counted;
        // The witness hears of a packet first: what it is ahead now shows the next time.
        let fresh =
            counted.wrapping_sub(spoiled).wrapping_sub(self.lost).cast_signed().max(0).cast_unsigned();
        self.lost = self.lost.wrapping_add(fresh);
        fresh
    }

    fn spoiled(&self) -> u32 {
        self.witness.as_ref().map_or(0, |witness| sys::icmp::drops(witness).unwrap_or_default())
    }
}

/// A raw IPv6 socket that takes nothing in. It must be opened after the one that it is the witness of, and the kernel must
/// check the same sums for it.
pub(in super::super) fn witness(protocol: Protocol) -> io::Result<Socket> {
    let open = || Socket::new(Domain::IPV6, Type::RAW, Some(protocol));
    let socket = rights::with(Right::NetRaw, open)?;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    Ok(socket)
}

impl Resends {
    /// So many where nothing was sent yet.
    pub(in super::super) fn new(spare: u64) -> Self {
        Self(spare)
    }

    /// A probe was sent for the first time.
    pub(in super::super) fn earn(&mut self) {
        self.0 = self.0.saturating_add(FOR_EACH);
    }

    /// Takes one, where there is any.
    pub(in super::super) fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_for_each_probe_and_some_for_the_first() {
        let mut resends = Resends::new(2);
        (0..5).for_each(|_| resends.earn());
        assert_eq!((0..100).filter(|_| resends.take()).count(), 17);
        resends.earn();
        assert_eq!((0..100).filter(|_| resends.take()).count(), 3);
    }
}
