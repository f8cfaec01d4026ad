//! A small world in memory for this room's tests: two stores, two buckets, switches with witnesses, probes on order.

use crate::{
    engine::{Checked, PauseGate, Reporter, Signals, Step, StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    event::{EventKind, UndoNote},
    model::{Mode, Phase, StepId, Timestamp, Verdict},
    phases::script,
    plan::{
        Auth, BlobPlan, DatasetPlan, DnsRecord, ObservePlan, Plan, PowerDnsPlan, ProbeKind, ProbePlan, ProbeUse,
        RequestPlan, SetPlan, SwitchPlan,
    },
    ports::{
        Measurement, Observation, Ports, Position, Probe, Reading, Switch, Witness, Work,
        fakes::{self, FakeBucket, FakeStore, FakeWork, Trouble},
    },
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A switch in memory.
pub(super) struct FakeSwitch {
    positions: Vec<Position>,
    target: Option<Position>,
    state: Mutex<SwitchState>,
}

#[derive(Default)]
struct SwitchState {
    /// What each witness says.
    witnesses: Vec<(String, Option<Position>)>,
    /// Observations before a turn is seen.
    lag: u32,
    pending: Option<Position>,
    turned: Vec<Position>,
    failing: VecDeque<FaultKind>,
}

impl FakeSwitch {
    /// A switch at `at` that one witness speaks for.
    pub(super) fn new(positions: &[&str], at: &str) -> Arc<Self> {
        Self::with_witnesses(positions, None, &[("api", Some(at))])
    }

    /// A switch with these witnesses.
    pub(super) fn with_witnesses(
        positions: &[&str],
        target: Option<&str>,
        witnesses: &[(&str, Option<&str>)],
    ) -> Arc<Self> {
        let state = SwitchState {
            witnesses: witnesses.iter().map(|(who, at)| ((*who).into(), at.map(Position::new))).collect(),
            ..SwitchState::default()
        };
        Arc::new(Self {
            positions: positions.iter().map(|position| Position::new(*position)).collect(),
            target: target.map(Position::new),
            state: Mutex::new(state),
        })
    }

    /// The next turn is seen only at the `lag`th observation after it.
    pub(super) fn lag(&self, lag: u32) {
        self.state().lag = lag;
    }

    /// The next call of either kind fails so.
    pub(super) fn fail(&self, kind: FaultKind) {
        self.state().failing.push_back(kind);
    }

    /// A hand from outside.
    pub(super) fn set(&self, who: &str, at: Option<&str>) {
        for (witness, position) in &mut self.state().witnesses {
            if witness == who {
                *position = at.map(Position::new);
            }
        }
    }

    /// Where the first witness sees it.
    pub(super) fn at(&self) -> String {
        self.state().witnesses[0].1.clone().expect("known").0
    }

    /// Where it was turned, in order.
    pub(super) fn turned(&self) -> Vec<String> {
        self.state().turned.iter().map(|position| position.0.clone()).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SwitchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Switch for FakeSwitch {
    fn target(&self) -> Option<Position> {
        self.target.clone()
    }

    fn positions(&self) -> Vec<Position> {
        self.positions.clone()
    }

    async fn observe(&self) -> Result<Observation> {
        let mut state = self.state();
        if let Some(kind) = state.failing.pop_front() {
            return Err(Fault::new(kind, "observe"));
        }
        // The witnesses come round one after the other.
        if state.lag > 0 {
            state.lag -= 1;
        } else if let Some(to) = state.pending.clone() {
            match state.witnesses.iter_mut().find(|(_, at)| at.is_some() && at.as_ref() != Some(&to)) {
                Some((_, at)) => *at = Some(to),
                None => state.pending = None,
            }
        }
        let said: Vec<&Position> = state.witnesses.iter().filter_map(|(_, at)| at.as_ref()).collect();
        let agreed = said.first().filter(|first| said.iter().all(|one| one == *first)).map(|first| (*first).clone());
        let witnesses =
            state.witnesses.iter().map(|(who, position)| Witness { who: who.clone(), position: position.clone() });
        Ok(Observation { position: agreed, witnesses: witnesses.collect(), at: Timestamp::now() })
    }

    async fn turn(&self, to: &Position) -> Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.failing.pop_front() {
            return Err(Fault::new(kind, "turn"));
        }
        state.turned.push(to.clone());
        state.pending = Some(to.clone());
        Ok(())
    }
}

/// A probe that says what was ordered; the last word is repeated.
pub(super) struct FakeProbe {
    script: Mutex<VecDeque<Verdict>>,
    vars: Mutex<Vec<BTreeMap<String, String>>>,
    ms: f64,
}

impl FakeProbe {
    /// A probe with these verdicts in turn.
    pub(super) fn new(verdicts: &[Verdict]) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(verdicts.iter().copied().collect()), vars: Mutex::default(), ms: 20.0 })
    }

    /// A probe that passes after so many milliseconds.
    pub(super) fn slow(ms: f64) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(VecDeque::from([Verdict::Pass])), vars: Mutex::default(), ms })
    }

    /// What it was given, call by call.
    pub(super) fn calls(&self) -> Vec<BTreeMap<String, String>> {
        self.vars.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement> {
        self.vars.lock().unwrap_or_else(PoisonError::into_inner).push(vars.clone());
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = if script.len() > 1 { script.pop_front() } else { script.front().copied() };
        let latency = vec![(self.ms, 1)];
        Ok(Measurement {
            verdict: verdict.expect("a verdict"),
            detail: "as ordered".into(),
            readings: vec![Reading::Requests { total: 1, failed: 0, latency }],
            at: Timestamp::now(),
        })
    }
}

