//! Whether there is a default route, in any table: rtnetlink(7), `RTM_GETROUTE`. Not which one a packet takes.

use std::io;

use crate::sys::netlink;

/// Bytes of `struct rtmsg`.
const HEADER: usize = 12;
const DESTINATION_LENGTH: usize = 1;
const TYPE: usize = 7;
const FLAGS: usize = 8;

/// Whether some table has a route to everywhere that forwards packets; one that rejects them is none.
pub fn has_default_route(v6: bool) -> io::Result<bool> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    let mut request = [0; HEADER];
    request[0] = u8::try_from(family).unwrap_or_default();
    let mut found = false;
    // Without IPv6 the kernel answers with what it has, which are other families.
    netlink::dump(libc::RTM_GETROUTE, &request, |body| {
        found |= body.first() == request.first() && is_default(body);
    })?;
    Ok(found)
}

fn is_default(body: &[u8]) -> bool {
    let byte = |at: usize| body.get(at).copied().unwrap_or(u8::MAX);
    let cloned = netlink::u32_at(body, FLAGS).unwrap_or_default() & libc::RTM_F_CLONED != 0;
    byte(DESTINATION_LENGTH) == 0 && byte(TYPE) == libc::RTN_UNICAST && !cloned
}
