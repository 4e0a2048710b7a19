//! The stopwatch: runs a command and writes what it and its children took. Small, since the kernel counts the memory of
//! whoever starts a program as that program's.
//!
//! `measured FILE COMMAND…` → `{"wall", "cpu", "peak_kib", "code"}`, seconds.

use std::{env, error::Error, fs, process::Command, time::Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args_os().skip(1);
    let (file, program) = words.next().zip(words.next()).ok_or("measured FILE COMMAND…")?;
    let start = Instant::now();
    let status = Command::new(program).args(words).status()?;
    let wall = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let found = json!({ "wall": wall, "cpu": cpu, "peak_kib": usage.max_rss(), "code": status.code() });
    fs::write(file, found.to_string())?;
    Ok(())
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
