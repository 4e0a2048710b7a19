//! Control messages as bytes, see cmsg(3): read one after the other, and written one behind the other.

const HEAD: usize = size_of::<libc::cmsghdr>();

/// Level, type and data of each control message.
pub fn controls(mut bytes: &[u8]) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
    std::iter::from_fn(move || {
        let (level, kind, data, rest) = split(bytes)?;
        bytes = rest;
        Some((level, kind, data))
    })
}

/// Appends a control message.
pub fn push(out: &mut Vec<u8>, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
    out.extend((HEAD + data.len()).to_ne_bytes());
    out.extend(level.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(data);
    out.resize(out.len().next_multiple_of(size_of::<usize>()), 0);
}

/// Level, type, data of the first control message, and what follows it; `None` at the end.
fn split(bytes: &[u8]) -> Option<(libc::c_int, libc::c_int, &[u8], &[u8])> {
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let length = usize::from_ne_bytes(bytes.get(..size_of::<usize>())?.try_into().ok()?);
    let (level, kind) = (number(HEAD - 8)?, number(HEAD - 4)?);
    let aligned = length.next_multiple_of(size_of::<usize>());
    Some((level, kind, bytes.get(HEAD..length)?, bytes.get(aligned..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_cut_bytes_end_it() {
        let mut bytes = vec![];
        push(&mut bytes, 1, 2, b"four");
        push(&mut bytes, 3, 4, b"eight by");
        let read: Vec<_> = controls(&bytes).collect();
        assert_eq!(read, [(1, 2, b"four".as_slice()), (3, 4, b"eight by")]);
        for length in 0..bytes.len() {
            assert!(controls(&bytes[..length]).count() < 2, "{length}");
        }
    }
}
