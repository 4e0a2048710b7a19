//! Targets of sweeps: text to addresses and back; sets of addresses agree with what they were made of.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use netjobs::value::{AddressSet, Target, Targets, Wrong};

fuzz_target!(|text: &str| {
    let (mut wanted, mut unwanted) = (vec![], vec![]);
    for (at, word) in text.split('\n').enumerate() {
        let list = if at % 2 == 0 { &mut wanted } else { &mut unwanted };
        match word.parse::<Targets>() {
            Ok(targets) => list.extend(ranges(&targets)),
            Err(wrong) => mistake(word, &wrong),
        }
    }
    // Pieces cost memory, and time that the comparison below has not.
    if wanted.len() + unwanted.len() > 200 {
        return;
    }
    let (all, holes) = (AddressSet::new(wanted.iter().copied()), AddressSet::new(unwanted.iter().copied()));
    let rest = all.without(&holes);
    // Each end of a range and its neighbours: where a mistake of one would show.
    for address in wanted
        .iter()
        .chain(&unwanted)
        .flat_map(|(first, last)| around(*first).into_iter().chain(around(*last)))
    {
        let (is_wanted, is_hole) = (within(&wanted, address), within(&unwanted, address));
        assert_eq!(all.contains(address), is_wanted, "{address}");
        assert_eq!(rest.contains(address), is_wanted && !is_hole, "{address}");
    }
    assert_eq!(rest.union(&holes), all.union(&holes));
    for set in [&all, &holes, &rest] {
        let count = set.count();
        assert_eq!(set.is_empty(), count == 0);
        assert_eq!(set.get(count), None);
        assert_eq!(set.get(0), set.ranges().next().map(|(first, _)| first));
        if count < u128::MAX {
            assert_eq!(
                count.checked_sub(1).and_then(|last| set.get(last)),
                set.ranges().last().map(|(_, last)| last)
            );
        }
    }
});

fn mistake(word: &str, wrong: &Wrong) {
    assert!(wrong.offset.is_none_or(|at| word.is_char_boundary(at)), "{wrong:?} of {word:?}");
    assert!(wrong.hint.is_some(), "{wrong:?} has no cure");
}

fn ranges(targets: &Targets) -> Vec<(IpAddr, IpAddr)> {
    let shown = targets.target.to_string();
    assert_eq!(
        shown.parse::<Targets>().map(|again| again.target).as_ref(),
        Ok(&targets.target),
        "printed as {shown:?}"
    );
    if let Some(suggestion) = targets.target.suggestion() {
        let better: Target = suggestion.parse::<Targets>().expect("a suggestion that is none").target;
        assert_eq!(better.addresses(true), targets.target.addresses(true));
    }
    let all = targets.target.addresses(true).unwrap_or_default();
    if let Some(inner) = targets.target.addresses(false) {
        let outside = AddressSet::new(inner).without(&AddressSet::new(all.iter().copied()));
        assert!(outside.is_empty(), "without its edges, {shown} is larger");
    }
    all
}

fn around(address: IpAddr) -> Vec<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let number = u32::from(v4);
            [number.wrapping_sub(1), number, number.wrapping_add(1)]
                .map(|number| IpAddr::V4(number.into()))
                .to_vec()
        }
        IpAddr::V6(v6) => {
            let number = u128::from(v6);
            [number.wrapping_sub(1), number, number.wrapping_add(1)]
                .map(|number| IpAddr::V6(number.into()))
                .to_vec()
        }
    }
}

fn within(ranges: &[(IpAddr, IpAddr)], address: IpAddr) -> bool {
    ranges.iter().any(|(first, last)| *first <= address && address <= *last)
}
