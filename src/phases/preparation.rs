//! Phase 1, preparation: everything can be reached with these credentials, nothing is left of earlier attempts, a backup
//! is taken and proven, and it is said what is going to move.
//!
//! Where each switch stands now is written down as the state to go back to. Nothing here changes a side but the time to
//! live of the names, which is lowered early.

use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    migrate::{agreed, backup, survey},
    model::{Check, Mode, Phase, Timestamp, Verdict},
    phases::{
        Entry, clocks, dns_cutover,
        examine::{Examine, answered, bytes, count, judge, verdict},
        gather::{self, patiently},
        probing, rollback,
        turn::{Goal, Turn, first_seen, observe, standing},
        write_back,
    },
    plan::{BackupsPlan, BucketPlan, Plan, ProbeUse, StorePlan},
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

const PHASE: Phase = Phase::Preparation;
/// Room the ledger, the log and the report need on this machine.
const ROOM: u64 = 64 * 1000 * 1000;
/// Rows of the new side that are looked up on the legacy side, per dataset.
const STRANGERS: u64 = 2_000;
/// The step that makes names expire sooner.
pub(super) const SHORT_LIVED: &str = "lower-ttl";
/// Why a dry run does not restore.
const DRY: &str = "a dry run makes nothing in a store";
/// Objects under this prefix are kept by a run for its way back.
pub(super) const ASIDE: &str = ".cutover-aside/";

/// The steps the plan gives cause for.
pub(super) fn steps(plan: &Plan, mode: Mode) -> Vec<Entry> {
    let look = |name, title, look: fn(&StepContext) -> Look<'_>| Entry::looks(Examine::new(PHASE, name, title, look));
    let data = !plan.datasets.is_empty();
    let switches = [plan.maintenance.is_some(), plan.deployment.is_some(), plan.release.is_some(), plan.dns.is_some()];
    let probes = probing::any(plan, ProbeUse::Watch) || probing::any(plan, ProbeUse::Legacy);
    let buckets = !plan.buckets.is_empty();
    let in_bucket = matches!(plan.migration.backups, BackupsPlan::Bucket(_));
    let kept = |entry: Entry| Entry { looks_only: !in_bucket, ..entry };
    let proof = if mode == Mode::DryRun {
        kept(look("restore", "Read the backup back", |cx| Box::pin(restore(cx, backup::How::Reading(DRY)))))
    } else {
        look("restore", "Restore the backup into a scratch place", |cx| Box::pin(restore(cx, backup::How::Restoring)))
    };
    let all: [(bool, Entry); 11] = [
        (true, look("environment", "Check this machine and the clocks", |cx| Box::pin(environment(cx)))),
        (data, look("stores", "Reach every store", |cx| Box::pin(stores(cx)))),
        (buckets, look("buckets", "Reach every bucket", |cx| Box::pin(buckets_step(cx)))),
        (
            write_back::any(plan),
            look("write-back", "Reach the tables that are told", |cx| Box::pin(write_back::reach(cx))),
        ),
        (switches.contains(&true), look("switches", "See where every switch stands", |cx| Box::pin(see_switches(cx)))),
        (probes, look("probes", "Measure with every probe", |cx| Box::pin(measure(cx)))),
        (plan.moves_data(), look("leftovers", "Look for leftovers of earlier attempts", |cx| Box::pin(leftovers(cx)))),
        (data, look("counts", "Count both sides", |cx| Box::pin(counts(cx)))),
        // A dry run keeps backups on this machine only, and makes nothing in a store.
        (data, kept(look("backup", "Back up the new side", |cx| Box::pin(back_up(cx))))),
        (data, proof),
        (plan.moves_data(), look("preview", "Say what is going to move", |cx| Box::pin(preview(cx)))),
    ];
    let mut steps: Vec<Entry> = all.into_iter().filter_map(|(wanted, step)| wanted.then_some(step)).collect();
    if let Some(dns) = &plan.dns {
        // Now, because what caches hold with the old time to live has to run out before the names move.
        let turn = (dns_cutover::SWITCH, Goal::ShortLived);
        steps.push(Entry::acts(Turn::new(PHASE, SHORT_LIVED, "Lower the names' time to live", turn, dns.propagation)));
    }
    steps
}

type Look<'a> = futures::future::BoxFuture<'a, Result<StepDone>>;

