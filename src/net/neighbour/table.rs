//! The kernel's neighbour tables, which all network namespaces share: how much room is left, and what was entered by hand.

use std::{collections::HashSet, io, net::IpAddr};

use super::routes::address;
use crate::sys::netlink::{self, attributes, u16_at, u32_at};

/// A neighbour table's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Entries that there are, of all network namespaces.
    pub entries: u32,
    /// Entries that there may be (`gc_thresh3`).
    pub most: u32,
}

impl Table {
    /// How many more a single job may make: a quarter of the table stays for others. In one that is nearly full the kernel
    /// drops old entries for new ones.
    pub fn room(self) -> usize {
        let ours = (self.most / 4 * 3).saturating_sub(self.entries);
        usize::try_from(ours.max(self.most / 8)).unwrap_or_default()
    }
}

/// Bytes of `struct ndtmsg` and `struct ndmsg`.
const TABLE_HEADER: usize = 4;
const ENTRY_HEADER: usize = 12;
/// See linux/neighbour.h.
const THRESHOLD: u16 = 4;
const CONFIG: u16 = 5;
/// Where the entries are counted in `struct ndt_config`, after two numbers of two bytes.
const ENTRIES: usize = 4;
const TO: u16 = 1;

/// The table of a family.
pub fn table(v6: bool) -> io::Result<Table> {
    let family = u8::try_from(if v6 { libc::AF_INET6 } else { libc::AF_INET }).unwrap_or_default();
    let mut found = None;
    netlink::dump(libc::RTM_GETNEIGHTBL, &[family, 0, 0, 0], |body| {
        let values = || attributes(body.get(TABLE_HEADER..).unwrap_or_default());
        let value =
            |wanted, at| values().find(|(kind, _)| *kind == wanted).and_then(|(_, value)| u32_at(value, at));
        if body.first() == Some(&family) && found.is_none() {
            let figures = value(CONFIG, ENTRIES).zip(value(THRESHOLD, 0));
            found = figures.map(|(entries, most)| Table { entries, most });
        }
    })?;
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Neighbours that were entered by hand, with their interface: the kernel asks for none of them.
pub(super) fn by_hand() -> io::Result<HashSet<(u32, IpAddr)>> {
    let mut found = HashSet::new();
    netlink::dump(libc::RTM_GETNEIGH, &[0; ENTRY_HEADER], |body| found.extend(entry(body)))?;
    Ok(found)
}

fn entry(body: &[u8]) -> Option<(u32, IpAddr)> {
    const PERMANENT: u16 = 0x80;
    let (interface, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let mut attributes = attributes(body.get(ENTRY_HEADER..)?);
    let (_, to) = attributes.find(|(kind, _)| *kind == TO)?;
    if state & PERMANENT == 0 { None } else { Some((interface, address(to)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_say_how_many_they_hold() {
        for v6 in [false, true] {
            let table = table(v6).unwrap();
            assert!(table.most >= 16 && table.room() >= 2, "{table:?}");
        }
    }

    #[test]
    fn others_keep_their_part_of_the_table() {
        assert_eq!(Table { entries: 100, most: 1024 }.room(), 668);
        assert_eq!(Table { entries: 1000, most: 1024 }.room(), 128);
    }
}
