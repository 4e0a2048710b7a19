//! Words of job files: what parses prints as a text that parses to the same value, and a mistake stands inside its word.
#![no_main]

use std::{fmt::Debug, str::FromStr};

use libfuzzer_sys::fuzz_target;
use netjobs::{
    kind::{
        forward::Upstream,
        interfaces::Pattern,
        sweep::spec::{Method, Rate},
        wait::Status,
    },
    value::{
        Bind, ByteRate, Comparison, Endpoint, EventRate, Host, JobName, Network, Payload, Size, Timespan,
        Want, Wrong, endpoint::LONGEST_SOCKET_PATH, glob::fits, secret::MOST_RANDOM,
    },
};

fuzz_target!(|text: &str| {
    same_again::<Timespan>(text);
    same_again::<Size>(text);
    same_again::<Host>(text);
    same_again::<Network>(text);
    same_again::<JobName>(text);
    if let Some(endpoint) = same_again::<Endpoint>(text) {
        endpoint_holds(&endpoint);
    }
    if let Some(Bind(endpoint)) = same_again::<Bind>(text) {
        assert!(!matches!(endpoint, Endpoint::Icmp(_) | Endpoint::Http { .. } | Endpoint::Job(_)));
    }
    if let Some(rate) = parsed::<ByteRate>(text) {
        assert!(rate.0 > 0);
    }
    if let Some(rate) = parsed::<EventRate>(text) {
        assert!(rate.0 > 0.0 && rate.0.is_finite(), "{rate:?}");
    }
    // A percentage is shown with twelve digits; what is shown is read again all the same.
    if let Some(comparison) = parsed::<Comparison>(text) {
        assert!(
            comparison.to_string().parse::<Comparison>().is_ok(),
            "{comparison:?} prints as {comparison}"
        );
    }
    if let Some(Payload::Random(size)) = parsed::<Payload>(text) {
        assert!(size <= MOST_RANDOM);
    }
    // What a long expression costs, milliseconds of each, is another crate's: short ones reach all that is ours.
    if !text.starts_with('/') || text.len() <= 10 && !text.contains('{') {
        parsed::<Want>(text);
    }
    parsed::<Upstream>(text);
    parsed::<Pattern>(text);
    parsed::<Method>(text);
    if let Some(Rate::Limited(rate)) = parsed::<Rate>(text) {
        assert!(rate.0 > 0.0 && rate.0.is_finite(), "{rate:?}");
    }
    if let Some(status) = parsed::<Status>(text) {
        assert!(status.admits(status.first) && (100..600).contains(&status.first) && status.last < 600);
    }
    if let Some((pattern, name)) = text.split_once(' ') {
        assert_eq!(fits(pattern, name), fits_slowly(pattern, name));
    }
});

/// What a text parses to; a mistake stands inside the text, and survives its way through serde.
fn parsed<T: FromStr<Err = Wrong>>(text: &str) -> Option<T> {
    let wrong = match text.parse() {
        Ok(value) => return Some(value),
        Err(wrong) => wrong,
    };
    assert!(wrong.offset.is_none_or(|at| text.is_char_boundary(at)), "{wrong:?} of {text:?}");
    assert!(!wrong.message.is_empty());
    let carried = wrong.clone().into_serde::<serde_json::Error>().to_string();
    // What stands between the parts on that way is the one byte that could be taken for another.
    if !text.contains('\u{1f}') {
        return None;
    }
    let plain = |text: &str| text.replace('\u{1f}', "\\u{1f}");
    let (message, hint) = (plain(&wrong.message), wrong.hint.as_deref().map(plain));
    assert_eq!(Wrong::from_serde(&carried), Wrong { message, hint, offset: wrong.offset });
    None
}

fn same_again<T: FromStr<Err = Wrong> + Debug + PartialEq + ToString>(text: &str) -> Option<T> {
    let value: T = parsed(text)?;
    let shown = value.to_string();
    assert_eq!(shown.parse().as_ref(), Ok(&value), "{text:?} prints as {shown:?}");
    Some(value)
}

fn endpoint_holds(endpoint: &Endpoint) {
    match endpoint {
        Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports) => {
            assert!(1 <= ports.first && ports.first <= ports.last)
        }
        Endpoint::Http { path, port, .. } => {
            assert!(*port > 0);
            assert!(hyper::Uri::from_str(path).is_ok(), "{path:?} cannot be asked for");
        }
        Endpoint::Unix(path) | Endpoint::Unixgram(path) => {
            assert!(path.to_string().len() <= LONGEST_SOCKET_PATH + 2)
        }
        Endpoint::Icmp(_) | Endpoint::Job(_) => {}
    }
}

/// The definition, by a table over all ends of both texts.
fn fits_slowly(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut ends = vec![false; name.len() + 1];
    ends[0] = true;
    for c in pattern.chars() {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match c {
                '*' => ends[at] || at > 0 && next[at - 1],
                '?' => at > 0 && ends[at - 1],
                c => at > 0 && ends[at - 1] && name[at - 1] == c,
            };
        }
        ends = next;
    }
    ends[name.len()]
}