async fn environment(cx: &StepContext) -> Result<StepDone> {
    // What is copied ahead is copied before the window opens.
    let checks = surroundings(cx, cx.plan.migration.follow.is_some()).await;
    judge("find this machine fit", format!("{} passed", count(checks.len() as u64, "check")), checks)
}

/// This machine, the window and the clocks of the stores; also measured anew for every gate. `early`: the window need not be
/// open yet.
pub(super) async fn surroundings(cx: &StepContext, early: bool) -> Vec<Check> {
    let mut checks = vec![room(&cx.folder, "free space for the run")];
    checks.extend(window(&cx.plan, Timestamp::now(), early));
    checks.extend(clocks::check(cx).await);
    let age = cx.plan.rollback.evidence_max_age;
    checks.into_iter().map(|check| check.stale_after(age)).collect()
}

/// Room on the disk that holds `folder`.
pub(super) fn room(folder: &Path, name: &str) -> Check {
    match fs4::available_space(folder) {
        Ok(free) => verdict(name, free >= ROOM, bytes(free), FaultKind::Disk.remedy()).limit(bytes(ROOM)),
        Err(error) => Check::new(name, Verdict::Unknown, error.to_string(), Timestamp::now())
            .remedy(format!("see that {} exists and can be read", folder.display())),
    }
}

fn window(plan: &Plan, now: Timestamp, early: bool) -> Option<Check> {
    let window = plan.window?;
    let open = (early || window.opens <= now) && now < window.closes;
    let remedy = "wait for the window, or change it in the plan";
    Some(verdict("window", open, now.strftime("%F %H:%MZ").to_string(), remedy).limit(format!(
        "{} to {}",
        window.opens.strftime("%F %H:%MZ"),
        window.closes.strftime("%F %H:%MZ")
    )))
}

async fn stores(cx: &StepContext) -> Result<StepDone> {
    let mut by_store: BTreeMap<String, Vec<Result<String>>> = BTreeMap::new();
    for dataset in &cx.plan.datasets {
        for side in [gather::legacy(cx, dataset)?, gather::new(cx, dataset)?] {
            let doing = format!("describe {} in {}", side.set.name, side.name);
            let info = patiently(cx, &doing, || side.store.describe(&side.set)).await;
            let line = info.map(|info| match info.count {
                Some(records) => format!("{} {records}", dataset.name),
                None => dataset.name.clone(),
            });
            by_store.entry(side.name).or_default().push(line);
        }
    }
    let checks: Vec<Check> = by_store
        .into_iter()
        .map(|(store, lines)| {
            let lines: Result<Vec<String>> = lines.into_iter().collect();
            answered(format!("store {store}"), lines.map(|lines| lines.join(", ")))
                .stale_after(cx.plan.rollback.evidence_max_age)
        })
        .collect();
    judge("reach every store", format!("all {} answer", checks.len()), checks)
}

async fn buckets_step(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    for (name, bucket) in &cx.ports.buckets {
        let doing = format!("reach the bucket {name}");
        let reached = patiently(cx, &doing, || bucket.reach()).await;
        let value = reached.map(|holds| if holds == Some(false) { "answers, empty" } else { "answers" }.into());
        checks.push(answered(format!("bucket {name}"), value).stale_after(cx.plan.rollback.evidence_max_age));
    }
    judge("reach every bucket", format!("all {} answer", checks.len()), checks)
}

/// Sees where every switch stands, and keeps that as the state to go back to.
async fn see_switches(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    for (name, port) in &cx.ports.switches {
        let doing = format!("look where the switch `{name}` stands");
        let seen = patiently(cx, &doing, || observe(cx, name, port.as_ref())).await;
        let stands = match seen {
            Ok(seen) => standing(&seen).ok_or_else(|| Fault::new(FaultKind::Garbage, doing)),
            Err(fault) => Err(fault),
        };
        if let Ok(stands) = &stands {
            first_seen(cx, name, stands).await?;
        }
        checks.push(
            answered(format!("{name} observed"), stands.map(|stands| stands.0))
                .stale_after(cx.plan.rollback.evidence_max_age),
        );
    }
    judge("see where every switch stands", format!("all {} answer", checks.len()), checks)
}

