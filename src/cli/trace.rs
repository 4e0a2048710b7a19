//! The program's own diagnostics (`tracing`): sentences with their fields, to the log, or to stderr where there is none; and
//! what panics say. No run records.

use std::{
    fmt::{self, Write as _},
    panic,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
};

use super::out;
use crate::sink::{Level, json::Diagnostics};

/// From here on warnings and errors go to stderr.
pub fn to_stderr() {
    let say = |level, sentence: &str| out::say(format_args!("{level}: {sentence}"));
    panics(say);
    install(Level::Warn, say);
}

/// From here on diagnostics go to the log, which keeps nobody waiting.
pub fn to_log(least: Level, diagnostics: Diagnostics) {
    let say = move |level, sentence: &str| diagnostics.say(level, sentence);
    panics(say.clone());
    install(least, say);
}

/// From here on a panic is a diagnostic like any other: a log of objects must have no line that is none.
fn panics(say: impl Fn(Level, &str) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |panic| say(Level::Error, &format!("a defect of this program: {panic}"))));
}

fn install(least: Level, say: impl Fn(Level, &str) + Send + Sync + 'static) {
    let subscriber = Registry::default().with(Sentences { least, say });
    // A second one in the same process, as in tests, changes nothing.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Sentences<F> {
    least: Level,
    say: F,
}

impl<S: Subscriber, F: Fn(Level, &str) + Send + Sync + 'static> Layer<S> for Sentences<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Libraries tell much that is none of the operator's business.
        if !event.metadata().target().starts_with("netjobs") {
            return;
        }
        let level = level(*event.metadata().level());
        if level >= self.least {
            let mut sentence = Sentence::default();
            event.record(&mut sentence);
            (self.say)(level, &format!("{}{}", sentence.message, sentence.fields));
        }
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

#[derive(Default)]
struct Sentence {
    message: String,
    fields: String,
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_diagnostic_is_its_sentence_and_its_fields_from_its_level_on() {
        let said = Arc::new(Mutex::new(vec![]));
        let ears = said.clone();
        let say = move |level: Level, sentence: &str| ears.lock().unwrap().push((level, sentence.to_owned()));
        let subscriber = Registry::default().with(Sentences { least: Level::Info, say });
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(port = 7, "something is odd");
            tracing::debug!("nobody asked");
            tracing::error!(target: "elsewhere", "not ours");
        });
        assert_eq!(*said.lock().unwrap(), [(Level::Warn, "something is odd port=7".to_owned())]);
    }

    #[test]
    fn a_panic_is_a_diagnostic_with_its_place_and_its_words() {
        let said = Arc::new(Mutex::new(vec![]));
        let ears = said.clone();
        let before = panic::take_hook();
        panics(move |level, sentence| ears.lock().unwrap().push((level, sentence.to_owned())));
        let broken = panic::catch_unwind(|| panic!("the words of this test"));
        panic::set_hook(before);
        assert!(broken.is_err());
        let said = said.lock().unwrap();
        let found = said.iter().find(|(_, sentence)| sentence.contains("the words of this test")).unwrap();
        assert_eq!(found.0, Level::Error);
        assert!(
            found.1.starts_with("a defect of this program: panicked at src/cli/trace.rs:"),
            "{}",
            found.1
        );
    }
}
