//! The pure rules under random nights: whatever people order and steps bring, the invariants hold.

use super::{Effect, Flight, Input, Mended, Policy, advance, decide};
use crate::{
    command::{Command, Order},
    engine::{
        fold,
        legal::legal,
        step::StepDone,
        view::{CommandState, RunView},
    },
    error::{Fault, FaultKind},
    event::{Event, EventKind, PhaseOutline, StepOutline},
    model::{
        Actor, Check, CommandId, Environment, LaneId, LaneKind, LaneProgress, LaneStage, Mending, Mode, Outcome,
        PauseDepth, Phase, RunId, RunState, Severity, StepId, Tally, Timestamp, Verdict, Via,
    },
    plan::RuleAction,
    watch::Finding,
};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

fn somebody() -> Actor {
    Actor { name: "ada".into(), via: Via::Console }
}

fn policy() -> Policy {
    Policy {
        approve_all: false,
        hold: true,
        rollback_on_failure: true,
        rollback_on_stop: false,
        veto: Duration::from_secs(5),
        gate_timeout: Duration::from_secs(60),
    }
}

/// A night without tokio: inputs in, effects performed on the spot, events kept.
struct Night {
    policy: Policy,
    view: RunView,
    events: Vec<Event>,
    flight: Option<Flight>,
    dropped: bool,
    now: i64,
    answers: Vec<bool>,
}

impl Night {
    fn new(policy: Policy) -> Self {
        let phases = Phase::ALL.map(|phase| PhaseOutline {
            phase,
            enabled: phase != Phase::PostValidation,
            gate: matches!(phase, Phase::Maintenance | Phase::Cleanup),
            steps: (1..=2)
                .map(|n| StepOutline { id: StepId::new(format!("{}/{n}", phase.name())), title: "does".into() })
                .collect(),
            expected_s: None,
        });
        let kind = EventKind::RunStarted {
            run: RunId::new("r"),
            plan: "p".into(),
            plan_digest: "d".into(),
            environment: Environment::Rehearsal,
            mode: Mode::Rehearsal,
            phases: phases.to_vec(),
            by: somebody(),
        };
        let first = Event { seq: 1, at: at(0), kind };
        let view = fold::begin(&first).unwrap();
        let mut night =
            Self { policy, view, events: vec![first], flight: None, dropped: false, now: 0, answers: Vec::new() };
        let users = LaneProgress::new(LaneId::new("users"), LaneKind::Records, LaneStage::Done);
        night.perform(vec![Effect::Emit(EventKind::LaneMoved { progress: users })]);
        night.go_on();
        night
    }

    fn input(&mut self, input: &Input) {
        if input.lands() {
            self.flight = None;
            self.dropped = false;
        }
        let effects = decide(&self.view, &self.policy, self.flight.as_ref(), input, at(self.now));
        self.perform(effects);
        self.go_on();
    }

    fn order(&mut self, command: Command) -> bool {
        let id = CommandId(self.view.commands.back().map_or(0, |command| command.id.0) + 1);
        self.input(&Input::Order(id, Order { by: somebody(), command }));
        self.answers.pop().unwrap()
    }

