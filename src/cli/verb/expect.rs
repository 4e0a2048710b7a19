//! `--expect NAME=VALUE`: a comparison on the command line, turned into what a job file would say under `expect`.

use serde_json::{Map, Value};

/// Longer operators first, so that `<=` is not read as `<`.
const OPERATORS: &[&str] = &["<=", ">=", "!=", "==", "=", "<", ">"];

/// Splits `rtt_p95<20ms` into the name and the comparison `< 20ms`.
pub fn parse(text: &str) -> Result<(String, String), String> {
    let wrong =
        || format!("`{text}` is no comparison; write `NAME=VALUE` or `NAME<=VALUE`, such as `loss<=5%`");
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').ok_or_else(wrong)?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator)).ok_or_else(wrong)?;
    let value = rest[operator.len()..].trim();
    if name.is_empty() || value.is_empty() {
        return Err(wrong());
    }
    // `up=1` says the same as `up: 1`; `up=">= 1"` is a comparison of its own.
    let comparison =
        if matches!(*operator, "=" | "==") { value.to_owned() } else { format!("{operator} {value}") };
    Ok((name.to_owned(), comparison))
}

/// All comparisons as the value of `expect`; several of one name become a list.
pub fn to_json<'a>(comparisons: impl IntoIterator<Item = &'a (String, String)>) -> Value {
    let mut expect = Map::new();
    for (name, comparison) in comparisons {
        let list = expect.entry(name.clone()).or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(list) = list {
            list.push(comparison.clone().into());
        }
    }
    Value::Object(expect)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, comparison: &str) {
        assert_eq!(parse(text), Ok((name.to_owned(), comparison.to_owned())));
    }

    #[test]
    fn comparisons_read_as_they_would_in_a_file() {
        check("up=1", "up", "1");
        check("up==1", "up", "1");
        check("loss<=5%", "loss", "<= 5%");
        check("rtt_p95 < 20ms", "rtt_p95", "< 20ms");
        check("dead!=0", "dead", "!= 0");
        check("received=>= 3", "received", ">= 3");
        check("verdict=failed", "verdict", "failed");
    }

    #[test]
    fn what_compares_nothing_is_refused_with_a_sample() {
        for text in ["", "up", "=1", "up=", "up~1"] {
            assert!(parse(text).is_err_and(|why| why.contains("loss<=5%")), "{text}");
        }
    }

    #[test]
    fn comparisons_of_one_name_must_all_hold() {
        let all = [parse("ttl>10").unwrap(), parse("ttl<64").unwrap()];
        assert_eq!(to_json(&all), json!({ "ttl": ["> 10", "< 64"] }));
    }
}
