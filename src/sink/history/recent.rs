//! The last outcomes: so many a job and so many in all. The oldest go first.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

/// Outcomes kept of one job.
const A_JOB: usize = 20;
/// Outcomes kept of all jobs.
const IN_ALL: usize = 20_000;

/// The last outcomes, as the JSON that will be asked for: a fifth of the memory of its parts.
#[derive(Debug, Default)]
pub(super) struct Recent {
    runs: HashMap<Arc<str>, VecDeque<(u64, Box<str>)>>,
    /// Whose each outcome is, the oldest first.
    order: BTreeMap<u64, Arc<str>>,
    last: u64,
}

impl Recent {
    pub(super) fn push(&mut self, job: &Arc<str>, run: Box<str>) {
        self.last += 1;
        let runs = self.runs.entry(job.clone()).or_default();
        runs.push_back((self.last, run));
        self.order.insert(self.last, job.clone());
        if runs.len() > A_JOB
            && let Some((oldest, _)) = runs.pop_front()
        {
            self.order.remove(&oldest);
        }
        if self.order.len() > IN_ALL
            && let Some((_, owner)) = self.order.pop_first()
            && let Some(runs) = self.runs.get_mut(&owner)
        {
            runs.pop_front();
        }
    }

    pub(super) fn remove(&mut self, job: &str) {
        for (number, _) in self.runs.remove(job).into_iter().flatten() {
            self.order.remove(&number);
        }
    }

    /// A job's outcomes, the newest first.
    pub(super) fn of(&self, job: &str) -> impl Iterator<Item = Value> {
        let runs = self.runs.get(job).into_iter().flatten().rev();
        runs.map(|(_, run)| serde_json::from_str(run).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(recent: &Recent, job: &str) -> Vec<u64> {
        recent.of(job).filter_map(|run| run.as_u64()).collect()
    }

    #[test]
    fn a_job_keeps_its_last_twenty() {
        let mut recent = Recent::default();
        for number in 0..100_u64 {
            recent.push(&"a".into(), number.to_string().into());
        }
        assert_eq!(of(&recent, "a"), (80..100).rev().collect::<Vec<u64>>());
        assert_eq!(recent.order.len(), A_JOB);
    }

    #[test]
    fn all_jobs_together_keep_twenty_thousand_and_the_oldest_go() {
        let mut recent = Recent::default();
        let names: Vec<Arc<str>> = (0..IN_ALL + 5).map(|number| number.to_string().into()).collect();
        for name in &names {
            recent.push(name, "1".into());
        }
        assert_eq!(recent.order.len(), IN_ALL);
        assert!(of(&recent, "4").is_empty());
        assert_eq!(of(&recent, "5"), [1]);
        recent.remove("5");
        assert_eq!((recent.order.len(), of(&recent, "5").len()), (IN_ALL - 1, 0));
    }
}
