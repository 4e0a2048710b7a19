//! Linux capabilities: which this process keeps, and raising one of them around a single open. See capabilities(7).
//!
//! Capabilities belong to threads: `keep_only` must run before the first thread starts, and what it took away never
//! comes back. A right is effective only inside `with`; everywhere else the process acts as any other user's would.

use caps::{CapSet, Capability, CapsHashSet};

/// What this program may need beyond a user's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Raw sockets: ICMP on any machine.
    NetRaw,
    /// Listening on ports below 1024.
    NetBindService,
}

impl Right {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::NetRaw, Self::NetBindService];

    /// Its name in capabilities(7).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
        }
    }

    const fn capability(self) -> Capability {
        match self {
            Self::NetRaw => Capability::CAP_NET_RAW,
            Self::NetBindService => Capability::CAP_NET_BIND_SERVICE,
        }
    }
}

/// Whether this thread could raise a right.
pub fn has(right: Right) -> bool {
    caps::has_cap(None, CapSet::Permitted, right.capability()).unwrap_or(false)
}

/// Runs `open` with the right raised in this thread, if it is permitted; lowers it again after it, also on a panic.
///
/// Without the right `open` runs all the same: the system says what it thinks of that.
pub fn with<T>(right: Right, open: impl FnOnce() -> T) -> T {
    let _raised = Raised::new(right);
    open()
}

/// A right that is effective until this is dropped.
struct Raised(Option<Capability>);

impl Raised {
    fn new(right: Right) -> Self {
        let capability = right.capability();
        let effective = caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        let raised = !effective && has(right) && caps::raise(None, CapSet::Effective, capability).is_ok();
        Self(raised.then_some(capability))
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(capability) = self.0 {
            let _ = caps::drop(None, CapSet::Effective, capability);
        }
    }
}

/// Gives up every capability but these, which stay permitted and are effective only inside [`with`].
///
/// A process without capabilities stays as it is. Programs that are started later by the super-user get theirs back
/// from the kernel, others get none.
pub fn keep_only(rights: &[Right]) {
    let Ok(permitted) = caps::read(None, CapSet::Permitted) else { return };
    let kept: CapsHashSet =
        rights.iter().map(|right| right.capability()).filter(|kept| permitted.contains(kept)).collect();
    // The kernel keeps effective within permitted, and ambient within both others: so from the inside out.
    let _ = caps::clear(None, CapSet::Ambient);
    let _ = caps::clear(None, CapSet::Effective);
    let _ = caps::clear(None, CapSet::Inheritable);
    let _ = caps::set(None, CapSet::Permitted, &kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective() -> CapsHashSet {
        caps::read(None, CapSet::Effective).unwrap()
    }

    /// Runs in a thread of its own, whose capabilities are nobody else's.
    fn apart(check: impl FnOnce() + Send + 'static) {
        std::thread::spawn(check).join().unwrap();
    }

    #[test]
    fn only_what_is_kept_stays_permitted_and_nothing_is_effective() {
        apart(|| {
            let had = has(Right::NetRaw);
            keep_only(&[Right::NetRaw]);
            assert!(effective().is_empty());
            assert_eq!(has(Right::NetRaw), had);
            assert!(!has(Right::NetBindService));
        });
    }

    #[test]
    fn a_right_is_effective_inside_with_and_gone_after_it_also_on_a_panic() {
        apart(|| {
            let had = has(Right::NetRaw);
            keep_only(Right::ALL);
            let inside = with(Right::NetRaw, || effective().contains(&Capability::CAP_NET_RAW));
            assert_eq!(inside, had);
            assert!(effective().is_empty());
            let panicked = std::panic::catch_unwind(|| with(Right::NetRaw, || panic!("on purpose")));
            assert!(panicked.is_err());
            assert!(effective().is_empty());
        });
    }

    #[test]
    fn without_the_right_the_open_is_tried_all_the_same() {
        apart(|| {
            keep_only(&[]);
            assert_eq!(with(Right::NetRaw, || 7), 7);
        });
    }
}