/// The world and a run in it.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) ports: Ports,
    pub(super) legacy: Arc<FakeStore>,
    pub(super) new: Arc<FakeStore>,
    pub(super) media: Arc<FakeBucket>,
    pub(super) r2: Arc<FakeBucket>,
    pub(super) maintenance: Arc<FakeSwitch>,
    pub(super) release: Arc<FakeSwitch>,
    pub(super) deployment: Arc<FakeSwitch>,
    pub(super) dns: Arc<FakeSwitch>,
    pub(super) work: Arc<FakeWork>,
    pub(super) stop: CancellationToken,
    pub(super) folder: tempfile::TempDir,
    pub(super) trouble: Arc<Trouble>,
    progress: Mutex<mpsc::Receiver<EventKind>>,
    report: mpsc::Sender<EventKind>,
    signals: Signals,
    _gate: PauseGate,
}

impl World {
    /// Users and files on the legacy side, everything a plan can have.
    pub(super) fn new() -> Self {
        let trouble = Trouble::none();
        let (legacy, new) = (FakeStore::new("legacy", &trouble), FakeStore::new("new", &trouble));
        let (media, r2) = (FakeBucket::new("media", &trouble), FakeBucket::new("r2", &trouble));
        let maintenance = FakeSwitch::new(&["off", "read-only", "on"], "off");
        let release = FakeSwitch::new(&["none", "blue", "green"], "none");
        let deployment = FakeSwitch::new(&["blue", "green"], "blue");
        let ways = [("api", Some("old")), ("10.0.0.1:53", Some("old")), ("10.0.0.2:53", Some("old"))];
        let dns = FakeSwitch::with_witnesses(&[], Some("target"), &ways);
        let mut ports = Ports::default();
        ports.stores.insert("legacy".into(), legacy.clone());
        ports.stores.insert("new".into(), new.clone());
        ports.buckets.insert("media".into(), media.clone());
        ports.buckets.insert("r2".into(), r2.clone());
        ports.backups = Some(fakes::backups(&FakeBucket::new("backups", &trouble)));
        for (name, switch) in
            [("maintenance", &maintenance), ("release", &release), ("deployment", &deployment), ("dns", &dns)]
        {
            ports.switches.insert(name.into(), switch.clone());
        }
        let stop = CancellationToken::new();
        let (signals, gate) = Signals::new(stop.clone());
        let (report, progress) = mpsc::channel(4096);
        Self {
            plan: plan(),
            ports,
            legacy,
            new,
            media,
            r2,
            maintenance,
            release,
            deployment,
            dns,
            work: FakeWork::new(&trouble),
            stop,
            folder: tempfile::tempdir().expect("a folder"),
            trouble,
            progress: Mutex::new(progress),
            report,
            signals,
            _gate: gate,
        }
    }

    /// A probe of this name and use.
    pub(super) fn probe(&mut self, name: &str, wanted: ProbeUse, probe: &Arc<FakeProbe>) {
        self.plan.probes.push(ProbePlan {
            name: name.into(),
            kind: ProbeKind::Flow { steps: Vec::new() },
            uses: vec![wanted],
            resolver: None,
            every: Duration::from_millis(1),
            timeout: Duration::from_secs(5),
        });
        self.ports.probes.insert(name.into(), probe.clone());
    }

