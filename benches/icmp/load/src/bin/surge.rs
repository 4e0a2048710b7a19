//! surge-ping as its README uses it: one client, a pinger a host.
//!
//! `surge sweep FIRST COUNT TASKS TIMEOUT_MS PASSES`: so many tasks on one thread take turns over the hosts from FIRST on;
//! 0: a task a host, on all cores. `surge ping HOST COUNT INTERVAL_MS`. `surge steady FIRST COUNT SECONDS`: each once a
//! second. Prints `ADDRESS SECONDS` of each answer at the end.

use std::{
    env,
    error::Error,
    io::{BufWriter, Write, stdout},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use surge_ping::{Client, Config, PingIdentifier, PingSequence, Pinger};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

type Answers = Vec<(Ipv4Addr, Duration)>;
type Failure = Box<dyn Error + Send + Sync>;

const PAYLOAD: [u8; 56] = [0; 56];

fn main() -> Result<(), Failure> {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let one = Builder::new_current_thread().enable_all().build()?;
    let answers = match words[..] {
        ["sweep", first, count, "0", timeout, passes] => {
            let all = Builder::new_multi_thread().enable_all().build()?;
            let ask = Ask { timeout: millis(timeout)?, passes: passes.parse()? };
            all.block_on(task_each(first.parse()?, count.parse()?, ask))?
        }
        ["sweep", first, count, tasks, timeout, passes] => {
            let ask = Ask { timeout: millis(timeout)?, passes: passes.parse()? };
            one.block_on(in_turns(first.parse()?, count.parse()?, tasks.parse()?, ask))?
        }
        ["ping", host, count, pause] => {
            one.block_on(again(host.parse()?, 1, count.parse()?, millis(pause)?))?
        }
        ["steady", first, count, seconds] => {
            one.block_on(again(first.parse()?, count.parse()?, seconds.parse()?, Duration::from_secs(1)))?
        }
        _ => return Err("sweep, ping or steady".into()),
    };
    let mut out = BufWriter::new(stdout().lock());
    for (host, rtt) in answers {
        writeln!(out, "{host} {:.9}", rtt.as_secs_f64())?;
    }
    out.flush()?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Ask {
    timeout: Duration,
    passes: u16,
}

fn millis(text: &str) -> Result<Duration, Failure> {
    Ok(Duration::from_millis(text.parse()?))
}

fn host(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + number)
}

async fn pinger(client: &Client, host: Ipv4Addr, number: u32, timeout: Duration) -> Pinger {
    // Both halves in one word: replies are told apart by host and identifier.
    let identifier = PingIdentifier(u16::try_from(number & 0xffff).unwrap_or(0));
    let mut pinger = client.pinger(IpAddr::V4(host), identifier).await;
    pinger.timeout(timeout);
    pinger
}

/// Asks a host until it answers.
async fn ask_one(client: &Client, host: Ipv4Addr, number: u32, ask: Ask) -> Option<(Ipv4Addr, Duration)> {
    let mut pinger = pinger(client, host, number, ask.timeout).await;
    for pass in 0..ask.passes {
        if let Ok((_, rtt)) = pinger.ping(PingSequence(pass), &PAYLOAD).await {
            return Some((host, rtt));
        }
    }
    None
}

async fn in_turns(first: Ipv4Addr, count: u32, tasks: u32, ask: Ask) -> Result<Answers, Failure> {
    let client = Client::new(&Config::default())?;
    let next = Arc::new(AtomicU32::new(0));
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (client, next) = (client.clone(), next.clone());
        set.spawn(async move {
            let mut answers = Answers::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return answers;
                }
                answers.extend(ask_one(&client, host(first, number), number, ask).await);
            }
        });
    }
    Ok(set.join_all().await.into_iter().flatten().collect())
}

async fn task_each(first: Ipv4Addr, count: u32, ask: Ask) -> Result<Answers, Failure> {
    let client = Client::new(&Config::default())?;
    let mut set = JoinSet::new();
    for number in 0..count {
        let client = client.clone();
        set.spawn(async move { ask_one(&client, host(first, number), number, ask).await });
    }
    Ok(set.join_all().await.into_iter().flatten().collect())
}

/// Asks each of some hosts so many times at this interval.
async fn again(first: Ipv4Addr, hosts: u32, count: u16, pause: Duration) -> Result<Answers, Failure> {
    let client = Client::new(&Config::default())?;
    let mut set = JoinSet::new();
    for number in 0..hosts {
        let client = client.clone();
        set.spawn(async move {
            let host = host(first, number);
            let mut pinger = pinger(&client, host, number, Duration::from_secs(1)).await;
            let (mut ticks, mut answers) = (interval(pause), Answers::new());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for sequence in 0..count {
                ticks.tick().await;
                answers.extend(
                    pinger.ping(PingSequence(sequence), &PAYLOAD).await.ok().map(|(_, rtt)| (host, rtt)),
                );
            }
            answers
        });
    }
    Ok(set.join_all().await.into_iter().flatten().collect())
}
