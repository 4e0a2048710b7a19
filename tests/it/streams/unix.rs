//! Unix sockets: between them and TCP, and who may stand where one listens.

use std::{fs, os::unix::fs::symlink, path::Path};

use netjobs::{
    net::{
        Error,
        listen::{Listen, Pool},
        resolve::Resolver,
    },
    outcome::{Close, Reason},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
};

use super::{Service, noise, server};

async fn listen(at: &str) -> Result<Vec<std::sync::Arc<netjobs::net::listen::Listener>>, Error> {
    let listen = Listen { path: "listen".into(), bind: at.parse().unwrap() };
    Pool::default().open(&listen, &Resolver::default()).await
}

fn unix(path: &Path) -> String {
    format!("unix://{}", path.display())
}

#[track_caller]
fn assert_says(result: Result<Vec<std::sync::Arc<netjobs::net::listen::Listener>>, Error>, words: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

/// Fault case 50: what died without clearing up is replaced.
#[tokio::test]
async fn a_stale_socket_of_ours_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = listen(&unix(&path)).await.unwrap();
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(listener);
    assert!(!path.exists());
    drop(tokio::net::UnixDatagram::bind(&path).unwrap());
    assert!(listen(&format!("unixgram://{}", path.display())).await.is_ok());
}

/// Fault case 51: a file, a link, a live socket, a foreign socket, a path that is too long, a folder that is not there.
#[tokio::test]
async fn what_is_not_our_stale_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    assert_says(listen(&unix(&file)).await, "a file stands there that is no socket");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");

    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    drop(UnixListener::bind(&target).unwrap());
    symlink(&target, &link).unwrap();
    assert_says(listen(&unix(&link)).await, "a link stands there");
    assert!(link.is_symlink() && target.exists());

    let live = folder.path().join("live");
    let _live = UnixListener::bind(&live).unwrap();
    assert_eq!(listen(&unix(&live)).await.unwrap_err().reason(), Reason::AddressInUse);
    assert_eq!(
        listen(&format!("unixgram://{}", live.display())).await.unwrap_err().reason(),
        Reason::AddressInUse
    );
    assert!(UnixStream::connect(&live).await.is_ok());

    let missing = folder.path().join("no/such/s");
    assert_says(listen(&unix(&missing)).await, "there is no folder");

    let long = folder.path().join("x".repeat(110));
    assert!(unix(&long).parse::<netjobs::value::Bind>().is_err());
    let relative =
        Listen { path: "listen".into(), bind: format!("unix:{}", "x".repeat(100)).parse().unwrap() };
    let opened = Pool::default().open(&relative.based(folder.path()), &Resolver::default()).await;
    assert_says(opened, "and the system takes 107");
}

/// Fault case 51, where this test may give a file away.
#[tokio::test]
async fn a_stale_socket_of_another_user_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
        // Without the right to give files away there is nobody else's socket to be had; the rule is the same.
        assert_ne!(nix::unistd::geteuid().as_raw(), 0);
        return;
    }
    assert_says(listen(&unix(&path)).await, "a socket of another user (uid 65534)");
    assert!(path.exists());
}

/// Case 42: a Unix listener to a TCP upstream.
#[tokio::test]
async fn a_unix_client_reaches_a_tcp_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: '{}', to: '{to}' }}", unix(&path))).await;
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    exchange(&mut client, &mut far).await;
    assert_eq!(service.end().await.1, [Close::Finished]);
    assert!(!path.exists());
}

/// Case 42: a TCP listener to a Unix upstream; and case 41: an abstract name.
#[tokio::test]
async fn a_tcp_client_reaches_a_unix_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let name = format!("unix:@netjobs-test-{}", std::process::id());
    let inner = Service::forward(&format!("{{ listen: '{name}', to: '{}' }}", unix(&path))).await;
    let outer = Service::forward(&format!("{{ listen: 0, to: '{name}' }}")).await;
    let mut client: TcpStream = outer.connect().await;
    let mut far = listener.accept().await.unwrap().0;
    exchange(&mut client, &mut far).await;
    assert_eq!(outer.end().await.1, [Close::Finished]);
    assert_eq!(inner.end().await.1, [Close::Finished]);
}

/// Bytes both ways, each side finishing when it has sent all.
async fn exchange<A, B>(client: &mut A, far: &mut B)
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (up, down) = (noise(1, 500_000), noise(2, 300_000));
    let (mut got_up, mut got_down) = (vec![], vec![]);
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (tokio::io::split(client), tokio::io::split(far));
    let (a, b, c, d) = tokio::join!(
        near_read.read_to_end(&mut got_down),
        far_read.read_to_end(&mut got_up),
        async {
            near_write.write_all(&up).await?;
            near_write.shutdown().await
        },
        async {
            far_write.write_all(&down).await?;
            far_write.shutdown().await
        },
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert!(got_up == up && got_down == down);
}

/// Case 43: a link to the folder is another spelling of the listener's own file.
#[tokio::test]
async fn a_forward_to_its_own_socket_by_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let yaml = format!("{{ listen: '{}', to: '{}' }}", unix(&real.join("s")), unix(&link.join("s")));
    let service = Service::forward(&yaml).await;
    let mut client = UnixStream::connect(real.join("s")).await.unwrap();
    let mut rest = vec![];
    let _ = tokio::time::timeout(super::PATIENCE, client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(service.end().await.1, [Close::Loop]);
}
