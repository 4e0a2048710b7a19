//! Programs of the classic packet filter, socket(7), that let answers in and nothing else.

use socket2::SockFilter;

use super::Mac;

/// ARP replies whose target is this station; some answer to all stations.
pub(super) fn arp_replies(Mac(own): Mac) -> Vec<SockFilter> {
    let half = |at: usize| u32::from(u16::from_be_bytes([own[at], own[at + 1]]));
    all(&[(HALF, 6, 2), (HALF, 18, half(0)), (HALF, 20, half(2)), (HALF, 22, half(4))])
}

/// Neighbour advertisements.
pub(super) fn advertisements() -> Vec<SockFilter> {
    all(&[(BYTE, 6, 58), (BYTE, 7, 255), (BYTE, 40, 136)])
}

/// Echo replies with this identifier.
pub(super) fn echo_replies(v6: bool, identifier: u16) -> Vec<SockFilter> {
    if v6 {
        return all(&[(BYTE, 6, 58), (BYTE, 40, 129), (HALF, 44, identifier.into())]);
    }
    let skip_header = step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0);
    let wanted = all(&[(BYTE, 9, 1), (BYTE_BEHIND, 0, 0), (HALF_BEHIND, 4, identifier.into())]);
    std::iter::once(skip_header).chain(wanted).collect()
}

const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
/// Counted from the end of the IPv4 header.
const BYTE_BEHIND: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const HALF_BEHIND: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;

/// Lets a packet in where all comparisons hold; each is a load, and what must be loaded.
fn all(comparisons: &[(u32, u32, u32)]) -> Vec<SockFilter> {
    let mut program = vec![];
    for (at, (load, place, value)) in comparisons.iter().enumerate() {
        let rest = u8::try_from(2 * (comparisons.len() - at) - 1).unwrap_or(u8::MAX);
        program.push(step(*load, 0, 0, *place));
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, rest, *value));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program
}

fn step(code: u32, yes: u8, no: u8, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), yes, no, value)
}
