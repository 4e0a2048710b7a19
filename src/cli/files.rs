//! Which job files a command means: those of the command line, else `./jobs`, else the built-in demo.

use std::path::{Path, PathBuf};

use super::{
    demo,
    out::{self, Color},
};
use crate::{
    exit::Code,
    job::load::{self, Environment, Loaded, Seen},
};

/// Where jobs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// Files and folders.
    Paths(Vec<PathBuf>),
    /// The built-in demo.
    Demo,
}

impl Files {
    /// What the paths of a command line mean; says so where they mean the demo.
    pub fn of(paths: &[PathBuf]) -> Self {
        let default = Path::new("jobs");
        if !paths.is_empty() {
            Self::Paths(paths.to_vec())
        } else if default.is_dir() {
            Self::Paths(vec![default.into()])
        } else {
            out::say("no ./jobs here: running the built-in demo");
            Self::Demo
        }
    }

    /// Reads them, as they are now.
    pub fn load(&self) -> Loaded {
        let environment = Environment::of_process();
        match self {
            Self::Paths(paths) => load::load(paths, &environment),
            Self::Demo => {
                let files = demo::files();
                let texts: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
                load::load_texts(&texts, &environment)
            }
        }
    }

    /// Reads them and prints what is wrong; an error is the code to end with.
    pub fn load_or_say(&self, color: Color) -> Result<Loaded, Code> {
        let loaded = self.load();
        if !loaded.report.diagnostics.is_empty() {
            out::say(loaded.report.render(color.on(&std::io::stderr())).trim_end());
        }
        if loaded.report.has_errors() { Err(Code::Usage) } else { Ok(loaded) }
    }

    /// The name of the whole, for reports: the last part of the first path, or `demo`.
    pub fn name(&self) -> String {
        let first = match self {
            Self::Demo => return "demo".into(),
            Self::Paths(paths) => {
                paths.first().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
            }
        };
        let name = first.as_deref().and_then(Path::file_name);
        name.map_or_else(|| "jobs".into(), |name| name.to_string_lossy().into_owned())
    }
}

/// Says which files could be read only with rights that this program has given up by now.
pub fn say_closed(seen: &Seen) {
    let is_closed = |file: &&Path| {
        std::fs::File::open(file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    for file in seen.files().filter(is_closed) {
        out::say(format_args!(
            "{}: note: it was read with root's right to read every file, which is given up now; a reload will be refused\n\
             hint: make root its owner, or let others read it",
            file.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_paths_outweigh_everything_and_name_the_whole() {
        let files = Files::of(&["/tmp/../tmp".into(), "b".into()]);
        assert_eq!(files, Files::Paths(vec!["/tmp/../tmp".into(), "b".into()]));
        assert_eq!(files.name(), "tmp");
        assert_eq!(Files::Demo.name(), "demo");
    }
}
