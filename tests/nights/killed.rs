//! Engines killed with SIGKILL and followed by others, to the same end.

use crate::{
    binary::{Engine, Stage},
    reader::{assert_everything_arrived, lost_on_the_new_side},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

const PHASES: [&str; 9] = [
    "preparation",
    "validation",
    "maintenance",
    "data_migration",
    "deployment",
    "dns_cutover",
    "post_validation",
    "monitoring",
    "cleanup",
];

fn in_phase(event: &Value, phase: &str) -> bool {
    let intends = event["kind"] == "step_intended" || event["kind"] == "step_started";
    intends && event["step"].as_str().is_some_and(|step| step.starts_with(&format!("{phase}/")))
}

fn in_mid_batch(event: &Value) -> bool {
    event["kind"] == "batch_moved" && event["progress"]["state"] == "running"
}

async fn completes(stage: &Stage, engine: Engine) {
    let (status, last) = engine.end();
    assert_eq!(last["kind"], "run_finished", "{last}");
    assert_eq!(last["outcome"], "completed", "{last}");
    assert_eq!(status.code(), Some(0));
    assert_everything_arrived(&stage.places).await;
    let missing = lost_on_the_new_side(&stage.places).await;
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn one_run_killed_in_every_phase_and_in_mid_batch_completes() {
    let stage = Stage::new("calm", "10");
    let mut engine = stage.engine("run");
    for phase in PHASES {
        assert!(engine.until(|event| in_phase(event, phase)), "{phase} never began: {}", engine.last);
        engine.kill();
        engine = stage.engine("resume");
        if phase == "data_migration" {
            for _ in 0..3 {
                assert!(engine.until(in_mid_batch), "no batch ran: {}", engine.last);
                engine.kill();
                engine = stage.engine("resume");
            }
        }
    }
    completes(&stage, engine).await;
}

#[tokio::test]
async fn runs_killed_at_random_moments_complete() {
    let seed = std::env::var("CUTOVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    println!("seed {seed} (CUTOVER_TEST_SEED)");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::new("flaky", "20");
    let mut engine = stage.engine("run");
    for _ in 0..15 {
        let events = random.random_range(1..60);
        let ended = (0..events).any(|_| engine.next().is_none());
        if ended {
            break;
        }
        engine.kill();
        engine = stage.engine("resume");
    }
    completes(&stage, engine).await;
}
