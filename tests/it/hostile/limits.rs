//! Limits from the start and while running: open files, threads, memory. Control groups are those of version 1.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
};

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{ends, jobs, serves, under};
use crate::program::{Daemon, netjobs};

/// A control group of the test's own; it goes when this is dropped, after its processes.
struct Group(PathBuf);

impl Group {
    fn new(controller: &str, name: &str) -> Self {
        let path =
            PathBuf::from(format!("/sys/fs/cgroup/{controller}/netjobs-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn set(&self, file: &str, value: u64) {
        fs::write(self.0.join(file), value.to_string()).unwrap();
    }

    /// A command that enters the group before it becomes the program.
    fn enter(&self, arguments: &[&str]) -> Command {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        under(&["sh", "-c", &script, "sh"], arguments)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel empties it a moment after the last process was reaped.
        while fs::remove_dir(&self.0).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {}
    }
}

/// Fault case 21: whatever the number of files that may be open from the start, both commands work or say why not.
#[test]
fn any_limit_of_files_from_the_start_ends_in_a_sentence_or_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = jobs(folder.path());
    let mut served = 0;
    for files in 3..=45 {
        let limit = format!("--nofile={files}:{files}");
        let outer = ["prlimit", &limit];
        ends(
            under(&outer, &["once", &file, "--select", "talk", "--select", "nics"]),
            &format!("once, {files} files"),
        );
        let (code, _) = serves(
            under(&outer, &["run", &file, "--web.listen-address", "127.0.0.1:0"]),
            &format!("run, {files} files"),
        );
        served += usize::from(code == 0);
    }
    assert!(served > 5, "with up to 45 files only {served} daemons came up");
}

/// Fault case 22: the limit of a running daemon falls to ten, below all that it has open: its stream and its metrics go on, and
/// who came meanwhile is served within a tenth of a second after the limit has risen again.
#[test]
fn a_daemon_whose_limit_of_files_falls_to_ten_serves_its_streams_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    fs::write(&file, "jobs:\n  - name: a\n    echo: { listen: 127.0.0.1:0 }\n").unwrap();
    let mut daemon = Daemon::start(&mut netjobs(&["run", file.to_str().unwrap()]));
    let at = daemon.process.ready("tcp://").trim_end_matches(['"', ']']).to_owned();
    let at = at.split('"').next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&at).unwrap();
    let talk = |stream: &mut TcpStream| {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    };
    talk(&mut stream);
    let limit = |files: &str| {
        let pid = format!("--pid={}", daemon.process.child.id());
        let status = Command::new("prlimit").args([&pid, &format!("--nofile={files}")]).status().unwrap();
        assert!(status.success());
    };
    limit("10:10000");
    let mut best = f64::MAX;
    for round in 0..5 {
        let mut late = TcpStream::connect(&at).unwrap();
        late.write_all(b"y").unwrap();
        for _ in 0..5 {
            let answer = daemon.get("/metrics");
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("netjobs_build_info"),
                "{round}: {answer}"
            );
            talk(&mut stream);
        }
        limit("10000:10000");
        let risen = Instant::now();
        late.read_exact(&mut [0]).unwrap();
        best = best.min(risen.elapsed().as_secs_f64());
        drop(late);
        limit("10:10000");
    }
    assert!(best < 0.1, "{best} s until a client was served");
    drop(stream);
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// Fault case 46: whatever the number of threads that a container may have, both commands work or say why not, and a limit
/// that is met later fails the job that meets it.
#[test]
fn any_limit_of_threads_ends_in_a_sentence_or_works() {
    let folder = tempfile::tempdir().unwrap();
    let (file, group) = (jobs(folder.path()), Group::new("pids", "threads"));
    let state = folder.path().join("state");
    let mut refused = 0;
    for threads in 1..=24 {
        group.set("pids.max", threads);
        let once = ["once", &file, "--state", state.to_str().unwrap()];
        let (_, said) = ends(group.enter(&once), &format!("once, {threads} threads"));
        let is_refused = said.contains("start a thread");
        assert!(!is_refused || said.contains("hint: raise the limit of processes"), "{said}");
        refused += usize::from(is_refused);
        let run = ["run", &file, "--web.listen-address", "127.0.0.1:0", "--state", state.to_str().unwrap()];
        serves(group.enter(&run), &format!("run, {threads} threads"));
    }
    assert!((1..=20).contains(&refused), "{refused} of 24 were refused a thread at the start");
}

/// Fault case 46: whichever thread of the start is the one that is refused, a daemon runs without it or says why not.
#[test]
fn a_daemon_survives_each_thread_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (jobs(folder.path()), folder.path().join("state"));
    let run = ["run", &file, "--web.listen-address", "127.0.0.1:0", "--state", state.to_str().unwrap()];
    let mut served = 0;
    for number in 10..=20 {
        let fault = format!("inject=clone3:error=EAGAIN:when={number}");
        let outer = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e", &fault];
        served += usize::from(serves(under(&outer, &run), &fault).0 == 0);
    }
    assert!(served > 2, "{served} daemons ran");
}

/// Fault case 46, where the limit is that of a user: `ulimit -u`.
#[test]
fn any_limit_of_a_users_threads_ends_in_a_sentence_or_works() {
    let (folder, program) = crate::program::reachable();
    let file = jobs(folder.path());
    let user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    for threads in 1..=24 {
        let limit = format!("--nproc={threads}:{threads}");
        let mut command = Command::new("timeout");
        command.args(["-k", "10", "30"]).args(user).args(["prlimit", &limit, &program, "once", &file]);
        command.env("RUST_BACKTRACE", "0");
        ends(command, &format!("{threads} threads of a user"));
    }
}

/// Fault case 45: the default jobs, and a sweep of a thousand addresses beside them, live in 32 MiB.
#[test]
fn the_default_jobs_and_a_sweep_live_in_32_mib() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wide.yaml");
    fs::write(&file, "jobs:\n  - name: wide\n    sweep: { targets: [127.3.0.0/22], timeout: 300ms }\n")
        .unwrap();
    let group = Group::new("memory", "sweep");
    group.set("memory.limit_in_bytes", 32 << 20);
    let jobs = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
    let namespace = crate::netns::Namespace::new();
    let command = group.enter(&["once", file.to_str().unwrap(), jobs]);
    let (code, said) = namespace.run(move || ends(command, "32 MiB"));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("14 jobs: 14 passed"), "{said}");
}
