//! Names to addresses: getaddrinfo on threads of its own, so that one dead name server holds up nobody else.
//!
//! Not a DNS client: the system's files and order (RFC 6724) hold. At most `THREADS` look-ups go on at a time, one a
//! name: who asks for a name that is being looked up waits for the same answer. A look-up cannot be called back; its
//! thread goes on after its caller has given up, keeps nobody from ending the process, and its answer is kept.

mod cache;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};

use crate::{
    sys::gai::{self, Failure},
    value::{Family, Host},
};

use super::Error;
use cache::{Cache, Found};

/// Looks names up.
#[derive(Debug)]
pub struct Resolver {
    threads: Arc<Semaphore>,
    cache: Arc<Cache>,
}

/// How many look-ups go on at a time.
const THREADS: usize = 64;

/// How long an answer is taken without asking anew.
const FRESH: Duration = Duration::from_secs(5);

/// How long an old answer stands in while the name servers are silent.
const STALE: Duration = Duration::from_mins(10);

/// How long name servers may be silent before an old answer stands in.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the names on which a set of jobs listens may take in all, before none of the set is taken on.
const NAMES: Duration = Duration::from_secs(10);

/// A bound for what looks up names one after another: what needs no name, or has it already, is done after it, too.
#[derive(Clone, Copy, Debug)]
pub struct Bound(Instant);

impl Bound {
    /// One that begins now.
    pub fn begin() -> Self {
        Self(Instant::now() + NAMES)
    }

    /// Does it, unless name servers are silent for too long.
    pub async fn keep<T>(self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let silent = || Error::Resolve {
            host: "what it listens on".into(),
            why: format!("name servers were silent for {} s", NAMES.as_secs()),
        };
        timeout_at(self.0, work).await.unwrap_or_else(|_| Err(silent()))
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(THREADS)), cache: Arc::default() }
    }
}

impl Resolver {
    /// Addresses of a host in RFC 6724 order, with `port` set and a zone's index filled in. Never empty.
    ///
    /// Addresses are given back at once; names take as long as the system's resolver takes, so give it a deadline.
    pub async fn lookup(&self, host: &Host, port: u16, family: Family) -> Result<Vec<SocketAddr>, Error> {
        let found = match host {
            Host::Ip(address) => vec![SocketAddr::new(*address, 0)],
            Host::Scoped(address, zone) => {
                vec![SocketAddrV6::new(*address, 0, 0, scope(zone)?).into()]
            }
            Host::Name(name) if is_localhost(name) => localhost(),
            Host::Name(name) => self.name(name).await.map_err(|failure| error(name, &failure))?,
        };
        let mut addresses = vec![];
        for mut address in found {
            address.set_port(port);
            if family.admits(address.ip()) && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let wanted = if family == Family::V6 { "IPv6" } else { "IPv4" };
            return Err(Error::Resolve {
                host: host.to_string(),
                why: format!("it has no {wanted} address"),
            });
        }
        Ok(addresses)
    }

    /// The same without a port.
    pub async fn addresses(&self, host: &Host, family: Family) -> Result<Vec<IpAddr>, Error> {
        Ok(self.lookup(host, 0, family).await?.iter().map(SocketAddr::ip).collect())
    }

    async fn name(&self, name: &str) -> Found {
        let name = name.to_ascii_lowercase();
        match self.cache.stale(&name, STALE) {
            Some(old) => tokio::time::timeout(PATIENCE, self.ask(&name)).await.unwrap_or(Ok(old)),
            None => self.ask(&name).await,
        }
    }

    async fn ask(&self, name: &str) -> Found {
        loop {
            let mut answer = match self.cache.ask(name, FRESH) {
                cache::Ask::Known(addresses) => return Ok(addresses),
                cache::Ask::Wait(answer) => answer,
                cache::Ask::Look(sender) => {
                    let answer = sender.subscribe();
                    self.look(name.to_owned(), sender).await;
                    answer
                }
            };
            if let Ok(found) = answer.wait_for(Option::is_some).await
                && let Some(found) = &*found
            {
                return found.clone();
            }
            // Whoever was to look gave up before a thread was free; now it is our turn, or another's.
        }
    }

    /// Starts the look-up as soon as a thread is free. Its caller may give up at any time: a dropped `Lookup` clears up.
    async fn look(&self, name: String, sender: watch::Sender<Option<Found>>) {
        let mut lookup = Lookup { name, sender: Some(sender), cache: self.cache.clone(), started: false };
        let Ok(permit) = self.threads.clone().acquire_owned().await else { return };
        lookup.started = true;
        let work = move || {
            let mut lookup = lookup;
            let found = gai::getaddrinfo(&lookup.name);
            lookup.answer(found);
            drop(permit);
        };
        // A thread that cannot be started drops the work, which tells all who wait.
        let _ = std::thread::Builder::new().name("resolve".into()).stack_size(256 << 10).spawn(work);
    }
}

