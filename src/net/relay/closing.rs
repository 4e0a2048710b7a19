//! How a connection ends: the reason of a break, and what each side sees of it.

use std::io;

use super::Abort;
use crate::{net::stream::Stream, outcome::Close};

/// The reason of a break at this end.
pub(super) fn broken(end: u8, error: &io::Error) -> Close {
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH) => Close::Vanished,
        _ if end == 0 => Close::ClientReset,
        _ => Close::UpstreamReset,
    }
}

/// Closes all ends as the reason asks for; whoever holds them drops them next.
pub(super) fn end(ends: &[Stream], close: Close, abort: Abort, is_blocked: bool) {
    let in_order = match close {
        // Nothing is unread: dropping the ends says to both what has not been said yet.
        Close::Finished => return,
        Close::Drained => !is_blocked,
        Close::Grace | Close::Injected => false,
        _ => abort == Abort::Fin,
    };
    for end in ends {
        if in_order {
            end.finish();
        } else {
            end.reset_on_close();
        }
    }
}
