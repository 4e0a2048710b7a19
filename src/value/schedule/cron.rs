//! Cron expressions.

use crate::value::Wrong;

/// A parsed cron expression.
#[derive(Clone, Debug)]
pub struct Cron {
    /// As the file writes it.
    pub text: String,
}

impl Cron {
    /// Five fields, or six with seconds first, or `@hourly` and friends.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
        parser.parse(text).map(|_| Self { text: text.to_owned() }).map_err(|error| {
            Wrong::new(
                format!("`{}` is not a cron expression: {error}", text.escape_debug()),
                "write five fields, such as `*/5 * * * *`, or six with seconds first",
            )
        })
    }
}
