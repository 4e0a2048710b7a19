//! The house rules, as tests: what a program can check needs no reviewer. `ARCHITECTURE.md` gives the reasons.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use netjobs::{
    kind::KINDS,
    outcome::{Cause, Close, Evidence, HostState, Reason, Verdict},
};

/// Who may import whom; `*` is everyone.
const IMPORTS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("value", &[]),
    ("outcome", &[]),
    ("meter", &["outcome"]),
    ("diagnostic", &[]),
    ("plan", &["value"]),
    ("net", &["sys", "value", "outcome", "meter"]),
    ("state", &[]),
    ("context", &["net", "outcome", "value", "meter", "state"]),
    ("kind", &["context", "net", "value", "outcome", "meter", "diagnostic"]),
    ("job", &["kind", "value", "diagnostic", "outcome"]),
    ("event", &["outcome", "diagnostic"]),
    (
        "run",
        &["plan", "job", "kind", "context", "net", "sys", "event", "outcome", "value", "meter", "diagnostic"],
    ),
    ("sink", &["event", "outcome", "meter", "diagnostic"]),
    ("cli", &["*"]),
    ("http", &["*"]),
    ("exit", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder with this ending; at least `expected` of them, so that a walk that finds nothing fails.
#[track_caller]
fn files(folder: &str, ending: &str, expected: usize) -> Vec<(String, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|known| known == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    found.sort();
    assert!(
        found.len() >= expected,
        "found {} files *.{ending} in {folder}, expected {expected}",
        found.len()
    );
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// A source without its unit tests.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

/// `src/net/dial.rs` → `net`.
fn folder(name: &str) -> &str {
    let rest = name.trim_start_matches("src/");
    rest.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The crate's own modules that a source names after `crate::`, braces included.
fn imported(text: &str) -> BTreeSet<String> {
    let code: String =
        without_tests(text).lines().filter(|line| is_code(line)).collect::<Vec<_>>().join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut fresh) = (1, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if fresh && depth == 1 && (c.is_alphabetic() || c == '_') => {
                    found.insert(word(&list[at..]));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn every_source_opens_by_saying_what_it_is() {
    for folder in ["src", "tests/it"] {
        for (name, text) in files(folder, "rs", 3) {
            assert!(text.starts_with("//! "), "{name} does not begin with `//!` and a sentence");
        }
    }
}

#[test]
fn no_source_grows_past_three_hundred_lines() {
    let long: Vec<_> = files("src", "rs", 40)
        .into_iter()
        .map(|(name, text)| (name, without_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > 300)
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

#[test]
fn each_folder_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (name, text) in files("src", "rs", 40) {
        let own = folder(&name);
        let (_, allowed) = IMPORTS.iter().find(|(folder, _)| *folder == own).unwrap_or_else(|| {
            panic!("{name} is in no row of the import table");
        });
        for import in imported(&text) {
            let module = IMPORTS.iter().any(|(folder, _)| *folder == import);
            if module && import != own && !allowed.contains(&"*") && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{name} imports `{import}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stands_only_in_sys_and_each_block_says_why() {
    for (name, text) in files("src", "rs", 40) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_code(line)) {
            if line.contains("unsafe {") || line.contains("unsafe impl") {
                assert!(name.starts_with("src/sys/"), "{name}:{} is unsafe outside `sys`", at + 1);
                let above = &lines[at.saturating_sub(6)..at];
                let reasoned = above.iter().any(|line| line.contains("// SAFETY:"));
                assert!(reasoned, "{name}:{} has no `// SAFETY:` above it", at + 1);
            }
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let words = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
    ];
    for (name, text) in files("src", "rs", 40).into_iter().chain(files("tests", "rs", 1)) {
        for word in &words {
            assert!(!text.contains(word.as_str()), "{name} contains `{word}`");
        }
        assert!(!text.contains(&["#[ign", "ore"].concat()), "{name} leaves a test out");
    }
}

#[test]
fn every_word_of_the_closed_sets_is_used_and_documented() {
    let sources = files("src", "rs", 40);
    let manual = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let mut missing = Vec::new();
    let mut check = |set: &str, variant: &str, word: &str| {
        let used = sources.iter().any(|(name, text)| {
            !name.starts_with("src/outcome/") && without_tests(text).contains(&format!("{set}::{variant}"))
        });
        if !used {
            missing.push(format!("`{set}::{variant}` is used nowhere"));
        }
        if !manual.contains(&format!("`{word}`")) {
            missing.push(format!("docs/reference.md does not explain `{word}`"));
        }
    };
    for item in Reason::ALL {
        check("Reason", &format!("{item:?}"), item.as_str());
    }
    for item in Close::ALL {
        check("Close", &format!("{item:?}"), item.as_str());
    }
    for item in Evidence::ALL {
        check("Evidence", &format!("{item:?}"), item.as_str());
    }
    for item in HostState::ALL {
        check("HostState", &format!("{item:?}"), item.as_str());
    }
    for item in Cause::ALL {
        check("Cause", &format!("{item:?}"), item.as_str());
    }
    for item in Verdict::ALL {
        check("Verdict", &format!("{item:?}"), item.as_str());
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn each_kind_has_a_file_to_learn_from() {
    let jobs = files("jobs", "yaml", KINDS.len());
    for kind in KINDS {
        let name = format!("jobs/{}.yaml", kind.name);
        let (_, text) =
            jobs.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(text.contains(&format!("    {}:", kind.name)), "{name} has no `{}` job", kind.name);
    }
    assert_eq!(jobs.len(), KINDS.len(), "one file a kind");
}

#[test]
fn each_measure_and_metric_is_named_once_and_documented() {
    let manual = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let mut names = BTreeSet::new();
    for kind in KINDS {
        let mut measures = BTreeSet::new();
        for measure in kind.measures {
            assert!(measures.insert(measure.name), "{} names `{}` twice", kind.name, measure.name);
            assert!(measure.help.ends_with('.'), "{}.{}: help is a sentence", kind.name, measure.name);
        }
        for metric in kind.metrics {
            assert!(names.insert(metric.name), "`{}` is declared twice", metric.name);
            assert!(
                manual.contains(&format!("`{}`", metric.name)),
                "docs/reference.md does not list `{}`",
                metric.name
            );
        }
    }
}