    /// What a step gets.
    pub(super) fn cx(&self) -> StepContext {
        StepContext {
            plan: Arc::new(self.plan.clone()),
            ports: self.ports.clone(),
            work: self.work.clone() as Arc<dyn Work>,
            signals: self.signals.clone(),
            report: Reporter::new(StepId::new("test"), self.report.clone()),
            folder: self.folder.path().to_path_buf(),
        }
    }

    /// The names of a phase's steps.
    pub(super) fn outline(&self, phase: Phase) -> Vec<String> {
        self.steps(phase).iter().map(|step| step.id().as_str().rsplit('/').next().expect("a name").to_owned()).collect()
    }

    fn steps(&self, phase: Phase) -> Vec<Arc<dyn Step>> {
        let script = script(&Arc::new(self.plan.clone()), Mode::Live);
        script.phases.into_iter().find(|one| one.phase == phase).expect("all nine").steps
    }

    /// The step of this name.
    pub(super) fn step(&self, phase: Phase, name: &str) -> Arc<dyn Step> {
        let id = crate::phases::id(phase, name);
        self.steps(phase).into_iter().find(|step| step.id() == id).unwrap_or_else(|| panic!("no step {id}"))
    }

    /// check, apply, settle, as the engine does.
    pub(super) async fn go(&self, phase: Phase, name: &str) -> Result<(StepDone, UndoNote)> {
        let (step, cx) = (self.step(phase, name), self.cx());
        let (done, undo) = match step.check(&cx).await? {
            Checked::Already(done) => (done, UndoNote::Null),
            Checked::Needed { undo, .. } => (step.apply(&cx).await?, undo),
        };
        step.settle(&cx).await?;
        Ok((done, undo))
    }

    /// What was said of the progress so far.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = Vec::new();
        while let Ok(event) = progress.try_recv() {
            if let EventKind::StepMoved { note, .. } = event {
                notes.push(note);
            }
        }
        notes
    }
}

fn plan() -> Plan {
    let mut plan = fakes::plan(vec![dataset("users", &[]), dataset("files", &["users"])]);
    plan.datasets[1].blob = Some(BlobPlan {
        from: "media".into(),
        path: "path".into(),
        to: "r2".into(),
        key: "files/{{ id }}".into(),
        sha256: Some("checksum".into()),
        size: Some("size".into()),
        content_type: None,
        write_back: None,
    });
    plan.maintenance = Some(switch(&["off", "read-only", "on"]));
    plan.release = Some(switch(&["none", "blue", "green"]));
    plan.deployment = Some(switch(&["blue", "green"]));
    plan.dns = Some(PowerDnsPlan {
        endpoint: "http://127.0.0.1:1".parse().expect("an address"),
        api_key: "key".into(),
        server: "localhost".into(),
        zone: "test".into(),
        records: vec![DnsRecord {
            name: "api.test".into(),
            kind: "A".into(),
            value: "127.0.0.2".into(),
            ttl: Duration::from_secs(30),
        }],
        resolvers: Vec::new(),
        guard: 0.3,
        timeout: Duration::from_secs(1),
        propagation: Duration::from_secs(30),
    });
    plan
}

fn dataset(name: &str, needs: &[&str]) -> DatasetPlan {
    let set = |store: &str| SetPlan { store: store.into(), name: name.into() };
    DatasetPlan {
        name: name.into(),
        needs: needs.iter().map(|needed| (*needed).into()).collect(),
        from: set("legacy"),
        to: set("new"),
        key: "id".into(),
        updated: Some("updated_at".into()),
        overlap: std::time::Duration::from_secs(2),
        map: BTreeMap::new(),
        drop: Vec::new(),
        on_conflict: crate::plan::OnConflict::Overwrite,
        back: None,
        continue_on_error: None,
        fields: crate::plan::FieldsPlan::default(),
        blob: None,
    }
}

fn switch(positions: &[&str]) -> SwitchPlan {
    SwitchPlan::Http {
        turn: positions.iter().map(|position| ((*position).to_owned(), Vec::new())).collect(),
        observe: ObservePlan { request: request("http://127.0.0.1:1/status"), pointer: "/mode".into() },
        timeout: Duration::from_secs(1),
    }
}

/// A request to this address.
pub(super) fn request(url: &str) -> RequestPlan {
    RequestPlan { method: "POST".into(), url: url.into(), auth: Auth::None, body: None }
}
