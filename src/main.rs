//! The program: arguments → run → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    netjobs::cli::main(std::env::args_os()).into()
}
