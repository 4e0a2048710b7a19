//! Headers of the PROXY protocol: what is found at once is found however the bytes arrive, and prints to its like.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netjobs::net::proxy::{Header, LARGEST, Version, parse, print};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Ok(Some((header, length))) = whole {
        assert!(length <= bytes.len() && length <= LARGEST);
        assert_eq!(parse(&bytes[..length]), whole, "what follows the header matters");
        for end in 0..length {
            assert_eq!(parse(&bytes[..end]), Ok(None), "the first {end} bytes");
        }
        if let Header::Proxied(addresses) = header {
            for version in [Version::V1, Version::V2] {
                let printed = print(version, Some(addresses));
                let Ok(Some((Header::Proxied(again), all))) = parse(&printed) else { panic!("{printed:?}") };
                assert_eq!(all, printed.len());
                assert_eq!(again.source.ip().to_canonical(), addresses.source.ip().to_canonical());
                assert_eq!(again.destination.ip().to_canonical(), addresses.destination.ip().to_canonical());
                assert_eq!(again.source.port(), addresses.source.port());
                assert_eq!(again.destination.port(), addresses.destination.port());
            }
        }
        return;
    }
    // Once garbage, always garbage; until then, more is asked for.
    let mut was_garbage = false;
    for end in 0..=bytes.len() {
        let now = parse(&bytes[..end]);
        assert!(!matches!(now, Ok(Some(_))), "a header at {end}, and none in the whole");
        assert!(!was_garbage || now.is_err(), "garbage became none at {end}");
        was_garbage = now.is_err();
    }
    assert!(was_garbage || bytes.len() < LARGEST, "more than a header may have, and still asked for more");
});
