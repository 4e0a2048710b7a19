//! The built program for long: memory, threads and descriptors stay what they are. And where it has a user namespace only.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::responder::Responder;
use crate::{netns::Namespace, program::netjobs};

/// Kilobytes in memory, threads and open descriptors of a process.
fn figures(id: u32) -> [usize; 3] {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let figure = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    [figure("VmRSS:"), figure("Threads:"), fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()]
}

/// Case 58 of the sweep's list: pings and sweeps of both families, some answered and some not, cost nothing that stays.
/// `NETJOBS_SOAK=5000000` probes by hand.
#[test]
fn thousands_of_probes_leave_memory_and_descriptors_as_they_were() {
    let most: usize = std::env::var("NETJOBS_SOAK").map_or(8000, |text| text.parse().unwrap());
    let ours = Namespace::new();
    let (sender, probes) = mpsc::sync_channel(10_000);
    let _responder = Responder::start(&ours, move |request| {
        let _ = sender.try_send(());
        match request.number % 5 {
            0 => vec![],
            1 => vec![request.reply(), request.reply().after(30)],
            2 => vec![request.reply().with(|message| message[20] ^= 1)],
            _ => vec![request.reply()],
        }
    });
    let mut yaml = "jobs:\n".to_owned();
    for job in 0..20 {
        let host = if job % 2 == 0 { format!("10.99.0.{job}") } else { format!("fd09::{job}") };
        let _ = writeln!(
            yaml,
            "  - {{ name: p{job}, every: 50ms, ping: {{ host: '{host}', count: 2, interval: 5ms, timeout: 20ms }} }}"
        );
    }
    for (job, net) in ["10.99.1.0/24", "fd09::100/120"].into_iter().enumerate() {
        let _ = writeln!(
            yaml,
            "  - {{ name: s{job}, every: 300ms, sweep: {{ targets: ['{net}'], rate: max, timeout: 20ms }} }}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("soak.yaml");
    fs::write(&file, yaml).unwrap();
    let mut command = netjobs(&["run", file.to_str().unwrap()]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let running = ours.spawn(command);
    let wait = |count: usize| {
        for _ in 0..count {
            probes.recv_timeout(Duration::from_secs(10)).expect("the probes have ceased");
        }
        figures(running.id())
    };
    let before = wait(most / 2);
    let after = wait(most / 2);
    println!("{before:?} kB, threads, descriptors; {after:?} after {most} probes");
    assert!(after[0] < before[0] + before[0] / 10 + 1024, "memory grows: {before:?}, {after:?}");
    // A thread for what blocks comes and goes.
    assert!(after[1] <= before[1] + 2 && after[2] <= before[2] + 4, "{before:?}, {after:?}");
}

/// Case 49 of the sweep's list: who is root in a user namespace of its own and nowhere else pings and sweeps there.
#[test]
fn a_user_namespace_is_enough() {
    let program = env!("CARGO_BIN_EXE_netjobs");
    let script = format!(
        "ip link set lo up; {program} ping 127.0.0.1 --count 2 --interval 10ms; \
         {program} ping ::1 --count 2 --interval 10ms; {program} sweep 127.0.0.1-9 --rate max --method icmp"
    );
    let output = Command::new("unshare").args(["-Urn", "sh", "-ec", &script]).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    println!("{text}");
}
