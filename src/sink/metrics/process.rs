//! The seven gauges of the process itself, read from /proc (proc(5)) at each scrape. What cannot be read keeps its last
//! value: a process without descriptors still answers.

use std::fs;

use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{SysconfVar, sysconf},
};
use prometheus::{Counter, Gauge, Registry};

#[derive(Debug)]
pub(super) struct Process {
    cpu: Counter,
    open: Gauge,
    max: Gauge,
    resident: Gauge,
    virtual_: Gauge,
    threads: Gauge,
    ticks_per_second: f64,
    page_bytes: f64,
}

impl Process {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time spent.")?;
        registry.register(Box::new(cpu.clone()))?;
        let start = gauge("process_start_time_seconds", "When the process started.")?;
        let process = Self {
            cpu,
            open: gauge("process_open_fds", "Open file descriptors.")?,
            max: gauge("process_max_fds", "The most file descriptors that may be open.")?,
            resident: gauge("process_resident_memory_bytes", "Memory that is in RAM.")?,
            virtual_: gauge("process_virtual_memory_bytes", "Memory that is mapped.")?,
            threads: gauge("process_threads", "Threads of the process.")?,
            ticks_per_second: system(SysconfVar::CLK_TCK, 100.0),
            page_bytes: system(SysconfVar::PAGE_SIZE, 4096.0),
        };
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text));
        if let (Some(stat), Some(boot)) = (Stat::read(), boot) {
            start.set(boot + stat.start_ticks / process.ticks_per_second);
        }
        Ok(process)
    }

    /// Takes a new look.
    pub(super) fn read(&self) {
        if let Some(stat) = Stat::read() {
            let cpu = stat.cpu_ticks / self.ticks_per_second;
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.threads.set(stat.threads);
            self.virtual_.set(stat.virtual_bytes);
            self.resident.set(stat.resident_pages * self.page_bytes);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            self.open.set((entries.count() as f64 - 1.0).max(0.0));
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.max.set(soft as f64);
        }
    }
}

fn system(variable: SysconfVar, usual: f64) -> f64 {
    sysconf(variable).ok().flatten().map_or(usual, |value| value as f64)
}

/// What of /proc/self/stat is shown.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The command's name may hold blanks and brackets, so that fields are counted from the last bracket: field 3.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let text =
            "7 (a b) c) S 1 7 7 0 -1 4 5 6 7 8 11 22 3 4 20 0 9 0 1234 56789 42 18446744073709551615 1 1";
        let wanted = Stat {
            cpu_ticks: 33.0,
            threads: 9.0,
            start_ticks: 1234.0,
            virtual_bytes: 56789.0,
            resident_pages: 42.0,
        };
        assert_eq!(Stat::parse(text), Some(wanted));
        assert_eq!(Stat::parse("7 (a) S"), None);
    }

    #[test]
    fn this_process_has_believable_figures() {
        let process = Process::new(&Registry::new()).unwrap();
        process.read();
        assert!(process.open.get() >= 3.0 && process.open.get() <= process.max.get());
        assert!(process.threads.get() >= 1.0);
        assert!(process.resident.get() > 100_000.0 && process.virtual_.get() > process.resident.get());
        let before = process.cpu.get();
        process.read();
        assert!(process.cpu.get() >= before);
    }
}
