//! What goes wrong in the world: faults by target, by time and by chance, each of them repeatable from the seed.
//!
//! A fault with `per_key` hits the same request at most that often and then never again, so that a caller with enough
//! attempts always wins; one without it is thrown anew for every request.

mod strike;

pub(super) use strike::{Dropped, FaultyServer, ServedVersion, strike};

use super::scenario::{maybe_time, time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultTarget {
    /// The legacy app: its users' API and its extraction endpoints.
    LegacyApi,
    /// The legacy app's media over HTTP.
    Media,
    /// The object store.
    S3,
    /// The new app.
    NewApp,
    /// The name servers.
    Dns,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultWork {
    /// Answers later.
    Latency,
    /// Answers 500 (a name server: `SERVFAIL`) and does nothing.
    Error,
    /// Answers 429 with `Retry-After` (the object store: 503 `SlowDown`) and does nothing.
    Throttle,
    /// Does it, and the answer's body ends in the middle.
    Cut,
    /// Does it, and the connection closes without an answer.
    Lost,
    /// Does nothing and keeps the caller waiting, then closes the connection.
    Stall,
    /// A name server goes on answering what it answered before the cutover.
    Frozen,
}

/// One fault of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Its name.
    pub name: String,
    /// What it is, in one sentence.
    pub about: String,
    /// Where it strikes.
    pub target: FaultTarget,
    /// What it does.
    pub kind: FaultWork,
    /// Share of requests it strikes.
    #[serde(default = "always")]
    pub ratio: f64,
    /// The same request is struck at most so often, by all faults with this limit together.
    #[serde(default)]
    pub per_key: Option<u32>,
    /// It strikes at most so often in all.
    #[serde(default)]
    pub count: Option<u64>,
    /// Only requests whose path begins so.
    #[serde(default)]
    pub path: Option<String>,
    /// Only requests that this version of the new app serves (`v1`, `v2`).
    #[serde(default)]
    pub version: Option<String>,
    /// Only from this long after a name server first answered the new address.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub after_switch: Option<Duration>,
    /// Only from this long after the world began (or, if injected, after that).
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub from_start: Option<Duration>,
    /// Only while the legacy app refuses writes.
    #[serde(default)]
    pub during_maintenance: bool,
    /// How long `latency` and `stall` wait.
    #[serde(default = "half_second", with = "time")]
    pub delay: Duration,
    /// What `throttle` asks for.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// False: waits until it is injected by name.
    #[serde(default = "yes")]
    pub armed: bool,
}

const fn always() -> f64 {
    1.0
}
const fn yes() -> bool {
    true
}
const fn half_second() -> Duration {
    Duration::from_millis(500)
}

/// Faults that can be injected into any world.
const CATALOGUE: &str = include_str!("../../assets/rehearsal/faults.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    fault: Vec<FaultSpec>,
}

/// A fault as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// It can strike now or once its time comes.
    pub armed: bool,
    /// How often it struck.
    pub struck: u64,
}

/// What the faults need to know about the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Since a name server first answered the new address.
    pub(super) since_switch: Option<Duration>,
    /// The legacy app refuses writes.
    pub(super) maintenance: bool,
}

/// What shall happen to one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Strike {
    pub(super) delay: Duration,
    pub(super) work: Option<(FaultWork, Duration)>,
}

struct Armed {
    spec: FaultSpec,
    since: Instant,
    thrown: u64,
    struck: u64,
}

struct Inner {
    faults: Vec<Armed>,
    by_key: HashMap<u64, (u32, u64)>,
    moment: Moment,
    moment_at: Instant,
}

/// All faults of a world.
pub(super) struct Faults {
    seed: u64,
    inner: Mutex<Inner>,
}

