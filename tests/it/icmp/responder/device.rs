//! A TUN device: whoever reads and writes it is the network behind an interface. Tests script networks with it.
#![allow(unsafe_code, reason = "an ioctl that takes a structure with a union")]

use std::{fs::File, io, os::fd::AsRawFd, os::unix::fs::OpenOptionsExt};

/// Packets as they are, without a header of the device's own.
#[expect(clippy::cast_possible_truncation, reason = "both are bits of a field of 16")]
const FLAGS: libc::c_short = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;

/// Makes a device in the caller's network namespace; each read and write that does not block is one IP packet. It is
/// gone with the file.
///
/// Fails where there is no /dev/net/tun, where the right `CAP_NET_ADMIN` is missing, or where the name is taken.
pub(super) fn open(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = FLAGS;
    // SAFETY: `request` lives through the call, and is what the kernel reads and writes for this request.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}
