//! How glibc's malloc keeps what is freed: mallopt(3), `malloc_trim(3)`. Another C library is left as it is.
//!
//! By default eight arenas a core are made, one for almost each thread here, and a thread can use nothing that was freed in
//! another's. What a reload or a scrape needs for a moment is taken on another thread each time, so that in the end each
//! arena has kept room for the largest of everything.
#![allow(unsafe_code, reason = "the allocator's settings are C functions without a safe face")]

use std::{ffi::c_int, thread};

/// The most arenas, however many cores there are.
const ARENAS: usize = 8;
/// What is larger has pages of its own, which go back at once. A fixed bound: glibc's own rises to what was freed last, and
/// then a log that waited once (4 MiB) stays in an arena.
const LARGE: c_int = 128 << 10;

/// Has threads share arenas, one a core; to be called before there is a second thread.
pub fn share() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let arenas = c_int::try_from(cores.clamp(1, ARENAS)).unwrap_or(1);
    set(arenas);
}

#[cfg(target_env = "gnu")]
fn set(arenas: c_int) {
    for (setting, value) in [(libc::M_ARENA_MAX, arenas), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: takes two numbers, and the allocator's own lock. What it refuses stays as it was.
        unsafe { libc::mallopt(setting, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn set(_: c_int) {}

/// Gives back the pages on which nothing stands any more: after a reload, which uses much for a moment. Takes up to 0.3 ms for
/// a heap of 8 MB and 3.4 ms of CPU for 50 MB (10,000 jobs), in which other threads wait that allocate.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: takes a number, and each arena's own lock.
    unsafe { libc::malloc_trim(0) };
}

/// Gives nothing back.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(target_env = "gnu")]
#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use nix::unistd::{SysconfVar, sysconf};

    use super::*;

    /// How many of these pages of ours are in memory.
    fn present(pages: &[usize]) -> usize {
        let map = File::open("/proc/self/pagemap").unwrap();
        let is_present = |page: &&usize| {
            let mut entry = [0; 8];
            map.read_exact_at(&mut entry, **page as u64 * 8).unwrap();
            u64::from_ne_bytes(entry) >> 63 == 1
        };
        pages.iter().filter(is_present).count()
    }

    #[test]
    fn pages_that_were_freed_between_blocks_in_use_go_back() {
        let page = usize::try_from(sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap()).unwrap();
        let blocks: Vec<Vec<u8>> = (0..4000).map(|_| vec![1; page / 2]).collect();
        let pages: Vec<usize> = blocks.iter().map(|block| block.as_ptr().addr() / page).collect();
        let kept: Vec<Vec<u8>> = blocks.into_iter().step_by(100).collect();
        let before = present(&pages);
        give_back();
        let after = present(&pages);
        assert!(kept.len() <= after && after < before / 2, "{before} pages, then {after}");
    }
}
