//! What the checks of `health` say of upstreams: heard once a change, so that a connection only looks at a flag.

use std::sync::Arc;

use super::{Forward, upstream::Target};
use crate::{context::Context, outcome::Notice};

/// Sets the targets to what their checks say, now and whenever it changes. `targets` are those of each entry of `to`.
pub(super) fn watch(spec: &Forward, cx: &Context, targets: &[Vec<Arc<Target>>]) {
    for (entry, check) in spec.health.iter().flatten() {
        let mine: Vec<Arc<Target>> = (spec.to.iter().zip(targets))
            .filter(|(upstream, _)| upstream.text == *entry)
            .flat_map(|(_, targets)| targets.clone())
            .collect();
        let set = move |is_out| {
            for target in &mine {
                target.set_out(is_out);
            }
        };
        let mut news = cx.observer().is_out(check.as_str());
        // What a check found before a reload still holds.
        if *news.borrow_and_update() {
            set(true);
        }
        let (entry, check) = (entry.clone(), check.clone());
        let (stop, observer) = (cx.stop().cancel.clone(), cx.observer().clone());
        cx.spawn(async move {
            // Once the engine is gone there is no news.
            while let Some(Ok(())) = stop.run_until_cancelled(news.changed()).await {
                let is_out = *news.borrow_and_update();
                set(is_out);
                let (from, to) = if is_out { ("in", "out") } else { ("out", "in") };
                let found = if is_out { "failed" } else { "no longer fails" };
                observer.notice(Notice::StateChanged {
                    what: entry.clone(),
                    from,
                    to,
                    message: format!("the check `{check}` {found}"),
                });
            }
        });
    }
}
