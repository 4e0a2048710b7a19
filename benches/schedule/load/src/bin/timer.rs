//! The bare timer: one thread that sleeps to the next instant and takes all jobs that are due; each takes one number.
//! What it is late is what the machine and its load make of it, and no scheduler is better.

use std::{cmp::Reverse, collections::BinaryHeap, thread, time::Duration};

use netjobs_schedule_load::{Asked, Failure, Starts, next, now};
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

fn main() -> Result<(), Failure> {
    let (asked, starts) = (Asked::parse()?, Starts::new());
    let begun = now();
    let mut heap: BinaryHeap<_> =
        (0..asked.jobs).map(|job| Reverse((asked.instants(job, begun).0, job))).collect();
    let (taken, (_, period)) = (starts.clone(), asked.instants(0, begun));
    thread::spawn(move || {
        while let Some(Reverse((due, job))) = heap.pop() {
            sleep_to(due);
            taken.add(job, Some(due));
            // What was slept over is left out.
            let late = now().saturating_sub(due);
            let again = if late < period { due + period } else { next(now(), period, due) };
            heap.push(Reverse((again, job)));
        }
    });
    asked.wait()?;
    asked.write(&starts)
}

/// Sleeps to a moment of the wall clock, which nobody sets meanwhile.
fn sleep_to(due: Duration) {
    while now() < due {
        let until = TimeSpec::from_duration(due);
        // A signal wakes too early: it looks again.
        let _ = clock_nanosleep(ClockId::CLOCK_REALTIME, ClockNanosleepFlags::TIMER_ABSTIME, &until);
    }
}
