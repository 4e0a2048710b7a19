//! Listeners from the service manager: `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`, see `sd_listen_fds(3)`.
//!
//! A descriptor that has the name of a job is a listener of this job; one of the name `http` serves metrics, unless a job is
//! called so. What cannot be used is named and closed, and the program goes on.

use std::{ffi::OsString, net::TcpListener, os::fd::OwnedFd, process};

use super::out;
use crate::{job::load::Loaded, net::listen::Pool, sys::inherit};

/// The name of the descriptor that serves metrics.
const HTTP: &str = "http";

/// What was handed over.
#[derive(Debug, Default)]
pub struct Handed(Vec<(String, OwnedFd)>);

impl Handed {
    /// Takes all of it, as the first thing that a process does.
    pub fn take() -> Self {
        let [pid, count, names] = inherit::take_variables(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]);
        let count = match count_of(pid, count, process::id()) {
            Ok(count) => count,
            Err(why) => {
                out::say(format_args!("warning: {why}; nothing is taken from the service manager"));
                return Self::default();
            }
        };
        let taken = inherit::take_descriptors(count);
        if taken.len() < count {
            let missing = usize::try_from(inherit::FIRST).unwrap_or_default() + taken.len();
            out::say(format_args!(
                "warning: LISTEN_FDS says {count}, but descriptor {missing} is not open; {} taken",
                out::plural(taken.len(), "descriptor")
            ));
        }
        Self(named(names, count).into_iter().zip(taken).collect())
    }

    /// Gives each to its job, whether it is in force or left out for now; the rest is named and closed. What comes back
    /// serves metrics.
    pub fn give(self, loaded: &Loaded, pool: &Pool) -> Option<TcpListener> {
        let jobs = loaded.jobs.iter().map(|job| job.name.as_str());
        let names: Vec<&str> = jobs.chain(loaded.left_out.iter().map(|(name, _)| name.as_str())).collect();
        let mut http = None;
        for (name, descriptor) in self.0 {
            let taken = if names.contains(&name.as_str()) {
                pool.adopt(&name, descriptor)
            } else if name == HTTP && http.is_none() {
                tcp(descriptor).map(|listener| http = Some(listener))
            } else {
                let name = name.escape_debug();
                out::say(format_args!(
                    "warning: a descriptor of the service manager is called `{name}`, and no job is: it is closed\n\
                     hint: a socket unit says `FileDescriptorName=` and the job's name, or `{HTTP}` for the metrics"
                ));
                continue;
            };
            if let Err(error) = taken {
                let name = name.escape_debug();
                out::say(format_args!(
                    "warning: the descriptor `{name}` of the service manager {error}: it is closed"
                ));
            }
        }
        http
    }
}

/// A listener for metrics.
fn tcp(descriptor: OwnedFd) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::from(descriptor);
    let is_tcp = socket.is_listener().unwrap_or(false)
        && socket.local_addr().is_ok_and(|address| address.as_socket().is_some());
    if is_tcp { Ok(socket.into()) } else { Err(std::io::Error::other("is no TCP listener")) }
}

/// How many descriptors are meant for this process.
fn count_of(pid: Option<OsString>, count: Option<OsString>, own: u32) -> Result<usize, String> {
    let number = |name: &str, value: OsString| {
        let number = value.to_str().and_then(|text| text.parse::<u32>().ok());
        number.ok_or_else(|| {
            format!("{name} is `{}`, which is no number", value.to_string_lossy().escape_debug())
        })
    };
    let Some(pid) = pid else { return Ok(0) };
    if number("LISTEN_PID", pid)? != own {
        // They were another's, who started us.
        return Ok(0);
    }
    let Some(count) = count else { return Ok(0) };
    number("LISTEN_FDS", count).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// The names of so many descriptors; those that have none are called as the manual says.
fn named(names: Option<OsString>, count: usize) -> impl IntoIterator<Item = String> {
    let names = names.map(|names| names.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = names.split(':').filter(|_| !names.is_empty()).map(str::to_owned).collect();
    names.into_iter().chain(std::iter::repeat("unknown".to_owned())).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pid: Option<&str>, count: Option<&str>, wanted: Result<usize, &str>) {
        let found = count_of(pid.map(Into::into), count.map(Into::into), 7);
        assert_eq!(found, wanted.map_err(str::to_owned));
    }

    #[test]
    fn only_numbers_for_this_process_count() {
        check(Some("7"), Some("2"), Ok(2));
        check(Some("8"), Some("2"), Ok(0));
        check(None, Some("2"), Ok(0));
        check(Some("7"), None, Ok(0));
        check(Some("7"), Some("x\n"), Err("LISTEN_FDS is `x\\n`, which is no number"));
        check(Some("7"), Some("-1"), Err("LISTEN_FDS is `-1`, which is no number"));
        check(Some(""), Some("1"), Err("LISTEN_PID is ``, which is no number"));
    }

    #[test]
    fn each_descriptor_has_a_name() {
        let names = |text: &str, count| named(Some(text.into()), count).into_iter().collect::<Vec<_>>();
        assert_eq!(names("a:b", 2), ["a", "b"]);
        assert_eq!(names("a::c:d", 3), ["a", "", "c"]);
        assert_eq!(names("a", 2), ["a", "unknown"]);
        assert_eq!(named(None, 1).into_iter().collect::<Vec<_>>(), ["unknown"]);
    }
}
