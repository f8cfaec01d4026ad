//! A scenario: how big the world is, how its users behave, what goes wrong in it, and the shape of the plan made for it.
//!
//! Scenarios are TOML; five are embedded, others are read from a path. Neighbours: everything in this room reads it.
//! Must never enter: anything that starts a server.

use super::faults::FaultSpec;
use crate::error::{Fault, FaultKind, Result};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

const EMBEDDED: [(&str, &str); 5] = [
    ("calm", include_str!("../../assets/rehearsal/calm.toml")),
    ("error-spike", include_str!("../../assets/rehearsal/error-spike.toml")),
    ("flaky", include_str!("../../assets/rehearsal/flaky.toml")),
    ("conflicts", include_str!("../../assets/rehearsal/conflicts.toml")),
    ("follow", include_str!("../../assets/rehearsal/follow.toml")),
];

/// Times in scenarios are written as in plans: `"500ms"`, `"30s"`.
pub(super) use jiff::fmt::serde::unsigned_duration::friendly::compact::{optional as maybe_time, required as time};

/// A rehearsal's scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for, in one sentence.
    pub about: String,
    /// Everything random in the world follows from this.
    pub seed: u64,
    /// How much data there is.
    pub size: Size,
    /// How the name servers behave.
    pub names: NamesSpec,
    /// How long the servers think.
    pub think: ThinkSpec,
    /// What the users do.
    pub traffic: TrafficSpec,
    /// Writers that ignore the maintenance.
    #[serde(default)]
    pub cron: Option<CronSpec>,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultSpec>,
    /// The shape of the plan made for the world.
    pub plan: PlanSpec,
}

/// How much data there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Users.
    pub users: u64,
    /// Files.
    pub files: u64,
    /// Average bytes of a file.
    pub bytes: u64,
    /// Saved filters.
    pub filters: u64,
}

/// How the name servers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamesSpec {
    /// Time to live of the public name before the cutover, in seconds.
    pub ttl: u32,
    /// The caching resolver keeps an answer at most this long.
    #[serde(with = "time")]
    pub cache: Duration,
}

/// How long the servers think before they answer, on average: loopback alone would make every chart a flat line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkSpec {
    /// The legacy app.
    #[serde(with = "time")]
    pub legacy: Duration,
    /// The new app.
    #[serde(with = "time")]
    pub new: Duration,
    /// The object store.
    #[serde(with = "time")]
    pub objects: Duration,
}

/// What the users do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficSpec {
    /// Users at the same time.
    pub users: u32,
    /// Requests per second of all of them together.
    pub per_second: f64,
    /// Share of journeys that write.
    pub write_share: f64,
    /// How long a user keeps one connection, and with it one side.
    #[serde(with = "time")]
    pub session: Duration,
}

/// Writers that ignore the maintenance: a job on the legacy side, and edits of the same rows on the new side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronSpec {
    /// Rows touched in each round.
    pub rows: u64,
    /// Time between rounds.
    #[serde(with = "time")]
    pub every: Duration,
    /// Rounds on the legacy side.
    pub legacy_rounds: u32,
    /// Rounds on the new side.
    pub new_rounds: u32,
}

/// The shape of the plan made for the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// How long the monitoring lasts.
    #[serde(with = "time")]
    pub monitoring: Duration,
    /// How often rules are evaluated.
    #[serde(with = "time")]
    pub every: Duration,
    /// Window of the rules.
    #[serde(with = "time")]
    pub window: Duration,
    /// Samples a rule needs.
    pub min_samples: u64,
    /// Breaches in a row before a rule acts.
    pub budget: u32,
    /// Limit of the error rate.
    pub error_rate: f64,
    /// Limit of the mean latency in milliseconds.
    pub mean_ms: f64,
    /// Limit of the 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// Records in a batch.
    pub batch_records: u32,
    /// Files in a batch.
    pub batch_files: u32,
    /// Batches at the same time.
    pub concurrency: u32,
    /// Wait before each batch.
    #[serde(with = "time")]
    pub pace: Duration,
    /// Attempts per batch.
    pub attempts: u32,
    /// First wait between attempts.
    #[serde(with = "time")]
    pub backoff: Duration,
    /// Who wins where both sides changed a record.
    pub conflicts: String,
    /// The veto window of an automatic rollback.
    #[serde(with = "time")]
    pub veto: Duration,
    /// Time to live the public name shall get.
    pub ttl: u32,
    /// Copies before the maintenance and follows so often; left out, it copies during the maintenance.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub follow: Option<Duration>,
}

/// What flags change about a scenario; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Overrides {
    /// Users.
    pub users: Option<u64>,
    /// Files.
    pub files: Option<u64>,
    /// Average bytes of a file.
    pub bytes: Option<u64>,
    /// Seed.
    pub seed: Option<u64>,
    /// 2.0 halves every wait.
    pub speed: Option<f64>,
}

