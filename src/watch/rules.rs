//! One rule's standing: is it armed, how much of its budget is left, has it fired. Pure: `now` is always an argument.

use super::window::{Sample, Span};
use crate::{
    model::{Phase, RuleState},
    plan::{Op, RulePlan, duration},
};
use tokio::time::Instant;

/// What became of a rule at an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// Its budget is used up; once per onset.
    Breached {
        /// Value, limit and window in one line.
        reason: String,
    },
    /// It had fired and is back within its limit, or begins anew.
    Cleared,
}

/// A rule and its standing.
#[derive(Debug)]
pub struct Rule {
    plan: RulePlan,
    /// The phase it was last told of.
    phase: Option<Phase>,
    /// Since when it is armed without a break.
    since: Option<Instant>,
    armed: bool,
    breaches: u32,
    fired: bool,
}

impl Rule {
    /// A rule, not yet armed.
    #[must_use]
    pub const fn new(plan: RulePlan) -> Self {
        Self { plan, phase: None, since: None, armed: false, breaches: 0, fired: false }
    }

    /// What the plan says of it.
    #[must_use]
    pub const fn plan(&self) -> &RulePlan {
        &self.plan
    }

    /// The run entered a phase, or is in none. A phase in which the rule may act gives it its budget back; going on with
    /// the same phase after a pause or a stop does not.
    pub fn enter(&mut self, phase: Option<Phase>, now: Instant) -> Option<Transition> {
        let Some(phase) = phase else {
            self.armed = false;
            return None;
        };
        let known = self.phase.replace(phase) == Some(phase);
        self.armed = self.plan.phases.contains(&phase);
        if !self.armed {
            self.since = None;
            return None;
        }
        self.since.get_or_insert(now);
        if known {
            return None;
        }
        self.breaches = 0;
        std::mem::take(&mut self.fired).then_some(Transition::Cleared)
    }

    /// Which readings count for it now: those in its window and, while it is armed, none from before that.
    #[must_use]
    pub fn span(&self, now: Instant) -> Span {
        // Before the clock's own beginning nothing was measured.
        let after = now.checked_sub(self.plan.window).unwrap_or(now);
        Span { after, from: self.since.filter(|_| self.armed) }
    }

    /// Too few samples say nothing, neither good nor bad; a breach takes one of the budget; a good value gives it all back.
    /// A rule that is not armed can only recover.
    pub fn evaluate(&mut self, sample: Sample) -> Option<Transition> {
        let value = sample.value.filter(|_| sample.samples >= self.plan.min_samples)?;
        let breached = match self.plan.op {
            Op::Above => value > self.plan.limit,
            Op::Below => value < self.plan.limit,
        };
        if !breached {
            self.breaches = 0;
            return std::mem::take(&mut self.fired).then_some(Transition::Cleared);
        }
        if !self.armed {
            return None;
        }
        self.breaches = self.breaches.saturating_add(1);
        if self.fired || self.breaches < self.plan.budget {
            return None;
        }
        self.fired = true;
        Some(Transition::Breached { reason: self.reason(value, sample.samples) })
    }

    fn reason(&self, value: f64, samples: u64) -> String {
        let RulePlan { metric, op, limit, window, budget, .. } = &self.plan;
        let side = match op {
            Op::Above => "above",
            Op::Below => "below",
        };
        let times = if *budget == 1 { String::new() } else { format!(", {budget} times in a row") };
        format!(
            "{metric} {} is {side} {} over {} ({samples} samples{times})",
            shown(metric, value),
            shown(metric, *limit),
            duration::format(*window),
        )
    }

    /// The standing as the screen shows it.
    #[must_use]
    pub fn state(&self, sample: Sample) -> RuleState {
        RuleState {
            rule: self.plan.name.clone(),
            metric: self.plan.metric.clone(),
            value: sample.value,
            limit: self.plan.limit,
            breaches: self.breaches.min(self.plan.budget),
            budget: self.plan.budget,
            samples: sample.samples,
            min_samples: self.plan.min_samples,
            armed: self.armed,
        }
    }
}

/// A value as a person reads it.
fn shown(metric: &str, value: f64) -> String {
    match metric {
        "error_rate" => format!("{} %", trimmed(value * 100.0)),
        "p95" | "mean" => format!("{} ms", trimmed(value)),
        _ => trimmed(value),
    }
}

