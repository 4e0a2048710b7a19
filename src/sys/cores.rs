//! On which cores threads may run: `sched_setaffinity(2)`.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The numbers of the cores on which the calling thread may run.
pub fn allowed() -> nix::Result<Vec<usize>> {
    let set = sched_getaffinity(this_thread())?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Keeps the calling thread, and those that it starts from now on, on one core.
pub fn stay_on(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(this_thread(), &set)
}

/// 0 stands for the thread that asks.
fn this_thread() -> Pid {
    Pid::from_raw(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_the_core_that_it_chose() {
        let stays = || {
            let core = allowed().unwrap()[0];
            stay_on(core).unwrap();
            allowed().unwrap() == [core]
        };
        assert!(std::thread::spawn(stays).join().unwrap());
    }
}