impl Scenario {
    /// The embedded scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = EMBEDDED.iter().find(|(known, _)| *known == name)?;
        // Embedded texts are proven to parse by a test; a damaged one is as good as absent.
        toml::from_str(text).ok()
    }

    /// Names of the embedded scenarios; the first is the default.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// The scenario in this text; `place` names it in the error.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] with line and column if it is not a scenario.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            Fault::new(FaultKind::Plan, format!("read the scenario {place}")).detail(error.to_string().trim())
        })?;
        scenario.checked(place)
    }

    /// The scenario in this file.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the file cannot be read or is not a scenario.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Fault::new(FaultKind::Plan, format!("read the scenario {}", path.display())).detail(error.to_string())
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The scenario with these changes.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the outcome makes no sense (no users, a speed that is not above zero).
    pub fn with(mut self, overrides: &Overrides) -> Result<Self> {
        self.size.users = overrides.users.unwrap_or(self.size.users);
        self.size.files = overrides.files.unwrap_or(self.size.files);
        self.size.bytes = overrides.bytes.unwrap_or(self.size.bytes);
        self.seed = overrides.seed.unwrap_or(self.seed);
        if let Some(speed) = overrides.speed {
            if !(0.01..=100.0).contains(&speed) {
                return Err(Fault::new(FaultKind::Plan, "take the speed").detail("it must be from 0.01 to 100"));
            }
            self.hurry(speed);
        }
        self.checked("with these flags")
    }

    /// Divides every wait by `speed`. What must stay wide enough to be seen at all has a floor.
    fn hurry(&mut self, speed: f64) {
        let shorter = |time: &mut Duration, floor_ms: u64| {
            let floor = Duration::from_millis(floor_ms).min(*time);
            *time = time.div_f64(speed).max(floor);
        };
        shorter(&mut self.names.cache, 300);
        shorter(&mut self.traffic.session, 300);
        for think in [&mut self.think.legacy, &mut self.think.new, &mut self.think.objects] {
            shorter(think, 0);
        }
        self.traffic.per_second = (self.traffic.per_second * speed).clamp(0.1, 60.0);
        shorter(&mut self.plan.monitoring, 3000);
        shorter(&mut self.plan.every, 200);
        shorter(&mut self.plan.window, 2000);
        shorter(&mut self.plan.pace, 0);
        shorter(&mut self.plan.backoff, 20);
        shorter(&mut self.plan.veto, 300);
        if let Some(follow) = &mut self.plan.follow {
            shorter(follow, 100);
        }
        if let Some(cron) = &mut self.cron {
            shorter(&mut cron.every, 100);
        }
        for fault in &mut self.faults {
            for time in [&mut fault.from_start, &mut fault.retry_after].into_iter().flatten() {
                shorter(time, 0);
            }
            if let Some(after) = &mut fault.after_switch {
                shorter(after, 4000);
                // What comes after the switch must come while somebody still watches.
                self.plan.monitoring = self.plan.monitoring.max(*after + self.plan.window + Duration::from_secs(4));
            }
        }
    }

    fn checked(self, place: &str) -> Result<Self> {
        let wrong = |what: &str| Err(Fault::new(FaultKind::Plan, format!("take the scenario {place}")).detail(what));
        if self.size.users == 0 {
            return wrong("`users` must be at least 1: files and filters belong to users");
        }
        if self.size.users > 5_000_000 || self.size.files > 5_000_000 || self.size.filters > 5_000_000 {
            return wrong("at most 5000000 users, files and filters");
        }
        if self.size.bytes > 64 << 20 {
            return wrong("`bytes` is the average of a file, at most 67108864");
        }
        if !(0.0..=1.0).contains(&self.traffic.write_share) {
            return wrong("`write_share` must be from 0 to 1");
        }
        if !(0.0..=1000.0).contains(&self.traffic.per_second) || self.traffic.users > 200 {
            return wrong("`per_second` must be from 0 to 1000, traffic `users` at most 200");
        }
        match self.faults.iter().find(|fault| !(0.0..=1.0).contains(&fault.ratio)) {
            Some(fault) => wrong(&format!("`ratio` of the fault `{}` must be from 0 to 1", fault.name)),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_scenario_parses_under_its_name() {
        for (name, text) in EMBEDDED {
            let scenario = Scenario::parse(text, name).unwrap();
            assert_eq!(scenario.name, name);
            assert_eq!(Scenario::named(name), Some(scenario));
        }
        assert_eq!(Scenario::names().next(), Some("calm"));
        assert_eq!(Scenario::named("storm"), None);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let text = format!("{}\nbogus = 1\n", EMBEDDED[0].1);
        let fault = Scenario::parse(&text, "mine.toml").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Plan);
        assert!(fault.to_string().contains("mine.toml"), "{fault}");
        assert!(fault.to_string().contains("bogus"), "{fault}");
    }

    #[test]
    fn speed_halves_waits_and_sizes_are_replaced() {
        let calm = Scenario::named("calm").unwrap();
        let fast = calm
            .clone()
            .with(&Overrides { users: Some(3), files: Some(4), bytes: Some(5), seed: Some(6), speed: Some(2.0) })
            .unwrap();
        assert_eq!((fast.size.users, fast.size.files, fast.size.bytes, fast.seed), (3, 4, 5, 6));
        assert_eq!(fast.plan.monitoring * 2, calm.plan.monitoring);
        assert_eq!(fast.plan.pace * 2, calm.plan.pace);
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(calm.clone().with(&Overrides { speed: Some(wrong), ..Overrides::default() }).is_err());
        }
        assert!(calm.with(&Overrides { users: Some(0), ..Overrides::default() }).is_err());
    }
}
