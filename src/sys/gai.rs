//! getaddrinfo(3) with its error codes, which std folds into one text. Not a pool: it blocks as long as the name servers do.

#![allow(unsafe_code, reason = "getaddrinfo has no safe wrapper that keeps its error codes")]

use std::{
    ffi::{CStr, CString},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
};

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name servers say: no such name.
    NoName,
    /// The name exists and has no address.
    NoAddress,
    /// No name server answered, or one asks to try again.
    Temporary,
    /// A name server refuses or is broken.
    Servers,
    /// This machine is out of descriptors or memory.
    Resources,
    /// Something else, in the system's words.
    Other(String),
}

/// Addresses of a name in RFC 6724 order, ports 0. Blocks.
pub fn getaddrinfo(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    let name = CString::new(name).map_err(|_| Failure::NoName)?;
    // SAFETY: all-zero is a valid `addrinfo`: integers and null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: `name` ends with NUL, `hints` is a whole `addrinfo`, and `list` is freed below by its own function.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(failure(code));
    }
    let mut addresses = vec![];
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: the list is getaddrinfo's until `freeaddrinfo`; each entry is whole and ends in a null `ai_next`.
        let info = unsafe { &*entry };
        addresses.extend(address(info));
        entry = info.ai_next;
    }
    // SAFETY: `list` came from getaddrinfo and is freed once; nothing above outlives it.
    unsafe { libc::freeaddrinfo(list) };
    if addresses.is_empty() { Err(Failure::NoAddress) } else { Ok(addresses) }
}

fn address(info: &libc::addrinfo) -> Option<SocketAddr> {
    match info.ai_family {
        libc::AF_INET => {
            // SAFETY: for AF_INET `ai_addr` points at a `sockaddr_in`, perhaps not aligned for it.
            let raw = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in>()) };
            Some(SocketAddrV4::new(Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr)), 0).into())
        }
        libc::AF_INET6 => {
            // SAFETY: for AF_INET6 `ai_addr` points at a `sockaddr_in6`, perhaps not aligned for it.
            let raw = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in6>()) };
            Some(SocketAddrV6::new(Ipv6Addr::from(raw.sin6_addr.s6_addr), 0, 0, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn failure(code: libc::c_int) -> Failure {
    match code {
        libc::EAI_NONAME => Failure::NoName,
        libc::EAI_NODATA | libc::EAI_FAMILY | EAI_ADDRFAMILY => Failure::NoAddress,
        libc::EAI_AGAIN => Failure::Temporary,
        libc::EAI_FAIL => Failure::Servers,
        libc::EAI_MEMORY => Failure::Resources,
        libc::EAI_SYSTEM => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Failure::Resources,
                _ => Failure::Other(error.to_string()),
            }
        }
        other => {
            // SAFETY: `gai_strerror` gives a static text that ends with NUL for every code.
            let text = unsafe { CStr::from_ptr(libc::gai_strerror(other)) };
            Failure::Other(text.to_string_lossy().into_owned())
        }
    }
}

/// glibc's code for "no address of the wanted family", which the libc crate does not name.
const EAI_ADDRFAMILY: libc::c_int = -9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_its_own_address() {
        assert_eq!(getaddrinfo("127.0.0.1").unwrap(), ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(getaddrinfo("::1").unwrap(), ["[::1]:0".parse().unwrap()]);
    }

    #[test]
    fn a_name_that_cannot_be_is_no_name() {
        assert_eq!(getaddrinfo("a\0b"), Err(Failure::NoName));
    }
}