    fn go_on(&mut self) {
        while self.flight.is_none() {
            let effects = advance(&self.view, &self.policy);
            if effects.is_empty() {
                return;
            }
            self.perform(effects);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Emit(kind) => {
                    let event = Event { seq: self.view.seq + u64::from(kind.is_decision()), at: at(self.now), kind };
                    self.view.apply(&event);
                    self.events.push(event);
                }
                Effect::Reply(_, answer) => self.answers.push(answer.is_ok()),
                Effect::Step(step) => self.fly(Flight::Step(step)),
                Effect::Undo(step, _) => self.fly(Flight::Undo(step)),
                Effect::ValidateLegacy => self.fly(Flight::LegacyValidation),
                Effect::Mend(mend) => self.fly(Flight::Mend(Box::new(mend))),
                Effect::Drop => self.dropped = self.flight.is_some(),
                _ => {}
            }
        }
    }

    fn fly(&mut self, flight: Flight) {
        assert_eq!(self.flight, None, "one thing in flight at a time");
        let held = matches!(
            self.view.state,
            RunState::Stopped | RunState::Paused | RunState::AtGate | RunState::Failed | RunState::Stuck
        );
        match &flight {
            Flight::Mend(mend) => {
                assert!(held, "records are mended only while the run is held, and it is {}", self.view.state);
                let looks = mend.what.only_looks();
                assert!(looks || (self.view.committed.is_none() && self.view.rollback.is_none()));
            }
            Flight::Step(_) => assert!(self.view.rollback.is_none(), "no step forward in a rollback"),
            _ => assert!(self.view.committed.is_none(), "no way back past the commit"),
        }
        let is_mend = matches!(flight, Flight::Mend(_));
        assert!(is_mend || !held, "nothing begins while the run is {}", self.view.state);
        self.flight = Some(flight);
    }

    fn intend(&mut self) {
        if let Some(Flight::Step(step)) = self.flight.clone() {
            self.input(&Input::StepStarted(step.clone(), 1));
            self.input(&Input::StepIntends(step, "acts".into(), json!({"was": 1})));
        }
    }

    fn land(&mut self, result: Result<(), FaultKind>) {
        let Some(flight) = self.flight.clone() else { return };
        let kind = if self.dropped { Err(FaultKind::Cancelled) } else { result };
        if let Flight::Mend(mend) = flight {
            let done = Mended { summary: "2 mended, 0 left".into(), tally: Tally::ZERO, errors: Vec::new() };
            let result = kind.map(|()| done).map_err(|kind| Fault::new(kind, "mend"));
            return self.input(&Input::Mended(*mend, result));
        }
        let result = kind.map(|()| StepDone::new("done")).map_err(|kind| Fault::new(kind, "act"));
        self.input(&Input::Landed(flight, result));
    }

    fn evidence(&mut self, verdict: Verdict) {
        if let Some(gate) = &self.view.gate {
            let phase = gate.phase;
            let check = Check::new("rows equal", verdict, "1 of 1", at(self.now));
            self.input(&Input::Evidence(phase, vec![check]));
        }
    }

    fn tick(&mut self, ms: i64) {
        self.now += ms;
        self.input(&Input::Tick);
    }

    /// What must hold at any moment.
    fn invariants(&self) {
        let decisions: Vec<&Event> = self.events.iter().filter(|event| event.kind.is_decision()).collect();
        for (index, event) in decisions.iter().enumerate() {
            assert_eq!(event.seq, index as u64 + 1, "decisions are numbered without gaps");
        }
        assert_eq!(fold::fold(&self.events).as_ref(), Some(&self.view), "live view = fold of the events");
        for phase in &self.view.phases {
            assert!((0.0..=1.0).contains(&phase.ratio()));
        }
        if self.view.committed.is_some() {
            assert!(self.view.rollback.is_none() && self.view.undo.is_empty());
        }
        let mends = matches!(self.flight, Some(Flight::Mend(_)));
        assert_eq!(self.view.mending.is_some(), mends, "the view says what is being mended");
        if self.view.state == RunState::RolledBack {
            assert!(self.view.undo.is_empty(), "rolled back means that nothing is left to undo");
        }
        // A recovered run must come to a state from which it can go on.
        let journal: Vec<Event> = self.events.iter().filter(|event| event.kind.is_decision()).cloned().collect();
        let mut recovered = fold::fold(&journal).unwrap();
        if !recovered.state.is_end() {
            let kind = EventKind::RunRecovered { by: somebody() };
            recovered.apply(&Event { seq: recovered.seq + 1, at: at(self.now), kind });
            assert_eq!(recovered.state, recovered.going_on());
            assert_eq!(recovered.undo, self.view.undo, "recovery forgets no undo");
        }
    }
}

fn mend(what: Mending) -> Command {
    Command::Mend { lane: LaneId::new("users"), what }
}

