//! The README is true: its job files are right, its screens are what the program prints, its table names every kind.

use std::{fs, path::PathBuf};

use netjobs::{cli, kind::KINDS};
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

/// What stands between backquotes on a line, or after the prompt.
fn commands(text: &str) -> Vec<Vec<String>> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let prompts = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let shown = spans.chain(prompts).filter(|command| command.starts_with("netjobs "));
    let command = |command: &str| command.split(" #").next().unwrap().split(" > ").next().unwrap().to_owned();
    let words = |command: String| {
        command.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect::<Vec<_>>()
    };
    shown.map(command).map(words).collect()
}

#[test]
fn every_command_in_the_readme_is_one_that_there_is() {
    let commands = commands(&readme());
    assert!(commands.len() >= 15, "{commands:?}");
    for command in commands {
        let read = cli::command().try_get_matches_from(&command);
        assert!(read.is_ok(), "{command:?}: {}", read.unwrap_err());
    }
}
