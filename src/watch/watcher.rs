//! Measures and evaluates while a run is under way.
//!
//! One task per probe, so that a slow one delays nobody; one loop that owns the readings and the rules. A probe that cannot
//! measure leaves a gap and is told once. Must never enter: what a breach leads to, that is the engine's.

use super::{
    Finding,
    rules::{Rule, Transition},
    window::{Readings, Span},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{MetricPoint, Phase, Timestamp, Verdict, text},
    plan::{Plan, ProbeKind, ProbePlan, ProbeUse},
    ports::{Measurement, Ports, Probe},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often the screen hears of metrics and rules.
const DISPLAY: Duration = Duration::from_secs(1);
/// The longest window of a displayed metric.
const DISPLAY_WINDOW: Duration = Duration::from_secs(10);
/// However the plan was made, the loop never spins.
const SHORTEST: Duration = Duration::from_millis(5);
/// Metrics made of requests.
const TRAFFIC: [&str; 3] = ["error_rate", "p95", "mean"];

/// Watches until stopped, or until nobody listens. Measures every probe of the plan whose use is `watch`, evaluates the
/// rules as often as the monitoring says, and tells what it finds. `phase` is the phase under way, `None` while no rule
/// may act.
pub async fn run(
    plan: Arc<Plan>,
    ports: Ports,
    mut phase: watch::Receiver<Option<Phase>>,
    out: mpsc::Sender<Finding>,
    stop: CancellationToken,
) {
    let probes: Vec<ProbePlan> =
        plan.probes.iter().filter(|probe| probe.uses.contains(&ProbeUse::Watch)).cloned().collect();
    let (measured_in, mut measured) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    for (index, probe) in probes.iter().enumerate() {
        tasks.spawn(measure(index, probe.clone(), ports.probe(&probe.name), measured_in.clone()));
    }
    drop(measured_in);
    let mut watcher = Watcher::new(&plan, probes, out);
    let mut display = interval_at(Instant::now() + DISPLAY, DISPLAY);
    display.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let entered = *phase.borrow_and_update();
    let mut heard = watcher.enter(entered).await;
    while heard {
        let evaluation = watcher.evaluation;
        heard = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = phase.changed() => {
                let entered = *phase.borrow_and_update();
                changed.is_ok() && watcher.enter(entered).await
            }
            Some(brought) = measured.recv() => watcher.take(brought).await,
            () = tokio::time::sleep_until(evaluation) => watcher.evaluate().await,
            _ = display.tick() => watcher.display(),
            Some(ended) = tasks.join_next() => watcher.task_ended(&ended).await,
        };
    }
    tasks.shutdown().await;
}

/// What a probe brought: which, since when it measured, and what.
struct Brought {
    probe: usize,
    began: Instant,
    result: Result<Measurement>,
}

/// Measures one probe at its cadence for as long as somebody listens.
async fn measure(index: usize, plan: ProbePlan, port: Result<Arc<dyn Probe>>, to: mpsc::Sender<Brought>) {
    let port = match port {
        Ok(port) => port,
        Err(fault) => {
            let _nobody_listens = to.send(Brought { probe: index, began: Instant::now(), result: Err(fault) }).await;
            return;
        }
    };
    let mut ticks = tokio::time::interval(plan.every.max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Adapters end by themselves within the timeout and say more than this could; this is for the one that does not.
    let longest = plan.timeout * 2;
    let vars = BTreeMap::new();
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let result = timeout(longest, port.measure(&vars)).await.unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::Timeout, format!("measure {}", plan.name)).detail(format!("after {longest:?}")))
        });
        if to.send(Brought { probe: index, began, result }).await.is_err() {
            return;
        }
    }
}

/// A probe as the loop sees it.
struct Watched {
    plan: ProbePlan,
    /// When it brought something last: what counters cover begins there.
    last: Option<Instant>,
    failing: bool,
}

struct Watcher {
    probes: Vec<Watched>,
    rules: Vec<Rule>,
    readings: Readings,
    /// Displayed metrics with their windows.
    shown: Vec<(String, Duration)>,
    every: Duration,
    /// When the rules are evaluated next.
    evaluation: Instant,
    out: mpsc::Sender<Finding>,
}

impl Watcher {
    fn new(plan: &Plan, probes: Vec<ProbePlan>, out: mpsc::Sender<Finding>) -> Self {
        let every = plan.phases.get(&Phase::Monitoring).map_or(DISPLAY_WINDOW, |told| told.every).max(SHORTEST);
        let shown = shown(plan, &probes);
        let windows = plan.rules.iter().map(|rule| rule.window).chain(shown.iter().map(|(_, window)| *window));
        Self {
            readings: Readings::new(windows.max().unwrap_or(DISPLAY_WINDOW)),
            probes: probes.into_iter().map(|plan| Watched { plan, last: None, failing: false }).collect(),
            rules: plan.rules.iter().cloned().map(Rule::new).collect(),
            shown,
            every,
            evaluation: Instant::now() + every,
            out,
        }
    }

