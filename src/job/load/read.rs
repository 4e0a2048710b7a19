//! Finds and reads files. Nothing is opened that is not a regular file, and nothing is read beyond its limit.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::seen::Notes;
use crate::diagnostic::{Diagnostic, Place, Source};

/// The largest file, in bytes.
const LARGEST: u64 = 1 << 20;
/// The most files.
const MOST: usize = 10_000;

/// The files that paths stand for: themselves, or a folder's `*.yaml` and `*.yml` in name order; none twice.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
    let (mut files, mut wrong, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for path in paths {
        let found = if path.is_dir() { folder(path) } else { Ok(vec![path.clone()]) };
        match found {
            Ok(found) => {
                let fresh =
                    |file: &PathBuf| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone()));
                files.extend(found.into_iter().filter(fresh));
            }
            Err(diagnostic) => wrong.push(diagnostic),
        }
        if files.len() > MOST {
            let diagnostic =
                about(path, format!("more than {MOST} files"), Some("name fewer, or join some of them"));
            return Err(vec![diagnostic]);
        }
    }
    if wrong.is_empty() { Ok(files) } else { Err(wrong) }
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let unreadable = |error: &io::Error| {
        let (why, hint) = system(error);
        about(path, format!("cannot read the folder: {why}"), hint)
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_job_file = !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
        if is_job_file && !entry.path().is_dir() {
            files.push(entry.path());
        }
        if files.len() > MOST {
            return Err(about(
                path,
                format!("more than {MOST} files in this folder"),
                Some("name fewer, or join some of them"),
            ));
        }
    }
    if files.is_empty() {
        let hint = "put a job file there; hidden files and folders below it are not read";
        return Err(about(path, "no `*.yaml` or `*.yml` in this folder", Some(hint)));
    }
    files.sort();
    Ok(files)
}

/// The text of a job file, without a byte-order mark.
pub(super) fn job_file(path: &Path, notes: &Notes) -> Result<String, Diagnostic> {
    let (bytes, writable_by_all) = notes.bytes(path).map_err(|(message, hint)| about(path, message, hint))?;
    if writable_by_all && nix::unistd::geteuid().is_root() {
        let hint = "take the right away: `chmod o-w FILE`";
        return Err(about(
            path,
            "anybody may write to this file, and root would run what it says",
            Some(hint),
        ));
    }
    text(path, bytes)
}

/// What a file holds that a `${file:…}` names, without the end of its last line.
pub(super) fn secret(path: &Path, notes: &Notes) -> Result<String, (String, &'static str)> {
    const HINT: &str = "name a text file of at most 1 MiB that can be read";
    let (bytes, _) = notes.bytes(path).map_err(|(message, _)| (message, HINT))?;
    let mut text = String::from_utf8(bytes)
        .map_err(|_| ("what it holds is not UTF-8 text".to_owned(), "write bytes as `hex:…`"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Why a file is not read, and what to do about it.
pub(super) type Refusal = (String, Option<&'static str>);

/// What a regular file holds, and whether anybody may write to it.
pub(super) fn bytes(path: &Path) -> Result<(Vec<u8>, bool), Refusal> {
    let (file, writable_by_all) = open(path)?;
    Ok((contents(file)?, writable_by_all))
}

/// Opens a regular file; whether anybody may write to it comes with it.
fn open(path: &Path) -> Result<(File, bool), Refusal> {
    const REGULAR: &str = "job files, and files that they name, are regular files";
    let refused = |error: io::Error| system(&error);
    let other = || ("not a regular file".to_owned(), Some(REGULAR));
    // Asked before the open, since opening a FIFO or a device may wait or do something; and after it, since the
    // name may stand for another file by then.
    if !fs::metadata(path).map_err(refused)?.is_file() {
        return Err(other());
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(refused)?;
    let facts = file.metadata().map_err(refused)?;
    if !facts.is_file() {
        return Err(other());
    }
    if facts.len() > LARGEST {
        return Err(too_large());
    }
    Ok((file, facts.mode() & 0o002 != 0))
}

fn contents(file: File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| system(&error))?;
    if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> Refusal {
    ("larger than 1 MiB".to_owned(), Some("split it: a folder of files is read as one"))
}

/// Bytes → text: UTF-8 without NUL, a byte-order mark taken off.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(about(path, "this file is UTF-16", Some("save it as UTF-8")));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        at(path, text, start, "a byte that is not UTF-8").hint("save the file as UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.len() as u64 > LARGEST {
        let (message, hint) = too_large();
        return Err(about(path, message, hint));
    }
    if let Some(start) = text.find('\0') {
        return Err(at(path, text, start, "a NUL byte").hint("take it out; is this a text file?"));
    }
    Ok(text)
}

/// A diagnostic about a file as a whole.
pub(super) fn about(path: &Path, message: impl Into<String>, hint: Option<&str>) -> Diagnostic {
    let place = Place { source: Source::new(path.display().to_string(), ""), span: 0..0 };
    let mut diagnostic = Diagnostic::error(message).at(Some(place));
    diagnostic.hint = hint.map(str::to_owned);
    diagnostic
}

fn at(path: &Path, text: String, start: usize, message: &str) -> Diagnostic {
    let source = Source::new(path.display().to_string(), text);
    let end = (start + 1..=source.text.len()).find(|end| source.text.is_char_boundary(*end)).unwrap_or(start);
    Diagnostic::error(message).at(Some(Place { source, span: start..end }))
}

/// What the system says, without the number.
fn system(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound => ("no such file".into(), Some("name a job file, or a folder of them")),
        io::ErrorKind::PermissionDenied => {
            ("permission denied".into(), Some("let the user who runs netjobs read it"))
        }
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            (text[..end].to_lowercase(), None)
        }
    }
}
