//! Out of descriptors and memory: the built program with small limits and with failing system calls.

use std::{fs, io::ErrorKind, net::SocketAddr, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

use tokio_util::task::TaskTracker;

use crate::program::{Daemon, Running, netjobs};

use super::{PATIENCE, server};

/// Descriptors that connections leave free.
const SPARE: usize = 16;

/// The same program under another one, such as `prlimit` or `strace`.
fn under(outer: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(inner.get_program()).args(inner.get_args()).env("NO_COLOR", "1");
    command
}

/// An echo server of the test's own, which says of each connection that it has come.
async fn upstream() -> (SocketAddr, mpsc::Receiver<()>, JoinHandle<()>) {
    let (listener, address) = server().await;
    let (said, came) = mpsc::channel(1000);
    let accept = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = said.try_send(());
            TaskTracker::new().spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    };
    (address, came, TaskTracker::new().spawn(accept))
}

/// A daemon that may open as many files as it takes to serve twenty-five connections.
fn limited(folder: &Path) -> Daemon {
    let run = netjobs(&["run", folder.to_str().unwrap()]);
    let mut plain = Daemon::start(&mut netjobs(&["run", folder.to_str().unwrap()]));
    both_ready(&mut plain);
    let own = fs::read_dir(format!("/proc/{}/fd", plain.process.child.id())).unwrap().count();
    drop(plain);
    let limit = own + 2 * 25 + SPARE;
    Daemon::start(&mut under(&["prlimit", &format!("--nofile={limit}:{limit}")], &run))
}

/// Where the jobs `live` and `late` listen.
fn both_ready(daemon: &mut Daemon) -> (SocketAddr, SocketAddr) {
    // They become ready in any order.
    let mut ready = || daemon.process.line_with("\"job_ready\"");
    let ready = [ready(), ready()];
    let at = |name: &str| -> SocketAddr {
        let line = ready.iter().find(|line| line.contains(&format!("\"job_name\":\"{name}\""))).unwrap();
        let rest = line.split("tcp://").nth(1).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    (at("live"), at("late"))
}

async fn talk(stream: &mut TcpStream) {
    stream.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');
}

/// The nanoseconds that all threads of a process have run.
fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |task: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(tasks.flatten().map(of).sum())
}

/// Two forwards that share the descriptors of twenty-five connections, of which one has twenty: the daemon, where the other
/// listens, and those twenty.
async fn nearly_out(
    to: SocketAddr,
    came: &mut mpsc::Receiver<()>,
    options: &str,
) -> (Daemon, SocketAddr, Vec<TcpStream>) {
    let folder = tempfile::tempdir().unwrap();
    let job = |name: &str| {
        format!("  - name: {name}\n    forward: {{ listen: '127.0.0.1:0', to: '{to}'{options} }}\n")
    };
    fs::write(folder.path().join("jobs.yaml"), format!("jobs:\n{}{}", job("live"), job("late"))).unwrap();
    let mut daemon = limited(folder.path());
    let (live, late) = both_ready(&mut daemon);
    let mut streams = vec![];
    for _ in 0..20 {
        let mut stream = TcpStream::connect(live).await.unwrap();
        talk(&mut stream).await;
        streams.push(stream);
        came.recv().await;
    }
    (daemon, late, streams)
}

