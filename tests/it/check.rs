//! The `check_*` functions, one per boundary: nothing else in the tests touches the interface below them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netjobs::job::load::{self, Environment, Loaded};

/// The environment of every test of job files: a host called `testhost` and three variables.
pub(crate) fn environment() -> Environment {
    Environment::new("testhost.example", |name| match name {
        "HOST" => Some("127.0.0.1".to_owned()),
        "N" => Some("3".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

/// Loads files or folders, named from the root of the repository.
pub(crate) fn load(paths: &[&Path]) -> Loaded {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    load::load(&paths, &environment())
}

/// A file or folder that loads without a word.
#[track_caller]
pub(crate) fn check_valid(path: &Path) -> Loaded {
    let loaded = load(&[path]);
    assert!(loaded.report.diagnostics.is_empty(), "{}", loaded.report.render(false));
    loaded
}

/// A file that is refused with exactly the text of its twin `.err`. `UPDATE=1` writes the twin.
#[track_caller]
pub(crate) fn check_invalid(path: &Path) {
    let report = load(&[path]).report;
    let said = report.render(false);
    assert!(report.has_errors(), "{} is not refused: {said}", path.display());
    let twin = path.with_extension("err");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&twin, &said).unwrap();
    }
    let wanted = fs::read_to_string(&twin).unwrap_or_default();
    assert_eq!(said, wanted, "{} says something else; UPDATE=1 renews what it says", path.display());
}
