//! The system calls that nobody wraps; the only place where `unsafe` may appear.

pub mod accept;
pub mod control;
pub mod cores;
pub mod datagram;
pub mod ethtool;
pub mod gai;
pub mod heap;
pub mod icmp;
pub mod inherit;
pub mod interest;
pub mod limits;
pub mod netlink;
pub mod outq;
pub mod packet;
pub mod rights;
pub mod signals;
pub mod syn;
pub mod tcp;
