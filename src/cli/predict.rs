//! What this machine will refuse to jobs that are right in themselves. Predictions only: they change no exit code, and
//! nothing stays open after them.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    job::Job,
    net::{listen::Listen, syn},
    sys::{
        limits,
        rights::{self, Right},
    },
    value::{Endpoint, Host, Ports, SocketPath},
};

/// One thing that will go wrong, or that the author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The job.
    pub job: String,
    /// Where it stands, such as `jobs/lan.yaml:7`.
    pub place: String,
    /// What, a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, place, message, hint } = self;
        write!(f, "{place}: note: `{job}`: {message}\nhint: {hint}")
    }
}

/// All that can be foreseen, in the order of the jobs.
pub fn all(jobs: &[Job]) -> Vec<Prediction> {
    let mut predictions = each(jobs.iter(), |job| job.room.listens());
    predictions.extend(open_files(jobs));
    predictions
}

/// The rights that jobs lack.
pub fn rights<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<Prediction> {
    each(jobs, |_| vec![])
}

/// What can be foreseen of each job alone, and of these listeners of it.
fn each<'a>(jobs: impl Iterator<Item = &'a Job>, listens: impl Fn(&Job) -> Vec<Listen>) -> Vec<Prediction> {
    let (mut icmp, mut raw) = (None, None);
    let mut predictions = vec![];
    for job in jobs {
        let mut say = |(message, hint): (String, String)| {
            let (job, place) = (job.name.to_string(), job.place.clone());
            predictions.push(Prediction { job, place, message, hint });
        };
        if job.room.needs_icmp() && !*icmp.get_or_insert_with(may_send_icmp) {
            say((
                "this process may not send ICMP, so the job will be `errored` with `permission`".into(),
                "`netjobs doctor` says how to allow it".into(),
            ));
        }
        if job.room.needs_raw() && !*raw.get_or_insert_with(syn::is_allowed) {
            say((
                "this process has no `CAP_NET_RAW`, so the job will be `errored` with `permission`".into(),
                "`netjobs doctor` says how to allow it".into(),
            ));
        }
        for listen in listens(job) {
            listener(&listen, job).into_iter().for_each(&mut say);
        }
    }
    predictions
}

/// Forwards that ask for more open files than this process may have, each alone or all together.
pub fn open_files(jobs: &[Job]) -> Vec<Prediction> {
    match limits::open_files() {
        Some(limits) => beyond(jobs, limits.hard),
        None => vec![],
    }
}

fn beyond(jobs: &[Job], allowed: u64) -> Vec<Prediction> {
    let mut predictions = vec![];
    let (mut sum, mut largest) = (0, None);
    let say = |job: &Job, message: String, hint: String| Prediction {
        job: job.name.to_string(),
        place: job.place.clone(),
        message,
        hint,
    };
    for job in jobs {
        match job.room.open_files(allowed) {
            Some(Ok(need)) => {
                sum += need;
                largest = largest.max(Some((need, job.place.as_str(), job.name.as_str())));
            }
            Some(Err(error)) => {
                let message = format!("{error}, so the job will be `errored` with `{}`", error.reason());
                predictions.push(say(job, message, error.hint().unwrap_or_default().to_owned()));
            }
            None => {}
        }
    }
    let job = largest.and_then(|(_, _, name)| jobs.iter().find(|job| job.name.as_str() == name));
    if let Some(job) = job.filter(|_| sum > allowed) {
        let message = format!(
            "the forwards together ask for {sum} open files and {allowed} are allowed; clients will wait before \
             `max_connections` is reached"
        );
        let hint =
            "raise the limit of open files (`ulimit -n`), or ask for fewer; this forward asks for most";
        predictions.push(say(job, message, hint.into()));
    }
    predictions
}

/// Whether ICMP goes out over either kind of socket.
pub fn may_send_icmp() -> bool {
    open_icmp(Type::RAW).is_ok() || open_icmp(Type::DGRAM).is_ok()
}

