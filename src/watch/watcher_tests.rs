//! The watch with probes in memory. Times are real but short; every wait is for a finding.

use super::run;
use crate::{
    error::{Fault, FaultKind, Result},
    model::{MetricPoint, Phase, Severity, Timestamp, Verdict},
    plan::{Op, Plan, ProbeKind, ProbePlan, ProbeUse, RuleAction, RulePlan},
    ports::{Measurement, Ports, Probe, Reading, fakes},
    watch::Finding,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What a fake probe does when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Bad,
    Broken,
    Silent,
    Panics,
    SaysNo,
}

struct Fake(Mutex<Mood>);

impl Fake {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self(Mutex::new(mood)))
    }
    fn set(&self, mood: Mood) {
        *self.0.lock().unwrap() = mood;
    }
}

#[async_trait]
impl Probe for Fake {
    async fn measure(&self, _vars: &BTreeMap<String, String>) -> Result<Measurement> {
        let mood = *self.0.lock().unwrap();
        let (failed, verdict) = match mood {
            Mood::Good => (0, Verdict::Pass),
            Mood::Bad => (10, Verdict::Fail),
            Mood::Broken => return Err(Fault::new(FaultKind::Unreachable, "measure").detail("no\x1b route")),
            Mood::Silent => std::future::pending().await,
            Mood::Panics => panic!("on order"),
            Mood::SaysNo => {
                return Ok(Measurement {
                    verdict: Verdict::Fail,
                    detail: "exit code 1".into(),
                    readings: Vec::new(),
                    at: Timestamp::now(),
                });
            }
        };
        let readings = vec![Reading::Requests { total: 10, failed, latency: vec![(5.0, 10)] }];
        Ok(Measurement { verdict, detail: String::new(), readings, at: Timestamp::now() })
    }
}

const SHORT: Duration = Duration::from_millis(20);

fn probe(name: &str) -> ProbePlan {
    let run = vec![name.to_owned()];
    let kind = if name == "program" {
        ProbeKind::Command { run }
    } else {
        // What kind of traffic probe it is makes no difference here.
        ProbeKind::Flow { steps: Vec::new() }
    };
    ProbePlan { name: name.into(), kind, uses: vec![ProbeUse::Watch], resolver: None, every: SHORT, timeout: SHORT }
}

fn rule() -> RulePlan {
    RulePlan {
        name: "errors".into(),
        metric: "error_rate".into(),
        op: Op::Above,
        limit: 0.05,
        // Short, so that a bad time is soon forgotten.
        window: SHORT * 10,
        budget: 2,
        min_samples: 10,
        severity: Severity::Critical,
        action: RuleAction::Rollback,
        phases: vec![Phase::Monitoring],
    }
}

struct Night {
    findings: mpsc::Receiver<Finding>,
    phase: watch::Sender<Option<Phase>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Night {
    fn begin(probes: &[(&str, &Arc<Fake>)], phase: Option<Phase>) -> Self {
        let mut plan: Plan = fakes::plan(Vec::new());
        plan.probes = probes.iter().map(|(name, _)| probe(name)).collect();
        plan.rules = vec![rule()];
        let mut ports = Ports::default();
        for (name, fake) in probes {
            let port: Arc<dyn Probe> = (*fake).clone();
            ports.probes.insert((*name).to_owned(), port);
        }
        let (out, findings) = mpsc::channel(16);
        let (phase, phase_out) = watch::channel(phase);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(Arc::new(plan), ports, phase_out, out, stop.clone()));
        Self { findings, phase, stop, task }
    }

    /// The next finding that `wanted` takes, and all before it.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(finding) = self.findings.recv().await {
                seen.push(finding);
                if seen.last().is_some_and(&wanted) {
                    return;
                }
            }
            panic!("the watch ended before {what}");
        };
        let outcome = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(outcome.is_ok(), "waited in vain for {what}: {seen:?}");
        seen
    }

    async fn end(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.task).await;
        ended.expect("ends when stopped").expect("ends well");
    }
}

fn breached(finding: &Finding) -> bool {
    matches!(finding, Finding::Breached { rule, severity: Severity::Critical, action: RuleAction::Rollback, .. } if rule == "errors")
}

fn cleared(finding: &Finding) -> bool {
    matches!(finding, Finding::Cleared { rule } if rule == "errors")
}

fn point(finding: &Finding) -> Option<(&str, MetricPoint)> {
    match finding {
        Finding::Metric { metric, point } => Some((metric, *point)),
        _ => None,
    }
}