/// Case 11 of the forward's list: a hundred clients wait for the descriptors of one.
#[tokio::test]
async fn out_of_descriptors_the_others_go_on_and_the_next_free_one_is_used_at_once() {
    let (to, mut came, echo) = upstream().await;
    let (daemon, late, mut streams) = nearly_out(to, &mut came, "").await;
    let mut waiting = vec![];
    for _ in 0..100 {
        waiting.push(TcpStream::connect(late).await.unwrap());
    }
    // Until nobody more is served.
    while timeout(Duration::from_millis(300), came.recv()).await.is_ok() {}
    let id = daemon.process.child.id();
    let before = cpu(id);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = cpu(id).saturating_sub(before).as_secs_f64();
    // Who asked again and again would use all of one, and one that is busy with other tests is slower.
    assert!(share < 0.1, "{share} of a core is used while clients wait");
    assert!(daemon.get("/metrics").contains("netjobs_forward_connections_active"));
    for stream in &mut streams {
        talk(stream).await;
    }
    // A machine that is busy with other tests wakes late now and then.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        drop(streams.pop());
        let freed = Instant::now();
        timeout(PATIENCE, came.recv()).await.unwrap();
        best = best.min(freed.elapsed());
    }
    assert!(best < Duration::from_millis(100), "{best:?} until the next was served");
    // All leave at once, as fast as they are served: each of the others has its turn, and none is broken off.
    drop(streams);
    let tasks = TaskTracker::new();
    let turns: Vec<_> =
        waiting.into_iter().map(|mut client| tasks.spawn(async move { talk(&mut client).await })).collect();
    for turn in turns {
        turn.await.unwrap();
    }
    assert!(!daemon.get("/metrics").contains("reason=\"resources\""));
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    echo.abort();
}

/// Case 11 with `on_full: reset`: who cannot be served is broken off at once, and the log says why.
#[tokio::test]
async fn out_of_descriptors_clients_are_broken_off_where_the_job_says_so() {
    let (to, mut came, echo) = upstream().await;
    let options = ", on_full: reset, max_connections: 25";
    let (daemon, late, mut streams) = nearly_out(to, &mut came, options).await;
    let mut broken = 0;
    for _ in 0..20 {
        let Ok(mut stream) = TcpStream::connect(late).await else {
            broken += 1;
            continue;
        };
        let _ = stream.write_all(b"x").await;
        match timeout(PATIENCE, stream.read_u8()).await.unwrap() {
            Ok(_) => streams.push(stream),
            Err(_) => broken += 1,
        }
    }
    assert!(broken >= 10, "only {broken} of 20 were broken off");
    for stream in &mut streams {
        talk(stream).await;
    }
    let metrics = daemon.get("/metrics");
    let told = format!("reason=\"resources\",upstream=\"\"}} {broken}");
    assert!(metrics.contains(&told), "{metrics}");
    echo.abort();
}

/// A forward in which a system call fails so many times on each thread, and where it listens.
fn failing(call: &str, error: &str, times: u32, to: SocketAddr, options: &[&str]) -> (Running, SocketAddr) {
    let inject = format!("inject={call}:error={error}:when=1..{times}");
    let mut inner = netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", &to.to_string()]);
    inner.args(options);
    let trace = format!("trace={call}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut forward = Running::start(&mut under(&strace, &inner));
    let at = forward.ready("tcp://").parse().unwrap();
    (forward, at)
}

/// Case 12 of the forward's list and fault case 23: each error of accept(2), three times in a row, delays a client and
/// loses none.
#[tokio::test]
async fn an_error_of_accept_ends_no_listener() {
    let (to, _came, echo) = upstream().await;
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN"] {
        let (_forward, at) = failing("accept4", error, 3, to, &[]);
        let mut stream = TcpStream::connect(at).await.unwrap();
        talk(&mut stream).await;
    }
    echo.abort();
}

/// Case 12, on the way to the upstream: who was accepted waits too, unless the job says that it be broken off.
#[tokio::test]
async fn who_was_accepted_waits_for_what_the_way_to_the_upstream_takes() {
    let (to, _came, echo) = upstream().await;
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let (_forward, at) = failing("connect", error, 3, to, &[]);
        let mut stream = TcpStream::connect(at).await.unwrap();
        talk(&mut stream).await;
    }
    let (_forward, at) = failing("connect", "ENOMEM", 3, to, &["--on-full", "reset"]);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let end = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    echo.abort();
}

