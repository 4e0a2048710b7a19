//! `netjobs plan` beside a running daemon: what a reload would change is told, and nothing is done.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::program::{Daemon, check, netjobs, output};

const OLD: &str = "jobs:\n  - name: same\n    echo: { listen: 127.0.0.1:0 }\n  - name: other\n    every: 1h\n    ipc: {}\n  \
                   - name: gone\n    every: 1h\n    ipc: {}\n";

struct Planned {
    root: tempfile::TempDir,
    daemon: Daemon,
    url: String,
}

impl Planned {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("jobs.yaml"), OLD).unwrap();
        let daemon = Daemon::start(&mut netjobs(&["run", root.path().to_str().unwrap(), "--no-watch"]));
        let url = format!("http://{}", daemon.address);
        Self { root, daemon, url }
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("jobs.yaml")
    }

    /// What `plan --json` says of other files.
    #[track_caller]
    fn ask(&self, jobs: &str, code: i32) -> Value {
        fs::write(self.file(), jobs).unwrap();
        serde_json::from_str(&check(&["plan", "--json", "--url", &self.url], code)).unwrap()
    }
}

#[test]
fn a_plan_says_what_a_reload_would_change_and_changes_nothing() {
    let mut planned = Planned::start();
    let same = planned.ask(OLD, 0);
    assert_eq!(
        same,
        json!({ "added": [], "removed": [], "changed": [], "kept": 3, "errors": [], "notes": [] })
    );
    let new = "jobs:\n  - name: same\n    echo: { listen: 127.0.0.1:0 }\n  - name: other\n    every: 2h\n    ipc: {}\n  \
               - name: new\n    echo: { listen: 127.0.0.1:0 }\n";
    let changes = planned.ask(new, 0);
    assert_eq!(
        changes,
        json!({ "added": ["new"], "removed": ["gone"], "changed": ["other"], "kept": 1, "errors": [], "notes": [] })
    );
    let text = check(&["plan", "--url", &planned.url], 0);
    assert_eq!(text, "added    new\nremoved  gone\nchanged  other\nkept     1 job\n");
    let jobs = planned.daemon.get("/api/v1/jobs");
    assert!(jobs.contains("\"gone\"") && !jobs.contains("\"new\""), "{jobs}");
    fs::write(planned.file(), OLD).unwrap();
    planned.daemon.process.line_with("\"job_ready\"");
    assert_eq!(planned.daemon.process.end(Signal::SIGTERM), Some(0));
}

/// Fault case 49: also what only the reload itself would meet is foreseen.
#[test]
fn a_plan_says_why_a_reload_would_be_refused() {
    let planned = Planned::start();
    let wrong = planned.ask("jobs:\n  - name: a\n    exchange: { to: 'a:1', send: hunter2, sned: x }\n", 2);
    let error = &wrong["errors"][0];
    assert_eq!((&error["line"], &wrong["kept"]), (&3.into(), &3.into()), "{wrong}");
    assert!(error["file"].as_str().unwrap().ends_with("jobs.yaml"));
    assert!(!wrong.to_string().contains("hunter2"), "no line of a file is shown: {wrong}");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let jobs = format!("{OLD}  - name: web\n    forward: {{ listen: '{taken}', to: 'a:1' }}\n");
    let refused = planned.ask(&jobs, 2);
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("job `web`") && message.contains(&taken.to_string()), "{message}");
    assert_eq!(refused["added"], json!(["web"]));
    let text = check(&["plan", "--url", &planned.url], 2);
    assert!(text.ends_with("kept     3 jobs; the reload would be refused\n"), "{text}");
    drop(holder);
    assert_eq!(planned.ask(&jobs, 0)["errors"], json!([]));
    fs::remove_file(planned.file()).unwrap();
    let none = check(&["plan", "--url", &planned.url], 2);
    assert!(none.contains("no `*.yaml`"), "{none}");
    assert!(planned.daemon.request("POST", "/api/v1/plan").starts_with("HTTP/1.1 405"));
    assert_eq!(planned.daemon.process.end(Signal::SIGTERM), Some(0));
}

/// The files hold something else by then; nobody is told of a reload that will not come.
#[test]
fn a_daemon_that_drains_says_that_it_stops() {
    let mut planned = Planned::start();
    let ready = planned.daemon.record("job_ready");
    let mut client = TcpStream::connect(&ready["addresses"][0].as_str().unwrap()["tcp://".len()..]).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    planned.daemon.signal(Signal::SIGTERM);
    while planned.daemon.get("/-/ready").starts_with("HTTP/1.1 200") {}
    fs::write(planned.file(), "jobs: [").unwrap();
    let output = output(&["plan", "--url", &planned.url]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it answers 503: the runner is stopping"), "{said}");
    drop(client);
    assert_eq!(planned.daemon.process.wait(), Some(0));
}

#[test]
fn a_daemon_that_is_not_there_or_another_program_is_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let said = |url: &str| {
        let output = output(&["plan", "--url", url]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let other = thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let _ = client.read(&mut [0; 1024]);
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    });
    let stranger = said(&format!("http://{at}"));
    assert!(stranger.contains("somebody else answers there"), "{stranger}");
    other.join().unwrap();
    let nobody = said(&format!("http://{at}"));
    assert!(nobody.contains("refused") && nobody.contains("`--url` says where"), "{nobody}");
    assert!(said("ftp://x").contains("write one such as http://127.0.0.1:9750"));
    check(&["plan", "jobs", "--url", "http://127.0.0.1:1"], 2);
}

#[test]
fn whoever_asks_for_plans_in_crowds_gets_answers_and_keeps_nobody_busy() {
    let planned = Planned::start();
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let address = planned.daemon.address.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream
                    .write_all(b"GET /api/v1/plan HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    // These go away before their answer.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&planned.daemon.address).unwrap();
        stream.write_all(b"GET /api/v1/plan HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for answer in asked {
        let answer = answer.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    assert!(planned.daemon.get("/api/v1/plan").contains("\"kept\":3"));
    assert_eq!(planned.daemon.process.end(Signal::SIGTERM), Some(0));
}
