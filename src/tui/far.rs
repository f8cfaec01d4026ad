//! How far a lane is, as far as anybody knows: listed, copied and verified told apart. A whole that is not known yet
//! gives no percentage. Pure.

use super::{glyphs::Glyphs, panes::as_f64, say, theme::Role};
use crate::model::{LaneKind, LaneProgress, LaneStage, Timestamp};

/// How far a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Far {
    /// Items to be moved in all; `None` while nobody knows.
    pub(crate) whole: Option<u64>,
    /// Items known so far, skipped ones not counted.
    pub(crate) listed: u64,
    /// In the target.
    pub(crate) copied: u64,
    /// In the target and seen to be the same.
    pub(crate) verified: u64,
}

impl Far {
    pub(crate) const fn of(lane: &LaneProgress) -> Self {
        let tally = &lane.tally;
        let listed = tally.items().saturating_sub(tally.skipped);
        let moves =
            matches!(lane.stage, LaneStage::Copying | LaneStage::Following | LaneStage::Verifying | LaneStage::Done);
        let whole = match (lane.kind, lane.total) {
            (LaneKind::Records, Some(total)) => Some(total.saturating_sub(tally.skipped)),
            // What a listing that was broken off had found is not the whole.
            (LaneKind::Files, _) if moves && !lane.listing => Some(listed),
            // A lane that failed after its listing had ended still knows the whole.
            (LaneKind::Files, Some(total)) if matches!(lane.stage, LaneStage::Failed) => {
                Some(total.saturating_sub(tally.skipped))
            }
            _ => None,
        };
        let compares = matches!((lane.kind, lane.stage), (LaneKind::Files, LaneStage::Verifying));
        let verified = if compares { lane.compared } else { tally.verified };
        Self { whole, listed, copied: tally.copied + tally.verified, verified }
    }

    /// A part of the whole, where that is known.
    pub(crate) fn ratio(&self, part: u64) -> Option<f64> {
        match self.whole? {
            0 => Some(1.0),
            whole => Some(as_f64(part) / as_f64(whole)),
        }
    }
}

/// How far a lane is in a few words (`listed 12,345+`, `copied 60%`), and how that looks.
pub(crate) fn short(lane: &LaneProgress, g: &Glyphs) -> (&'static str, Role, String) {
    let far = Far::of(lane);
    let sign = say::lane(lane.stage, g);
    let slowed = !lane.throttle.is_empty();
    let (word, part) = match lane.stage {
        LaneStage::Copying if lane.listing => {
            let (glyph, role) = if slowed { (g.wait, Role::Wait) } else { (sign.glyph, sign.role) };
            return (glyph, role, format!("listed {}+", number(far.listed)));
        }
        LaneStage::Copying => ("copied", far.copied),
        LaneStage::Verifying => ("verified", far.verified),
        _ => return (sign.glyph, sign.role, sign.word.into()),
    };
    let percent = far.ratio(part).map_or_else(|| g.unknown.into(), say::percent);
    if slowed {
        (g.wait, Role::Wait, format!("slowed {percent}"))
    } else {
        (sign.glyph, sign.role, format!("{word} {percent}"))
    }
}

/// How far a lane is behind its source, while it follows it.
pub(crate) fn behind(lane: &LaneProgress, now: Timestamp, g: &Glyphs) -> Option<(&'static str, Role, String)> {
    let follow = lane.follow.as_ref().filter(|_| lane.stage == LaneStage::Following)?;
    if follow.failing.is_some() {
        return Some((g.crit, Role::Crit, "cannot follow".into()));
    }
    let sign = say::lane(lane.stage, g);
    let text = follow.lag(now).map_or_else(|| sign.word.into(), |lag| format!("{} behind", say::clock(lag)));
    match follow.keeps_up() {
        Some(false) => Some((g.warn, Role::Warn, text)),
        _ => Some((sign.glyph, sign.role, text)),
    }
}