/// Opens an ICMP socket of a type as a run would, and closes it.
pub fn open_icmp(r#type: Type) -> io::Result<()> {
    let open = || Socket::new(Domain::IPV4, r#type, Some(Protocol::ICMPV4)).map(drop);
    if r#type == Type::RAW { rights::with(Right::NetRaw, open) } else { open() }
}

/// The first port that needs no right.
pub fn first_free_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

fn listener(listen: &Listen, job: &Job) -> Vec<(String, String)> {
    match &listen.bind.0 {
        Endpoint::Tcp(host, ports) => network(host, *ports, Type::STREAM),
        Endpoint::Udp(host, ports) => network(host, *ports, Type::DGRAM),
        Endpoint::Unix(SocketPath::File(path)) => {
            taken_path(path, UnixStream::connect(job.base.join(path)).is_ok())
        }
        Endpoint::Unixgram(SocketPath::File(path)) => {
            let peer = UnixDatagram::unbound().and_then(|socket| socket.connect(job.base.join(path)));
            taken_path(path, peer.is_ok())
        }
        _ => vec![],
    }
}

/// A path is taken while somebody listens on it; a stale socket is replaced.
fn taken_path(path: &Path, answers: bool) -> Vec<(String, String)> {
    if !answers {
        return vec![];
    }
    let message = format!("another program listens on `{}`", path.display());
    vec![(message, "end it, or choose another path".into())]
}

fn network(host: &Host, ports: Ports, r#type: Type) -> Vec<(String, String)> {
    let Host::Ip(address) = host else { return vec![] };
    let first_free = first_free_port();
    if ports.first != 0 && ports.first < first_free && !rights::has(Right::NetBindService) {
        let message = format!("port {} is below {first_free} and needs a right", ports.first);
        return vec![(message, "needs CAP_NET_BIND_SERVICE; `netjobs doctor` says how to give it".into())];
    }
    let refused = ports.each().find_map(|port| Some((port, refusal(*address, port, r#type)?)));
    let say = |(port, kind)| {
        let at = SocketAddr::new(*address, port);
        match kind {
            io::ErrorKind::AddrInUse => Some((
                format!("`{at}` is taken by another program"),
                "end the program that listens there, or choose another port".to_owned(),
            )),
            io::ErrorKind::AddrNotAvailable => Some((
                format!("no interface of this machine has the address of `{at}`"),
                "see `ip address`, and what will be there when the job starts".to_owned(),
            )),
            _ => None,
        }
    };
    refused.and_then(say).into_iter().collect()
}

/// Binds as the runner would, and lets go again: why that was refused.
fn refusal(address: IpAddr, port: u16, r#type: Type) -> Option<io::ErrorKind> {
    let address = SocketAddr::new(address, port);
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), r#type, None)?;
        if r#type == Type::STREAM {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        if r#type == Type::STREAM { socket.listen(1) } else { Ok(()) }
    };
    let bound: io::Result<()> = rights::with(Right::NetBindService, bind);
    bound.err().map(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::*;
    use crate::job::load::{Environment, load_texts};

    #[track_caller]
    fn check_beyond(forwards: &[&str], allowed: u64, wanted: &[&str]) {
        let job = |(index, forward): (usize, &&str)| {
            format!("  - name: f{index}\n    forward: {{ to: 'a:1', {forward} }}\n")
        };
        let text: String = forwards.iter().enumerate().map(job).collect();
        let loaded =
            load_texts(&[("jobs.yaml", &format!("jobs:\n{text}"))], &Environment::new("here", |_| None));
        assert!(!loaded.report.has_errors(), "{}", loaded.report.render(false));
        let found: Vec<_> =
            beyond(&loaded.jobs, allowed).iter().map(|one| format!("{}: {}", one.job, one.message)).collect();
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        assert!(found.iter().zip(wanted).all(|(found, wanted)| found.starts_with(wanted)), "{found:?}");
    }

    #[test]
    fn what_forwards_ask_for_is_held_against_the_limit_of_open_files() {
        let (one, two) = ("listen: 1, max_connections: 400", "listen: 2, max_connections: 300");
        check_beyond(&[one, "listen: 3"], 1000, &[]);
        check_beyond(&[one, two], 1000, &["f0: the forwards together ask for 1404 open files and 1000 are"]);
        let alone =
            "f0: max_connections 400 needs more than the 500 open files that are allowed, so the job will be";
        check_beyond(&[one], 500, &[alone]);
        let ports: Vec<String> = (1..=500).map(|port: u16| format!("'127.0.0.1:{port}'")).collect();
        let many = format!("listen: [{}]", ports.join(", "));
        check_beyond(&[&many], 2000, &[]);
        check_beyond(&[&many], 1000, &["f0: its 500 listeners need more than the 1000 open files"]);
    }

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn an_address_that_is_not_here_is_foretold() {
        let told = |text: &str| network(&text.parse().unwrap(), Ports::one(0), Type::STREAM);
        assert!(told("127.0.0.1").is_empty());
        assert!(told("192.0.2.1")[0].0.contains("has the address of `192.0.2.1:0`"));
    }

    #[test]
    fn a_port_is_taken_while_somebody_listens_and_free_after_it() {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(refusal(HERE, port, Type::STREAM), Some(io::ErrorKind::AddrInUse));
        drop(listener);
        assert_eq!(refusal(HERE, port, Type::STREAM), None);
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(refusal(HERE, port, Type::DGRAM), Some(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn a_path_is_taken_only_while_somebody_answers_on_it() {
        assert!(taken_path(Path::new("/run/x.sock"), false).is_empty());
        assert_eq!(taken_path(Path::new("/run/x.sock"), true).len(), 1);
    }
}
