//! One runner a folder: a lock that the kernel drops with its holder, in a file that names the holder's process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::Error;

/// The lock; it goes with the value, and with the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

pub(super) const NAME: &str = "LOCK";
/// More than any process number has.
const LONGEST: u64 = 20;

impl Lock {
    /// Takes it, or says who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, Error> {
        let refused = |source| Error::System { folder: folder.to_owned(), operation: "lock it", source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(folder.join(NAME)).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {
                // Who cannot be named still holds it: a full disk is no reason not to work.
                let _ = write(&file);
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                Err(Error::InUse { folder: folder.to_owned(), pid: holder(file) })
            }
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
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
