//! Job files: each file under `tests/jobs/invalid` has one mistake and the exact text that it prints; those under
//! `tests/jobs/valid`, `jobs/` and `examples/` load without a word.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::check;

/// The files of a folder with this ending, in name order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|known| known == ending)).collect();
    files.sort();
    files
}

#[test]
fn every_invalid_file_says_exactly_what_its_twin_says() {
    let yaml = files("tests/jobs/invalid", "yaml");
    let mut wrong = Vec::new();
    for file in &yaml {
        if let Err(panic) = std::panic::catch_unwind(|| check::check_invalid(file)) {
            wrong.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), yaml.len(), wrong.join("\n"));
    let stems = |files: &[PathBuf]| files.iter().map(|path| path.with_extension("")).collect::<Vec<_>>();
    assert_eq!(stems(&yaml), stems(&files("tests/jobs/invalid", "err")), "a twin without its file");
    assert!(yaml.len() >= 190, "only {} files", yaml.len());
}