/// Items that are through, of those known: `7405/12.3k`, with a `+` while more may come.
pub(crate) fn items(lane: &LaneProgress) -> String {
    let far = Far::of(lane);
    let part = if lane.stage == LaneStage::Verifying { far.verified } else { far.copied };
    let more = if lane.listing { "+" } else { "" };
    match far.whole.unwrap_or(far.listed) {
        0 if part == 0 => "0".into(),
        whole => format!("{}/{}{more}", say::count(part), say::count(whole)),
    }
}

/// What went wrong, the most frequent kind by name: `7✗ mismatch`.
pub(crate) fn bad(lane: &LaneProgress, g: &Glyphs) -> (Role, String) {
    let tally = &lane.tally;
    let count = tally.failed + tally.conflicting + tally.lost;
    let kind = match lane.errors.first() {
        Some((kind, _)) => kind.word(),
        None if tally.lost > 0 => "lost",
        None if tally.conflicting > 0 => "conflict",
        None => "",
    };
    match count {
        0 => (Role::Faint, "0".into()),
        _ => (Role::Crit, format!("{}{} {kind}", say::count(count), g.crit).trim_end().into()),
    }
}

fn number(n: u64) -> String {
    if n < 100_000 { say::full(n) } else { say::count(n) }
}

#[cfg(test)]
mod tests {
    use super::{Far, bad, items, short};
    use crate::{
        error::FaultKind,
        model::{LaneId, LaneKind, LaneProgress, LaneStage, Tally},
        tui::glyphs::{GlyphChoice, Glyphs},
    };

    fn lane(stage: LaneStage) -> LaneProgress {
        let tally = Tally { pending: 4_000, verified: 6_000, skipped: 10, ..Tally::ZERO };
        LaneProgress { tally, ..LaneProgress::new(LaneId::new("files-content"), LaneKind::Files, stage) }
    }

    fn said(lane: &LaneProgress) -> (String, String) {
        (short(lane, &Glyphs::choose(GlyphChoice::Unicode, true)).2, items(lane))
    }

    #[test]
    fn an_unknown_whole_gives_no_percentage() {
        let listing = LaneProgress { listing: true, ..lane(LaneStage::Copying) };
        assert_eq!(said(&listing), ("listed 10,000+".into(), "6000/10.0k+".into()));
        assert_eq!(Far::of(&listing).ratio(6_000), None);
        assert_eq!(said(&lane(LaneStage::Waiting)).0, "waits");
        assert_eq!(Far::of(&lane(LaneStage::Failed)).whole, None);
        let listed = LaneProgress { total: Some(10_010), ..lane(LaneStage::Failed) };
        assert_eq!(Far::of(&listed).whole, Some(10_000), "it failed after its listing had ended");
    }

    #[test]
    fn copied_and_verified_are_told_apart() {
        assert_eq!(said(&lane(LaneStage::Copying)), ("copied 60%".into(), "6000/10.0k".into()));
        let compared = LaneProgress { compared: 4_000, ..lane(LaneStage::Verifying) };
        assert_eq!(said(&compared), ("verified 40%".into(), "4000/10.0k".into()));
        let slowed = LaneProgress { throttle: "429".into(), ..lane(LaneStage::Copying) };
        assert_eq!(said(&slowed).0, "slowed 60%");
    }

    #[test]
    fn failures_name_their_most_frequent_kind() {
        let g = Glyphs::choose(GlyphChoice::Unicode, true);
        let mut lane = lane(LaneStage::Copying);
        assert_eq!(bad(&lane, &g).1, "0");
        lane.tally.lost = 1;
        assert_eq!(bad(&lane, &g).1, "1✗ lost");
        lane.tally.failed = 6;
        lane.errors = vec![(FaultKind::Mismatch, 5), (FaultKind::Timeout, 1)];
        assert_eq!(bad(&lane, &g).1, "7✗ mismatch");
    }
}
