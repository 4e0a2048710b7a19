//! One runner a folder: a lock that the kernel drops with its holder, in a file that names the holder's process.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Error, is_foreign, names};

/// The lock; it goes with the value, and with the process.
#[derive(Debug)]
pub(super) struct Lock {
    folder: PathBuf,
    file: Mutex<File>,
}

pub(super) const NAME: &str = "LOCK";
/// More than any process number has.
const LONGEST: u64 = 20;

impl Lock {
    /// Takes it, or says who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, Error> {
        Ok(Self { folder: folder.to_owned(), file: Mutex::new(take(folder)?) })
    }

    /// Takes it anew where it stands there no more, as after the folder was removed and made again.
    pub(super) fn keep(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let held = file.metadata()?;
        let stands = fs::symlink_metadata(self.folder.join(NAME));
        if stands.is_ok_and(|stands| (stands.dev(), stands.ino()) == (held.dev(), held.ino())) {
            return Ok(());
        }
        match take(&self.folder) {
            Ok(taken) => *file = taken,
            // Whoever writes there hears it from the system.
            Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}

fn take(folder: &Path) -> Result<File, Error> {
    let refused = |operation| move |source| Error::System { folder: folder.to_owned(), operation, source };
    let names = names(folder).map_err(refused("read the folder"))?;
    // Of a folder that is a runner's, what does not read is set aside; in any other it is somebody else's.
    if !names.iter().any(|name| name == NAME)
        && let Some(name) = names.iter().find(|name| is_foreign(folder, name))
    {
        return Err(Error::Foreign { folder: folder.to_owned(), name: name.clone() });
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(libc::O_NOFOLLOW).open(folder.join(NAME)).map_err(refused("lock it"))?;
    match file.try_lock() {
        Ok(()) => {
            // Who cannot be named still holds it: a full disk is no reason not to work.
            let _ = write(&file);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(Error::InUse { folder: folder.to_owned(), pid: holder(file) }),
        Err(TryLockError::Error(error)) => Err(refused("lock it")(error)),
    }
}

fn write(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// The number that the holder wrote.
fn holder(file: File) -> Option<String> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let pid = text.trim();
    (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then(|| pid.to_owned())
}
