//! Ports in memory, with trouble on order: every call of every fake passes through one [`Trouble`], which counts it and
//! can fail it, lose its answer, or let the process "die" before or after the work was done.
//!
//! Only for tests. Must never enter: anything outside this process.

mod blobs;
mod blocks;
mod records;
mod work;
mod write_back;

pub(crate) use blobs::FakeBucket;
pub(crate) use records::FakeStore;
pub(crate) use work::{FakeWork, batch};
pub(crate) use write_back::FakeTable;

use crate::{
    error::{Fault, FaultKind, Result},
    model::Environment,
    plan::{
        BackupsPlan, ConflictPolicy, DatasetPlan, MigrationPlan, OnExisting, OnHangup, PhasePlan, Plan, RollbackPlan,
    },
    ports::{BackupPlace, BlobStore},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Nothing is done, and this comes back.
    Fail(FaultKind),
    /// Nothing is done, and the other side asks to come back later.
    Throttled(Duration),
    /// The work is done, and this comes back instead of the answer.
    Lost(FaultKind),
    /// The run is stopped before the work; the call never returns.
    Crash,
    /// The run is stopped after the work; the call never returns.
    CrashAfter,
    /// A stream ends in the middle with `Garbage`; anything but a stream fails with it.
    Cut,
    /// A stream has one bit turned; anything but a stream is left alone.
    Corrupt,
    /// The work is done once [`Trouble::release`] was called after it was asked for.
    Hold,
}

#[derive(Default)]
struct Orders {
    calls: u64,
    by_name: BTreeMap<String, u64>,
    at: BTreeMap<u64, Mishap>,
    on: BTreeMap<(String, u64), Mishap>,
    always: BTreeMap<String, Mishap>,
    stop: CancellationToken,
}

/// Counts the calls of all fakes that share it and brings the trouble that was ordered.
pub(crate) struct Trouble(Mutex<Orders>, Semaphore);

impl Trouble {
    /// No trouble yet.
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self(Mutex::default(), Semaphore::new(0)))
    }

    /// Lets one call go on that is held, or will be.
    pub(crate) fn release(&self) {
        self.1.add_permits(1);
    }

    /// Trouble at the call of this number, counted from 1 over all fakes and from now.
    pub(crate) fn at(&self, call: u64, mishap: Mishap) {
        let mut orders = self.orders();
        let number = orders.calls + call;
        orders.at.insert(number, mishap);
    }

    /// Trouble at the `nth` call from now of `name`: the fake's name, a dot, the method (`new.write`).
    pub(crate) fn on(&self, name: &str, nth: u64, mishap: Mishap) {
        let mut orders = self.orders();
        let number = orders.by_name.get(name).copied().unwrap_or(0) + nth;
        orders.on.insert((name.into(), number), mishap);
    }

    /// Trouble at every call of `name`.
    pub(crate) fn always(&self, name: &str, mishap: Mishap) {
        self.orders().always.insert(name.into(), mishap);
    }

    /// No more trouble; the run can be stopped through this token from now on.
    pub(crate) fn calm(&self, stop: CancellationToken) {
        let mut orders = self.orders();
        orders.at.clear();
        orders.on.clear();
        orders.always.clear();
        orders.stop = stop;
    }

    /// Calls so far, of all fakes.
    pub(crate) fn calls(&self) -> u64 {
        self.orders().calls
    }

    /// Calls so far of `name`.
    pub(crate) fn calls_of(&self, name: &str) -> u64 {
        self.orders().by_name.get(name).copied().unwrap_or(0)
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, name: &str) -> Option<Mishap> {
        let mut orders = self.orders();
        orders.calls += 1;
        let count = orders.by_name.entry(name.into()).or_default();
        *count += 1;
        let (call, nth) = (orders.calls, *orders.by_name.get(name).unwrap_or(&0));
        let at = orders.at.remove(&call);
        let on = orders.on.remove(&(name.to_string(), nth));
        at.or(on).or_else(|| orders.always.get(name).copied())
    }

    async fn die<T>(&self) -> T {
        let stop = self.orders().stop.clone();
        stop.cancel();
        futures::future::pending().await
    }

    /// Does `work` with the trouble ordered for this call. Gives the mishap too, where the work itself must bring it.
    pub(super) async fn around<T>(&self, name: &str, work: impl FnOnce(Option<Mishap>) -> Result<T>) -> Result<T> {
        let mishap = self.next(name);
        tokio::task::yield_now().await;
        match mishap {
            Some(Mishap::Fail(kind)) => Err(Fault::new(kind, format!("do {name}")).detail("as ordered")),
            Some(Mishap::Throttled(wait)) => {
                Err(Fault::new(FaultKind::Throttled, format!("do {name}")).retry_after(Some(wait)))
            }
            Some(Mishap::Lost(kind)) => {
                work(None)?;
                Err(Fault::new(kind, format!("hear of {name}")).detail("answer lost as ordered"))
            }
            Some(Mishap::Crash) => self.die().await,
            Some(Mishap::CrashAfter) => {
                let _unheard = work(None);
                self.die().await
            }
            Some(Mishap::Hold) => {
                let released = self.1.acquire().await;
                released
                    .map_err(|closed| Fault::new(FaultKind::Internal, format!("do {name}")).source(closed))?
                    .forget();
                work(None)
            }
            other => work(other),
        }
    }
}

/// A place for backups in this bucket.
pub(crate) fn backups(bucket: &Arc<FakeBucket>) -> BackupPlace {
    BackupPlace { bucket: Arc::clone(bucket) as Arc<dyn BlobStore>, prefix: "kept/".into(), told: "memory".into() }
}

/// A plan with these datasets, small batches and no waits.
pub(crate) fn plan(datasets: Vec<DatasetPlan>) -> Plan {
    let phase = PhasePlan {
        enabled: true,
        gate: false,
        before: Vec::new(),
        after: Vec::new(),
        expected: None,
        duration: Duration::ZERO,
        every: Duration::from_millis(10),
    };
    Plan {
        name: "test".into(),
        environment: Environment::Development,
        window: None,
        digest: String::new(),
        stores: BTreeMap::new(),
        buckets: BTreeMap::new(),
        datasets,
        file_sets: Vec::new(),
        maintenance: None,
        deployment: None,
        release: None,
        dns: None,
        announce: Vec::new(),
        probes: Vec::new(),
        rules: Vec::new(),
        phases: crate::model::Phase::ALL.into_iter().map(|name| (name, phase.clone())).collect(),
        migration: MigrationPlan {
            batch_records: 3,
            batch_files: 2,
            batch_bytes: 1024 * 1024,
            concurrency: 2,
            attempts: 4,
            backoff: Duration::from_millis(1),
            max_failures: 0,
            max_failed_share: None,
            continue_on_error: true,
            backups: BackupsPlan::Beside,
            conflicts: ConflictPolicy::NewestWins,
            pace: Duration::ZERO,
            follow: None,
            on_existing: OnExisting::SkipSame,
            limit_bytes_per_s: None,
            limit_rows_per_s: None,
            limit_requests_per_s: None,
        },
        rollback: RollbackPlan {
            on_failure: false,
            veto: Duration::ZERO,
            on_stop: false,
            gate_timeout: Duration::from_secs(1),
            evidence_max_age: Duration::from_secs(60),
        },
        on_hangup: OnHangup::Continue,
    }
}
