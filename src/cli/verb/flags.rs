//! A kind's keys as flags, and given flags as the parameters that a job file would hold. Judges no value: the
//! loader does, so that the command line and a file are told the same.

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::{PossibleValuesParser, Str},
};
use serde_json::{Map, Value};

use super::shape::{Form, Key};

/// The plain words after the verb.
pub const WORDS: &str = "words";

/// What stands for the value of a key in help; other keys show their own name.
const VALUE_NAMES: &[(&str, &str)] = &[
    ("for", "ENDPOINT"),
    ("to", "ENDPOINT"),
    ("reach", "ENDPOINT"),
    ("listen", "ADDRESS"),
    ("select", "NAME"),
    ("targets", "TARGET"),
    ("exclude", "TARGET"),
    ("allow", "CIDR"),
    ("deny", "CIDR"),
    ("send", "BYTES"),
    ("want", "BYTES"),
    ("count", "N"),
    ("timeout", "DURATION"),
    ("connect_timeout", "DURATION"),
    ("idle_timeout", "DURATION"),
    ("half_closed_timeout", "DURATION"),
    ("interval", "DURATION"),
];

/// Short flags, by key: the letters that other tools have taught people.
const SHORT: &[(&str, char)] = &[("timeout", 't'), ("count", 'c')];

/// Adds the plain words and a flag for each key.
pub fn add(command: Command, main: &str, keys: &[Key]) -> Command {
    let main_key = keys.iter().find(|key| key.path == [main]);
    let flags = keys.iter().map(|key| flag(key, key.path == [main]));
    command.args(main_key.map(words)).args(flags)
}

/// The main key as plain words.
fn words(key: &Key) -> Arg {
    let several = matches!(key.form, Form::Many | Form::List);
    let words = Arg::new(WORDS)
        .value_name(value_name(key))
        .help(first_paragraph(&key.help).to_owned())
        .long_help(key.help.clone())
        .num_args(if several { clap::builder::ValueRange::from(1..) } else { 1.into() })
        .action(if several { ArgAction::Append } else { ArgAction::Set })
        .conflicts_with(key.flag());
    let words = closed(words, key);
    if key.required { words.required_unless_present(key.flag()) } else { words }
}

fn flag(key: &Key, is_main: bool) -> Arg {
    let long: Str = key.flag().into();
    let arg = Arg::new(key.flag()).long(long).value_name(value_name(key));
    let arg = arg.help(first_paragraph(&key.help).to_owned()).long_help(key.help.clone());
    let arg = match SHORT.iter().find(|(name, _)| key.path == [*name]) {
        Some((_, letter)) => arg.short(*letter),
        None => arg,
    };
    let arg = match key.form {
        Form::One => arg.action(ArgAction::Set),
        Form::Many | Form::List | Form::Map => arg.action(ArgAction::Append),
        Form::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
    };
    let arg = closed(arg, key);
    if key.required && !is_main { arg.required(true) } else { arg }
}

/// Lets clap name the words of a closed set.
fn closed(arg: Arg, key: &Key) -> Arg {
    // Next to a form that is free, words are only some of what it takes.
    if key.words.is_empty() || key.form == Form::Map {
        return arg;
    }
    arg.value_parser(PossibleValuesParser::new(key.words.iter().map(|word| Str::from(word.clone()))))
}

fn value_name(key: &Key) -> Str {
    match key.form {
        Form::Map => return "KEY=VALUE".into(),
        Form::Flag => return "true|false".into(),
        // The words themselves stand beside it.
        _ if !key.words.is_empty() => return key.name().to_uppercase().into(),
        _ => {}
    }
    let known = VALUE_NAMES.iter().find(|(name, _)| *name == key.name());
    known.map_or_else(|| key.name().to_uppercase().into(), |(_, word)| (*word).into())
}

fn first_paragraph(help: &str) -> &str {
    help.split("\n\n").next().unwrap_or_default().trim_end_matches('.')
}

