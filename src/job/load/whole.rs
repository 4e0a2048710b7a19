//! Checks over all jobs of all files: names, needs and their circles, what endpoints name, listeners, and who is left out.

use std::collections::{HashMap, HashSet};

use super::{
    Loader,
    build::{Draft, warning},
    node::{At, NOWHERE},
};
use crate::{
    diagnostic::{Diagnostic, near},
    job::Job,
    value::{Bind, Endpoint, Host, JobName, Ports, SocketPath},
};

/// Jobs that stay, and those that do not with the reason.
pub(super) type Sorted = (Vec<Job>, Vec<(String, String)>);

impl Loader<'_> {
    /// Checks them all and completes their `needs`.
    pub(super) fn whole(&mut self, mut drafts: Vec<Draft>) -> Sorted {
        let index = self.index(&drafts);
        self.check_needs(&drafts, &index);
        self.check_references(&drafts, &index);
        for draft in &mut drafts {
            for reference in draft.refers.iter().filter(|reference| reference.is_endpoint) {
                draft.needs.push((reference.name.clone(), reference.at));
            }
            let mut seen = HashSet::new();
            let names = draft.needs.iter().map(|(name, _)| name.clone());
            draft.job.needs = names.filter(|name| seen.insert(name.clone())).collect();
        }
        let edges = edges(&drafts, &index);
        self.check_circles(&drafts, &edges);
        leave_out(&mut drafts, &edges);
        self.check_watched(&drafts, &index);
        self.check_listeners(&drafts);
        let mut sorted = Sorted::default();
        for draft in drafts {
            match draft.left_out {
                Some(why) => sorted.1.push((draft.job.name.to_string(), why)),
                None => sorted.0.push(draft.job),
            }
        }
        sorted
    }

    /// Where each name is; a name that is taken is reported where it stands a second time.
    fn index(&mut self, drafts: &[Draft]) -> HashMap<JobName, usize> {
        let mut index: HashMap<JobName, usize> = HashMap::with_capacity(drafts.len());
        for (here, draft) in drafts.iter().enumerate() {
            if let Some(first) = index.get(&draft.job.name) {
                let message =
                    format!("the name `{}` is taken by {}", draft.job.name, drafts[*first].job.place);
                let hint = if draft.name_at == drafts[*first].name_at {
                    "another job has it from there, by `<<` or an alias: give that one its own `name`"
                } else {
                    "names are unique over all files"
                };
                self.wrong((draft.name_at, Diagnostic::error(message).hint(hint)));
            } else {
                index.insert(draft.job.name.clone(), here);
            }
        }
        index
    }

    fn check_needs(&mut self, drafts: &[Draft], index: &HashMap<JobName, usize>) {
        for (name, at) in drafts.iter().flat_map(|draft| &draft.needs) {
            self.check_known(name, "needs", *at, index);
        }
    }

    fn check_known(&mut self, name: &JobName, path: &str, at: At, index: &HashMap<JobName, usize>) {
        if index.contains_key(name) || self.broken.contains(name.as_str()) {
            return;
        }
        self.guesses = self.guesses.saturating_sub(1);
        let names = index.keys().map(JobName::as_str).filter(|_| self.guesses > 0);
        let hint = match near(name.as_str(), names) {
            _ if at == NOWHERE => ALONE.to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a job of these files".to_owned(),
        };
        let mut diagnostic = Diagnostic::error(format!("no job is called `{name}`")).hint(hint);
        path.clone_into(&mut diagnostic.path);
        self.wrong((at, diagnostic));
    }

    fn check_references(&mut self, drafts: &[Draft], index: &HashMap<JobName, usize>) {
        for (draft, reference) in
            drafts.iter().flat_map(|draft| draft.refers.iter().map(move |refer| (draft, refer)))
        {
            self.check_known(&reference.name, &reference.path, reference.at, index);
            let Some(named) = index.get(&reference.name).map(|named| drafts[*named].job.room.facts()) else {
                continue;
            };
            let say = |message: String, hint: &str| {
                let mut diagnostic = Diagnostic::error(message).hint(hint);
                diagnostic.path.clone_from(&reference.path);
                (reference.at, diagnostic)
            };
            if reference.is_endpoint && named.service && reference.name == draft.job.name {
                let message = format!("`job:{}` is this job itself", reference.name);
                let hint =
                    if reference.at == NOWHERE { ALONE } else { "name another job, or write an address" };
                self.wrong(say(message, hint));
                continue;
            }
            let (what, wanted) = match (reference.is_endpoint, named.service) {
                (true, false) => {
                    ("a check", "`job:` stands for the address of a service: name a `forward` or an `echo`")
                }
                (false, true) => ("a service", "name a check, such as a `wait` or an `exchange`"),
                _ => continue,
            };
            let message = format!("`{}` is {what} (`{}`)", reference.name, named.name);
            self.wrong(say(message, wanted));
        }
    }

    /// Warns of checks that are watched and will say little or nothing.
    fn check_watched(&mut self, drafts: &[Draft], index: &HashMap<JobName, usize>) {
        let here = drafts.iter().filter(|draft| draft.left_out.is_none());
        for reference in here.flat_map(|draft| &draft.refers).filter(|reference| !reference.is_endpoint) {
            let Some(watched) = index.get(&reference.name).map(|watched| &drafts[*watched]) else { continue };
            let (name, schedule) = (&reference.name, &watched.job.schedule);
            let (message, hint) = if let Some(why) = &watched.left_out {
                (
                    format!("`{name}` is left out, so nothing puts this out: {why}"),
                    "watch a check that runs here",
                )
            } else if schedule.every.is_none() && schedule.cron.is_none() && !watched.job.room.facts().service
            {
                (
                    format!("`{name}` runs only once, at the start: what it finds then holds for ever"),
                    "give it a period, such as `every: 5s`",
                )
            } else {
                continue;
            };
            let mut diagnostic = warning(message).hint(hint);
            diagnostic.path.clone_from(&reference.path);
            self.wrong((reference.at, diagnostic));
        }
    }

    /// Reports listeners that cannot both be opened.
    fn check_listeners(&mut self, drafts: &[Draft]) {
        let mut listeners: Vec<Listener<'_>> = Vec::new();
        let mut sockets: HashMap<SocketPath, &Draft> = HashMap::new();
        for draft in drafts.iter().filter(|draft| draft.left_out.is_none()) {
            for (text, at) in &draft.listens {
                match text.parse().map(|Bind(endpoint)| endpoint) {
                    Ok(Endpoint::Tcp(host, ports)) => {
                        listeners.push(Listener { udp: false, host, ports, at: *at, draft });
                    }
                    Ok(Endpoint::Udp(host, ports)) => {
                        listeners.push(Listener { udp: true, host, ports, at: *at, draft });
                    }
                    Ok(Endpoint::Unix(path) | Endpoint::Unixgram(path)) => {
                        let path = match path {
                            SocketPath::File(path) => SocketPath::File(draft.job.base.join(path)),
                            name @ SocketPath::Abstract(_) => name,
                        };
                        if let Some(first) = sockets.insert(path, draft) {
                            self.taken(text, *at, first, OTHER);
                        }
                    }
                    _ => {}
                }
            }
        }
        listeners.retain(|listener| listener.ports.last > 0);
        listeners.sort_by_key(|listener| {
            (listener.udp, listener.ports.first, listener.at.source, listener.at.start)
        });
        for (index, first) in listeners.iter().enumerate() {
            let near = listeners[index + 1..].iter();
            let near =
                near.take_while(|other| other.udp == first.udp && other.ports.first <= first.ports.last);
            for other in near {
                let (earlier, later) =
                    if position(first) <= position(other) { (first, other) } else { (other, first) };
                let Some(hint) = clash(&earlier.host, &later.host) else { continue };
                let scheme = if first.udp { "udp" } else { "tcp" };
                let text = format!("{scheme}://{}:{}", later.host, later.ports);
                self.taken(&text, later.at, earlier.draft, hint);
            }
        }
    }

    fn taken(&mut self, text: &str, at: At, first: &Draft, hint: &str) {
        let message = format!("`{text}` is listened on by `{}` already, {}", first.job.name, first.job.place);
        self.wrong((at, Diagnostic::error(message).hint(hint)));
    }
}

