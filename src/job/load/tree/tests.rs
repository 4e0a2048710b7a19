//! What the located tree holds, and what it refuses.

use super::*;

#[track_caller]
fn check(text: &str, wrong: &str) {
    let (_, diagnostic) = read(text, 0).unwrap_err();
    assert!(diagnostic.message.contains(wrong), "{}", diagnostic.message);
}

fn map(text: &str) -> Vec<(String, String)> {
    let root = read(text, 0).unwrap().unwrap();
    let entry = |entry: &Entry| (entry.key.to_string(), entry.value.scalar().unwrap_or("…").to_owned());
    root.entries().unwrap().iter().map(entry).collect()
}

#[test]
fn spans_are_those_of_the_text() {
    let text = "a:\n  b: [1, 'x']\n  c: y # z\nd: 1\n";
    let root = read(text, 0).unwrap().unwrap();
    let slice = |at: At| &text[at.start as usize..at.end as usize];
    let a = &root.entries().unwrap()[0];
    assert_eq!(slice(a.at), "a");
    assert!(slice(a.value.at).starts_with("b: [1, 'x']\n  c: y"), "{}", slice(a.value.at));
    let b = &a.value.entries().unwrap()[0].value;
    assert_eq!(slice(b.at), "[1, 'x']");
    let Content::List(list) = &b.content else { panic!("no list") };
    assert_eq!(slice(list[1].at), "'x'");
}

#[test]
fn merge_keys_bring_what_the_map_does_not_say() {
    let text = "{ <<: [{ a: 1, b: 1 }, { b: 2, c: 2 }], a: 0 }";
    let wanted = [("a", "0"), ("b", "1"), ("c", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(map(text), wanted);
}

#[test]
fn empty_texts_hold_nothing() {
    assert!(read("", 0).unwrap().is_none());
    assert!(read("# only a comment\n", 0).unwrap().is_none());
    assert!(read("---\n", 0).unwrap().unwrap().is_null());
}

#[test]
fn what_no_job_file_may_hold_is_refused() {
    check("a: 1\na: 2", "`a` stands here twice");
    check("a: { b: 1, \"b\": 2 }", "`b` stands here twice");
    check("a: 1\n---\nb: 1", "a second document");
    check("1: x", "`1` is a number, and keys are text");
    check("~: x", "`~` is nothing, and keys are text");
    check("? [a]\n: x", "a key is a list or a map");
    check("a: !foo x", "the tag `!foo`");
    check("a: &a [*a]", "an alias inside");
    check("<<: 1", "`<<` takes a map");
    check(&"[".repeat(100_000), "deeper than 64");
    check(&format!("{}{}{}", "- ".repeat(40), "[".repeat(40), "]".repeat(40)), "deeper than 64");
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_goes_off() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..30 {
        let below = format!("*a{},", level - 1).repeat(10);
        text.extend(
            ["a", &level.to_string(), ": &a", &level.to_string(), " [", &below, "]\n"].map(str::to_owned),
        );
    }
    check(&text, "aliases of this file stand for more than");
}
