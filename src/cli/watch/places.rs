//! Where a change of job files can be noticed: the folders on the way to each of them, through every link.
//!
//! Folders are watched and not files: an editor puts a new file in the old one's place, and Kubernetes turns the link
//! `..data` to another folder.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// As many links as the system follows.
const LINKS: u32 = 40;

/// What to watch, and which names in it matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Folders to watch, all of them real; and whether a change of files or links shows only there.
    pub(super) folders: BTreeMap<PathBuf, bool>,
    /// Each file, link and folder on the way to what is read.
    names: BTreeSet<PathBuf>,
    /// Folders whose job files are read, also those to come.
    whole: BTreeSet<PathBuf>,
}

impl Places {
    /// Those of the paths of a command line and of the files that were read.
    pub(super) fn of<'a>(paths: &[PathBuf], files: impl Iterator<Item = &'a Path>) -> Self {
        let mut places = Self::default();
        for path in paths {
            if let Some(end) = places.follow(path).filter(|end| end.is_dir()) {
                places.folders.insert(end.clone(), true);
                places.whole.insert(end);
            }
        }
        for file in files {
            places.follow(file);
        }
        places
    }

    /// Whether something at this path may change what is read.
    pub(super) fn concern(&self, path: &Path) -> bool {
        let is_job_file = || path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        self.names.contains(path)
            || is_job_file() && path.parent().is_some_and(|folder| self.whole.contains(folder))
    }

    /// Goes a path as the system does, and notes each step; gives its end, if it has one.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut at = PathBuf::from("/");
        let mut rest = steps(&std::path::absolute(path).ok()?);
        let mut links = LINKS;
        while let Some(step) = rest.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            let here = at.join(&step);
            let found = fs::symlink_metadata(&here).ok();
            let is_link = found.as_ref().is_some_and(fs::Metadata::is_symlink);
            let is_needed = is_link || found.is_none() || rest.is_empty();
            *self.folders.entry(at.clone()).or_default() |= is_needed;
            self.names.insert(here.clone());
            found?;
            if is_link {
                links = links.checked_sub(1)?;
                let target = fs::read_link(&here).ok()?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                let mut steps = steps(&target);
                steps.append(&mut rest);
                rest = steps;
            } else {
                at = here;
            }
        }
        Some(at)
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let named = |step: Component<'_>| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name);
        fs::create_dir_all(path("mount/..1")).unwrap();
        fs::write(path("mount/..1/a.yaml"), "").unwrap();
        symlink("..1", path("mount/..data")).unwrap();
        symlink("..data/a.yaml", path("mount/a.yaml")).unwrap();
        symlink(path("mount"), path("jobs")).unwrap();
        symlink("loop", path("loop")).unwrap();
        let places = Places::of(&[path("jobs")], [path("jobs/a.yaml"), path("loop")].iter().map(|p| &**p));
        for concerns in ["jobs", "mount", "mount/..data", "mount/a.yaml", "mount/new.yml", "mount/..1/a.yaml"]
        {
            assert!(places.concern(&path(concerns)), "{concerns}");
        }
        for other in
            ["mount/.a.yaml.swp", "mount/4913", "mount/a.yaml~", "mount/..2", "x.yaml", "mount/..1/b"]
        {
            assert!(!places.concern(&path(other)), "{other}");
        }
        let needed: Vec<_> = places.folders.iter().filter(|(_, needed)| **needed).map(|(at, _)| at).collect();
        assert_eq!(needed, [&root, &path("mount"), &path("mount/..1")]);
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_would_appear() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let places = Places::of(&[root.join("a/../b/jobs")], std::iter::empty());
        assert_eq!(places.folders.get(&root), Some(&true));
        assert!(places.concern(&root.join("a")) && !places.concern(&root.join("jobs")));
    }
}
