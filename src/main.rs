//! The program: arguments → run → exit code.

use std::{ffi::OsString, process::ExitCode};

use netjobs::kind::ipc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.as_slice() {
        [_, command, rest @ ..] if command == ipc::CHILD => {
            ExitCode::from(u8::from(ipc::child(rest).is_err()))
        }
        _ => ExitCode::SUCCESS,
    }
}
