//! The bar of a long run, on stderr where that is a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    pub(super) fn show(&mut self, done: u64, total: u64, what: &'static str) {
        if !self.on {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
        });
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
