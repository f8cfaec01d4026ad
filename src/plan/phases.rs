//! What the plan tells the phases, the rules that watch, the migration and the rollback.

use super::{
    BackupsPlan, CommandPlan, ConflictPolicy, FileSetPlan, FollowPlan, MigrationPlan, OnExisting, Op, PhasePlan,
    ProbeKind, ProbePlan, RollbackPlan, RuleAction, RulePlan, backups,
    check::{self, Placed},
    limits::{
        AMOUNTS, BATCH_BYTES, CADENCES, COMMAND_TIMEOUT, FIVE_MINUTES, MONITORING_EVERY, SPANS, SWEEP, TIMEOUTS, WAITS,
    },
    reader::Node,
    request::command,
    sides::Sides,
    table::Table,
};
use crate::model::{Phase, Severity};
use std::{collections::BTreeMap, time::Duration};
use toml::de::DeValue;

/// Phases in which a rule may act unless it says otherwise.
const RULE_PHASES: [Phase; 2] = [Phase::PostValidation, Phase::Monitoring];

/// Every phase's entry.
pub(super) fn read(root: &Table<'_>) -> BTreeMap<Phase, PhasePlan> {
    let table = root.table("phases");
    let phases = Phase::ALL
        .into_iter()
        .map(|phase| {
            let plan = table.as_ref().and_then(|table| table.table(phase.name())).map(|table| told(phase, &table));
            (phase, plan.unwrap_or_else(|| default(phase)))
        })
        .collect();
    if let Some(table) = table {
        table.close();
    }
    phases
}

fn default(phase: Phase) -> PhasePlan {
    PhasePlan {
        enabled: true,
        gate: matches!(phase, Phase::Maintenance | Phase::DnsCutover | Phase::Cleanup),
        before: Vec::new(),
        after: Vec::new(),
        expected: None,
        duration: FIVE_MINUTES,
        every: MONITORING_EVERY,
    }
}

fn told(phase: Phase, table: &Table<'_>) -> PhasePlan {
    let mut plan = default(phase);
    plan.enabled = table.boolean("enabled", plan.enabled);
    plan.gate = table.boolean("gate", plan.gate);
    plan.expected = table.get("expected").and_then(|node| node.duration(SPANS));
    if phase == Phase::Monitoring {
        plan.duration = table.duration("duration", plan.duration, SPANS);
        plan.every = table.duration("every", plan.every, CADENCES);
    }
    let mut names = Vec::new();
    let mut commands = |key| {
        let read = |table: Table<'_>| {
            let node = table.need("name", "\"warm\"")?;
            let name = node.name("_-");
            names.extend(name.clone().map(|name| (name, node.span.clone())));
            let run = table.need("run", "[\"./warm.sh\"]").and_then(|node| command(&node));
            let undo = table.get("undo").and_then(|node| command(&node));
            let timeout = table.duration("timeout", COMMAND_TIMEOUT, TIMEOUTS);
            table.close();
            Some(CommandPlan { name: name?, run: run?, undo, timeout })
        };
        table.tables(key).into_iter().filter_map(read).collect()
    };
    plan.before = commands("before");
    plan.after = commands("after");
    check::unique(table.cx, "program", &names);
    table.close();
    plan
}

/// The rules in the order of the file, or the seeds' two if there is none.
pub(super) fn rules(root: &Table<'_>, probes: &[Placed<ProbePlan>]) -> Vec<RulePlan> {
    if root.get("rule").is_none() {
        return vec![seed_rule("error_rate", 0.05), seed_rule("mean", 1000.0)];
    }
    let gauges = probes.iter().filter(|probe| matches!(probe.plan.kind, ProbeKind::Command { .. }));
    let mut metrics = vec!["error_rate".to_owned(), "p95".to_owned(), "mean".to_owned()];
    metrics.extend(gauges.map(|probe| probe.plan.name.clone()));
    let rules: Vec<_> = root.tables("rule").into_iter().filter_map(|table| rule(&table, &metrics)).collect();
    let names: Vec<_> = rules.iter().map(|rule| (rule.plan.name.clone(), rule.span.clone())).collect();
    check::unique(root.cx, "rule", &names);
    rules.into_iter().map(|rule| rule.plan).collect()
}

