//! Takes a header from a stream: looks before it takes, so that what follows the header stays in the socket.

use std::io;

use super::{Garbage, Header, parse};
use crate::net::stream::Stream;

/// So many bytes are looked at in one go.
const LOOK: usize = 512;

/// Reads a header. `InvalidData`: this is none; `UnexpectedEof`: the stream ended within it.
pub async fn read(stream: &Stream) -> io::Result<Header> {
    let mut held = vec![];
    loop {
        let mut look = [0; LOOK];
        let seen = stream.peek(&mut look).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = held.len();
        held.extend_from_slice(&look[..seen]);
        let found = parse(&held).map_err(|Garbage| io::ErrorKind::InvalidData)?;
        // Bytes of a header that is not whole yet are all its own.
        let mut ours = found.map_or(seen, |(_, length)| length - before);
        while ours > 0 {
            match stream.take(&mut look[..ours]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                taken => ours -= taken,
            }
        }
        if let Some((header, _)) = found {
            return Ok(header);
        }
    }
}
