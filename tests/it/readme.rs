//! The README is true: its job files are right, its screens are what the program prints, its table names every kind.

use std::{fs, path::PathBuf};

use netjobs::kind::KINDS;
use regex::Regex;

use crate::program::{check, netjobs};

fn readme() -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let text = readme();
    let blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// What the README shows below a command, up to the next blank line.
fn shown(command: &str) -> Vec<String> {
    let prompt = format!("$ {command}\n");
    let block = blocks("console").into_iter().find(|block| block.contains(&prompt)).unwrap();
    let rest = block.split(&prompt).nth(1).unwrap();
    rest.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Lines without their times, in one order: jobs end as they end.
fn without_times(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let time = Regex::new(r" [0-9.]+ (µs|ms|s)$").unwrap();
    let mut lines: Vec<String> = lines.into_iter().map(|line| time.replace(&line, "").into_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn every_job_file_of_the_readme_is_right() {
    let files: Vec<String> = blocks("yaml").into_iter().filter(|block| block.contains("jobs:")).collect();
    assert!(files.len() >= 2);
    for text in files {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.yaml");
        fs::write(&file, &text).unwrap();
        check(&["check", &file.display().to_string()], 0);
    }
}

#[test]
fn the_demo_prints_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let output = netjobs(&["once"]).current_dir(folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let printed = without_times(err.lines().chain(out.lines()).map(str::to_owned));
    assert_eq!(printed, without_times(shown("netjobs once")));
}

#[test]
fn a_mistake_is_told_as_the_readme_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("lan.yaml"),
        "jobs:\n  - name: gateway\n    every: 30\n    ping: { host: 10.0.2.2 }\n",
    )
    .unwrap();
    let output = netjobs(&["check", "lan.yaml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let printed = [output.stdout, output.stderr].concat();
    assert_eq!(
        String::from_utf8(printed).unwrap().lines().collect::<Vec<_>>(),
        shown("netjobs check lan.yaml")
    );
}

#[test]
fn the_table_of_kinds_names_every_kind_and_nothing_else() {
    let text = readme();
    let table = text.split("## The nine kinds").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(rows, KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>());
}

/// The words after `netjobs` in the table of kinds are a verb that exists, with flags that exist.
#[test]
fn every_line_of_the_table_is_a_command_that_is_understood() {
    let text = readme();
    let lines: Vec<&str> = text.split('`').filter(|piece| piece.starts_with("netjobs ")).collect();
    assert!(lines.len() >= 12, "{lines:?}");
    let flag = Regex::new(r"--([a-z.-]+)").unwrap();
    for line in lines {
        let verb = line.split_whitespace().nth(1).unwrap();
        let help = check(&[verb, "--help"], 0);
        for found in flag.find_iter(line.split(" -- ").next().unwrap()) {
            assert!(help.contains(found.as_str()), "{line}: {} is no flag", found.as_str());
        }
    }
}
