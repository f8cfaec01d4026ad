//! Decisions per second through the real journal, one caller after the other and grouped.

use crate::figures::print_one;
use cutover::{
    event::{Event, EventKind},
    ledger::Ledger,
    model::{Phase, RunId, Timestamp},
};
use std::time::Instant;

const EVENTS: u32 = 20_000;

/// Appends with groups of 1, 16 and 256 decisions in one transaction, as the dispatcher forms them under load.
pub(crate) async fn appends() {
    for group in [1_u32, 16, 256] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let ledger = Ledger::open(folder.path()).await.expect("a new ledger opens");
        let journal = ledger.journal();
        let run = RunId::new("bench");
        let total = if group == 1 { EVENTS / 20 } else { EVENTS };
        let began = Instant::now();
        let mut seq = 0;
        while seq < total {
            let events: Vec<Event> = (0..group)
                .map(|_| {
                    seq += 1;
                    Event {
                        seq: seq.into(),
                        at: Timestamp::now(),
                        kind: EventKind::PhaseStarted { phase: Phase::Preparation },
                    }
                })
                .collect();
            journal.append(&run, &events).await.expect("the journal appends");
        }
        let rate = f64::from(seq) / began.elapsed().as_secs_f64();
        print_one(&format!("journal appends, {group} decisions a transaction"), rate, "per second", "-");
        ledger.close().await;
    }
}
