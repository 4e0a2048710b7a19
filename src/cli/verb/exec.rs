//! `wait … -- CMD`: this process becomes CMD, so that its exit code and all signals are its own. Never returns where
//! that works.

use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

use crate::{
    cli::out,
    exit::Code,
    sys::{
        limits::{self, OpenFiles},
        signals,
    },
};

/// Becomes the program, with the limits and signals that we were started with; gives a shell's code where it cannot.
pub fn become_program(program: &[OsString], files_before: Option<OpenFiles>) -> Code {
    let Some((name, arguments)) = program.split_first() else { return Code::Passed };
    signals::restore_for_program();
    if let Some(limits) = files_before {
        limits::restore_open_files(limits);
    }
    let error = Command::new(name).args(arguments).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::NotExecutable,
    };
    out::fail(code, format_args!("run {}: {error}", name.display()))
}
