//! The load of the soak: an upstream that echoes, or clients of forwards before it, each of which checks every byte.
//!
//! `load upstream ADDRESS` echoes streams and datagrams until it is ended. `load clients [key=value…]` prints a line of
//! JSON with what came of it so far for each line on stdin. At the end of stdin it finishes its streams and prints the
//! last. Keys: `steady` (address), `streams`, `bytes_per_second` of each; `short` and `flaky` (addresses), `per_second` and
//! `flaky_per_second`; `idlers` (a second, of `short`); `datagrams` (address).

mod clients;
mod streams;
mod tally;
mod upstream;

use std::{env, error::Error, net::SocketAddr, str::FromStr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    runtime::Builder,
    task::LocalSet,
    time::timeout,
};

use clients::{datagrams, each, idle, short};
use tally::Tally;

/// Streams have so long to get back what they sent.
const FINISH: Duration = Duration::from_secs(20);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let words: Vec<_> = env::args().skip(1).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match words.split_first() {
        Some((kind, rest)) if kind == "upstream" => {
            let address = rest.first().ok_or("upstream ADDRESS")?.parse()?;
            LocalSet::new().block_on(&runtime, upstream::serve(address))
        }
        Some((kind, rest)) if kind == "clients" => {
            LocalSet::new().block_on(&runtime, clients_of(Words(rest)))
        }
        _ => Err("upstream or clients".into()),
    }
}

async fn clients_of(words: Words<'_>) -> Result<(), Failure> {
    let tally = Tally::default();
    let steady = words.get("steady")?;
    let mut streams = Vec::new();
    for number in 0..words.get("streams")? {
        streams.push(streams::Steady::open(steady, number, words.get("bytes_per_second")?, &tally).await?);
    }
    let (to, flaky): (SocketAddr, SocketAddr) = (words.get("short")?, words.get("flaky")?);
    each(words.get("per_second")?, "short", &tally, move |tally| short(to, "short", tally));
    each(words.get("flaky_per_second")?, "flaky", &tally, move |tally| short(flaky, "flaky", tally));
    each(words.get("idlers")?, "idlers", &tally, move |tally| idle(to, tally));
    datagrams(words.get("datagrams")?, &tally).await?;
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        println!("{}", tally.line());
    }
    for stream in streams {
        let broken =
            timeout(FINISH, stream.finish()).await.unwrap_or_else(|_| Err("not finished in time".into()));
        if let Err(why) = broken {
            tally.add(&format!("broken stream: {why}"), 1);
        }
    }
    println!("{}", tally.line());
    Ok(())
}

/// `key=value` words.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [String]);

impl Words<'_> {
    fn get<T: FromStr>(self, key: &str) -> Result<T, Failure> {
        let value = self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let value = value.ok_or_else(|| format!("{key}=… is missing"))?;
        value.parse().map_err(|_| format!("{key}={value} is none").into())
    }
}
