//! The fields of a cron expression, each piece judged by itself, for an error that says what is wrong. What an
//! expression matches is `cron`'s.

use crate::value::Wrong;

/// A field: what it is called, and its least and greatest value.
struct Field {
    name: &'static str,
    least: u32,
    greatest: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", least: 0, greatest: 59, words: &[] },
    Field { name: "minute", least: 0, greatest: 59, words: &[] },
    Field { name: "hour", least: 0, greatest: 23, words: &[] },
    Field { name: "day of the month", least: 1, greatest: 31, words: &[] },
    Field {
        name: "month",
        least: 1,
        greatest: 12,
        words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "day of the week",
        least: 0,
        greatest: 7,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// Short forms.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What to write instead.
pub(super) const HINT: &str =
    "write five fields: minute, hour, day of the month, month, day of the week; such as `*/5 * * * *`";

/// The six fields of an expression, each judged: `croner` alone would take `1,,2`, `SUNMON` and a month in the hours.
pub(super) fn expand(text: &str) -> Result<Vec<String>, Wrong> {
    let (trimmed, shown) = (text.trim(), text.escape_debug());
    let lower = trimmed.to_lowercase();
    if lower == "@reboot" {
        return Err(Wrong::new("`@reboot` is no wall-clock time", "write `at: start` instead"));
    }
    let nickname = NICKNAMES.iter().find(|(name, _)| *name == lower).map(|(_, fields)| *fields);
    if nickname.is_none() && lower.starts_with('@') {
        return Err(Wrong::new(
            format!("`{shown}` is not a short form"),
            "write `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`",
        ));
    }
    if lower.starts_with("tz=") || lower.starts_with("cron_tz=") {
        return Err(Wrong::new(
            format!("in `{shown}`, a zone stands before the fields"),
            "write it as a key of its own, such as `timezone: Europe/Berlin`",
        ));
    }
    let mut fields: Vec<String> = nickname.unwrap_or(&lower).split_whitespace().map(str::to_owned).collect();
    if fields.len() == 5 {
        fields.insert(0, "0".to_owned());
    }
    if fields.len() != 6 {
        return Err(Wrong::new(
            format!("`{shown}` has {} fields, not five or six", fields.len()),
            "write five fields: minute, hour, day of the month, month, day of the week; or six with seconds first",
        ));
    }
    for (at, (field, value)) in FIELDS.iter().zip(&fields).enumerate() {
        for piece in value.split(',') {
            judge(piece, field, at).map_err(|why| Wrong::new(format!("in `{shown}`, {why}"), HINT))?;
        }
    }
    Ok(fields)
}

/// Says what is wrong with one piece of a field's list.
fn judge(piece: &str, field: &Field, at: usize) -> Result<(), String> {
    let odd = || format!("`{}` is no {}", piece.escape_debug(), field.name);
    let (range, step) = piece.split_once('/').map_or((piece, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step {
        let number = step.parse::<u16>().ok().filter(|_| !step.starts_with('+')).ok_or_else(odd)?;
        if number == 0 || u32::from(number) > field.greatest {
            return Err(format!("the step of `{piece}` is not between 1 and {}", field.greatest));
        }
        if range != "*" && !range.contains('-') {
            return Err(format!(
                "`{piece}` has a step but no range: write `*/{number}` or `{range}-{}/{number}`",
                field.greatest
            ));
        }
    }
    let special = match at {
        3 if step.is_none() => range == "l" || range == "lw" || range == "?" || day_before(range, "w", field),
        5 if step.is_none() => range == "?" || day_before(range, "l", field) || is_nth(range, field),
        _ => false,
    };
    if range == "*" || special {
        return Ok(());
    }
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high) = (value(low, field).ok_or_else(odd)?, value(high, field).ok_or_else(odd)?);
    let high = if at == 5 && high == 0 && range.contains('-') { 7 } else { high };
    let known = field.least..=field.greatest;
    if !known.contains(&low) || !known.contains(&high) {
        return Err(format!("`{piece}` is no {} ({}-{})", field.name, field.least, field.greatest));
    }
    if low > high {
        let Field { least, greatest, .. } = field;
        return Err(format!(
            "the range `{piece}` runs backward: write two, such as `{low}-{greatest},{least}-{high}`"
        ));
    }
    Ok(())
}

/// A number or a name of a field; one of more than two digits is none.
fn value(text: &str, field: &Field) -> Option<u32> {
    if let Some(at) = field.words.iter().position(|word| *word == text) {
        return u32::try_from(at).ok().map(|at| at + field.least);
    }
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Whether it is a value with a letter behind it, such as `15w`.
fn day_before(text: &str, letter: &str, field: &Field) -> bool {
    let number = text.strip_suffix(letter).and_then(|number| value(number, field));
    number.is_some_and(|number| (field.least..=field.greatest).contains(&number))
}

/// Whether it is the nth weekday of a month, such as `mon#2`.
fn is_nth(text: &str, field: &Field) -> bool {
    text.split_once('#').is_some_and(|(day, nth)| {
        value(day, field).is_some_and(|day| day <= field.greatest)
            && (nth == "l" || nth.parse::<u32>().is_ok_and(|nth| (1..=5).contains(&nth)))
    })
}
