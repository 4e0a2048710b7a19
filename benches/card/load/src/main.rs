//! The packages of the design card, each asked one thing. What comes of it is printed as words; seconds are plain numbers.
//!
//! `card zone`: the next start of a daily job of Berlin, before and after its first start, in Unix seconds.
//! `card yaml FILE`: seconds, and MiB at most. `card prometheus SERIES`: seconds of a page. `card netdev`: interfaces and seconds.
//! `card croner 3|4 EXPRESSION FROM UNTIL`: its starts in Berlin, in Unix seconds. `card parses EXPRESSION`: whether croner 4 does.
//! `card surge HOST`: what one ping came to.

mod cron;

use std::{env, error::Error, fs, net::IpAddr, time::Instant};

use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use surge_ping::{Client, Config, IcmpPacket, PingIdentifier, PingSequence};
use tokio::runtime::Builder;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    match words[..] {
        ["zone"] => runtime.block_on(cron::zone()),
        ["croner", "3", expression, from, until] => {
            cron::with_chrono(expression, from.parse()?, until.parse()?)
        }
        ["croner", "4", expression, from, until] => {
            cron::with_jiff(expression, from.parse()?, until.parse()?)
        }
        ["parses", expression] => {
            println!("{}", cron::parses(expression));
            Ok(())
        }
        ["yaml", file] => yaml(file),
        ["prometheus", series] => page(series.parse()?),
        ["netdev"] => {
            let start = Instant::now();
            let found = netdev::get_interfaces().len();
            println!("{found} {}", start.elapsed().as_secs_f64());
            Ok(())
        }
        ["surge", host] => runtime.block_on(ping(host.parse()?)),
        _ => Err("zone, croner, parses, yaml, prometheus, netdev or surge".into()),
    }
}

fn yaml(file: &str) -> Result<(), Failure> {
    let (text, start) = (fs::read_to_string(file)?, Instant::now());
    let refused = serde_yaml::from_str::<serde_yaml::Value>(&text).is_err();
    let took = start.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: f64 = peak.ok_or("no VmHWM")?.parse()?;
    println!("{refused} {took} {}", peak / 1024.0);
    Ok(())
}

/// The second page: what is allocated once is there.
fn page(series: usize) -> Result<(), Failure> {
    let (registry, labels) = (Registry::new(), ["job_name", "host"]);
    let gauges = IntGaugeVec::new(Opts::new("card_up", "Whether a host answers."), &labels)?;
    registry.register(Box::new(gauges.clone()))?;
    for number in 0..series {
        let (job, host) = (format!("job-{}", number % 10), format!("10.0.{}.{}", number / 256, number % 256));
        gauges.with_label_values(&[&job, &host]).set(1);
    }
    let once = || TextEncoder::new().encode_to_string(&registry.gather());
    once()?;
    let start = Instant::now();
    let length = once()?.len();
    println!("{} {length}", start.elapsed().as_secs_f64());
    Ok(())
}

async fn ping(host: IpAddr) -> Result<(), Failure> {
    let client = Client::new(&Config::default())?;
    let mut pinger = client.pinger(host, PingIdentifier(7)).await;
    match pinger.ping(PingSequence(1), &[0x5a; 56]).await {
        Ok((IcmpPacket::V4(packet), _)) => println!("ok {:?}", packet.get_icmp_type().0),
        Ok((IcmpPacket::V6(_), _)) => println!("ok v6"),
        Err(error) => println!("error {error}"),
    }
    Ok(())
}
