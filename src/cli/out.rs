//! What commands say: findings on stdout, sentences for people on stderr. A reader that went away is no error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use nix::poll::{PollFd, PollFlags, poll};

use crate::exit::Code;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether a stream gets colours.
    pub fn on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !refused && stream.is_terminal()
            }
        }
    }
}

/// Writes a whole text to stdout; `code` stays the verdict where the reader went away, such as `head`.
pub fn print(text: &str, code: Code) -> Code {
    print_bytes(text.as_bytes(), code)
}

/// The same for bytes.
pub fn print_bytes(bytes: &[u8], code: Code) -> Code {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => fail(Code::Failed, format_args!("write to stdout: {error}")),
    }
}

/// Says on stderr what went wrong, and gives the code on.
pub fn fail(code: Code, what: impl Display) -> Code {
    say(format_args!("error: {what}"));
    code
}

/// Says that the system refuses a thread, without which the program cannot go on.
pub fn no_thread(error: impl Display) -> Code {
    let hint = "raise the limit of processes and threads (`ulimit -u`, the pids limit of the container)";
    fail(Code::Failed, format_args!("start a thread: {error}\nhint: {hint}"))
}

/// Says a line on stderr. Nobody may be there to read it: a pipe that stays full costs the line, and no more than a second.
pub fn say(line: impl Display) {
    let mut stderr = io::stderr();
    for piece in format!("{line}\n").as_bytes().chunks(PIECE) {
        if !has_room(stderr.as_fd()) || stderr.write_all(piece).is_err() {
            return;
        }
    }
}

/// What a pipe takes without waiting, if it takes anything: `PIPE_BUF` of pipe(7).
const PIECE: usize = 4096;

/// Whether a write of a piece will not wait. Only the first that finds no room waits for some.
fn has_room(stream: BorrowedFd<'_>) -> bool {
    static STUCK: AtomicBool = AtomicBool::new(false);
    let patience: u16 = if STUCK.load(Ordering::Relaxed) { 0 } else { 1000 };
    let mut asked = [PollFd::new(stream, PollFlags::POLLOUT)];
    let full = poll(&mut asked, patience) == Ok(0);
    STUCK.store(full, Ordering::Relaxed);
    !full
}

/// `1 job`, `2 jobs`.
pub fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_colours_outweighs_the_terminal() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Color::Always.on(&file));
        assert!(!Color::Never.on(&file));
        assert!(!Color::Auto.on(&file));
    }
}
