//! Circles of needs, of which no job would ever start.

use super::{Loader, build::Draft, node::At};
use crate::diagnostic::Diagnostic;

impl Loader<'_> {
    /// Reports each circle of needs once, at the need that closes it.
    pub(super) fn check_circles(&mut self, drafts: &[Draft], edges: &[Vec<(usize, At)>]) {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            New,
            Open,
            Done,
        }
        let mut seen = vec![Seen::New; drafts.len()];
        for start in 0..drafts.len() {
            if seen[start] != Seen::New {
                continue;
            }
            seen[start] = Seen::Open;
            // The way from the start, each job with the next of its needs to look at.
            let mut way: Vec<(usize, usize)> = vec![(start, 0)];
            while let Some((job, next)) = way.last_mut() {
                let Some((need, at)) = edges[*job].get(*next).copied() else {
                    seen[*job] = Seen::Done;
                    way.pop();
                    continue;
                };
                *next += 1;
                match seen[need] {
                    Seen::New => {
                        seen[need] = Seen::Open;
                        way.push((need, 0));
                    }
                    Seen::Open => {
                        let from = way.iter().position(|(job, _)| *job == need).unwrap_or_default();
                        let circle = way[from..].iter().map(|(job, _)| *job).chain([need]);
                        let names: Vec<&str> = circle.map(|job| drafts[job].job.name.as_str()).collect();
                        let message = format!("a circle of needs: {}", shorten(&names));
                        self.wrong((at, Diagnostic::error(message).hint("take one of these needs out")));
                    }
                    Seen::Done => {}
                }
            }
        }
    }
}

/// A circle's names; of a long one the first and last few.
fn shorten(names: &[&str]) -> String {
    match names {
        [first @ .., _, _, _] if names.len() > 12 => {
            format!("{} → … → {}", first[..8].join(" → "), names[names.len() - 3..].join(" → "))
        }
        names => names.join(" → "),
    }
}