/// The parameters as a job file would hold them: texts and lists of texts under their keys.
pub fn parameters(matches: &ArgMatches, main: &str, keys: &[Key]) -> Result<Value, String> {
    let mut parameters = Map::new();
    for key in keys {
        let flag = key.flag();
        let mut given: Vec<String> =
            matches.get_many(&flag).into_iter().flatten().map(String::clone).collect();
        if key.path == [main] && given.is_empty() {
            given = matches.get_many(WORDS).into_iter().flatten().map(String::clone).collect();
        }
        if !given.is_empty() {
            insert(&mut parameters, &key.path, value(key, given)?)
                .map_err(|()| format!("`--{flag}` cannot stand beside a flag of its whole"))?;
        }
    }
    Ok(Value::Object(parameters))
}

fn value(key: &Key, mut given: Vec<String>) -> Result<Value, String> {
    match key.form {
        Form::Many if given.len() == 1 => Ok(given.remove(0).into()),
        Form::Many | Form::List => Ok(given.into()),
        Form::One | Form::Flag => Ok(given.pop().into()),
        Form::Map => given
            .iter()
            .map(|pair| {
                let (key, value) =
                    pair.split_once('=').ok_or_else(|| format!("`{pair}` is no `KEY=VALUE`"))?;
                Ok((key.to_owned(), value.into()))
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
    }
}

/// Puts a value under its path; an error where something that is no object stands in the way.
fn insert(into: &mut Map<String, Value>, path: &[String], value: Value) -> Result<(), ()> {
    match path {
        [] => Err(()),
        [name] if into.contains_key(name) => Err(()),
        [name] => {
            into.insert(name.clone(), value);
            Ok(())
        }
        [name, rest @ ..] => {
            let below = into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            insert(below.as_object_mut().ok_or(())?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(path: &[&str], form: Form, required: bool) -> Key {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        Key { path, help: "Help.".into(), form, words: vec![], required }
    }

    fn read(arguments: &[&str]) -> Result<Value, String> {
        let keys = [
            key(&["targets"], Form::Many, true),
            key(&["connect_timeout"], Form::One, false),
            key(&["allow"], Form::List, false),
            key(&["df"], Form::Flag, false),
            key(&["proxy_protocol", "send"], Form::One, false),
            key(&["health"], Form::Map, false),
            key(&["rate", "bytes"], Form::One, false),
            key(&["rate"], Form::One, false),
        ];
        let command = add(Command::new("verb").no_binary_name(true), "targets", &keys);
        let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        parameters(&matches, "targets", &keys)
    }

    #[test]
    fn flags_become_what_a_job_file_would_hold() {
        let given = ["a", "--connect-timeout", "5s", "--allow", "10.0.0.0/8", "--df"];
        let wanted =
            json!({ "targets": "a", "connect_timeout": "5s", "allow": ["10.0.0.0/8"], "df": "true" });
        assert_eq!(read(&given), Ok(wanted));
        let given = ["a", "b", "--df=false", "--proxy-protocol.send", "v1", "--health", "10.0.0.1:80=web"];
        let wanted = json!({
            "targets": ["a", "b"], "df": "false", "proxy_protocol": { "send": "v1" },
            "health": { "10.0.0.1:80": "web" },
        });
        assert_eq!(read(&given), Ok(wanted));
    }

    #[test]
    fn the_main_key_is_words_or_a_flag_and_not_both() {
        assert_eq!(read(&["--targets", "a", "--targets", "b"]), Ok(json!({ "targets": ["a", "b"] })));
        assert!(read(&["a", "--targets", "b"]).is_err());
        assert!(read(&[]).is_err_and(|why| why.contains("<TARGET>")));
    }

    #[test]
    fn a_closed_set_is_not_named_after_another_key_of_its_name() {
        let free = key(&["send"], Form::One, false);
        let closed = Key { words: vec!["v1".into()], ..key(&["proxy_protocol", "send"], Form::One, false) };
        assert_eq!((value_name(&free).as_str(), value_name(&closed).as_str()), ("BYTES", "SEND"));
    }

    #[test]
    fn a_part_and_its_whole_do_not_stand_together() {
        assert!(read(&["a", "--rate", "1", "--rate.bytes", "2"]).is_err());
    }
}
