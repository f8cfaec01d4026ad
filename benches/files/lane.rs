//! The lane under test, in a process of its own: the real ledger, the real adapters, one lane of files.

use super::step::step;
use cutover::{
    engine::StepContext,
    ledger::Ledger,
    migrate::files::{self, VerifyLevel},
    plan, wiring,
};
use futures::future::BoxFuture;
use std::{path::Path, sync::Arc};

/// Copies, and compares once more if asked.
pub(crate) fn copy(folder: &str, verify: bool) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let folder = Path::new(folder);
        let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
        let run = folder.join("run");
        std::fs::create_dir_all(&run).expect("a folder");
        let ledger = Ledger::open(&run).await.expect("a ledger");
        let ports = wiring::ports(&plan).expect("ports");
        let cx = step(&plan, ports, &ledger, "bench", "files-content", &run);
        // In a task, as the engine runs its steps.
        tokio::spawn(async move { moved(&cx, verify).await }).await.expect("a lane that ends");
        ledger.close().await;
    });
}

fn moved(cx: &StepContext, verify: bool) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let dataset = &cx.plan.datasets[0];
        files::copy(cx, dataset).await.expect("all copied");
        if verify {
            let found = files::verify(cx, dataset, VerifyLevel::Checksum).await.expect("compared");
            assert!(found.is_same(), "{}", found.summary());
        }
    })
}
