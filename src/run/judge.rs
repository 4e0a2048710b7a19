//! What a run comes to: the room's finding held against what was expected. Pure.
//!
//! Each entry of `expect` replaces the kind's own expectation of that name, the others stay. `expect: {}` expects nothing
//! but that we could look. With `verdict` or `reason` all own ones fall away, the room's own verdict included, and the
//! run passes when every entry holds.

use crate::{
    event::Judged,
    kind,
    outcome::{Detail, Measure, Outcome, Reason, Sample, Samples, Unit, Verdict},
    value::{Comparison, Expect, expect::Operand},
};

/// A run as judged; what `event::Finished` says of it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// What went wrong, a sentence.
    pub message: Option<String>,
    /// What the operator can do about it.
    pub hint: Option<String>,
    /// What was measured.
    pub samples: Vec<Samples>,
    /// Each comparison.
    pub expectations: Vec<Judged>,
    /// The kind's own record.
    pub detail: Detail,
}

impl Judgement {
    /// A run that could not look, or was not let.
    pub fn without_outcome(verdict: Verdict, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: Some(reason),
            message: Some(message.into()),
            hint: None,
            samples: vec![],
            expectations: vec![],
            detail: Detail::default(),
        }
    }

    /// A run that did not take place.
    pub fn skipped(message: impl Into<String>) -> Self {
        Self { reason: None, ..Self::without_outcome(Verdict::Skipped, Reason::Cancelled, message) }
    }

    /// The same run with another verdict, told from outside it.
    #[must_use]
    pub fn overruled(mut self, verdict: Verdict, reason: Reason, message: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.reason = Some(reason);
        self.message = Some(message.into());
        self
    }

    /// Whether the run passed.
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }
}

/// Judges what a room returned.
pub fn judge(
    found: Result<Outcome, kind::Error>,
    measures: &[Measure],
    expect: Option<&Expect>,
) -> Judgement {
    let none = Expect::default();
    let given = expect.unwrap_or(&none);
    let names_result = given.0.iter().any(|(name, _)| name == "verdict" || name == "reason");
    // What `verdict` and `reason` are compared with is what the run would have come to by itself.
    let by_itself = by_own_lights(found, measures, given, expect.is_some_and(|given| given.0.is_empty()));
    let judged = if names_result {
        by_result(by_itself, measures, given)
    } else if by_itself.verdict == Verdict::Errored {
        by_itself
    } else {
        let judged = compare(&by_itself, measures, given);
        with_expectations(by_itself, judged, measures)
    };
    if judged.passed() { passed(judged) } else { judged }
}

/// The room's verdict and the kind's own expectations, but for the names that `given` replaces.
fn by_own_lights(
    found: Result<Outcome, kind::Error>,
    measures: &[Measure],
    given: &Expect,
    expects_nothing: bool,
) -> Judgement {
    let outcome = match found {
        Ok(outcome) => outcome,
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            let judged = Judgement::without_outcome(Verdict::Errored, error.reason(), error.to_string());
            return Judgement { hint, ..judged };
        }
    };
    let looked = Judgement {
        verdict: outcome.verdict,
        reason: outcome.reason,
        message: outcome.message,
        hint: None,
        samples: outcome.samples,
        expectations: vec![],
        detail: outcome.detail,
    };
    if expects_nothing {
        return match looked.verdict {
            Verdict::Failed => passed(looked),
            _ => looked,
        };
    }
    let own = measures.iter().filter(|measure| !given.0.iter().any(|(name, _)| name == measure.name));
    let own = own.filter_map(|measure| {
        let comparison = measure.own?.parse::<Comparison>().ok()?;
        Some((measure.name.to_owned(), vec![comparison]))
    });
    let judged = compare(&looked, measures, &Expect(own.collect()));
    with_expectations(looked, judged, measures)
}

