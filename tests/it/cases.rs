//! Each numbered case of forwards and each fault of connections is named by a test: the comment above it says `Case 13 of
//! the forward's list`, `Cases 13 and 14 of the forward's list`, `Cases 5–8 …`, `Fault case 7` or `Fault cases 21 to 23`;
//! below `tests/it/streams` the forward's list goes without saying.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

type Numbers = BTreeSet<u32>;

/// The cases of the forward's list.
const FORWARD: &[RangeInclusive<u32>] = &[1..=60];

/// The faults that connections meet.
const FAULTS: &[RangeInclusive<u32>] = &[5..=8, 19..=22, 58..=60];

/// Of the forward's list: no runner takes sockets from whoever starts it, and no document says that one does.
const NOT_BUILT: &[RangeInclusive<u32>] = &[40..=40];

#[test]
fn each_case_is_named_by_a_test() {
    let mut named = [Numbers::new(), Numbers::new()];
    for folder in ["src", "tests/it"] {
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let is_stream = path.to_string_lossy().contains("tests/it/streams/");
            for comment in comments(&fs::read_to_string(&path).unwrap()) {
                read(&comment, is_stream, &mut named);
            }
        }
    }
    let wanted = [&all(FORWARD) - &all(NOT_BUILT), all(FAULTS)];
    for (index, list) in ["forward's list", "list of faults"].into_iter().enumerate() {
        let missing: Vec<_> = wanted[index].difference(&named[index]).copied().collect();
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

/// The comments above the tests of a source, each block on one line.
fn comments(text: &str) -> Vec<String> {
    let (mut found, mut block) = (vec![], String::new());
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("//") {
            block.push_str(words.trim_start_matches('/'));
            continue;
        }
        let block = std::mem::take(&mut block);
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            found.push(block);
        }
    }
    found
}

/// Adds the cases that a comment names: those of the forward's list, and faults.
fn read(comment: &str, is_stream: bool, named: &mut [Numbers; 2]) {
    let lower = comment.to_lowercase();
    for (at, word) in lower.match_indices("case") {
        let after = &lower[at + word.len()..];
        let Some(list) = after.strip_prefix('s').unwrap_or(after).strip_prefix(' ') else { continue };
        let (numbers, rest) = numbers(list);
        if lower[..at].ends_with("fault ") || rest.starts_with(" of the list of faults") {
            named[1].extend(numbers);
        } else if is_stream || rest.starts_with(" of the forward's list") {
            named[0].extend(numbers);
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
    let check = |comment: &str, is_stream, forward: &[u32], faults: &[u32]| {
        let mut named = [Numbers::new(), Numbers::new()];
        read(comment, is_stream, &mut named);
        assert_eq!(named, [forward.iter().copied().collect(), faults.iter().copied().collect()], "{comment}");
    };
    check("Case 13 of the forward's list.", false, &[13], &[]);
    check("Cases 13 and 14 of the forward's list: so.", false, &[13, 14], &[]);
    check("Cases 5–8, 11 of the forward's list", false, &[5, 6, 7, 8, 11], &[]);
    check("Case 9: it is 55, in case 8.", true, &[8, 9], &[]);
    check("Case 9.", false, &[], &[]);
    check("Fault case 7: a reset.", true, &[], &[7]);
    check(
        "So. Fault cases 21 to 23 of the list of faults, case 3 of the forward's list",
        false,
        &[3],
        &[21, 22, 23],
    );
    check("A test case of ours, and a showcase 12.", false, &[], &[]);
    let text =
        "//! One\n/// two\nfn three() {}\n    // four\n    /// five\n    #[test]\nfn six() {}\n#[test]";
    assert_eq!(comments(text), [" four five", ""]);
}
