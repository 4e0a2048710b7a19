//! The exit codes, a sentence each, and which of them a finished runner ends with.

use std::process::ExitCode;

use crate::run::{Signal, Summary};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// All passed; also a daemon or service verb that a signal ended and that drained in time.
    Passed = 0,
    /// Something failed or errored.
    Failed = 1,
    /// The files or the command line are wrong.
    Usage = 2,
    /// Every job that did not pass lacked a right.
    Permission = 77,
    /// A `wait` verb ran out of time.
    TimedOut = 124,
    /// The program after `wait … --` may not be run; a shell's code for it.
    NotExecutable = 126,
    /// The program after `wait … --` does not exist; a shell's code for it.
    NotFound = 127,
    /// SIGINT ended a check or cut the drain short.
    Interrupted = 130,
    /// SIGTERM ended a check or cut the drain short.
    Terminated = 143,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Summary {
    /// The code that the runner ends with.
    pub fn exit_code(&self) -> Code {
        if self.interrupted || self.cut_short {
            return match self.signal {
                Some(Signal::Interrupt) => Code::Interrupted,
                Some(Signal::Terminate) => Code::Terminated,
                None => Code::Failed,
            };
        }
        if self.daemon || self.all_passed() {
            if self.unread == 0 { Code::Passed } else { Code::Failed }
        } else if self.only_lacked_rights() {
            Code::Permission
        } else {
            Code::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Reason, Verdict};

    #[track_caller]
    fn check(jobs: &[(Verdict, Option<Reason>)], change: impl FnOnce(&mut Summary), wanted: Code) {
        let named = jobs.iter().enumerate().map(|(at, found)| (at.to_string().into(), *found));
        let mut summary = Summary { jobs: named.collect(), ..Summary::default() };
        change(&mut summary);
        assert_eq!(summary.exit_code(), wanted);
    }

    const PASSED: (Verdict, Option<Reason>) = (Verdict::Passed, None);
    const FAILED: (Verdict, Option<Reason>) = (Verdict::Failed, Some(Reason::Refused));
    const LACKING: (Verdict, Option<Reason>) = (Verdict::Errored, Some(Reason::Permission));
    const SKIPPED: (Verdict, Option<Reason>) = (Verdict::Skipped, None);

    #[test]
    fn verdicts_make_the_code() {
        check(&[], |_| {}, Code::Passed);
        check(&[PASSED, PASSED], |_| {}, Code::Passed);
        check(&[PASSED, FAILED], |_| {}, Code::Failed);
        check(&[PASSED], |summary| summary.unread = 1, Code::Failed);
        check(&[PASSED, LACKING], |_| {}, Code::Permission);
        check(&[LACKING, FAILED], |_| {}, Code::Failed);
        check(&[LACKING, SKIPPED], |_| {}, Code::Permission);
        check(&[PASSED, SKIPPED], |_| {}, Code::Failed);
    }

    #[test]
    fn a_signal_makes_the_code_only_where_it_cut_something_off() {
        let ended = |summary: &mut Summary| summary.signal = Some(Signal::Terminate);
        check(&[PASSED], ended, Code::Passed);
        let interrupted =
            |summary: &mut Summary| (summary.signal, summary.interrupted) = (Some(Signal::Interrupt), true);
        check(&[PASSED], interrupted, Code::Interrupted);
        let cut =
            |summary: &mut Summary| (summary.signal, summary.cut_short) = (Some(Signal::Terminate), true);
        check(&[PASSED], cut, Code::Terminated);
        check(&[FAILED], |summary| summary.daemon = true, Code::Passed);
    }
}
