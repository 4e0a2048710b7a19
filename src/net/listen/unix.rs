//! Unix sockets to listen on (unix(7)): made with mode 0600, and only our own stale sockets are replaced.
//!
//! Stale means: a socket file of ours that nobody answers on. A regular file, a link, a live socket and another user's
//! socket are left alone. When the listener closes, its file goes too, if the path still leads to it.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Type};

use super::{Socket, socket::BACKLOG};
use crate::{
    net::dial::native,
    value::{Endpoint, SocketPath, endpoint::LONGEST_SOCKET_PATH},
};

/// Opens a `unix:` or `unixgram:` endpoint.
pub(super) fn open(endpoint: &Endpoint) -> io::Result<(Socket, Option<Guard>)> {
    let (path, kind) = match endpoint {
        Endpoint::Unix(path) => (path, Type::STREAM),
        Endpoint::Unixgram(path) => (path, Type::DGRAM),
        other => return Err(refused(format!("nothing listens on `{}`", other.scheme()))),
    };
    let socket = socket2::Socket::new(Domain::UNIX, kind.nonblocking().cloexec(), None)?;
    let guard = match path {
        SocketPath::Abstract(_) => {
            socket.bind(&SockAddr::unix(native(path))?)?;
            None
        }
        SocketPath::File(file) => Some(bind_file(&socket, file, kind)?),
    };
    let socket = if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
        Socket::Unix(socket.into())
    } else {
        Socket::Unixgram(socket.into())
    };
    Ok((socket, guard))
}

/// The error that `open` would give now, as far as what stands at the path says it.
pub(super) fn foresee(endpoint: &Endpoint) -> io::Result<()> {
    match endpoint {
        Endpoint::Unix(SocketPath::File(file)) => judge(file, Type::STREAM).map(drop),
        Endpoint::Unixgram(SocketPath::File(file)) => judge(file, Type::DGRAM).map(drop),
        // Such a name is free again with its socket.
        endpoint => open(endpoint).map(drop),
    }
}

fn bind_file(socket: &socket2::Socket, file: &Path, kind: Type) -> io::Result<Guard> {
    let folder = folder(file);
    if judge(file, kind)? {
        fs::remove_file(file)?;
    }
    // The mode of the socket before bind(2) is the mode of its file, so that there is no moment with a wider one.
    fchmod(socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(file)?)?;
    let made = fs::symlink_metadata(file)?;
    Ok(Guard {
        file: fs::canonicalize(folder)?.join(file.file_name().unwrap_or_default()),
        identity: identity(&made),
    })
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a stale socket of ours stands there and must go first; an error where a socket cannot be made.
fn judge(file: &Path, kind: Type) -> io::Result<bool> {
    let length = file.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(refused(format!(
            "the path has {length} bytes, and the system takes {LONGEST_SOCKET_PATH}"
        )));
    }
    let folder = folder(file);
    if !folder.is_dir() {
        return Err(refused(format!("there is no folder {}", folder.display())));
    }
    let found = match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if found.file_type().is_symlink() {
        return Err(refused("a link stands there".into()));
    }
    if !found.file_type().is_socket() {
        return Err(refused("a file stands there that is no socket".into()));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refused(format!("a socket of another user (uid {}) stands there", found.uid())));
    }
    let probe = socket2::Socket::new(Domain::UNIX, kind.nonblocking().cloexec(), None)?;
    match probe.connect(&SockAddr::unix(file)?) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        // It was removed in this moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        _ => return Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
    }
    // Between the question and the answer another may have put its own socket there.
    if identity(&fs::symlink_metadata(file)?) != identity(&found) {
        return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
    }
    Ok(true)
}

fn refused(sentence: String) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, sentence)
}

/// What tells one file from another.
fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes a socket's file when the listener closes.
#[derive(Debug)]
pub(super) struct Guard {
    file: PathBuf,
    identity: (u64, u64),
}

impl Drop for Guard {
    fn drop(&mut self) {
        let still_ours =
            fs::symlink_metadata(&self.file).is_ok_and(|found| identity(&found) == self.identity);
        if still_ours {
            // Nobody is left to tell; the next start finds it stale.
            let _ = fs::remove_file(&self.file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Endpoint {
        Endpoint::Unix(SocketPath::File(path.to_owned()))
    }

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let open = open(&at(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(open);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_took_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let open = open(&at(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(open);
        assert!(path.exists());
    }
}
