//! Lists the backups of a plan, of all its runs, as they are kept: needs no ledger and no engine.

use super::{
    Trouble,
    desk::{Desk, Front},
    print::{err, in_bytes, out},
};
use crate::{
    engine::Signals,
    migrate::backup::{self, Listed, Manifest, Place, Proof, Proven, State},
    model::{Timestamp, text::clean},
    plan::duration,
    wiring,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The exit code when a backup is hurt.
const HURT: u8 = 7;

/// `cutover backups`.
pub(super) async fn backups(desk: &Desk, check: bool) -> Result<u8, Trouble> {
    let plan = desk.plan()?;
    let ports = wiring::ports_in(&plan, &wiring::home(&desk.data()?, &plan.name))?;
    // Nobody pauses or stops a list but by ending this process.
    let (signals, _gate) = Signals::new(CancellationToken::new());
    let place = Place::new(&plan, &ports, &signals)?;
    let all = backup::list(&place, check).await?;
    let json = desk.front == Front::Json;
    let mut hurt = false;
    for one in &all {
        hurt |= matches!(one.state, State::Hurt(_));
        out(if json { told(one, place.told()).to_string() } else { line(one) });
    }
    if !json {
        err(match all.len() {
            0 => format!("no backups in {}: a run takes one of each dataset in its preparation", place.told()),
            count => {
                format!("{count} in {}; `cutover restore --dataset NAME` says what a restore would do", place.told())
            }
        });
    }
    Ok(if check && hurt { HURT } else { 0 })
}

/// For a program.
fn told(one: &Listed, place: &str) -> Value {
    let kept = &one.kept;
    let mut told = json!({ "run": kept.run, "dataset": kept.dataset, "bytes": kept.bytes, "where": place });
    match &one.state {
        State::Finished { manifest, proven, checked } => {
            told["state"] = "finished".into();
            told["rows"] = manifest.rows.into();
            told["row_bytes"] = manifest.bytes.into();
            told["sha256"] = json!(manifest.sha256);
            told["taken"] = json!(manifest.taken);
            told["age_s"] = age(manifest).as_secs().into();
            told["set"] = json!({ "store": manifest.store, "name": manifest.set, "key": manifest.key });
            told["proven"] = json!(proven.as_ref().map(|proven| &proven.how));
            told["checked"] = (*checked).into();
        }
        State::Unfinished => told["state"] = "unfinished".into(),
        State::Hurt(why) => {
            told["state"] = "hurt".into();
            told["why"] = why.as_str().into();
        }
    }
    told
}

/// For a person.
fn line(one: &Listed) -> String {
    let kept = &one.kept;
    let (run, dataset) = (clean(kept.run.as_str(), 60), clean(&kept.dataset, 64));
    let what = match &one.state {
        State::Finished { manifest, proven, checked } => format!(
            "{:>10} rows  {:>9}  {} old  {}{}",
            manifest.rows,
            in_bytes(kept.bytes),
            duration::format(Duration::from_secs(age(manifest).as_secs())),
            proof(proven.as_ref()),
            if *checked { ", every checksum right" } else { "" },
        ),
        State::Unfinished => format!("NOT FINISHED, {} in {} parts: no backup", in_bytes(kept.bytes), kept.blobs),
        State::Hurt(why) => format!("HURT: {}", clean(why, 200)),
    };
    format!("{run}  {dataset:<16} {what}")
}

fn proof(proven: Option<&Proven>) -> String {
    match proven.map(|proven| &proven.how) {
        None => "NOT PROVEN".into(),
        Some(Proof::Restored) => "proven by a restore".into(),
        Some(Proof::Read(why)) => format!("read back, not restored ({})", clean(why, 120)),
    }
}

fn age(manifest: &Manifest) -> Duration {
    Timestamp::now().duration_since(manifest.taken).try_into().unwrap_or_default()
}