impl Faults {
    pub(super) fn new(seed: u64, specs: &[FaultSpec]) -> Self {
        // The catalogue is proven to parse by a test.
        let catalogue: Vec<FaultSpec> = toml::from_str::<Catalogue>(CATALOGUE).map(|c| c.fault).unwrap_or_default();
        let rest = catalogue.into_iter().filter(|known| !specs.iter().any(|spec| spec.name == known.name));
        let now = Instant::now();
        let faults = specs.iter().cloned().chain(rest);
        let faults = faults.map(|spec| Armed { spec, since: now, thrown: 0, struck: 0 }).collect();
        let inner = Inner { faults, by_key: HashMap::new(), moment: Moment::default(), moment_at: now };
        Self { seed, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while the lock was held leaves counters that are at worst one off.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the faults know about the moment.
    pub(super) fn moment(&self, change: impl FnOnce(&mut Moment)) {
        let mut inner = self.inner();
        let passed = inner.moment_at.elapsed();
        inner.moment.since_switch = inner.moment.since_switch.map(|since| since + passed);
        inner.moment_at = Instant::now();
        change(&mut inner.moment);
    }

    /// True once a name server has answered the new address.
    pub(super) fn switched(&self) -> bool {
        self.inner().moment.since_switch.is_some()
    }

    /// Arms or disarms the fault of this name; false if there is none.
    pub(super) fn arm(&self, name: &str, armed: bool) -> bool {
        let mut inner = self.inner();
        let Some(fault) = inner.faults.iter_mut().find(|fault| fault.spec.name == name) else { return false };
        if armed && !fault.spec.armed {
            fault.since = Instant::now();
        }
        fault.spec.armed = armed;
        true
    }

    pub(super) fn list(&self) -> Vec<FaultView> {
        let view = |fault: &Armed| FaultView {
            name: fault.spec.name.clone(),
            about: fault.spec.about.clone(),
            armed: fault.spec.armed,
            struck: fault.struck,
        };
        self.inner().faults.iter().map(view).collect()
    }

    /// What shall happen to this request. `key` says which request it is, so that a repetition is known as one.
    pub(super) fn throw(&self, target: FaultTarget, path: &str, key: &str, version: &str) -> Strike {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let key = fraction_bits(&[&self.seed.to_le_bytes(), &[target as u8], key.as_bytes()]);
        let since_switch = inner.moment.since_switch.map(|since| since + inner.moment_at.elapsed());
        let maintenance = inner.moment.maintenance;
        let mut strike = Strike::default();
        for fault in &mut inner.faults {
            let spec = &fault.spec;
            let due = spec.armed
                && spec.target == target
                && spec.count.is_none_or(|count| fault.struck < count)
                && spec.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
                && spec.version.as_deref().is_none_or(|wanted| wanted == version)
                && spec.after_switch.is_none_or(|after| since_switch.is_some_and(|since| since >= after))
                && spec.from_start.is_none_or(|after| fault.since.elapsed() >= after)
                && (!spec.during_maintenance || maintenance);
            if !due || (spec.kind != FaultWork::Latency && strike.work.is_some()) {
                continue;
            }
            let seed = self.seed.to_le_bytes();
            let hit = if let Some(limit) = spec.per_key {
                let (struck, thrown) = inner.by_key.entry(key).or_default();
                *thrown += 1;
                let parts = [&seed[..], spec.name.as_bytes(), &key.to_le_bytes(), &thrown.to_le_bytes()];
                let hit = *struck < limit && below(&parts, spec.ratio);
                *struck += u32::from(hit);
                hit
            } else {
                fault.thrown += 1;
                below(&[&seed, spec.name.as_bytes(), &fault.thrown.to_le_bytes()], spec.ratio)
            };
            if !hit {
                continue;
            }
            fault.struck += 1;
            if spec.kind == FaultWork::Latency {
                strike.delay += spec.delay;
            } else {
                let time = if spec.kind == FaultWork::Throttle { spec.retry_after } else { Some(spec.delay) };
                strike.work = Some((spec.kind, time.unwrap_or(Duration::from_secs(1))));
            }
        }
        strike
    }
}

fn fraction_bits(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

fn below(parts: &[&[u8]], ratio: f64) -> bool {
    // 53 bits are what a double holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    let fraction = (fraction_bits(parts) >> 11) as f64 / (1_u64 << 53) as f64;
    fraction < ratio
}

#[cfg(test)]
mod tests;
