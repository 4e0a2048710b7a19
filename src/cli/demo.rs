//! The built-in demo: the files of `jobs/`, inside the binary, for a first run without any file.

/// The files' names and texts, in name order.
pub static FILES: &[(&str, &str)] = &[
    ("demo/echo.yaml", include_str!("../../jobs/echo.yaml")),
    ("demo/exchange.yaml", include_str!("../../jobs/exchange.yaml")),
    ("demo/forward.yaml", include_str!("../../jobs/forward.yaml")),
    ("demo/interfaces.yaml", include_str!("../../jobs/interfaces.yaml")),
    ("demo/ipc.yaml", include_str!("../../jobs/ipc.yaml")),
    ("demo/ipv6.yaml", include_str!("../../jobs/ipv6.yaml")),
    ("demo/ping.yaml", include_str!("../../jobs/ping.yaml")),
    ("demo/sweep.yaml", include_str!("../../jobs/sweep.yaml")),
    ("demo/wait.yaml", include_str!("../../jobs/wait.yaml")),
];

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
        let embedded: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(embedded, names);
    }
}
