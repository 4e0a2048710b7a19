//! Drives one forwarder with one kind of load: clients and the server behind are both here, so that only the forwarder is between.
//!
//! `load KIND listen=ADDRESS to=ADDRESS [key=value…]`: the server listens at `listen`, the clients go to `to`. It prints
//! `ready` when all is set up, begins after a line on stdin, prints one line of JSON, and ends after another line or at the
//! end of stdin. Who drives it reads the forwarder's CPU time at these points, where no load is.

mod args;
mod bulk;
mod connections;
mod datagram;
mod idle;
mod latency;
mod mice;
mod roundtrips;
mod server;
mod sys;

use std::{
    io::{self, BufRead, Write},
    process, thread,
    time::Duration,
};

use serde_json::{Value, json};

use args::Args;

/// What a kind of load returns: a line of JSON, or why there is none.
type Found = Result<Value, Box<dyn std::error::Error>>;

fn main() {
    sys::raise_descriptors();
    let mut words = std::env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let found = Args::parse(words).and_then(|args| {
        watch(Duration::from_secs_f64(args.number("limit", 60.0)?));
        match kind.as_str() {
            "bulk" => bulk::run(&args),
            "connections" => connections::run(&args),
            "roundtrips" => roundtrips::run(&args),
            "mice" => mice::run(&args),
            "idle" => idle::run(&args),
            "packets" => datagram::packets(&args),
            "zero-loss" => datagram::zero_loss(&args),
            "sessions" => datagram::sessions(&args),
            other => Err(format!("there is no load `{other}`").into()),
        }
    });
    let line = found.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    say(&line.to_string());
    process::exit(0);
}

/// Tells the driver that all is set up, and waits for its word.
fn ready() {
    say("ready");
}

/// Prints a line and waits for one; who drives this is gone at the end of stdin, and this ends too.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let told = writeln!(out, "{line}").and_then(|()| out.flush());
    let mut answer = String::new();
    let heard = io::stdin().lock().read_line(&mut answer);
    if told.is_err() || !heard.is_ok_and(|bytes| bytes > 0) {
        process::exit(1);
    }
}

/// No load outlives its limit, whatever a forwarder does.
fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        println!("{}", json!({ "error": format!("not done within {} s", limit.as_secs()) }));
        process::exit(2);
    });
}

/// What was started goes on in the forwarder for a moment: its closes belong to what is measured.
fn settle() {
    thread::sleep(Duration::from_millis(40));
}