#[tokio::test]
async fn a_bad_time_breaches_once_and_clears() {
    let traffic = Fake::new(Mood::Good);
    let mut night = Night::begin(&[("traffic", &traffic)], Some(Phase::Monitoring));
    night.until("samples", |finding| matches!(finding, Finding::Rule(state) if state.armed && state.samples > 0)).await;
    traffic.set(Mood::Bad);
    let before = night.until("the breach", breached).await;
    assert!(!before.iter().any(cleared));
    traffic.set(Mood::Good);
    let between = night.until("the end of it", cleared).await;
    assert!(!between.iter().any(breached), "once per onset");
    traffic.set(Mood::Bad);
    night.until("another breach", breached).await;
    night.end().await;
}

#[tokio::test]
async fn a_rule_acts_only_in_its_phases() {
    let traffic = Fake::new(Mood::Bad);
    let mut night = Night::begin(&[("traffic", &traffic)], Some(Phase::DataMigration));
    let sampled =
        |finding: &Finding| matches!(finding, Finding::Rule(state) if state.samples >= 100 && state.value == Some(1.0));
    let seen = night.until("many bad samples", sampled).await;
    assert!(!seen.iter().any(breached));
    assert!(seen.iter().all(|finding| !matches!(finding, Finding::Rule(state) if state.armed || state.breaches > 0)));
    night.phase.send(Some(Phase::Monitoring)).unwrap();
    night.until("arming", |finding| matches!(finding, Finding::Rule(state) if state.armed && state.samples == 0)).await;
    night.until("the breach", breached).await;
    night.end().await;
}

#[tokio::test]
async fn a_probe_that_cannot_measure_is_told_once() {
    let traffic = Fake::new(Mood::Broken);
    let mut night = Night::begin(&[("traffic", &traffic)], None);
    let failed = |finding: &Finding| matches!(finding, Finding::ProbeFailed { .. });
    let seen = night.until("the failure", failed).await;
    let told = Finding::ProbeFailed { probe: "traffic".into(), fault: "measure: no· route".into() };
    assert_eq!(seen.last(), Some(&told));
    let gap = night.until("a gap", |finding| point(finding).is_some()).await;
    assert!(!gap.iter().any(failed), "once per onset");
    assert_eq!(gap.last().and_then(point).map(|(_, point)| (point.value, point.samples)), Some((None, 0)));
    traffic.set(Mood::Good);
    night
        .until("the recovery", |finding| matches!(finding, Finding::ProbeRecovered { probe } if probe == "traffic"))
        .await;
    traffic.set(Mood::Broken);
    night.until("another failure", failed).await;
    night.end().await;
}

#[tokio::test]
async fn a_slow_probe_or_a_broken_one_delays_nobody() {
    let (silent, panics, traffic) = (Fake::new(Mood::Silent), Fake::new(Mood::Panics), Fake::new(Mood::Bad));
    let probes = [("silent", &silent), ("panics", &panics), ("traffic", &traffic)];
    let mut night = Night::begin(&probes, Some(Phase::Monitoring));
    let mut missing = vec!["silent", "watch", "breach"];
    while !missing.is_empty() {
        let seen = night.until("a failure or the breach", |finding| {
            breached(finding) || matches!(finding, Finding::ProbeFailed { .. })
        });
        match seen.await.last() {
            Some(Finding::ProbeFailed { probe, .. }) => missing.retain(|name| name != probe),
            _ => missing.retain(|name| *name != "breach"),
        }
    }
    night.end().await;
}

#[tokio::test]
async fn a_program_that_says_no_is_told() {
    let program = Fake::new(Mood::SaysNo);
    let mut night = Night::begin(&[("program", &program)], None);
    let told = Finding::ProbeFailed { probe: "program".into(), fault: "exit code 1".into() };
    night.until("its no", |finding| *finding == told).await;
    night.end().await;
}

#[tokio::test]
async fn metrics_are_shown_about_once_a_second() {
    let traffic = Fake::new(Mood::Good);
    let mut night = Night::begin(&[("traffic", &traffic)], None);
    let mut metrics = BTreeMap::new();
    while metrics.len() < 3 {
        let seen = night.until("a metric", |finding| point(finding).is_some()).await;
        let (metric, point) = seen.last().and_then(point).unwrap();
        assert!(point.samples > 0);
        metrics.insert(metric.to_owned(), point.value);
    }
    let expected = [("error_rate", 0.0), ("mean", 5.0), ("p95", 5.0)];
    assert_eq!(metrics, expected.map(|(metric, value)| (metric.to_owned(), Some(value))).into());
    night.end().await;
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let traffic = Fake::new(Mood::Good);
    let Night { findings, task, phase, .. } = Night::begin(&[("traffic", &traffic)], None);
    drop(findings);
    tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
    drop(phase);
}
