//! What a step of a run would be given, without an engine around it: for tests and benchmarks that move one lane. For any
//! of them that names this file.

use cutover::{
    engine::{Reporter, Signals, StepContext},
    ledger::Ledger,
    model::{RunId, StepId},
    plan::Plan,
    ports::Ports,
};
use std::{path::Path, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The context of this step of the data migration. Its progress is read and thrown away, so that nobody waits for a
/// reader; nothing stops it. Needs a runtime.
pub(crate) fn step(
    plan: &Arc<Plan>,
    ports: Ports,
    ledger: &Ledger,
    run: &str,
    name: &str,
    folder: &Path,
) -> StepContext {
    let (signals, _gate) = Signals::new(CancellationToken::new());
    let (to, mut from) = mpsc::channel(64);
    tokio::spawn(async move { while from.recv().await.is_some() {} });
    StepContext {
        plan: Arc::clone(plan),
        ports,
        work: ledger.work(&RunId::new(run)),
        signals,
        report: Reporter::new(StepId::new(format!("data_migration/{name}")), to),
        folder: folder.to_owned(),
    }
}
