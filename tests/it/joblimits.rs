//! Inputs that are too large, too deep or no files at all: refused with a clear error, and before any large work is done.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use netjobs::job::load;
use nix::time::ClockId;

use crate::check;

/// The longest that a refusal may take.
const SOON: Duration = Duration::from_millis(200);

/// How much slower a build without optimisation may be.
fn slow() -> u32 {
    if cfg!(debug_assertions) { 10 } else { 1 }
}

/// What this thread has had of a core: other tests may keep it waiting.
fn own_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap().into()
}

/// A file that is refused soon with a sentence about it.
#[track_caller]
fn check_refused_soon(path: &Path, sentence: &str) {
    check_refused_within(SOON, path, sentence);
}

#[track_caller]
fn check_refused_within(bound: Duration, path: &Path, sentence: &str) {
    let began = own_time();
    let report = check::load(&[path]).report;
    let took = own_time().saturating_sub(began);
    let said = report.render(false);
    assert!(report.has_errors() && said.contains(sentence), "{said}");
    assert!(said.len() < 500_000, "{} bytes of output", said.len());
    assert!(took < bound * slow(), "{sentence}: {took:?}");
}

#[track_caller]
fn check_text_refused_soon(text: &str, sentence: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, text).unwrap();
    check_refused_soon(&file, sentence);
}

/// The same for a text of which a mebibyte has to be parsed.
#[track_caller]
fn check_text_refused(text: &str, sentence: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, text).unwrap();
    check_refused_within(5 * SOON, &file, sentence);
}

const MEBIBYTE: usize = 1 << 20;

/// Fault case 61: 1.6 MB of `[`, a scalar of 20 MB.
#[test]
fn large_texts_are_refused_before_they_are_read() {
    check_text_refused_soon(&"[".repeat(1_600_000), "larger than 1 MiB");
    check_text_refused_soon(&format!("jobs: \"{}\"", "x".repeat(20_000_000)), "larger than 1 MiB");
}

/// Fault case 61: a depth of a hundred thousand.
#[test]
fn deep_texts_are_refused_at_the_sixty_fifth_level() {
    check_text_refused_soon(&"[".repeat(MEBIBYTE), "nested deeper than 64 levels");
    check_text_refused_soon(&"{a: ".repeat(100_000), "nested deeper than 64 levels");
    check_text_refused_soon(&"- ".repeat(100_000), "nested deeper than 64 levels");
    let mixed = (0..100).map(|level| " ".repeat(level * 2)).collect::<Vec<_>>().join("- [\n");
    check_text_refused_soon(&mixed, "");
}

/// Fault case 61: bombs.
#[test]
fn bombs_of_aliases_and_merge_keys_are_refused_before_they_go_off() {
    let (mut lists, mut maps) =
        (String::from("jobs:\n  - a0: &a0 [x]\n"), String::from("jobs:\n  - a0: &a0 { k: x }\n"));
    for level in 1..60 {
        let alias = format!("*a{},", level - 1);
        let _ = writeln!(lists, "    a{level}: &a{level} [{}]", alias.repeat(10));
        let _ = writeln!(
            maps,
            "    a{level}: &a{level} {{ <<: [{}], k{level}: {{ <<: *a{} }} }}",
            alias.repeat(10),
            level - 1
        );
    }
    check_text_refused_soon(&lists, "aliases of this file stand for more than");
    check_text_refused_soon(&maps, "aliases of this file stand for more than");
}

#[test]
fn a_mebibyte_of_odd_text_is_refused_in_a_second() {
    let fill = |text: &str| text.repeat(MEBIBYTE / text.len() - 1);
    check_text_refused(&format!("jobs: [{}", fill("a,")), "");
    check_text_refused(&fill("? "), "");
    check_text_refused(&fill("&a "), "");
    check_text_refused(&format!("jobs:\n{}", fill(" - a\n")), "a job is a map");
    check_text_refused(&format!("{}: x", "k".repeat(MEBIBYTE - 10)), "");
}

