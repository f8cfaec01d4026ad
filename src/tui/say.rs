//! How values are said: ages, durations, counts, rates, and the glyph, role and word of every state. Pure.

use super::{glyphs::Glyphs, theme::Role};
use crate::model::{
    BatchProgress, BatchState, ItemState, LaneStage, PhaseState, RunState, Severity, StepState, Timestamp, Verdict,
};
use std::time::Duration;

/// Time from `then` to `now`; zero if it lies ahead.
pub(crate) fn between(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// `00:41`, or `1:02:03` from an hour on.
pub(crate) fn clock(time: Duration) -> String {
    let s = time.as_secs();
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{:02}:{:02}", s / 60, s % 60)
    }
}

/// `now`, `38s`, `4m`, `3h`, `2d`: how long ago.
pub(crate) fn age(time: Duration) -> String {
    match time.as_secs() {
        0 => "now".into(),
        s @ 1..=99 => format!("{s}s"),
        s @ 100..=5999 => format!("{}m", s / 60),
        s @ 6000..=172_799 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

/// `12:41:07`, UTC.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// `950`, `18.4k`, `1.2M`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn count(n: u64) -> String {
    short(n as f64)
}

/// A rate as `18.4k`, `0.5`, or `-` when nothing moves.
pub(crate) fn rate(per_s: f64) -> String {
    if per_s.is_finite() && per_s > 0.0 { short(per_s) } else { "-".into() }
}

/// `12,345`: a count in full.
pub(crate) fn full(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn short(n: f64) -> String {
    match n {
        n if n < 10.0 && n.fract() > 0.049 => format!("{n:.1}"),
        n if n < 9_999.5 => format!("{n:.0}"),
        n if n < 999_950.0 => format!("{:.1}k", n / 1e3),
        n if n < 999_950_000.0 => format!("{:.1}M", n / 1e6),
        n => format!("{:.1}G", n / 1e9),
    }
}

/// `4.1 kB`, `2.0 GB`.
pub(crate) fn bytes(n: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut n, mut unit) = (n.max(0.0), 0);
    while n >= 999.5 && unit < UNITS.len() - 1 {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n:.0} B") } else { format!("{n:.1} {}", UNITS[unit]) }
}

/// A part of a whole as `64%`; 100 only when it is all.
pub(crate) fn percent(ratio: f64) -> String {
    let shown = (ratio.clamp(0.0, 1.0) * 100.0).floor();
    format!("{shown:.0}%")
}

/// A glyph, how it looks, and the word that says the same.
pub(crate) struct Sign {
    pub(crate) glyph: &'static str,
    pub(crate) role: Role,
    pub(crate) word: &'static str,
}

const fn sign(glyph: &'static str, role: Role, word: &'static str) -> Sign {
    Sign { glyph, role, word }
}

/// The sign of a run's state.
pub(crate) const fn run(state: RunState, g: &Glyphs) -> Sign {
    match state {
        RunState::Ready => sign(g.pending, Role::Pending, "READY"),
        RunState::Running => sign(g.active, Role::Active, "RUNNING"),
        RunState::Pausing => sign(g.wait, Role::Wait, "PAUSING"),
        RunState::Paused => sign(g.wait, Role::Wait, "PAUSED"),
        RunState::AtGate => sign(g.wait, Role::Wait, "WAITS GATE"),
        RunState::Stopping => sign(g.crit, Role::Crit, "STOPPING"),
        RunState::Stopped => sign(g.crit, Role::Crit, "STOPPED"),
        RunState::RollingBack => sign(g.undone, Role::Warn, "ROLLING BACK"),
        RunState::RolledBack => sign(g.undone, Role::Warn, "ROLLED BACK"),
        RunState::Stuck => sign(g.crit, Role::Danger, "STUCK"),
        RunState::Committing => sign(g.active, Role::Active, "COMMITTING"),
        RunState::Completed => sign(g.ok, Role::Ok, "COMPLETED"),
        RunState::Failed => sign(g.crit, Role::Crit, "FAILED"),
    }
}

/// The sign of a phase's state.
pub(crate) const fn phase(state: PhaseState, g: &Glyphs) -> Sign {
    match state {
        PhaseState::Off => sign(g.off, Role::Pending, "off"),
        PhaseState::Pending => sign(g.pending, Role::Pending, "pending"),
        PhaseState::AtGate => sign(g.wait, Role::Wait, "waits gate"),
        PhaseState::Running => sign(g.active, Role::Active, "running"),
        PhaseState::Done => sign(g.ok, Role::Ok, "done"),
        PhaseState::Failed => sign(g.crit, Role::Crit, "FAILED"),
        PhaseState::Undone => sign(g.undone, Role::Warn, "undone"),
    }
}

/// The sign of a step's state.
pub(crate) const fn step(state: StepState, g: &Glyphs) -> Sign {
    match state {
        StepState::Pending => sign(g.pending, Role::Pending, "pending"),
        StepState::Checking => sign(g.active, Role::Active, "checks"),
        StepState::Intended => sign(g.active, Role::Active, "acts"),
        StepState::Done => sign(g.ok, Role::Ok, "done"),
        StepState::Failed => sign(g.crit, Role::Crit, "FAILED"),
        StepState::Skipped => sign(g.warn, Role::Warn, "skipped"),
        StepState::Undoing => sign(g.undone, Role::Warn, "undoing"),
        StepState::Undone => sign(g.undone, Role::Warn, "undone"),
        StepState::Stuck => sign(g.crit, Role::Crit, "STUCK"),
    }
}

/// The sign of a lane's stage.
pub(crate) const fn lane(stage: LaneStage, g: &Glyphs) -> Sign {
    match stage {
        LaneStage::Waiting => sign(g.pending, Role::Pending, "waits"),
        LaneStage::Copying => sign(g.active, Role::Active, "copies"),
        LaneStage::Following => sign(g.active, Role::Active, "follows"),
        LaneStage::Verifying => sign(g.active, Role::Active, "verifies"),
        LaneStage::Done => sign(g.ok, Role::Ok, "done"),
        LaneStage::Failed => sign(g.crit, Role::Crit, "FAILED"),
        LaneStage::Undoing => sign(g.undone, Role::Warn, "undoing"),
        LaneStage::Undone => sign(g.undone, Role::Warn, "undone"),
    }
}

/// The sign of a batch's state.
pub(crate) const fn batch(state: BatchState, g: &Glyphs) -> Sign {
    match state {
        BatchState::Pending => sign(g.pending, Role::Pending, "pending"),
        BatchState::Running => sign(g.active, Role::Active, "runs"),
        BatchState::Retrying => sign(g.warn, Role::Warn, "retry"),
        BatchState::Done => sign(g.ok, Role::Ok, "done"),
        BatchState::Failed => sign(g.crit, Role::Crit, "FAILED"),
        BatchState::Undone => sign(g.undone, Role::Warn, "undone"),
    }
}

/// The sign of a batch: one that ended and left failures behind did not end well.
pub(crate) const fn batch_of(progress: &BatchProgress, g: &Glyphs) -> Sign {
    match progress.state {
        BatchState::Done if progress.failed > 0 => sign(g.warn, Role::Warn, "done"),
        state => batch(state, g),
    }
}

/// The sign of an item's state.
pub(crate) const fn item(state: ItemState, g: &Glyphs) -> Sign {
    match state {
        ItemState::Pending => sign(g.pending, Role::Pending, "waits"),
        ItemState::Copying => sign(g.active, Role::Active, "moves"),
        ItemState::Copied => sign(g.ok, Role::Ok, "copied"),
        ItemState::Verified => sign(g.ok, Role::Ok, "verified"),
        ItemState::Skipped => sign(g.warn, Role::Warn, "skipped"),
        ItemState::Failed => sign(g.crit, Role::Crit, "FAILED"),
        ItemState::Conflicting => sign(g.crit, Role::Crit, "CONFLICT"),
        ItemState::Lost => sign(g.crit, Role::Crit, "LOST"),
    }
}

/// The sign of a verdict.
pub(crate) const fn verdict(verdict: Verdict, g: &Glyphs) -> Sign {
    match verdict {
        Verdict::Pass => sign(g.ok, Role::Ok, "pass"),
        Verdict::Fail => sign(g.crit, Role::Crit, "FAIL"),
        Verdict::Unknown => sign(g.unknown, Role::Stale, "UNKNOWN"),
    }
}

/// The sign of an alert's loudness.
pub(crate) const fn severity(severity: Severity, g: &Glyphs) -> Sign {
    match severity {
        Severity::Info => sign(g.info, Role::Faint, "info"),
        Severity::Warning => sign(g.warn, Role::Warn, "WARN"),
        Severity::Critical => sign(g.crit, Role::Crit, "CRIT"),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, bytes, clock, count, full, percent, rate};
    use std::time::Duration;

    #[test]
    fn values_are_said_short() {
        let s = Duration::from_secs;
        assert_eq!([clock(s(41)), clock(s(3723))], ["00:41", "1:02:03"]);
        assert_eq!(
            [age(s(0)), age(s(38)), age(s(240)), age(s(7200)), age(s(200_000))],
            ["now", "38s", "4m", "2h", "2d"]
        );
        assert_eq!([count(950), count(18_400), count(1_200_000)], ["950", "18.4k", "1.2M"]);
        assert_eq!([full(7), full(999), full(12_345), full(1_234_567)], ["7", "999", "12,345", "1,234,567"]);
        assert_eq!([rate(0.0), rate(f64::NAN), rate(0.5), rate(12.0)], ["-", "-", "0.5", "12"]);
        assert_eq!([bytes(12.0), bytes(4_100.0), bytes(2e9)], ["12 B", "4.1 kB", "2.0 GB"]);
        assert_eq!([percent(0.999), percent(1.0), percent(-1.0)], ["99%", "100%", "0%"]);
    }
}