/// Adds judged comparisons to a run: one that does not hold fails it.
fn with_expectations(mut run: Judgement, judged: Vec<Judged>, measures: &[Measure]) -> Judgement {
    let broken: Vec<String> =
        judged.iter().filter(|judged| !judged.held).map(|judged| sentence(judged, measures)).collect();
    run.expectations.extend(judged);
    if broken.is_empty() {
        return run;
    }
    if run.verdict == Verdict::Passed {
        run.verdict = Verdict::Failed;
    }
    run.reason = run.reason.or(Some(Reason::Expectation));
    run.message = Some(run.message.into_iter().chain(broken).collect::<Vec<_>>().join("; "));
    run
}

/// Judges by `verdict` and `reason` and what else `given` names, and by nothing else.
fn by_result(by_itself: Judgement, measures: &[Measure], given: &Expect) -> Judgement {
    let judged = compare(&by_itself, measures, given);
    if judged.iter().all(|judged| judged.held) {
        return passed(Judgement { expectations: judged, ..by_itself });
    }
    with_expectations(Judgement { expectations: vec![], ..by_itself }, judged, measures)
}

/// The same run as passed: nothing is left to explain.
fn passed(run: Judgement) -> Judgement {
    Judgement { verdict: Verdict::Passed, reason: None, message: None, hint: None, ..run }
}

/// Holds every comparison against every set of samples.
fn compare(run: &Judgement, measures: &[Measure], expect: &Expect) -> Vec<Judged> {
    let mut judged = Vec::new();
    for (name, comparisons) in &expect.0 {
        let unit = unit_of(name, measures);
        for comparison in comparisons {
            let mut judge = |family, measured: Option<Sample>| {
                let held = measured.as_ref().is_some_and(|sample| comparison.holds(&operand(sample, unit)));
                let wanted = comparison.to_string();
                judged.push(Judged { name: name.clone(), family, wanted, measured, held });
            };
            match name.as_str() {
                "verdict" => judge(None, Some(Sample::Word(run.verdict.as_str()))),
                "reason" => judge(None, run.reason.map(|reason| Sample::Word(reason.as_str()))),
                _ if run.samples.is_empty() => judge(None, None),
                _ => run.samples.iter().for_each(|set| judge(set.family, set.find(name).cloned())),
            }
        }
    }
    judged
}

/// A sample in its measure's unit.
fn operand(sample: &Sample, unit: Option<Unit>) -> Operand {
    let number = |number: f64| match unit {
        Some(Unit::Seconds) => Operand::Seconds(number),
        Some(Unit::Bytes) => Operand::Bytes(number),
        Some(Unit::Ratio) => Operand::Ratio(number),
        _ => Operand::Number(number),
    };
    match sample {
        Sample::Count(count) => number(*count as f64),
        Sample::Number(value) => number(*value),
        Sample::Flag(flag) => Operand::Flag(*flag),
        Sample::Word(word) => Operand::Word((*word).to_owned()),
    }
}

/// Such as `loss: wanted <= 5%, measured 40%`.
fn sentence(judged: &Judged, measures: &[Measure]) -> String {
    let family = judged.family.map(|family| format!(" ({family})")).unwrap_or_default();
    let unit = unit_of(&judged.name, measures);
    let found = match &judged.measured {
        Some(sample) => format!("measured {}", shown(&operand(sample, unit))),
        None => "not measured".to_owned(),
    };
    format!("{}{family}: wanted {}, {found}", judged.name, judged.wanted)
}

/// A measured value for people: three digits behind the point are enough.
fn shown(measured: &Operand) -> String {
    let short = |number: f64| (number * 1e3).round() / 1e3;
    match measured {
        Operand::Seconds(seconds) if seconds.abs() >= 1.0 => format!("{}s", short(*seconds)),
        Operand::Seconds(seconds) => format!("{}ms", short(seconds * 1e3)),
        Operand::Ratio(ratio) => format!("{}%", short(ratio * 1e2)),
        Operand::Number(number) => short(*number).to_string(),
        Operand::Bytes(_) | Operand::Flag(_) | Operand::Word(_) => measured.to_string(),
    }
}

fn unit_of(name: &str, measures: &[Measure]) -> Option<Unit> {
    measures.iter().find(|measure| measure.name == name).map(|measure| measure.unit)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
