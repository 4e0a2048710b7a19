//! Which files a load asked for and what they held, so that another look tells whether the same would be read again.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::read::{self, Refusal};

/// The marks of all files that were asked for, also of those that were refused: equal marks, equal contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the paths stood for, as a hash.
    listing: u64,
    files: BTreeMap<PathBuf, u64>,
}

/// Takes note while a load reads. The first look at a file counts.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Seen>);

impl Seen {
    /// The files, those that were missing or refused included.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether a load of these paths would find the same files with the same bytes now. Reads them all.
    pub fn is_current(&self, paths: &[PathBuf]) -> bool {
        let found = read::files(paths);
        let is_known = |file: &PathBuf| self.files.contains_key(file);
        mark_of_listing(&found) == self.listing
            && found.iter().flatten().all(is_known)
            && self.files.iter().all(|(file, mark)| mark_of(&read::bytes(file)) == *mark)
    }
}

impl Notes {
    /// Lists the files of paths.
    pub(super) fn files(
        &self,
        paths: &[PathBuf],
    ) -> Result<Vec<PathBuf>, Vec<crate::diagnostic::Diagnostic>> {
        let found = read::files(paths);
        self.with(|seen| seen.listing = mark_of_listing(&found));
        found
    }

    /// Reads a file.
    pub(super) fn bytes(&self, path: &Path) -> Result<(Vec<u8>, bool), Refusal> {
        let read = read::bytes(path);
        let mark = mark_of(&read);
        self.with(|seen| {
            seen.files.entry(path.to_owned()).or_insert(mark);
        });
        read
    }

    /// What was seen since the last time that this was asked.
    pub(super) fn take(&self) -> Seen {
        self.with(|seen| std::mem::take(seen))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn mark_of(read: &Result<(Vec<u8>, bool), Refusal>) -> u64 {
    let mut hasher = DefaultHasher::new();
    read.hash(&mut hasher);
    hasher.finish()
}

fn mark_of_listing(found: &Result<Vec<PathBuf>, Vec<crate::diagnostic::Diagnostic>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match found {
        Ok(files) => files.hash(&mut hasher),
        Err(wrong) => wrong.iter().for_each(|one| one.message.hash(&mut hasher)),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Environment, load};

    #[test]
    fn a_change_of_any_byte_of_any_file_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let paths = [folder.path().to_owned()];
        let job = "jobs:\n  - name: a\n    every: 1h\n    exchange: { to: '127.0.0.1:7', send: '${file:secret}' }\n";
        fs::write(path("a.yaml"), job).unwrap();
        let seen = || load(&paths, &Environment::of_process()).seen;
        let missing = seen();
        assert!(missing.is_current(&paths));
        fs::write(path("secret"), "one").unwrap();
        assert!(!missing.is_current(&paths), "a secret that was missing is there");
        let whole = seen();
        let steps: [(&str, &dyn Fn()); 5] = [
            ("a secret", &|| fs::write(path("secret"), "two").unwrap()),
            ("a file", &|| fs::write(path("a.yaml"), format!("{job}#")).unwrap()),
            ("one more", &|| fs::write(path("b.yaml"), "jobs: []").unwrap()),
            ("one gone", &|| fs::remove_file(path("a.yaml")).unwrap()),
            ("all gone", &|| fs::remove_dir_all(folder.path()).unwrap()),
        ];
        let mut last = whole;
        for (what, change) in steps {
            assert!(last.is_current(&paths), "before {what}");
            change();
            assert!(!last.is_current(&paths), "{what}");
            last = seen();
        }
        fs::create_dir(folder.path()).unwrap();
        fs::write(path("a.yaml"), job).unwrap();
        fs::write(path("secret"), "one").unwrap();
        let whole = seen();
        fs::write(path("a.yaml~"), "an editor's").unwrap();
        fs::create_dir(path("sub.yaml")).unwrap();
        fs::write(path("secret"), "one").unwrap();
        assert!(whole.is_current(&paths), "what no load reads");
    }
}