/// The probes that watch all the time and those of the legacy side; the others would meet a side that is not there yet.
/// What they say is not judged here, but they must be able to say it.
async fn measure(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    let none = BTreeMap::new();
    let wanted = |uses: &[ProbeUse]| uses.contains(&ProbeUse::Watch) || uses.contains(&ProbeUse::Legacy);
    for probe in cx.plan.probes.iter().filter(|probe| wanted(&probe.uses)) {
        let doing = format!("measure with the probe `{}`", probe.name);
        let legacy = probe.uses.contains(&ProbeUse::Legacy);
        let measured = patiently(cx, &doing, || probing::measure(cx, probe, &none)).await;
        let name = format!("probe {}", probe.name);
        checks.push(match measured {
            Ok(measured) if legacy && measured.verdict == Verdict::Fail => {
                verdict(name, false, measured.detail, "the legacy side fails before anything began: mend it first")
            }
            Ok(measured) => verdict(name, true, measured.detail, ""),
            Err(fault) => answered(name, Err(fault)),
        });
    }
    judge("measure with every probe", format!("{} measured", count(checks.len() as u64, "probe")), checks)
}

/// Objects that an earlier run kept aside are the only copy of what it overwrote: they stop this one. Rows that the
/// legacy side does not know are reported; they stay.
async fn leftovers(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    for name in cx.plan.new_buckets() {
        let bucket = cx.ports.bucket(name)?;
        let doing = format!("list {ASIDE} in the bucket {name}");
        let page = patiently(cx, &doing, || bucket.list(ASIDE, None, 100)).await?;
        let left = page.blobs.len();
        let more = if page.next.is_some() { " or more" } else { "" };
        let remedy = "roll the earlier run back with `cutover resume`, or delete these objects if nobody needs them";
        let value = if left == 0 { "none".into() } else { format!("{left}{more} under {ASIDE}") };
        checks.push(verdict(format!("kept aside in {name}"), left == 0, value, remedy));
    }
    for dataset in &cx.plan.datasets {
        let (looked, strangers) = strangers(cx, dataset).await?;
        let value = match (looked, strangers) {
            (0, _) => "empty".into(),
            (looked, 0) => format!("{} looked up, all known", count(looked, "row")),
            (looked, strangers) => format!("{strangers} of {looked} rows are not on the legacy side; they stay"),
        };
        checks.push(verdict(format!("{} already on the new side", dataset.name), true, value, ""));
    }
    judge("find nothing left of earlier attempts", "looked at both sides", checks)
}

async fn strangers(cx: &StepContext, dataset: &crate::plan::DatasetPlan) -> Result<(u64, u64)> {
    let (legacy, new) = (gather::legacy(cx, dataset)?, gather::new(cx, dataset)?);
    let (mut looked, mut strange) = (0, 0);
    let mut pages = gather::Pages::new(cx, &new);
    while let Some(page) = pages.next().await? {
        let keys: Vec<_> = page.iter().filter_map(|record| record.key(&dataset.key)).collect();
        if keys.is_empty() {
            continue;
        }
        let doing = format!("look up {} in {}", count(keys.len() as u64, "record"), legacy.name);
        let known = patiently(cx, &doing, || legacy.store.fetch(&legacy.set, &keys)).await?;
        looked += keys.len() as u64;
        strange += keys.len().saturating_sub(known.len()) as u64;
        if looked >= STRANGERS {
            break;
        }
    }
    Ok((looked, strange))
}

async fn counts(cx: &StepContext) -> Result<StepDone> {
    let counted = count_legacy(cx).await?;
    let mut checks = Vec::new();
    for (dataset, legacy) in cx.plan.datasets.iter().zip(counted) {
        let new = gather::records(cx, &gather::new(cx, dataset)?).await?;
        let value = format!("{} on the legacy side, {new} on the new one", count(legacy, "record"));
        checks.push(verdict(format!("{} counted", dataset.name), true, value, ""));
    }
    let summary: Vec<String> = checks.iter().map(|check| check.value.clone()).collect();
    Ok(StepDone::new(summary.join(" · ")).checks(checks))
}

/// Counts the legacy side, in the plan's order, and keeps the numbers: a rollback must not end with fewer.
pub(super) async fn count_legacy(cx: &StepContext) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for dataset in &cx.plan.datasets {
        cx.report.note(probing::ratio(counts.len(), cx.plan.datasets.len()), format!("counts {}", dataset.name));
        let legacy = gather::records(cx, &gather::legacy(cx, dataset)?).await?;
        cx.work.note(&rollback::counted(&dataset.name), &json!(legacy)).await?;
        counts.push(legacy);
    }
    Ok(counts)
}

async fn back_up(cx: &StepContext) -> Result<StepDone> {
    let mut all = StepDone::default();
    for dataset in &cx.plan.datasets {
        cx.report.note(None, format!("backs {} up", dataset.name));
        add(&mut all, backup::take(cx, dataset).await?);
    }
    Ok(all)
}