fn commands() -> impl Strategy<Value = Command> {
    let reason = || "because of it".to_owned();
    prop_oneof![
        Just(Command::Pause { depth: PauseDepth::AfterStep, reason: reason() }),
        Just(Command::Pause { depth: PauseDepth::AfterBatch, reason: reason() }),
        Just(Command::Pause { depth: PauseDepth::Now, reason: reason() }),
        Just(Command::Resume),
        Just(Command::Approve { phase: Phase::Maintenance, waive: Vec::new() }),
        Just(Command::Approve { phase: Phase::Cleanup, waive: Vec::new() }),
        Just(Command::Refuse { phase: Phase::Maintenance, reason: reason() }),
        Just(Command::Rollback { reason: reason() }),
        Just(Command::EmergencyStop { reason: reason() }),
        Just(Command::Keep { reason: reason() }),
        Just(Command::Retry),
        Just(Command::Skip { step: StepId::new("validation/1"), reason: reason() }),
        Just(Command::Maintenance { on: true }),
        Just(mend(Mending::Retry { keys: Vec::new() })),
        Just(mend(Mending::Compare)),
    ]
}

#[derive(Debug, Clone)]
enum Move {
    Order(Command),
    Intend,
    Land,
    Fail(FaultKind),
    Evidence(Verdict),
    Breach,
    Tick(i64),
    Drained,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => commands().prop_map(Move::Order),
        6 => Just(Move::Intend),
        8 => Just(Move::Land),
        1 => Just(Move::Fail(FaultKind::Unmet)),
        3 => Just(Move::Evidence(Verdict::Pass)),
        1 => Just(Move::Evidence(Verdict::Unknown)),
        1 => Just(Move::Breach),
        2 => (1_i64..4000).prop_map(Move::Tick),
        1 => Just(Move::Drained),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_things_breaks_an_invariant(moves in prop::collection::vec(moves(), 1..120)) {
        let mut night = Night::new(policy());
        for next in moves {
            match next {
                Move::Order(command) => {
                    let flies = night.flight.is_some() && matches!(command, Command::Mend { .. });
                    let expected = !flies && legal(&night.view, &command, at(night.now)).is_ok();
                    let before = night.events.len();
                    let taken = night.order(command);
                    prop_assert_eq!(taken, expected);
                    prop_assert!(taken || night.events.len() == before, "a refused order leaves no trace");
                }
                Move::Intend => night.intend(),
                Move::Land => night.land(Ok(())),
                Move::Fail(kind) => night.land(Err(kind)),
                Move::Evidence(verdict) => night.evidence(verdict),
                Move::Breach => night.input(&Input::Found(Finding::Breached {
                    rule: "error_rate > 0.05".into(),
                    severity: Severity::Critical,
                    action: RuleAction::Rollback,
                    reason: "0.4 > 0.05 over 10 s".into(),
                })),
                Move::Tick(ms) => night.tick(ms),
                Move::Drained => if night.flight.is_some() { night.input(&Input::Drained) },
            }
            night.invariants();
        }
    }
}

/// Lands everything and passes every gate until nothing moves.
fn to_the_end(night: &mut Night) {
    for _ in 0..200 {
        night.intend();
        night.land(Ok(()));
        night.evidence(Verdict::Pass);
        if let Some(gate) = night.view.gate.as_ref().map(|gate| gate.phase) {
            night.order(Command::Approve { phase: gate, waive: Vec::new() });
        }
    }
}

#[test]
fn a_calm_night_completes() {
    let mut night = Night::new(policy());
    to_the_end(&mut night);
    assert_eq!(night.view.outcome, Some(Outcome::Completed));
    assert!((night.view.ratio() - 1.0).abs() < 1e-9);
    night.invariants();
}

