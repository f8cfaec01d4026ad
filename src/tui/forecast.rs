//! How long the run still takes, as a range, from what the phases were expected to take and how far they are. Pure.
//! Unknown stays unknown: one phase ahead that nobody has an expectation for means no forecast.

use super::say;
use crate::{
    engine::view::{PhaseView, RunView},
    model::{PhaseState, RunState, Timestamp},
};
use std::time::Duration;

/// Remaining time: likely, and from–to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forecast {
    pub(crate) likely: Duration,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// How much shorter or longer than expected a phase not yet begun may be.
const PENDING: (f64, f64) = (0.8, 1.4);
/// From which part on the pace of the phase under way counts, rather than its expectation.
const PACE_FROM: f64 = 0.1;

/// The forecast for what is left, people's decisions excluded; `None` if nobody knows, or if the run goes nowhere.
pub(crate) fn remaining(view: &RunView, now: Timestamp) -> Option<Forecast> {
    let moves = matches!(
        view.state,
        RunState::Ready | RunState::Running | RunState::AtGate | RunState::Pausing | RunState::Committing
    );
    if !moves || view.rollback.is_some() {
        return None;
    }
    let mut sums = (0.0, 0.0, 0.0);
    for phase in &view.phases {
        let (likely, least, most) = match phase.state {
            PhaseState::Done | PhaseState::Off => (0.0, 0.0, 0.0),
            PhaseState::Running => under_way(phase, now)?,
            PhaseState::Pending | PhaseState::AtGate => {
                let expected = phase.expected_s.filter(|s| s.is_finite() && *s >= 0.0)?;
                (expected, expected * PENDING.0, expected * PENDING.1)
            }
            PhaseState::Failed | PhaseState::Undone => return None,
        };
        sums = (sums.0 + likely, sums.1 + least, sums.2 + most);
    }
    let time = |s: f64| Duration::try_from_secs_f64(s).ok();
    Some(Forecast { likely: time(sums.0)?, least: time(sums.1)?, most: time(sums.2)? })
}

/// The phase under way: by its pace once that says something, else by what was expected, never less than nothing.
fn under_way(phase: &PhaseView, now: Timestamp) -> Option<(f64, f64, f64)> {
    let elapsed = say::between(phase.started?, now).as_secs_f64();
    let ratio = phase.ratio();
    let by_expectation = phase.expected_s.filter(|s| s.is_finite()).map(|expected| (expected - elapsed).max(0.0));
    let by_pace = (ratio >= PACE_FROM).then(|| elapsed * (1.0 - ratio) / ratio);
    match (by_expectation, by_pace) {
        (None, None) => None,
        (Some(s), None) | (None, Some(s)) => Some((s, s * PENDING.0, s * PENDING.1)),
        (Some(a), Some(b)) => Some((f64::midpoint(a, b), a.min(b), a.max(b))),
    }
}

#[cfg(test)]
mod tests {
    use super::remaining;
    use crate::{
        model::{Phase, PhaseState},
        tui::fixtures,
    };
    use std::time::Duration;

    #[test]
    fn one_unknown_phase_makes_the_whole_unknown() {
        let mut view = fixtures::ready();
        assert!(remaining(&view, fixtures::now()).is_some());
        view.phases[Phase::Monitoring.number() - 1].expected_s = None;
        assert_eq!(remaining(&view, fixtures::now()), None);
        view.phases[Phase::Monitoring.number() - 1].state = PhaseState::Off;
        assert!(remaining(&view, fixtures::now()).is_some());
    }

    #[test]
    fn the_range_holds_the_likely_value_and_shrinks_to_nothing() {
        let view = fixtures::migrating();
        let f = remaining(&view, fixtures::now()).expect("every phase has an expectation");
        assert!(f.least <= f.likely && f.likely <= f.most && f.most > Duration::ZERO, "{f:?}");
        assert_eq!(remaining(&fixtures::completed(), fixtures::now()), None);
        assert_eq!(remaining(&fixtures::rolling_back(), fixtures::now()), None);
    }
}
