//! The speed of a link, by the `SIOCETHTOOL` request `ETHTOOL_GLINKSETTINGS` (linux/ethtool.h). Not by sysfs, which shows
//! the interfaces of the network namespace that it was mounted in and not ours.
#![allow(unsafe_code, reason = "an ioctl that takes a pointer inside a structure")]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const GET_LINK_SETTINGS: u32 = 0x4c;
/// Words of `struct ethtool_link_settings` before its masks.
const FIXED: usize = 12;
/// Three masks of at most 127 words.
const MASKS: usize = 3 * 127;
/// The word with `link_mode_masks_nwords` in its last byte.
const MASK_WORD: usize = 3;

/// A socket to ask with.
#[derive(Debug)]
pub struct Ethtool(OwnedFd);

impl Ethtool {
    /// Opens the socket; needs no right.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(AddressFamily::Unix, SockType::Datagram, flags, None)?))
    }

    /// Bits a second; `None` where the link has no speed or does not know it.
    pub fn speed(&self, name: &str) -> Option<u64> {
        let mut settings = [0u32; FIXED + MASKS];
        settings[0] = GET_LINK_SETTINGS;
        self.ask(name, &mut settings).ok()?;
        // The first answer only says, as a negative number, how long the masks are.
        let mut bytes = settings[MASK_WORD].to_ne_bytes();
        bytes[3] = bytes[3].wrapping_neg();
        settings = [0; FIXED + MASKS];
        settings[0] = GET_LINK_SETTINGS;
        settings[MASK_WORD] = u32::from_ne_bytes([0, 0, 0, bytes[3]]);
        self.ask(name, &mut settings).ok()?;
        let megabits = settings[1];
        (megabits != 0 && megabits != u32::MAX).then(|| u64::from(megabits) * 1_000_000)
    }

    fn ask(&self, name: &str, settings: &mut [u32; FIXED + MASKS]) -> io::Result<()> {
        // SAFETY: `ifreq` is plain data, for which all zeros are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = settings.as_mut_ptr().cast();
        // SAFETY: `request` lives through the call; the kernel writes at most the fixed part and three masks of the
        // number of words that it is told, at most 127, for which `settings` has room.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