#[test]
fn half_a_mebibyte_of_keys_is_judged_in_time_that_grows_with_it() {
    let mut text = String::from("jobs:\n  - name: a\n    ipv6: {}\n    labels:\n");
    for key in 0..30_000 {
        let _ = writeln!(text, "      k{key}: x");
    }
    let began = own_time();
    let report = load::load_texts(&[("a.yaml", &text)], &check::environment()).report;
    assert!(report.has_errors() && report.render(false).contains("30000 labels"));
    let took = own_time().saturating_sub(began);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn only_regular_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&path("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check_refused_soon(&path("fifo.yaml"), "fifo.yaml: not a regular file");
    check_refused_soon(Path::new("/dev/zero"), "/dev/zero: not a regular file");
    symlink("/dev/zero", path("zero.yaml")).unwrap();
    check_refused_soon(&path("zero.yaml"), "not a regular file");
    symlink("loop.yaml", path("loop.yaml")).unwrap();
    check_refused_soon(&path("loop.yaml"), "loop.yaml: ");
    check_refused_soon(&path("none.yaml"), "none.yaml: no such file");
    let said = check::load(&[folder.path()]).report.render(false);
    assert_eq!(said.matches("not a regular file").count(), 2, "{said}");
}

#[test]
fn a_folder_is_its_yaml_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    check_refused_soon(folder.path(), "no `*.yaml` or `*.yml` in this folder");
    fs::create_dir(path("below.yaml")).unwrap();
    fs::write(path("notes.txt"), "[").unwrap();
    check_refused_soon(folder.path(), "no `*.yaml` or `*.yml` in this folder");
    let job = |name: &str| format!("jobs:\n  - name: {name}\n    ipv6: {{}}\n");
    fs::write(path("b.yml"), job("second")).unwrap();
    fs::write(path("target"), job("first")).unwrap();
    symlink(path("target"), path("a.yaml")).unwrap();
    let loaded = check::check_valid(folder.path());
    let names: Vec<&str> = loaded.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    let twice = check::load(&[folder.path(), &path("b.yml")]);
    assert_eq!(twice.jobs.len(), 2, "{}", twice.report.render(false));
}

#[test]
fn more_than_ten_thousand_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..10_001 {
        fs::write(folder.path().join(format!("{file}.yaml")), "").unwrap();
    }
    let report = check::load(&[folder.path()]).report;
    assert!(report.render(false).contains("more than 10000 files"));
}

#[test]
fn a_file_that_anybody_may_write_to_is_not_run_by_root() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "jobs:\n  - name: a\n    ipv6: {}\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let report = check::load(&[&file]).report;
    assert_eq!(report.has_errors(), nix::unistd::geteuid().is_root(), "{}", report.render(false));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    check::check_valid(&file);
}

#[test]
fn all_mistakes_of_all_files_come_in_one_go_sorted_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "b.yaml",
        "jobs:\n  - name: a\n    evry: 1s\n    ipv6: {}\n  - name: b\n    every: 1\n    ipv6: {}\n",
    );
    write("a.yaml", "jobs: [\n");
    write(
        "c.yaml",
        "jobs:\n  - name: c\n    needs: [a, x]\n    every: 0s\n    labels: { job: x }\n    ipv6: {}\n",
    );
    write("netjobs.yaml", "defaults: { retry: 3 }\n");
    let report = check::load(&[folder.path()]).report;
    let places: Vec<(String, usize)> = report
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.place.as_ref().unwrap())
        .map(|place| (place.source.name.rsplit('/').next().unwrap().to_owned(), place.line_column().0))
        .collect();
    let wanted = [
        ("a.yaml", 1),
        ("b.yaml", 3),
        ("b.yaml", 6),
        ("c.yaml", 3),
        ("c.yaml", 4),
        ("c.yaml", 5),
        ("netjobs.yaml", 1),
    ];
    assert_eq!(places, wanted.map(|(name, line)| (name.to_owned(), line)), "{}", report.render(false));
}

/// Ten thousand jobs with five keys each, of several kinds, in files of a thousand.
fn many(folder: &Path) -> Vec<PathBuf> {
    (0..10)
        .map(|file| {
            let mut text = String::from("defaults: { labels: { site: lab } }\njobs:\n");
            for job in 0..1_000 {
                let number = file * 1_000 + job;
                let _ = write!(
                    text,
                    "  - name: job-{number}\n    every: 10s\n    labels: {{ rack: \"{}\" }}\n",
                    number % 40
                );
                let _ = writeln!(
                    text,
                    "    ping: {{ host: 10.{}.{}.{}, count: 3, timeout: 1s }}",
                    number / 65_536,
                    number / 256 % 256,
                    number % 256
                );
                let _ = writeln!(text, "    expect: {{ loss: \"<= 5%\", rtt_p95: \"< 20ms\" }}");
                if job > 0 {
                    let _ = writeln!(text, "    needs: [job-{}]", number - 1);
                }
            }
            let path = folder.join(format!("{file}.yaml"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect()
}

#[test]
fn ten_thousand_jobs_load_in_seconds_even_without_optimisation() {
    let folder = tempfile::tempdir().unwrap();
    let paths = many(folder.path());
    let began = own_time();
    let loaded = load::load(&paths, &check::environment());
    let took = own_time().saturating_sub(began);
    assert!(loaded.report.diagnostics.is_empty(), "{}", loaded.report.render(false));
    assert_eq!(loaded.jobs.len(), 10_000);
    println!("10,000 jobs in {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
