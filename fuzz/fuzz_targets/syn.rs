//! Answers to SYNs: what is read stands in the packet, its sum is right, and only who saw the SYN has its cookie.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use netjobs::net::{
    icmp::packet::checksum,
    syn::{
        cookie::Key,
        packet::{Answer, Quote, build, parse, parse_quote, parse_v4, seal},
    },
};

fuzz_target!(|input: ([u64; 2], u16, u16, &[u8])| {
    let (key, ours, theirs, bytes) = input;
    if let Some(answer) = parse_v4(bytes) {
        let header = usize::from(bytes[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let segment = &bytes[header..total];
        assert_eq!(parse(segment), Some(answer));
        let written = u16::from_be_bytes([segment[16], segment[17]]);
        let pseudo = pseudo(bytes, segment.len());
        let whole = sum(&[pseudo.as_slice(), segment].concat());
        let pseudo = sum(&pseudo);
        assert!(whole == u16::MAX || written == pseudo, "{whole:#x} {written:#x} {pseudo:#x}");
    }
    if let Some(Answer { from, to, acknowledgement, is_open }) = parse(bytes) {
        assert_eq!([from.to_be_bytes(), to.to_be_bytes()].concat(), bytes[..4]);
        assert_eq!(acknowledgement.to_be_bytes(), bytes[8..12]);
        assert_eq!(is_open, bytes[13] & 0x16 == 0x12);
    }
    if let Some(Quote { from, to, sequence }) = parse_quote(bytes) {
        assert_eq!(build(from, to, sequence)[..8], bytes[..8]);
    }
    // Our own SYN, sealed, in the shortest packet: it asks, and is no answer.
    let (host, here) = (Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 1));
    let cookie = Key(key).cookie(IpAddr::V4(host), ours, theirs);
    let mut syn = build(ours, theirs, cookie);
    seal(&mut syn, here, host);
    assert_eq!(parse(&syn), None);
    assert_eq!(parse_quote(&syn), Some(Quote { from: ours, to: theirs, sequence: cookie }));
});

/// What a checksum covers beside the segment.
fn pseudo(packet: &[u8], length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("packets are short").to_be_bytes();
    [&packet[12..20], &[0, 6], &length].concat()
}

fn sum(bytes: &[u8]) -> u16 {
    !checksum(bytes)
}