/// Of a job that is no file's.
const ALONE: &str = "a job of the command line stands alone: write an address, or both jobs into a file";

const OTHER: &str = "choose another address or port";
const BOTH_FAMILIES: &str = "`[::]` listens on IPv4 too: choose another address or port";

struct Listener<'a> {
    udp: bool,
    host: Host,
    ports: Ports,
    at: At,
    draft: &'a Draft,
}

fn position(listener: &Listener<'_>) -> (u32, u32) {
    (listener.at.source, listener.at.start)
}

/// Why one port cannot be bound on both, as a hint: the same host, or one of them is every address of the family.
fn clash(earlier: &Host, later: &Host) -> Option<&'static str> {
    let (Host::Ip(one), Host::Ip(other)) = (earlier, later) else {
        return (earlier == later).then_some(OTHER);
    };
    let same_family = one.is_ipv4() == other.is_ipv4();
    if same_family {
        return (one == other || one.is_unspecified() || other.is_unspecified()).then_some(OTHER);
    }
    let (v4, v6) = if one.is_ipv4() { (one, other) } else { (other, one) };
    // After `0.0.0.0`, `[::]` is opened for IPv6 alone.
    let shares = v4.is_unspecified() && one.is_ipv4();
    (v6.is_unspecified() && !shares).then_some(BOTH_FAMILIES)
}

/// Who needs whom, by index.
fn edges(drafts: &[Draft], index: &HashMap<JobName, usize>) -> Vec<Vec<(usize, At)>> {
    let of = |draft: &Draft| {
        let known = draft.needs.iter().filter(|(name, _)| *name != draft.job.name);
        known.filter_map(|(name, at)| Some((*index.get(name)?, *at))).collect()
    };
    drafts.iter().map(of).collect()
}

/// Leaves out whoever needs a job that is left out.
fn leave_out(drafts: &mut [Draft], edges: &[Vec<(usize, At)>]) {
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    for (job, needs) in edges.iter().enumerate() {
        for (need, _) in needs {
            needed_by[*need].push(job);
        }
    }
    let mut open: Vec<usize> = (0..drafts.len()).filter(|job| drafts[*job].left_out.is_some()).collect();
    while let Some(gone) = open.pop() {
        let why = format!("it needs `{}`, which is left out", drafts[gone].job.name);
        for job in &needed_by[gone] {
            if drafts[*job].left_out.is_none() {
                drafts[*job].left_out = Some(why.clone());
                open.push(*job);
            }
        }
    }
}