    /// The run is in this phase now. Says whether somebody still listens, as all of these do.
    async fn enter(&mut self, phase: Option<Phase>) -> bool {
        let now = Instant::now();
        self.readings.cut(now);
        self.evaluation = now + self.every;
        let entered: Vec<_> = self.rules.iter_mut().map(|rule| rule.enter(phase, now)).collect();
        let heard = self.tell_transitions(entered).await;
        self.display_rules();
        heard
    }

    async fn take(&mut self, Brought { probe, began, result }: Brought) -> bool {
        let now = Instant::now();
        let watched = &mut self.probes[probe];
        let fault = match result {
            Err(fault) => Some(fault.chain()),
            Ok(measurement) => {
                let last = watched.last.replace(now);
                let counts = matches!(watched.plan.kind, ProbeKind::Counters { .. });
                let from = last.filter(|_| counts).unwrap_or(began);
                for reading in &measurement.readings {
                    self.readings.add(from, now, reading);
                }
                // Failed requests are in the error rate; a program that says no is nowhere else.
                let program = matches!(watched.plan.kind, ProbeKind::Command { .. });
                (program && measurement.verdict == Verdict::Fail).then_some(measurement.detail)
            }
        };
        let onset = fault.is_some() && !watched.failing;
        let recovered = fault.is_none() && watched.failing;
        watched.failing = fault.is_some();
        let probe = watched.plan.name.clone();
        match fault {
            Some(fault) if onset => self.tell(Finding::ProbeFailed { probe, fault: text::clean(&fault, 300) }).await,
            None if recovered => self.tell(Finding::ProbeRecovered { probe }).await,
            _ => true,
        }
    }

    async fn evaluate(&mut self) -> bool {
        let now = Instant::now();
        self.evaluation = now + self.every;
        let readings = &self.readings;
        let judged: Vec<_> = self
            .rules
            .iter_mut()
            .map(|rule| rule.evaluate(readings.sample(&rule.plan().metric, rule.span(now))))
            .collect();
        let heard = self.tell_transitions(judged).await;
        self.display_rules();
        heard
    }

    async fn tell_transitions(&self, transitions: Vec<Option<Transition>>) -> bool {
        for (rule, transition) in self.rules.iter().zip(transitions) {
            let plan = rule.plan();
            let finding = match transition {
                None => continue,
                Some(Transition::Cleared) => Finding::Cleared { rule: plan.name.clone() },
                Some(Transition::Breached { reason }) => {
                    Finding::Breached { rule: plan.name.clone(), severity: plan.severity, action: plan.action, reason }
                }
            };
            if !self.tell(finding).await {
                return false;
            }
        }
        true
    }

    fn display(&self) -> bool {
        let (now, at) = (Instant::now(), Timestamp::now());
        for (metric, window) in &self.shown {
            let span = Span { after: now.checked_sub(*window).unwrap_or(now), from: None };
            let sample = self.readings.sample(metric, span);
            // A program need not print a number; traffic without requests is a gap.
            if sample.value.is_none() && !TRAFFIC.contains(&metric.as_str()) {
                continue;
            }
            let point = MetricPoint { at, value: sample.value, samples: sample.samples };
            self.offer(Finding::Metric { metric: metric.clone(), point });
        }
        self.display_rules();
        !self.out.is_closed()
    }

    fn display_rules(&self) {
        let now = Instant::now();
        for rule in &self.rules {
            let sample = self.readings.sample(&rule.plan().metric, rule.span(now));
            self.offer(Finding::Rule(rule.state(sample)));
        }
    }

    /// A probe's task only ends by itself when its port is missing, which it has told, or by a mistake of this program.
    async fn task_ended(&self, ended: &Result<(), tokio::task::JoinError>) -> bool {
        let Err(error) = ended else { return true };
        tracing::error!(%error, "a probe broke");
        let fault = "a mistake in cutover ended this measurement; see the log".to_owned();
        self.tell(Finding::ProbeFailed { probe: "watch".into(), fault }).await
    }

    /// Waits for room: what must not be lost.
    async fn tell(&self, finding: Finding) -> bool {
        self.out.send(finding).await.is_ok()
    }

    /// Lost if there is no room: a later one replaces it.
    fn offer(&self, finding: Finding) {
        let _no_room = self.out.try_send(finding);
    }
}

/// The metrics that these probes bring, each with the window it is displayed over: short, so that a chart lives, but long
/// enough to hold two measurements.
fn shown(plan: &Plan, probes: &[ProbePlan]) -> Vec<(String, Duration)> {
    let (programs, traffic): (Vec<_>, Vec<_>) =
        probes.iter().partition(|probe| matches!(probe.kind, ProbeKind::Command { .. }));
    let mut shown = Vec::new();
    if let Some(every) = traffic.iter().map(|probe| probe.every).min() {
        for metric in TRAFFIC {
            let rules = plan.rules.iter().filter(|rule| rule.metric == metric).map(|rule| rule.window);
            let window = rules.chain([DISPLAY_WINDOW]).min().unwrap_or(DISPLAY_WINDOW);
            shown.push((metric.to_owned(), window.max(every * 2)));
        }
    }
    shown.extend(programs.iter().map(|probe| (probe.name.clone(), DISPLAY_WINDOW.max(probe.every * 2))));
    shown
}

#[cfg(test)]
#[path = "watcher_tests.rs"]
mod tests;
