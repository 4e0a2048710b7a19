//! The kernel's numbers of links and addresses as the words that `ip` prints. Nothing here reads the machine.

/// Flags in the order in which they are printed; `IFF_RUNNING` is not among them, for its absence is `NO-CARRIER`.
const FLAGS: &[(u32, &str)] = &[
    (0x8, "LOOPBACK"),
    (0x2, "BROADCAST"),
    (0x10, "POINTOPOINT"),
    (0x1000, "MULTICAST"),
    (0x80, "NOARP"),
    (0x200, "ALLMULTI"),
    (0x100, "PROMISC"),
    (0x400, "MASTER"),
    (0x800, "SLAVE"),
    (0x4, "DEBUG"),
    (0x8000, "DYNAMIC"),
    (0x4000, "AUTOMEDIA"),
    (0x2000, "PORTSEL"),
    (0x20, "NOTRAILERS"),
    (UP, "UP"),
    (0x1_0000, "LOWER_UP"),
    (0x2_0000, "DORMANT"),
    (0x4_0000, "ECHO"),
];

/// `IFF_UP`.
pub(super) const UP: u32 = 0x1;
const RUNNING: u32 = 0x40;

/// `IF_OPER_…` (RFC 2863).
const OPER_STATES: &[&str] = &["UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"];

/// Names of the flags; bits without a name are one hexadecimal number. `lower_down`: the link below is switched off.
pub(super) fn flags(bits: u32, lower_down: bool) -> Vec<String> {
    let mut names = vec![];
    if bits & UP != 0 && bits & RUNNING == 0 {
        names.push("NO-CARRIER".to_owned());
    }
    let mut rest = bits & !RUNNING;
    for (bit, name) in FLAGS {
        if rest & bit != 0 {
            rest &= !bit;
            names.push((*name).to_owned());
        }
    }
    if rest != 0 {
        names.push(format!("{rest:x}"));
    }
    if lower_down {
        names.push("M-DOWN".to_owned());
    }
    names
}

/// The word of an operational state.
pub(super) fn oper_state(number: u8) -> &'static str {
    OPER_STATES.get(usize::from(number)).copied().unwrap_or("UNKNOWN")
}

/// The word of an `RT_SCOPE_…`.
pub(super) fn scope(number: u8) -> String {
    match number {
        libc::RT_SCOPE_UNIVERSE => "global".to_owned(),
        libc::RT_SCOPE_SITE => "site".to_owned(),
        libc::RT_SCOPE_LINK => "link".to_owned(),
        libc::RT_SCOPE_HOST => "host".to_owned(),
        libc::RT_SCOPE_NOWHERE => "nowhere".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_names_and_the_order_of_ip() {
        assert_eq!(flags(0x1_0049, false), ["LOOPBACK", "UP", "LOWER_UP"]);
        assert_eq!(flags(0x1003, true), ["NO-CARRIER", "BROADCAST", "MULTICAST", "UP", "M-DOWN"]);
        assert_eq!(flags(0x8000_0002, false), ["BROADCAST", "80000000"]);
    }

    #[test]
    fn an_unknown_state_is_unknown() {
        assert_eq!(oper_state(6), "UP");
        assert_eq!(oper_state(99), "UNKNOWN");
    }
}
