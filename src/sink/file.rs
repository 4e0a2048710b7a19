//! Result files: written whole or not at all, at the end. Not logs, which grow.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::Error;

/// Where results go.
pub enum Output {
    /// A file, replaced as a whole; a pipe or device of that name is written to.
    File(PathBuf),
    /// A stream such as stdout.
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// How the writing of results went, known once the sink is closed.
#[derive(Clone, Debug)]
pub struct Written(Arc<(String, OnceLock<Result<(), Error>>)>);

impl Written {
    /// Says how it went; the first word counts. A reader that went away has all that it wanted.
    pub(super) fn set(&self, result: io::Result<()>) {
        let (name, known) = &*self.0;
        let result = match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Error::Write { path: name.clone(), why: error.to_string() }),
        };
        let _ = known.set(result);
    }

    /// Whether the results are there, whole.
    pub fn result(&self) -> Result<(), Error> {
        let (name, result) = &*self.0;
        let missing = || Error::Write { path: name.clone(), why: "the run ended before it".into() };
        result.get().cloned().unwrap_or_else(|| Err(missing()))
    }
}

impl Output {
    /// The handle that tells how the writing went.
    pub fn written(&self) -> Written {
        Written(Arc::new((self.name(), OnceLock::new())))
    }

    /// Writes the text and says in `written` how it went.
    pub fn write(self, text: &str, written: &Written) {
        written.set(match self {
            Self::File(path) => replace(&path, text.as_bytes()),
            Self::Stream(mut stream) => stream.write_all(text.as_bytes()).and_then(|()| stream.flush()),
        });
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stream(_) => "stdout".into(),
        }
    }
}

/// Puts the bytes under the path in one step; behind a link stands the file that is replaced.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|known| !known.is_file()) {
        return fs::OpenOptions::new().write(true).open(&path)?.write_all(bytes);
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let done = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> Result<(), Error> {
        let output = Output::File(path.to_owned());
        let written = output.written();
        output.write(text, &written);
        written.result()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_also_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.xml"), folder.path().join("link.xml"));
        fs::write(&path, "a long old text").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/a.xml");
        let error = write(&path, "x").unwrap_err().to_string();
        assert!(error.starts_with(&format!("write {}: No such file", path.display())), "{error}");
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(write(Path::new("/dev/full"), "x").is_err());
    }

    #[test]
    fn results_that_were_never_written_are_an_error() {
        let output = Output::File("a.xml".into());
        assert_eq!(
            output.written().result().unwrap_err().to_string(),
            "write a.xml: the run ended before it"
        );
    }
}
