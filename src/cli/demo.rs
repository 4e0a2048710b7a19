//! The built-in demo: the job file of each kind, inside the binary, for a first run without any file.

use crate::kind::EXAMPLES;

/// The files' names and texts, in name order, as a folder of them is read.
pub fn files() -> Vec<(String, &'static str)> {
    let mut files: Vec<_> = EXAMPLES.iter().map(|(name, text)| (format!("demo/{name}"), *text)).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_every_file_of_jobs() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("demo/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        names.sort();
        let embedded: Vec<String> = files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(embedded, names);
    }
}