#[test]
fn a_rollback_can_start_after_any_number_of_steps_and_undoes_them_in_reverse() {
    for steps in 0..12 {
        let mut night = Night::new(policy());
        for _ in 0..steps {
            night.intend();
            night.land(Ok(()));
            night.evidence(Verdict::Pass);
            if night.view.gate.is_some() {
                night.order(Command::Approve { phase: Phase::Maintenance, waive: Vec::new() });
            }
        }
        night.intend();
        let stack: Vec<StepId> = night.view.undo.iter().rev().map(|entry| entry.step.clone()).collect();
        assert!(night.order(Command::Rollback { reason: "drill".into() }));
        for _ in 0..40 {
            night.land(Ok(()));
        }
        let undone: Vec<StepId> = night
            .events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::UndoDone { step, .. } => Some(step.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(undone, stack, "after {steps} steps");
        assert_eq!(night.view.outcome, Some(Outcome::RolledBack));
        night.invariants();
    }
}

#[test]
fn an_automatic_rollback_waits_for_the_veto() {
    let breach = Input::Found(Finding::Breached {
        rule: "error_rate > 0.05".into(),
        severity: Severity::Critical,
        action: RuleAction::Rollback,
        reason: "0.4 > 0.05".into(),
    });
    let mut night = Night::new(policy());
    night.intend();
    night.input(&breach);
    assert_eq!(night.view.veto.as_ref().map(|veto| veto.rule.as_str()), Some("error_rate > 0.05"));
    night.tick(4_900);
    assert!(night.view.rollback.is_none());
    assert!(night.order(Command::Keep { reason: "known blip".into() }));
    night.tick(60_000);
    assert!(night.view.rollback.is_none(), "kept");
    night.input(&breach);
    night.tick(5_000);
    assert!(night.view.rollback.as_ref().is_some_and(|rollback| rollback.automatic));
}

#[test]
fn a_failure_before_anything_changed_blocks_and_one_after_rolls_back() {
    let mut night = Night::new(Policy { hold: false, ..policy() });
    night.land(Err(FaultKind::Unmet));
    assert_eq!(night.view.outcome, Some(Outcome::Blocked));

    let mut night = Night::new(Policy { hold: false, ..policy() });
    night.intend();
    night.land(Err(FaultKind::Unmet));
    assert_eq!((night.view.state, night.view.outcome), (RunState::Failed, None));
    night.tick(5_000);
    for _ in 0..10 {
        night.land(Ok(()));
    }
    assert_eq!(night.view.outcome, Some(Outcome::RolledBack));
}

#[test]
fn a_gate_nobody_opens_ends_an_unattended_run() {
    let mut night = Night::new(Policy { approve_all: true, hold: false, ..policy() });
    for _ in 0..4 {
        night.intend();
        night.land(Ok(()));
    }
    night.evidence(Verdict::Fail);
    assert_eq!(night.view.state, RunState::AtGate);
    night.tick(61_000);
    assert_eq!(night.view.state, RunState::RollingBack);
}

#[test]
fn records_are_mended_at_a_gate_and_the_run_waits_for_it() {
    let mut night = Night::new(policy());
    while night.view.gate.is_none() {
        night.intend();
        night.land(Ok(()));
    }
    assert!(night.order(mend(Mending::Retry { keys: vec!["7".into()] })));
    let Some(Flight::Mend(flight)) = &night.flight else { panic!("{:?}", night.flight) };
    assert_eq!((flight.lane.as_str(), flight.live), ("users", false));
    assert!(!night.order(mend(Mending::Compare)), "one at a time");
    night.evidence(Verdict::Pass);
    assert!(night.order(Command::Approve { phase: Phase::Maintenance, waive: Vec::new() }));
    assert!(matches!(night.flight, Some(Flight::Mend(_))), "the run waits");
    night.land(Ok(()));
    assert!(matches!(night.flight, Some(Flight::Step(_))), "and goes on by itself");
    let said: Vec<String> = night.events.iter().map(|event| event.kind.sentence()).collect();
    let told = |said: &String| said.starts_with("users: record 7, one") && said.ends_with("2 mended, 0 left");
    assert!(said.iter().any(told), "{said:?}");
}

#[test]
fn an_emergency_stop_ends_mending_and_says_what_is_left() {
    let mut night = Night::new(policy());
    while night.view.gate.is_none() {
        night.intend();
        night.land(Ok(()));
    }
    assert!(night.order(mend(Mending::Compare)));
    assert!(night.order(Command::EmergencyStop { reason: "drill".into() }));
    assert!(night.dropped);
    night.land(Ok(()));
    assert_eq!(night.view.state, RunState::Stopped);
    let last = night.view.commands.iter().find(|command| command.order.name() == "compare").unwrap();
    let CommandState::Failed(why) = &last.state else { panic!("{:?}", last.state) };
    assert!(why.contains("stopped half-way"), "{why}");
}
