//! `--json` of a verb: the records of its run and nothing of the runner around it, so that the last is `run_finished`.

use crate::{
    event::Event,
    sink::{Sink, json::Lines},
};

/// Records that are of the job alone.
pub struct Records(pub Lines);

impl Sink for Records {
    fn event(&mut self, event: &Event) {
        let is_of_the_run = matches!(
            event,
            Event::JobReady { .. } | Event::Notice { .. } | Event::RunFinished(_) | Event::RunSkipped { .. }
        );
        if is_of_the_run {
            self.0.event(event);
        }
    }

    fn told(&mut self) {
        self.0.told();
    }

    fn close(&mut self) {
        self.0.close();
    }
}
