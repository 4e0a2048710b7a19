//! One file of state: a JSON document that carries the checksum of all that stands behind it. Written whole or not at
//! all: beside the old one, to the disk, then in its place.

use std::{
    fs::{self, File, OpenOptions},
    hash::Hasher as _,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use siphasher::sip::SipHasher13;

use super::TEMPORARY;

/// What a file holds.
#[derive(Debug)]
pub struct Content {
    /// The kind of the job that it is of.
    pub kind: String,
    /// When it was saved.
    pub saved: SystemTime,
    /// What the job keeps.
    pub value: Value,
}

/// The form of the files; one that is newer is not read.
const VERSION: u64 = 1;
/// The largest file, in bytes: a sweep of a million hosts needs a tenth of it.
const LARGEST: u64 = 64 << 20;
const HEAD: &str = "{\"checksum\":\"";
/// Digits of a checksum.
const DIGITS: usize = 16;

/// Puts a file in place of what was there. Where that fails the old one is as it was.
pub(super) fn write(path: &Path, content: &Content) -> io::Result<()> {
    let text = seal(content);
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("{} bytes are more than are read again", text.len())));
    }
    let temporary = beside(path, TEMPORARY);
    let written = write_new(&temporary, text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_folder(path))
}

/// Removes a file; one that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(path),
    }
}

/// Whether files can be made here. A full disk may be less full by the time that something is to be saved.
pub(super) fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(TEMPORARY);
    let made = write_new(&path, b"");
    let _ = fs::remove_file(&path);
    match made {
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Ok(())
        }
        other => other,
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    // What somebody else puts there meanwhile, such as a link, is never written to.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// What a file holds; `None` where it does not read, which is told, and then it stands aside.
pub(super) fn read_or_set_aside(path: &Path) -> Option<Content> {
    let why = match read(path) {
        Ok(content) => return Some(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error,
    };
    let aside = beside(path, &format!(".bad-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            "state: {}: {why}; it is set aside as {}, and its job begins anew",
            path.display(),
            aside.display()
        ),
        Err(error) => tracing::warn!(
            "state: {}: {why}; it cannot be set aside ({error}), and its job begins anew",
            path.display()
        ),
    }
    None
}

pub(super) fn read(path: &Path) -> io::Result<Content> {
    // Neither a link nor something that one waits for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut text = String::with_capacity(usize::try_from(found.len().min(LARGEST)).unwrap_or(0) + 1);
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {} MiB", LARGEST >> 20)));
    }
    unseal(&text).map_err(io::Error::other)
}

/// The text of a file, with the checksum of what follows it.
pub fn seal(content: &Content) -> String {
    let saved = content.saved.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let head =
        json!({ "version": VERSION, "kind": content.kind, "saved": u64::try_from(saved).unwrap_or(0) });
    let head = head.to_string();
    let rest = format!("\",{},\"value\":{}}}\n", &head[1..head.len() - 1], content.value);
    format!("{HEAD}{:0DIGITS$x}{rest}", checksum(&rest))
}

/// Reads such a text; `Err` says what is wrong with it.
pub fn unseal(text: &str) -> Result<Content, String> {
    let whole: Result<Value, _> = serde_json::from_str(text);
    let version = whole.as_ref().ok().and_then(|whole| whole["version"].as_u64());
    if let Some(version) = version.filter(|version| *version > VERSION) {
        return Err(format!(
            "written by a newer version of this program (format {version}, known is {VERSION})"
        ));
    }
    let sealed = text.strip_prefix(HEAD).and_then(|rest| rest.split_at_checked(DIGITS));
    let is_whole =
        sealed.is_some_and(|(sum, rest)| u64::from_str_radix(sum, 16).is_ok_and(|sum| sum == checksum(rest)));
    let (true, Ok(mut whole)) = (is_whole, whole) else { return Err("damaged".into()) };
    let kind = whole["kind"].as_str().unwrap_or_default().to_owned();
    let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(whole["saved"].as_u64().unwrap_or(0));
    Ok(Content { kind, saved, value: whole["value"].take() })
}

/// Against damage, not against forgery: whoever may write here may write anything.
fn checksum(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> String {
        let value = json!({ "states": "3a250s", "rate": 0.1, "text": "\u{1f}é" });
        seal(&Content { kind: "sweep".into(), saved: SystemTime::now(), value })
    }

    #[test]
    fn what_is_sealed_is_one_json_document_and_reads_again() {
        let text = sealed();
        let content = unseal(&text).unwrap();
        assert_eq!((content.kind.as_str(), &content.value["states"]), ("sweep", &"3a250s".into()));
        assert!(content.saved.elapsed().unwrap() < Duration::from_mins(1));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["value"]["text"], "\u{1f}é");
    }

    #[test]
    fn every_byte_that_changes_and_every_cut_is_noticed() {
        let text = sealed();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(unseal(&changed).is_err(), "byte {at}");
            }
            assert!(unseal(text.get(..at).unwrap_or("")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_form_is_told_by_its_number() {
        let newer = sealed().replace("\"version\":1", "\"version\":2");
        let why = unseal(&newer).unwrap_err();
        assert_eq!(why, "written by a newer version of this program (format 2, known is 1)");
    }
}
