//! Job files as a whole: whatever a text holds, each diagnostic stands inside it, can be shown, and steers no terminal.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netjobs::job::load::{Environment, Loaded, load_texts};

static ENVIRONMENT: LazyLock<Environment> =
    LazyLock::new(|| Environment::new("lab", |name| (name == "PORT").then(|| "8800".to_owned())));

fuzz_target!(|text: &str| {
    let loaded = load_texts(&[("a.yaml", text)], &ENVIRONMENT);
    for diagnostic in &loaded.report.diagnostics {
        let Some(place) = &diagnostic.place else { continue };
        let (whole, span) = (&place.source.text, place.span.clone());
        assert!(whole.get(span.clone()).is_some(), "{span:?} is no part of the text: {}", diagnostic.message);
        let (line, column) = place.line_column();
        assert!(line >= 1 && line <= whole.split('\n').count() && column >= 1);
    }
    // Showing takes longer than reading: one text in four is enough.
    if text.len().is_multiple_of(4) {
        let shown = loaded.report.render(false);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert_eq!(loaded.report.to_json().as_array().map(Vec::len), Some(loaded.report.diagnostics.len()));
    }
    if loaded.report.has_errors() {
        return;
    }
    let again = load_texts(&[("a.yaml", text)], &ENVIRONMENT);
    assert_eq!(summary(&loaded), summary(&again));
    let mut names: Vec<_> = loaded.jobs.iter().map(|job| job.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), loaded.jobs.len(), "two jobs of one name");
});

fn summary(loaded: &Loaded) -> Vec<(String, u64)> {
    loaded.jobs.iter().map(|job| (job.name.to_string(), job.identity)).collect()
}