fn seed_rule(metric: &str, limit: f64) -> RulePlan {
    RulePlan {
        name: rule_name(metric, Op::Above, limit),
        metric: metric.into(),
        op: Op::Above,
        limit,
        window: FIVE_MINUTES,
        budget: 3,
        min_samples: 20,
        severity: Severity::Critical,
        action: RuleAction::Rollback,
        phases: RULE_PHASES.to_vec(),
    }
}

fn rule_name(metric: &str, op: Op, limit: f64) -> String {
    let sign = match op {
        Op::Above => '>',
        Op::Below => '<',
    };
    format!("{metric} {sign} {limit}")
}

fn rule(table: &Table<'_>, metrics: &[String]) -> Option<Placed<RulePlan>> {
    let metric = table.need("metric", "\"error_rate\"").and_then(|node| node.reference("metric", metrics));
    let op = table.one_of("op", Op::Above, &[(">", Op::Above), ("<", Op::Below)]);
    let limit = table.need("limit", "0.05").and_then(|node| {
        let ratio = metric.as_deref() == Some("error_rate");
        node.number(if ratio { 0.0..=1.0 } else { f64::MIN..=f64::MAX })
    });
    let name = table.get("name").map(|node| (node.filled(), node.span));
    let window = table.duration("window", FIVE_MINUTES, SPANS);
    let budget = table.count("budget", 3, 1..=1000);
    let min_samples = table.get("min_samples").and_then(|node| node.integer(0..=u64::MAX)).unwrap_or_else(|| {
        // A gauge has one sample per measurement, traffic has many.
        if metric.as_deref().is_some_and(|metric| matches!(metric, "error_rate" | "p95" | "mean")) { 20 } else { 1 }
    });
    let actions = [("notify", RuleAction::Notify), ("pause", RuleAction::Pause), ("rollback", RuleAction::Rollback)];
    let action = table.one_of("action", RuleAction::Notify, &actions);
    let loud = if action == RuleAction::Notify { Severity::Warning } else { Severity::Critical };
    let severities = [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];
    let severity = table.one_of("severity", loud, &severities);
    let words = Phase::ALL.map(|phase| (phase.name(), phase));
    let read = |node: &Node<'_>| node.one_of(&words);
    let phases = table.get("phases").and_then(|node| node.list(read)).unwrap_or_else(|| RULE_PHASES.to_vec());
    let span = name.as_ref().map_or_else(|| table.span.clone(), |(_, span)| span.clone());
    table.close();
    let (metric, limit) = (metric?, limit?);
    let name = name.and_then(|(name, _)| name).unwrap_or_else(|| rule_name(&metric, op, limit));
    let plan = RulePlan { name, metric, op, limit, window, budget, min_samples, severity, action, phases };
    Some(Placed { plan, span })
}

