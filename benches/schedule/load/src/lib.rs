//! What the comparators share: what they are asked for, and the list of their starts.
//!
//! Each takes `every MILLISECONDS JOBS FILE` or `cron SECONDS JOBS FILE` (all jobs at each instant that is divisible by
//! so many seconds), prints `ready` once all jobs are planned, and at the end of stdin writes FILE: for each start three
//! little-endian numbers of 8 bytes: the job, when it was due and when it started, in nanoseconds of the wall clock; due
//! is 0 where the scheduler does not tell.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What goes wrong is told and ends the program.
pub type Failure = Box<dyn Error + Send + Sync>;

/// When jobs start.
#[derive(Clone, Copy)]
pub enum Schedule {
    /// With this period, spread evenly over it.
    Every(Duration),
    /// All at once, at instants that are divisible by so many seconds.
    Cron(u32),
}

/// What is asked for.
pub struct Asked {
    pub schedule: Schedule,
    pub jobs: u32,
    file: String,
}

impl Asked {
    pub fn parse() -> Result<Self, Failure> {
        let words: Vec<_> = env::args().skip(1).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let [schedule, number, jobs, file] = words[..] else {
            return Err("SCHEDULE NUMBER JOBS FILE".into());
        };
        let schedule = match schedule {
            "every" => Schedule::Every(Duration::from_millis(number.parse()?)),
            "cron" => Schedule::Cron(number.parse()?),
            other => return Err(format!("`{other}` is neither `every` nor `cron`").into()),
        };
        Ok(Self { schedule, jobs: jobs.parse()?, file: file.to_owned() })
    }

    /// The first instant of a job after a moment, and its period.
    pub fn instants(&self, job: u32, after: Duration) -> (Duration, Duration) {
        let (period, phase) = match self.schedule {
            Schedule::Every(period) => (period, period * job / self.jobs),
            Schedule::Cron(seconds) => (Duration::from_secs(seconds.into()), Duration::ZERO),
        };
        (next(after, period, phase), period)
    }

    /// Says that all is planned, and waits for the end of stdin.
    pub fn wait(&self) -> Result<(), Failure> {
        println!("ready");
        io::stdout().flush()?;
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }

    pub fn write(&self, starts: &Starts) -> Result<(), Failure> {
        let found = starts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = found.iter().flatten().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
        Ok(fs::write(&self.file, bytes)?)
    }
}

/// The first instant later than a moment that is the phase and a whole number of periods.
pub fn next(after: Duration, period: Duration, phase: Duration) -> Duration {
    let (after, period, phase) = (after.as_nanos(), period.as_nanos(), phase.as_nanos());
    let nanos = ((after - phase) / period + 1) * period + phase;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Starts that took place.
#[derive(Clone)]
pub struct Starts(Arc<Mutex<Vec<[u64; 3]>>>);

impl Starts {
    /// With room for so many, so that none waits for memory.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::with_capacity(1 << 20))))
    }

    /// A job starts now; `due`: none where the scheduler does not tell.
    pub fn add(&self, job: u32, due: Option<Duration>) {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let start = [job.into(), due.map_or(0, nanos), nanos(now())];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(start);
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self::new()
    }
}

/// The wall clock.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