/// A look-up on its way; whoever waits for it is told also when it comes to nothing.
struct Lookup {
    name: String,
    sender: Option<watch::Sender<Option<Found>>>,
    cache: Arc<Cache>,
    started: bool,
}

impl Lookup {
    fn answer(&mut self, found: Found) {
        if let Some(sender) = self.sender.take() {
            let found = self.cache.finish(&self.name, found, STALE);
            sender.send_replace(Some(found));
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if self.started {
            self.answer(Err(Failure::Resources));
        } else {
            self.cache.give_up(&self.name);
        }
    }
}

fn error(name: &str, failure: &Failure) -> Error {
    let why = sentence(failure);
    match failure {
        // It says nothing of the name.
        Failure::Resources => Error::System {
            operation: format!("resolve {name}"),
            source: io::Error::new(io::ErrorKind::OutOfMemory, why),
        },
        _ => Error::Resolve { host: name.to_owned(), why },
    }
}

fn sentence(failure: &Failure) -> String {
    match failure {
        Failure::NoName => "no such name".into(),
        Failure::NoAddress => "the name has no address".into(),
        Failure::Temporary => "temporary failure: no name server answers".into(),
        Failure::Servers => "the name server answers with a failure".into(),
        Failure::Resources => "this machine is out of descriptors, memory or threads".into(),
        Failure::Other(text) => text.clone(),
    }
}

/// The index of a zone, which is an interface's name or its number.
fn scope(zone: &str) -> Result<u32, Error> {
    match zone.parse() {
        Ok(index) => Ok(index),
        Err(_) => {
            nix::net::if_::if_nametoindex(zone).map_err(|_| Error::NoInterface { name: zone.to_owned() })
        }
    }
}

/// RFC 6761: these names never leave the machine.
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// What `/etc/hosts` gives for `localhost`, IPv6 first; both loopback addresses where it gives nothing.
fn localhost() -> Vec<SocketAddr> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut addresses: Vec<IpAddr> = hosts.lines().filter_map(loopback_line).collect();
    if addresses.is_empty() {
        addresses = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    }
    addresses.sort_by_key(IpAddr::is_ipv4);
    addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect()
}

fn loopback_line(line: &str) -> Option<IpAddr> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    (address.is_loopback() && words.any(|word| word == "localhost")).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    async fn lookup(host: &str, family: Family) -> Result<Vec<SocketAddr>, Error> {
        Resolver::default().lookup(&host.parse().unwrap(), 80, family).await
    }

    #[tokio::test]
    async fn literals_and_localhost_need_no_name_server() {
        assert_eq!(lookup("10.0.0.1", Family::Any).await.unwrap(), ["10.0.0.1:80".parse().unwrap()]);
        assert_eq!(lookup("::1", Family::V6).await.unwrap(), ["[::1]:80".parse().unwrap()]);
        assert!(lookup("localhost", Family::V4).await.unwrap().contains(&"127.0.0.1:80".parse().unwrap()));
        assert!(lookup("db.LOCALHOST.", Family::Any).await.is_ok());
    }

    #[tokio::test]
    async fn a_zone_is_a_name_or_a_number() {
        let scope_of = |addresses: Vec<SocketAddr>| match addresses[0] {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        assert_eq!(scope_of(lookup("fe80::1%lo", Family::Any).await.unwrap()), 1);
        assert_eq!(scope_of(lookup("fe80::1%7", Family::Any).await.unwrap()), 7);
        assert!(matches!(lookup("fe80::1%none0", Family::Any).await, Err(Error::NoInterface { .. })));
    }

    #[tokio::test]
    async fn an_address_of_the_other_family_is_said_so() {
        let error = lookup("127.0.0.1", Family::V6).await.unwrap_err();
        assert_eq!(error.to_string(), "resolve 127.0.0.1: it has no IPv6 address");
    }

    #[test]
    fn what_this_machine_lacks_is_not_the_names_fault() {
        let reason = |failure| error("db", &failure).reason();
        assert_eq!(reason(Failure::NoName), Reason::Dns);
        assert_eq!(reason(Failure::Resources), Reason::Resources);
        let told = "resolve db: this machine is out of descriptors, memory or threads";
        assert_eq!(error("db", &Failure::Resources).to_string(), told);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_no_trace() {
        let resolver = Resolver { threads: Arc::new(Semaphore::new(0)), cache: Arc::default() };
        let host: Host = "db.example.com".parse().unwrap();
        for _ in 0..2 {
            let asked =
                tokio::time::timeout(Duration::from_millis(5), resolver.lookup(&host, 80, Family::Any));
            assert!(asked.await.is_err(), "no thread is free, so the look-up waits");
        }
        assert!(matches!(resolver.cache.ask("db.example.com", FRESH), cache::Ask::Look(_)));
    }
}
