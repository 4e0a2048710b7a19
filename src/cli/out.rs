//! What commands say: findings on stdout, sentences for people on stderr. A reader that went away is no error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;

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

/// Says a line on stderr. Nobody may be there to read it.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
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
