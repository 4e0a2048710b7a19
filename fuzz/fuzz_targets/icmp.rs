//! ICMP packets, IPv4 with their header, and the quotes of errors: what is read is what stands there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netjobs::net::icmp::{
    mark::{self, Mark},
    packet::{Echo, build, checksum, parse_quote, parse_reply, strip_ipv4},
};

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(checksum(bytes), checksum_slowly(bytes));
    if let Some((message, ttl)) = strip_ipv4(bytes) {
        assert!(bytes.ends_with(message) && (20..=60).contains(&(bytes.len() - message.len())));
        assert_eq!((bytes[0] >> 4, bytes[8], bytes[9]), (4, ttl, 1));
        one(message);
    }
    one(bytes);
});

fn one(message: &[u8]) {
    for v6 in [false, true] {
        let (reply, quote) = (parse_reply(v6, message), parse_quote(v6, message));
        assert!(reply.is_none() || quote.is_none(), "both an answer and a question");
        for echo in reply.iter().chain(&quote) {
            assert_eq!(echo.id_seq.to_be_bytes(), message[4..8]);
            assert_eq!(echo.payload, &message[8..]);
            again(v6, echo);
            if let Some(Mark { generation, index, tag, session }) = mark::read(echo.payload) {
                assert_eq!(generation, echo.payload[7]);
                assert_eq!(index.to_be_bytes(), echo.payload[8..12]);
                assert_eq!([tag.to_be_bytes(), session.to_be_bytes()].concat(), echo.payload[12..16]);
            }
        }
        if reply.is_some() && !v6 {
            assert_eq!(checksum_slowly(message), 0);
        }
    }
}

/// What is built of an echo reads back as a question, and as nothing else.
fn again(v6: bool, echo: &Echo<'_>) {
    let mut request = vec![];
    build(v6, echo.id_seq, &mut request, |out| out.extend_from_slice(echo.payload));
    assert_eq!(parse_quote(v6, &request).as_ref(), Some(echo));
    assert_eq!(parse_reply(v6, &request), None);
    if !v6 {
        assert_eq!(checksum_slowly(&request), 0);
    }
}

/// RFC 1071 word by word, with the carry taken in at once.
fn checksum_slowly(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let sum = words.fold(0u16, |sum, word| {
        let (sum, carried) = sum.overflowing_add(word);
        sum + u16::from(carried)
    });
    !sum
}
