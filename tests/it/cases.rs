//! Each numbered case of forwards, of pings and sweeps, and each fault of connections and links is named by a test: the
//! comment above it says `Case 13 of the forward's list`, `Cases 13 and 14 of the sweep's list`, `Cases 5–8 …`,
//! `Fault case 7` or `Fault cases 21 to 23`; below `tests/it/streams` the forward's list goes without saying. Older tests of
//! pings and sweeps have the numbers in their names: `case_1_…`, `cases_18_and_24_…`, `cases_18_to_20_…`.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

type Numbers = BTreeSet<u32>;

/// The numbers that tests name, list by list.
#[derive(Debug, Default, PartialEq)]
struct Named {
    forward: Numbers,
    sweep: Numbers,
    faults: Numbers,
}

/// The cases of the forward's list.
const FORWARD: &[RangeInclusive<u32>] = &[1..=60];

/// Those of pings and sweeps.
const SWEEP: &[RangeInclusive<u32>] = &[1..=58];

/// The list of faults: links and connections, descriptors and memory, disks, clocks, files, other programs.
const FAULTS: &[RangeInclusive<u32>] = &[1..=14, 19..=47, 49..=49, 53..=54, 58..=60, 63..=64, 66..=69];

/// Where names of tests count, too.
const NAMES: [&str; 5] =
    ["tests/it/icmp/", "src/net/icmp/", "src/kind/ping/", "src/kind/sweep/", "src/value/targets/"];

#[test]
fn each_case_is_named_by_a_test() {
    let mut named = Named::default();
    for folder in ["src", "tests/it"] {
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let (path, text) = (path.to_string_lossy(), fs::read_to_string(&*path).unwrap());
            let is_stream = path.contains("tests/it/streams/");
            for (comment, name) in tests(&text) {
                read(&comment, is_stream, &mut named);
                if NAMES.iter().any(|folder| path.contains(folder)) {
                    named.sweep.extend(of_name(name));
                }
            }
        }
    }
    let wanted = [
        ("forward's list", all(FORWARD), named.forward),
        ("sweep's list", all(SWEEP), named.sweep),
        ("list of faults", all(FAULTS), named.faults),
    ];
    for (list, wanted, named) in wanted {
        let missing: Vec<_> = wanted.difference(&named).collect();
        assert!(missing.is_empty(), "no test names these cases of the {list}: {missing:?}");
    }
}

fn all(ranges: &[RangeInclusive<u32>]) -> Numbers {
    ranges.iter().cloned().flatten().collect()
}

/// Every Rust source below a folder but this one.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|known| known == "rs") && !path.ends_with("it/cases.rs") {
            found.push(path);
        }
    }
    found
}

/// The tests of a source: the comment above each, on one line, and its name.
fn tests(text: &str) -> Vec<(String, &str)> {
    let (mut found, mut block, mut comment) = (vec![], String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("//") {
            block.push_str(words.trim_start_matches('/'));
            continue;
        }
        let block = std::mem::take(&mut block);
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            comment = Some(block);
        } else if let Some((_, rest)) = line.split_once("fn ")
            && let Some(comment) = comment.take()
        {
            found.push((comment, rest.split('(').next().unwrap_or_default()));
        }
    }
    found
}

/// The cases of the sweep's list that a test's name gives.
fn of_name(name: &str) -> Numbers {
    let rest = name.strip_prefix("cases_").or(name.strip_prefix("case_")).unwrap_or_default();
    // `case_51_and_62_…` is case 51 of this list, and 62 of another.
    numbers(&rest.replace('_', " ")).0
}

/// Adds the cases that a comment names.
fn read(comment: &str, is_stream: bool, named: &mut Named) {
    let lower = comment.to_lowercase();
    for (at, word) in lower.match_indices("case") {
        let after = &lower[at + word.len()..];
        let Some(list) = after.strip_prefix('s').unwrap_or(after).strip_prefix(' ') else { continue };
        let (numbers, rest) = numbers(list);
        if lower[..at].ends_with("fault ") || rest.starts_with(" of the list of faults") {
            named.faults.extend(numbers);
        } else if rest.starts_with(" of the sweep's list") {
            named.sweep.extend(numbers);
        } else if is_stream || rest.starts_with(" of the forward's list") {
            named.forward.extend(numbers);
        }
    }
}

/// The numbers that a list begins with, and what follows it.
fn numbers(mut text: &str) -> (Numbers, &str) {
    let (mut found, mut from) = (Numbers::new(), None);
    loop {
        let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let Ok(number) = text[..length].parse::<u32>() else { return (found, text) };
        found.extend(from.unwrap_or(number)..=number);
        text = &text[length..];
        let next = [" to ", "–", "-", ", ", " and "].into_iter().enumerate().find_map(|(index, between)| {
            let rest = text.strip_prefix(between)?;
            rest.starts_with(|c: char| c.is_ascii_digit()).then_some((index < 3, rest))
        });
        let Some((is_range, rest)) = next else { return (found, text) };
        from = is_range.then_some(number);
        text = rest;
    }
}

#[test]
fn comments_are_read_as_they_are_written() {
    let check = |comment: &str, is_stream, forward: &[u32], sweep: &[u32], faults: &[u32]| {
        let mut named = Named::default();
        read(comment, is_stream, &mut named);
        let [forward, sweep, faults] = [forward, sweep, faults].map(|list| list.iter().copied().collect());
        assert_eq!(named, Named { forward, sweep, faults }, "{comment}");
    };
    check("Case 13 of the forward's list.", false, &[13], &[], &[]);
    check("Cases 13 and 14 of the forward's list: so.", false, &[13, 14], &[], &[]);
    check("Cases 5–8, 11 of the forward's list", false, &[5, 6, 7, 8, 11], &[], &[]);
    check("Cases 18 to 20 of the sweep's list, and fault case 13: so.", false, &[], &[18, 19, 20], &[13]);
    check("Case 9: it is 55, in case 8.", true, &[8, 9], &[], &[]);
    check("Case 9.", false, &[], &[], &[]);
    check("Fault case 7: a reset.", true, &[], &[], &[7]);
    check(
        "So. Fault cases 21 to 23 of the list of faults, case 3 of the forward's list",
        false,
        &[3],
        &[],
        &[21, 22, 23],
    );
    check("A test case of ours, and a showcase 12.", false, &[], &[], &[]);
}

#[test]
fn tests_are_found_with_their_comments_and_the_numbers_in_their_names() {
    let text = "//! One\n/// two\nfn three() {}\n    // four\n    /// five\n    #[test]\n    #[x]\nfn six() {}\n\
                #[tokio::test]\nasync fn cases_18_to_20_seven() {}\nfn eight() {}";
    let found = [(" four five".to_owned(), "six"), (String::new(), "cases_18_to_20_seven")];
    assert_eq!(tests(text), found);
    let check = |name, wanted: &[u32]| assert_eq!(of_name(name), wanted.iter().copied().collect(), "{name}");
    check("cases_18_to_20_another", &[18, 19, 20]);
    check("cases_15_and_23_loopback", &[15, 23]);
    check("case_4_no_burst_follows", &[4]);
    check("case_9", &[9]);
    check("it_takes_case_4", &[]);
}