async fn restore(cx: &StepContext, how: backup::How) -> Result<StepDone> {
    let mut all = StepDone::default();
    for dataset in &cx.plan.datasets {
        cx.report.note(None, format!("restores {}", dataset.name));
        add(&mut all, backup::prove(cx, dataset, how).await?);
    }
    Ok(all)
}

fn add(all: &mut StepDone, one: StepDone) {
    if !all.summary.is_empty() {
        all.summary.push_str(" · ");
    }
    all.summary.push_str(&one.summary);
    all.checks.extend(one.checks);
}

async fn preview(cx: &StepContext) -> Result<StepDone> {
    let survey = cx.signals.unless_stopped("look at what is to move", survey(&cx.plan, &cx.ports)).await?;
    if survey.blockers.is_empty() {
        // What is judged here is what the lanes are held against when they begin.
        for dataset in &cx.plan.datasets {
            agreed::note(cx, dataset).await?;
        }
    }
    let rows: u64 = survey.datasets.iter().filter_map(|dataset| dataset.records).sum();
    let of_sets = survey.file_sets.iter().fold((0, 0), |(files, of), set| (files + set.files, of + set.bytes));
    let (files, file_bytes) = survey.datasets.iter().fold(of_sets, |(files, of), dataset| {
        (files + dataset.files.unwrap_or(0), of + dataset.file_bytes.unwrap_or(0))
    });
    let least = if survey.file_sets.iter().any(|set| set.more) { "more than " } else { "" };
    let summary = format!(
        "{}, {least}{} ({}), {}",
        count(rows, "record"),
        count(files, "file"),
        bytes(file_bytes),
        survey.seconds.map_or_else(
            || "for an unknown time".into(),
            |range| format!("{} to {}", seconds(range.low), seconds(range.high))
        ),
    );
    let mut checks = vec![verdict("to move", true, &summary, "")];
    let blocked = survey.blockers.join("; ");
    let value = if blocked.is_empty() { "none".into() } else { blocked };
    checks.push(verdict("blockers", survey.blockers.is_empty(), value, "mend what is named here, then retry"));
    if !survey.warnings.is_empty() {
        checks.push(verdict("warnings", true, survey.warnings.join("; "), ""));
    }
    judge("find nothing in the way", summary, checks)
}

fn seconds(time: f64) -> String {
    if time < 120.0 { format!("{time:.0} s") } else { format!("{:.0} min", time / 60.0) }
}

/// The folders of this machine that the new side grows in, with the name of what lies there.
pub(super) fn target_folders(plan: &Plan) -> Vec<(String, std::path::PathBuf)> {
    let mut folders = BTreeMap::new();
    for dataset in &plan.datasets {
        if let Some(StorePlan::Sqlite { path }) = plan.stores.get(&dataset.to.store) {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            folders.insert(format!("store {}", dataset.to.store), folder.to_path_buf());
        }
    }
    for name in plan.new_buckets() {
        if let Some(BucketPlan::Filesystem { root }) = plan.buckets.get(name) {
            folders.insert(format!("bucket {name}"), root.clone());
        }
    }
    folders.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::window;
    use crate::{
        model::{Timestamp, Verdict},
        plan::Window,
        ports::fakes,
    };

    #[test]
    fn the_window_is_open_from_its_beginning_until_before_its_end() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut plan = fakes::plan(Vec::new());
        assert!(window(&plan, at("2026-11-21T02:00:00Z"), false).is_none());
        plan.window = Some(Window { opens: at("2026-11-21T01:00:00Z"), closes: at("2026-11-21T05:00:00Z") });
        for (now, wanted) in [
            ("2026-11-21T00:59:59Z", Verdict::Fail),
            ("2026-11-21T01:00:00Z", Verdict::Pass),
            ("2026-11-21T04:59:59Z", Verdict::Pass),
            ("2026-11-21T05:00:00Z", Verdict::Fail),
        ] {
            assert_eq!(window(&plan, at(now), false).unwrap().verdict, wanted, "{now}");
        }
        // What is copied ahead may come before.
        let early = |now: &str| window(&plan, at(now), true).unwrap().verdict;
        assert_eq!(early("2026-11-20T00:00:00Z"), Verdict::Pass);
        assert_eq!(early("2026-11-21T05:00:00Z"), Verdict::Fail);
    }
}
