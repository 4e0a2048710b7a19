//! The bar of a long run, on stderr where that is a terminal; nothing elsewhere.

use std::fmt::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// At most one bar: the run that goes on.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(on: bool) -> Self {
        Self { on, bar: None }
    }

    /// Moves the bar; the first time draws it.
    pub(super) fn show(&mut self, done: u64, total: u64, what: &'static str, alive: Option<u64>) {
        if !self.on {
            return;
        }
        let target = ProgressDrawTarget::stderr;
        let bar = self.bar.get_or_insert_with(|| bar(total, target(), alive.is_some()));
        bar.set_message(message(what, alive));
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Does something on the terminal while the bar is out of the way. A failed write is nobody's failure here.
    pub(super) fn aside(&self, write: impl FnOnce() -> std::io::Result<()>) {
        let _ = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar; how fast it goes is told where it is not time that passes.
fn bar(total: u64, target: ProgressDrawTarget, has_rate: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = if has_rate {
        "{bar:30} {pos}/{len} {msg}, {rate}, {eta} left"
    } else {
        "{bar:30} {pos}/{len} {msg} {eta}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    bar.with_style(style.with_key("rate", rate))
}

/// `probes, 3 alive`.
fn message(what: &'static str, alive: Option<u64>) -> String {
    alive.map_or_else(|| what.to_owned(), |alive| format!("{what}, {alive} alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_stands_behind_what_is_counted() {
        assert_eq!(message("probes", Some(3)), "probes, 3 alive");
        assert_eq!(message("seconds", None), "seconds");
    }
}
