//! The limit of open files: raised at start, put back for programs that we become. See getrlimit(2).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft and the hard limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What holds now.
    pub soft: u64,
    /// What it may be raised to.
    pub hard: u64,
}

/// The limits as they are; `None` where the system does not say.
pub fn open_files() -> Option<OpenFiles> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, hard)| OpenFiles { soft, hard })
}

/// Raises the soft limit to the hard one and gives back what it was. A refusal changes nothing.
pub fn raise_open_files() -> Option<OpenFiles> {
    let before = open_files()?;
    if before.soft < before.hard {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, before.hard, before.hard);
    }
    Some(before)
}

/// Puts limits back.
pub fn restore_open_files(limits: OpenFiles) {
    let _ = setrlimit(Resource::RLIMIT_NOFILE, limits.soft, limits.hard);
}

/// How many threads and processes this user may have; `None`: no limit.
pub fn processes() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    (soft != nix::libc::RLIM_INFINITY).then_some(soft)
}