/// Fault case 22: the limit falls below what is open, and rises again.
#[tokio::test]
async fn a_limit_that_falls_while_running_harms_no_open_connection() {
    let (to, mut came, echo) = upstream().await;
    let inner = netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", &to.to_string()]);
    let mut forward = Running::start(&mut under(&["prlimit", "--nofile=200:200"], &inner));
    let at: SocketAddr = forward.ready("tcp://").parse().unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    talk(&mut stream).await;
    came.recv().await;
    limit(forward.child.id(), 10);
    let mut late = TcpStream::connect(at).await.unwrap();
    late.write_all(b"x").await.unwrap();
    assert!(timeout(Duration::from_millis(300), came.recv()).await.is_err());
    talk(&mut stream).await;
    limit(forward.child.id(), 200);
    assert_eq!(timeout(PATIENCE, late.read_u8()).await.unwrap().unwrap(), b'x');
    echo.abort();
}

/// Fault case 22, with hardly a descriptor free: who comes now waits, and is served when the limit rises again.
#[tokio::test]
async fn clients_wait_while_the_limit_leaves_hardly_a_descriptor() {
    let (to, mut came, echo) = upstream().await;
    let inner = netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", &to.to_string()]);
    let mut forward = Running::start(&mut under(&["prlimit", "--nofile=1000:1000"], &inner));
    let at: SocketAddr = forward.ready("tcp://").parse().unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    talk(&mut stream).await;
    came.recv().await;
    let pid = forward.child.id();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(pid, open + 4);
    let mut clients = vec![];
    for _ in 0..20 {
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(b"x").await.unwrap();
        clients.push(client);
    }
    assert!(timeout(Duration::from_millis(300), came.recv()).await.is_err(), "one was let in");
    talk(&mut stream).await;
    limit(pid, 1000);
    for client in &mut clients {
        assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x');
    }
    echo.abort();
}

/// The time for an upstream holds for all attempts together: one that begins late has no more than what is left.
#[tokio::test]
async fn a_wait_for_memory_and_an_upstream_that_is_silent_take_no_longer_than_either() {
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let _listener = listener.listen(0).unwrap();
    // It fills the backlog, so that nobody more is answered.
    let _first = TcpStream::connect(to).await.unwrap();
    // Three seconds of four, and more.
    let (_forward, at) = failing("connect", "ENOMEM", 60, to, &["--connect-timeout", "4s"]);
    let begun = Instant::now();
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert!(timeout(PATIENCE, stream.read_u8()).await.unwrap().is_err());
    assert!(begun.elapsed() < Duration::from_millis(6500), "{:?}", begun.elapsed());
}

/// Where /proc is not there, as in a bare chroot(2), clients are served all the same.
#[tokio::test]
async fn clients_are_served_where_open_files_cannot_be_counted() {
    let (to, _came, echo) = upstream().await;
    let inner = netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", &to.to_string()]);
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/proc/self/fd", "-e", "trace=openat"];
    let strace = [&strace[..], &["-e", "inject=openat:error=ENOENT"]].concat();
    let mut forward = Running::start(&mut under(&strace, &inner));
    let at: SocketAddr = forward.ready("tcp://").parse().unwrap();
    talk(&mut TcpStream::connect(at).await.unwrap()).await;
    echo.abort();
}

/// Sets the limit of open files of a process that runs.
fn limit(process: u32, files: usize) {
    let words = [format!("--pid={process}"), format!("--nofile={files}:")];
    assert!(Command::new("prlimit").args(words).status().unwrap().success());
}

/// Fault case 21: too few from the start is said in a sentence, and not by a panic or a hang.
#[test]
fn too_few_descriptors_at_the_start_are_told() {
    for files in 3..24 {
        let inner = netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"]);
        let limit = format!("--nofile={files}:{files}");
        let output = under(&["timeout", "-s", "TERM", "1", "prlimit", &limit], &inner).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!told.contains("panicked"), "with {files}: {told}");
        // It served until it was ended, or it ended with a word.
        assert!(output.status.code() == Some(124) || !told.is_empty(), "with {files}: {output:?}");
    }
}