/// How the data moves.
pub(super) fn migration(
    root: &Table<'_>,
    phases: &BTreeMap<Phase, PhasePlan>,
    sides: &Sides,
    file_sets: &[FileSetPlan],
) -> MigrationPlan {
    let mut plan = MigrationPlan {
        batch_records: 500,
        batch_files: 50,
        batch_bytes: BATCH_BYTES,
        concurrency: 4,
        attempts: 4,
        backoff: Duration::from_millis(500),
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
    };
    let Some(table) = root.table("migration") else { return plan };
    let policies = [
        ("legacy-wins", ConflictPolicy::LegacyWins),
        ("new-wins", ConflictPolicy::NewWins),
        ("newest-wins", ConflictPolicy::NewestWins),
        ("manual", ConflictPolicy::Manual),
    ];
    let existing =
        [("skip-same", OnExisting::SkipSame), ("overwrite", OnExisting::Overwrite), ("fail", OnExisting::Fail)];
    plan.batch_records = table.count("batch_records", plan.batch_records, 1..=10_000);
    plan.batch_files = table.count("batch_files", plan.batch_files, 1..=10_000);
    plan.batch_bytes = table.bytes("batch_bytes", plan.batch_bytes, AMOUNTS);
    plan.concurrency = table.count("concurrency", plan.concurrency, 1..=64);
    plan.attempts = table.count("attempts", plan.attempts, 1..=100);
    plan.backoff = table.duration("backoff", plan.backoff, WAITS);
    if let Some(node) = table.get("max_failures") {
        match node.value {
            DeValue::String(_) => plan.max_failed_share = share(&node),
            _ => plan.max_failures = node.integer(0..=u64::MAX).unwrap_or_default(),
        }
    }
    plan.continue_on_error = table.boolean("continue_on_error", plan.continue_on_error);
    if let Some(place) = table.get("backups").and_then(|node| backups::read(&node, sides, file_sets)) {
        plan.backups = place;
    }
    plan.conflicts = table.one_of("conflicts", plan.conflicts, &policies);
    plan.pace = table.duration("pace", plan.pace, WAITS);
    plan.follow = follow(&table, phases);
    plan.on_existing = table.one_of("on_existing", plan.on_existing, &existing);
    plan.limit_bytes_per_s = table.get("limit_bytes_per_s").and_then(|node| node.bytes(AMOUNTS));
    plan.limit_rows_per_s = table.get("limit_rows_per_s").and_then(|node| node.integer(1..=1_000_000_000));
    plan.limit_requests_per_s = table.get("limit_requests_per_s").and_then(|node| node.integer(1..=1_000_000));
    table.close();
    plan
}

/// `"0.1%"` as 0.001.
fn share(node: &Node<'_>) -> Option<f64> {
    node.parsed("a share", "a whole number, or a share from \"0%\" to \"100%\", as \"0.1%\"", |text| {
        let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
    })
}

/// `follow` needs the phase that copies ahead and the one that drains.
fn follow(table: &Table<'_>, phases: &BTreeMap<Phase, PhasePlan>) -> Option<FollowPlan> {
    let node = table.get("follow");
    let sweep = table.get("sweep");
    let Some(node) = node else {
        if let Some(sweep) = sweep {
            sweep.fault("`sweep` without `follow`", "`follow = \"10s\"` as well, or no `sweep`");
        }
        return None;
    };
    let off = |phase: &Phase| phases.get(phase).is_some_and(|plan| !plan.enabled);
    if let Some(phase) = [Phase::Validation, Phase::DataMigration].iter().find(|phase| off(phase)) {
        let found = format!("`follow` without the phase `{}`, which is turned off", phase.name());
        node.fault(found, format!("`enabled = true` in [phases.{}], or no `follow`", phase.name()));
    }
    let every = node.duration(CADENCES);
    let sweep = table.duration("sweep", SWEEP, SPANS);
    every.map(|every| FollowPlan { every, sweep })
}

/// When and how to go back.
pub(super) fn rollback(root: &Table<'_>) -> RollbackPlan {
    let mut plan = RollbackPlan {
        on_failure: true,
        veto: Duration::from_secs(20),
        on_stop: false,
        gate_timeout: Duration::from_mins(10),
        evidence_max_age: Duration::from_mins(2),
    };
    if let Some(table) = root.table("rollback") {
        plan.on_failure = table.boolean("on_failure", plan.on_failure);
        plan.veto = table.duration("veto", plan.veto, WAITS);
        plan.on_stop = table.boolean("on_stop", plan.on_stop);
        plan.gate_timeout = table.duration("gate_timeout", plan.gate_timeout, SPANS);
        plan.evidence_max_age = table.duration("evidence_max_age", plan.evidence_max_age, SPANS);
        table.close();
    }
    plan
}
