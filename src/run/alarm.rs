//! The engine's own timer. tokio's rounds up to milliseconds, and for what is further away than 64 of them it wakes the thread
//! twice.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use crate::sys::interest::register;

/// Sleeps; by tokio's timers where it has no timer of its own, which serves as well.
#[derive(Debug, Default)]
pub struct Alarm(Option<Timer>);

#[derive(Debug)]
struct Timer {
    set: TimerFd,
    /// The same timer, to be waited for.
    rings: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// One by the boot clock, which also goes on while the machine sleeps. Must be made in the runtime that waits for it.
    pub(super) fn of_the_machine() -> Self {
        Self(Timer::new().ok())
    }

    /// Sleeps for a while. May return early where a sleep before was given up at its end.
    pub(super) async fn sleep(&self, pause: Duration) {
        match self.0.as_ref().filter(|timer| timer.set(pause).is_ok()) {
            // It tells each end once, and need not be read: setting it anew does that.
            Some(timer) => drop(timer.rings.readable().await.map(|mut end| end.clear_ready())),
            None => sleep(pause).await,
        }
    }
}

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let set = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        let rings = register(set.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { set, rings })
    }

    fn set(&self, pause: Duration) -> nix::Result<()> {
        // A pause of zero would switch it off.
        let pause = pause.max(Duration::from_nanos(1));
        self.set.set(Expiration::OneShot(TimeSpec::from(pause)), TimerSetTimeFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn each_sleep_takes_its_time_also_after_one_that_was_given_up() {
        let (long, short) = (Duration::from_mins(1), Duration::from_millis(5));
        for alarm in [Alarm::of_the_machine(), Alarm::default()] {
            tokio::select! {
                biased;
                () = alarm.sleep(long) => panic!("a minute is not over"),
                () = std::future::ready(()) => {}
            }
            for pause in [short, Duration::ZERO, short] {
                let start = Instant::now();
                alarm.sleep(pause).await;
                assert!(start.elapsed() >= pause && start.elapsed() < long);
            }
        }
    }
}