/// At most two digits behind the point, none that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Rule, Transition};
    use crate::{
        model::{Phase, Severity},
        plan::{Op, RuleAction, RulePlan},
        watch::window::{Sample, Span},
    };
    use std::time::Duration;
    use tokio::time::Instant;

    fn plan(op: Op, limit: f64, budget: u32) -> RulePlan {
        RulePlan {
            name: "r".into(),
            metric: "error_rate".into(),
            op,
            limit,
            window: Duration::from_mins(5),
            budget,
            min_samples: 20,
            severity: Severity::Critical,
            action: RuleAction::Rollback,
            phases: vec![Phase::PostValidation, Phase::Monitoring],
        }
    }

    fn sample(value: f64, samples: u64) -> Sample {
        Sample { value: Some(value), samples }
    }

    const BAD: f64 = 0.5;
    const GOOD: f64 = 0.05;

    /// Evaluations in a row with what is said and what is counted after each.
    #[test]
    fn the_budget_is_used_up_by_breaches_in_a_row() {
        let unknown = Sample { value: None, samples: 0 };
        let rows: &[(Sample, &str, u32)] = &[
            (sample(GOOD, 100), "", 0),
            (sample(BAD, 100), "", 1),
            (sample(BAD, 100), "", 2),
            (sample(GOOD, 100), "", 0),
            (sample(BAD, 100), "", 1),
            (sample(BAD, 19), "", 1),
            (unknown, "", 1),
            (sample(BAD, 20), "", 2),
            (sample(BAD, 100), "breached", 3),
            (sample(BAD, 100), "", 3),
            (unknown, "", 3),
            (sample(GOOD, 10), "", 3),
            (sample(GOOD, 20), "cleared", 0),
            (sample(GOOD, 100), "", 0),
            (sample(BAD, 100), "", 1),
            (sample(BAD, 100), "", 2),
            (sample(BAD, 100), "breached", 3),
        ];
        let mut rule = Rule::new(plan(Op::Above, 0.05, 3));
        assert_eq!(rule.enter(Some(Phase::Monitoring), Instant::now()), None);
        for (number, (sample, said, breaches)) in rows.iter().enumerate() {
            let word = match rule.evaluate(*sample) {
                None => "",
                Some(Transition::Breached { .. }) => "breached",
                Some(Transition::Cleared) => "cleared",
            };
            assert_eq!((word, rule.state(*sample).breaches), (*said, *breaches), "evaluation {number}");
        }
    }

    #[test]
    fn a_reason_says_value_limit_and_window() {
        let mut rule = Rule::new(plan(Op::Above, 0.05, 1));
        rule.enter(Some(Phase::Monitoring), Instant::now());
        let reason = "error_rate 12.35 % is above 5 % over 5m (240 samples)".to_owned();
        assert_eq!(rule.evaluate(sample(0.123_456, 240)), Some(Transition::Breached { reason }));
        let mut below = Rule::new(RulePlan { metric: "users".into(), ..plan(Op::Below, 10.0, 2) });
        below.enter(Some(Phase::Monitoring), Instant::now());
        assert_eq!(below.evaluate(sample(10.0, 20)), None, "the limit itself is within");
        assert_eq!(below.evaluate(sample(3.0, 20)), None);
        let reason = "users 3 is below 10 over 5m (20 samples, 2 times in a row)".to_owned();
        assert_eq!(below.evaluate(sample(3.0, 20)), Some(Transition::Breached { reason }));
    }

    #[test]
    fn only_an_armed_rule_acts() {
        let now = Instant::now();
        let later = now + Duration::from_mins(1);
        let mut rule = Rule::new(plan(Op::Above, 0.05, 1));
        assert_eq!(rule.evaluate(sample(BAD, 100)), None, "no phase yet");
        rule.enter(Some(Phase::DataMigration), now);
        assert_eq!(rule.evaluate(sample(BAD, 100)), None, "a phase that is not its own");
        assert!(!rule.state(sample(BAD, 100)).armed);
        assert_eq!(rule.span(later).from, None);
        rule.enter(Some(Phase::PostValidation), now);
        assert_eq!(rule.span(later), Span { after: later - Duration::from_mins(5), from: Some(now) });
        assert!(matches!(rule.evaluate(sample(BAD, 100)), Some(Transition::Breached { .. })));
        assert_eq!(rule.enter(None, later), None, "a pause does not clear");
        assert_eq!(rule.enter(Some(Phase::PostValidation), later), None, "nor does going on");
        assert_eq!(rule.evaluate(sample(BAD, 100)), None, "so it does not fire again");
        assert_eq!(rule.enter(Some(Phase::Monitoring), later), Some(Transition::Cleared), "the next phase begins anew");
        assert_eq!(rule.span(later).from, Some(now), "with all samples since it was armed");
        assert!(matches!(rule.evaluate(sample(BAD, 100)), Some(Transition::Breached { .. })));
        rule.enter(Some(Phase::Cleanup), later);
        assert_eq!(rule.evaluate(sample(BAD, 100)), None);
        assert_eq!(rule.evaluate(sample(GOOD, 100)), Some(Transition::Cleared), "it may still recover");
    }
}
