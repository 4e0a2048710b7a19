//! The hosts of the machine's own links: whom this asks for their stations and for echoes, and who answered. Not when to ask.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::Duration,
};

use super::{super::hosts::Hosts, gate::Gate};
use crate::net::{
    icmp::{Peer, clock::Clocks},
    neighbour::{Answer, Asker, Mac, Question, Said},
};

/// The hosts of the machine's own links.
#[derive(Debug, Default)]
pub(in super::super) struct Near {
    clocks: Clocks,
    asker: Option<Asker>,
    /// Whom this asks; those that the kernel alone can ask for are the gate's.
    asked: HashMap<u32, Asked>,
    /// Whose station answered.
    pub(in super::super) seen: BTreeMap<u32, Seen>,
    /// Who answered to an echo.
    echoed: HashSet<u32>,
    pub(super) gate: Gate,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    link: usize,
    /// When it was asked last.
    sent: Option<u64>,
    /// How often it was asked for an echo.
    echoes: u8,
}

/// A host whose station answered.
#[derive(Clone, Debug)]
pub(in super::super) struct Seen {
    /// The station that was first.
    pub(in super::super) mac: Mac,
    /// Other stations that say that the address is theirs.
    pub(in super::super) others: Vec<Mac>,
    /// The round trip of the first answer.
    pub(super) rtt: Duration,
}

/// Stations that are kept beyond the first, for one address.
const MOST_OTHERS: usize = 4;

impl Near {
    /// Gets ready to ask hosts, each at the link with its number.
    pub(super) fn begin(&mut self, asker: Asker, links: &[(u32, usize)]) {
        self.asker = Some(asker);
        self.asked = links
            .iter()
            .map(|(index, link)| (*index, Asked { link: *link, sent: None, echoes: 0 }))
            .collect();
    }

    /// The monotonic time.
    pub(super) fn look(&mut self) -> u64 {
        self.clocks.look()
    }

    /// Asks a host once; for an echo, where its station is known.
    pub(super) fn ask(&mut self, question: Question, index: u32, hosts: &Hosts, now: u64) -> io::Result<()> {
        let (Some(asker), Some(host)) = (&self.asker, self.asked.get_mut(&index)) else { return Ok(()) };
        let address = hosts.peer(index).address;
        match (question, self.seen.get(&index)) {
            (Question::Station, _) => asker.ask(host.link, address)?,
            (Question::Echo, Some(seen)) => {
                host.echoes = host.echoes.wrapping_add(1);
                asker.ask_echo(host.link, address, seen.mac, host.echoes)?;
            }
            (Question::Echo, None) => return Ok(()),
        }
        host.sent = Some(now);
        Ok(())
    }

    /// Whether a host is still to be asked something.
    pub(super) fn lacks(&self, question: Question, index: u32) -> bool {
        match question {
            Question::Station => !self.seen.contains_key(&index),
            Question::Echo => self.seen.contains_key(&index) && !self.echoed.contains(&index),
        }
    }

    /// How many hosts have answered to a question.
    pub(super) fn answered(&self, question: Question) -> usize {
        match question {
            Question::Station => self.seen.len(),
            Question::Echo => self.echoed.len(),
        }
    }

    /// Waits until there is something to hear; what there was before must have been heard.
    pub(super) async fn readable(&self) {
        match &self.asker {
            Some(asker) => asker.readable().await,
            None => std::future::pending().await,
        }
    }

    /// Reads what has come; gives the echoes, each with its round trip if it is that of the last question. An answer counts
    /// only for a host that was asked, at the link where it was asked.
    pub(super) fn hear(&mut self, hosts: &Hosts) -> Vec<(u32, Option<Duration>)> {
        let (mut answers, mut echoes) = (vec![], vec![]);
        if let Some(asker) = &mut self.asker {
            asker.receive(&mut answers);
        }
        let read = self.look();
        for Answer { link, interface, address, said, stamp } in answers {
            let Some(index) = hosts.number(Peer { address, scope: interface }) else { continue };
            let Some(asked) = self.asked.get(&index).filter(|asked| asked.link == link) else { continue };
            let Some(sent) = asked.sent else { continue };
            let rtt = self.clocks.round_trip(sent, None, stamp, read).rtt;
            match said {
                Said::Station(mac) => {
                    let seen = self.seen.entry(index).or_insert_with(|| Seen { mac, rtt, others: vec![] });
                    if seen.mac != mac && !seen.others.contains(&mac) && seen.others.len() < MOST_OTHERS {
                        seen.others.push(mac);
                    }
                }
                Said::Echo(number) => {
                    if self.echoed.insert(index) {
                        echoes.push((index, (number == asked.echoes).then_some(rtt)));
                    }
                }
            }
        }
        echoes
    }

    /// Packets that this machine lost since the last time it was asked.
    pub(super) fn new_drops(&mut self) -> u32 {
        self.asker.as_mut().map_or(0, Asker::new_drops)
    }

    /// Those that were asked already.
    pub(super) fn knocked(&self) -> impl Iterator<Item = u32> + '_ {
        self.asked.iter().filter(|(_, asked)| asked.sent.is_some()).map(|(index, _)| *index)
    }

    /// Whether a host is one of those that this asks.
    pub(super) fn asks(&self, index: u32) -> bool {
        self.asked.contains_key(&index)
    }

    /// How many of those that this asks have not answered to a question.
    pub(super) fn silent(&self, question: Question) -> u32 {
        u32::try_from(self.asked.len() - self.answered(question)).unwrap_or(u32::MAX)
    }

    /// Asks and hears no more.
    pub(super) fn end(&mut self) {
        if let Some(asker) = self.asker.take() {
            // The kernel waits until no processor reads its sockets any more; the room's thread need not.
            drop(tokio::task::spawn_blocking(move || drop(asker)));
        }
    }
}
