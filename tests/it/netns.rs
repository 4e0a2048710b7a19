//! Network namespaces for tests: each lives on a thread of its own and is gone with it, also after a panic.
//!
//! Nothing stands under /run/netns: the kernel drops a namespace with its last thread, process and descriptor. Where
//! none can be made the test fails; it is never skipped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use nix::sched::{CloneFlags, unshare};

use crate::program::end_group;

type Task = Box<dyn FnOnce() + Send>;

/// A network namespace with `lo` up, and the thread that keeps it.
pub(crate) struct Namespace {
    tasks: Option<mpsc::SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
    id: i32,
}

/// A process of a test; it is killed and waited for when this is dropped.
pub(crate) struct Running(Child);

static LINKS: AtomicU32 = AtomicU32::new(0);

impl Namespace {
    /// A fresh one; panics where this process may not make any.
    pub(crate) fn new() -> Self {
        let (tasks, received) = mpsc::sync_channel::<Task>(1);
        let (ready, started) = mpsc::sync_channel(1);
        let keep = move || {
            let made = unshare(CloneFlags::CLONE_NEWNET);
            ready.send(made.map(|()| nix::unistd::gettid().as_raw())).unwrap();
            for task in received {
                task();
            }
        };
        let thread = std::thread::Builder::new().name("netns".into()).spawn(keep).unwrap();
        let id = started.recv().unwrap().expect("this test needs the right to make network namespaces");
        let namespace = Self { tasks: Some(tasks), thread: Some(thread), id };
        namespace.sh("ip link set lo up");
        namespace
    }

    /// Runs a closure inside; its panic goes on here. Threads that it starts are inside as well.
    pub(crate) fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        let task = move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(body)));
        };
        self.tasks.as_ref().unwrap().send(Box::new(task)).unwrap();
        result.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs async code inside, on a runtime of its own.
    pub(crate) fn block_on<T: Send + 'static, F: Future<Output = T>>(
        &self,
        body: impl FnOnce() -> F + Send + 'static,
    ) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(body())
        })
    }

    /// Runs a shell script inside, which must succeed; gives what it printed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let (status, out, err) = self.try_sh(script);
        assert!(status == Some(0), "{script}: {status:?}\n{out}{err}");
        out
    }

    /// Runs a shell script inside; gives its exit code, and what it printed on stdout and stderr.
    pub(crate) fn try_sh(&self, script: &str) -> (Option<i32>, String, String) {
        let script = script.to_owned();
        let output = self.run(move || {
            // A thread's /proc/sys is that of its own namespace.
            Command::new("sh").args(["-ec", &script]).stdin(Stdio::null()).output().unwrap()
        });
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Starts a command inside.
    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        command.process_group(0);
        Running(self.run(move || command.spawn().unwrap()))
    }

    /// Joins two namespaces by a veth pair; gives the names of its ends. Addresses are as `ip addr add` takes them.
    pub(crate) fn link(&self, addresses: &[&str], other: &Self, others: &[&str]) -> (String, String) {
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let (here, there) = (format!("va{number}"), format!("vb{number}"));
        self.join((&here, addresses), other, (&there, others));
        (here, there)
    }

    /// The same with names of the caller's.
    pub(crate) fn join(&self, here: (&str, &[&str]), other: &Self, there: (&str, &[&str])) {
        self.sh(&format!("ip link add name {} type veth peer name {} netns {}", here.0, there.0, other.id));
        self.up(here.0, here.1);
        other.up(there.0, there.1);
        self.wait_until_up(here.0);
        other.wait_until_up(there.0);
    }

    /// Until then the kernel drops what is sent, without a word.
    fn wait_until_up(&self, device: &str) {
        self.sh(&format!(
            "for i in $(seq 500); do ip -o link show dev {device} | grep -q ' state UP ' && exit 0; sleep 0.02; done; \
             ip link show dev {device} >&2; exit 1"
        ));
    }

    fn up(&self, device: &str, addresses: &[&str]) {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.sh(&format!("ip addr add {address} dev {device}{nodad}"));
        }
        self.sh(&format!("ip link set dev {device} up"));
    }

    /// An open descriptor of the namespace, for `setns`.
    pub(crate) fn file(&self) -> File {
        File::open(format!("/proc/self/task/{}/ns/net", self.id)).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Running {
    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for a line on its stdout, which must be piped, and gives it without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end_group(&mut self.0);
    }
}

#[test]
fn a_namespace_is_a_world_of_its_own_and_gone_afterwards() {
    let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let namespace = Namespace::new();
    let id = namespace.id;
    let inside = namespace.run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_ne!(own, inside);
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").unwrap(), own);
    let panicked = catch_unwind(AssertUnwindSafe(|| namespace.run(|| panic!("on purpose"))));
    assert!(panicked.is_err());
    assert_eq!(namespace.sh("echo still here"), "still here\n");
    assert!(namespace.file().metadata().is_ok());
    drop(namespace);
    assert!(!std::path::Path::new(&format!("/proc/self/task/{id}")).exists());
}

#[test]
fn a_link_joins_two_namespaces() {
    let (a, b) = (Namespace::new(), Namespace::new());
    a.link(&["10.9.0.1/24"], &b, &["10.9.0.2/24"]);
    a.sh("ping -c 1 -W 2 10.9.0.2");
    let mut command = Command::new("sh");
    command.args(["-c", "echo started; exec sleep 60"]).stdout(Stdio::piped());
    assert_eq!(b.spawn(command).line(), "started");
}
