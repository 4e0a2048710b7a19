//! Netlink attributes: each value lies behind the one before, and none is made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netjobs::sys::netlink::attributes;

fuzz_target!(|bytes: &[u8]| {
    let mut at = 0;
    for (kind, value) in attributes(bytes) {
        assert!(kind <= 0x3fff);
        let header = &bytes[at..at + 4];
        assert_eq!(usize::from(u16::from_ne_bytes([header[0], header[1]])), value.len() + 4);
        assert_eq!(value, &bytes[at + 4..at + 4 + value.len()]);
        at = (at + 4 + value.len()).next_multiple_of(4);
    }
});
