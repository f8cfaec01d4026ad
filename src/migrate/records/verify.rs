//! Compares all records of both sides, and judges what is only in the target.

use super::{Which, compare, pump};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        Verified,
        lane::{Lane, ReadPage, Track, by_key},
    },
    model::{Digest, ItemState, Key, LaneKind, LaneStage, Record, Timestamp},
    plan::DatasetPlan,
    ports::{Cursor, ItemRow},
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, HashSet},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Compares every record of the source with the target, field by field, and both counts. For the time before the new
/// side is used: any row there that the run did not write so is a difference.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped. Differences are no error: they are in the result.
pub async fn verify(cx: &StepContext, dataset: &DatasetPlan) -> Result<Verified> {
    run(cx, dataset, false, true).await
}

/// The same once the new side is used: rows that were changed, created or deleted there since they were copied are
/// counted apart and are no difference.
///
/// # Errors
/// As [`verify`].
pub async fn verify_live(cx: &StepContext, dataset: &DatasetPlan) -> Result<Verified> {
    run(cx, dataset, true, true).await
}

/// The same for a person who only wants to know: no item is marked, so that it may be asked while a lane moves. `live`:
/// as [`verify_live`].
///
/// # Errors
/// As [`verify`].
pub async fn only_compare(cx: &StepContext, dataset: &DatasetPlan, live: bool) -> Result<Verified> {
    run(cx, dataset, live, false).await
}

async fn run(cx: &StepContext, dataset: &DatasetPlan, live: bool, marks: bool) -> Result<Verified> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let verifier = Verifier { lane: &lane, live, marks, found: Mutex::new(Verified::new(lane.id.clone())) };
    let result = verifier.all().await;
    let stage = match &result {
        Ok(found) if !found.is_same() => LaneStage::Failed,
        _ => LaneStage::Done,
    };
    lane.conclude(stage, result).await
}

struct Verifier<'a> {
    lane: &'a Lane<'a>,
    live: bool,
    /// Writes down how the items stand.
    marks: bool,
    found: Mutex<Verified>,
}

/// How one record stands after two looks.
enum Judged {
    Same,
    /// `late`: written in the source since the lane copied, so that copying again mends it.
    Missing {
        late: bool,
    },
    Different {
        fields: Vec<String>,
        late: bool,
    },
    MovedOn,
}

impl Verifier<'_> {
    async fn all(&self) -> Result<Verified> {
        let lane = self.lane;
        lane.take_stock().await?;
        lane.meter.set_total(Some(lane.count(&lane.old).await?));
        let limit = lane.cx.plan.migration.batch_records;
        pump(lane, lane.pages(&lane.old, Which::All, Cursor::START, limit), || lane.room(), |read| self.page(read))
            .await?;
        self.only_in_target().await?;
        lane.take_stock().await?;
        let mut found = self.found().clone();
        found.conclude(Timestamp::now());
        Ok(found)
    }

    fn found(&self) -> MutexGuard<'_, Verified> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a page; what is unequal is read again from both sides before it is judged.
    async fn page(&self, read: ReadPage) -> Result<()> {
        let lane = self.lane;
        let total = read.page.records.len() as u64;
        let page = by_key(read.page.records, lane.mapping.key_field());
        let keyless = total.saturating_sub(page.len() as u64);
        let keys: Vec<Key> = page.keys().cloned().map(Key).collect();
        let rows = lane.fetch(&lane.new, &keys).await?;
        let items = lane.items_of(page.keys().cloned().collect()).await?;
        let unequal = |key: &str, record: &Record| match lane.mapping.forward(record) {
            Ok(mapped) => rows.get(key).is_none_or(|row| !compare::differing(&mapped, row).is_empty()),
            Err(_) => true,
        };
        let doubtful: Vec<Key> =
            page.iter().filter(|(key, record)| unequal(key, record)).map(|(key, _)| Key(key.clone())).collect();
        let again_old = lane.fetch(&lane.old, &doubtful).await?;
        let again_new = lane.fetch(&lane.new, &doubtful).await?;
        let mut same = Vec::new();
        let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, record) in &page {
            let judged = if doubtful.iter().any(|doubt| doubt.0 == *key) {
                let Some(now) = again_old.get(key) else {
                    self.found().moving += 1;
                    continue;
                };
                let judged = self.judge(now, again_new.get(key), items.get(key));
                if matches!(judged, Judged::Same) || now != record {
                    self.found().moving += 1;
                }
                judged
            } else {
                Judged::Same
            };
            self.count(key, &judged, items.get(key), &mut same, &mut wrong);
        }
        self.found().source += keyless;
        if keyless > 0 {
            self.found().missing += keyless;
            self.found().differs("(no key)", format!("{keyless} records without a key, or twice on one page"));
        }
        if self.marks {
            self.mark(&items, same, wrong).await?;
        }
        lane.meter.moved(total, 0);
        Ok(())
    }

    fn judge(&self, record: &Record, row: Option<&Record>, item: Option<&ItemRow>) -> Judged {
        let mapped = match self.lane.mapping.forward(record) {
            Ok(mapped) => mapped,
            Err(_) if row.is_none() => return Judged::Missing { late: item.is_none() },
            Err(fault) => return Judged::Different { fields: vec![fault.detail], late: false },
        };
        if self.live && item.is_some_and(|item| item.state == ItemState::Conflicting) {
            return Judged::MovedOn;
        }
        let copied = item.and_then(|item| item.digest);
        let untouched_here = copied == Some(compare::digest(&mapped));
        let arrived = item.is_some_and(|item| item.state == ItemState::Verified);
        match row {
            None if self.live && untouched_here && arrived => Judged::MovedOn,
            None => Judged::Missing { late: item.is_none() },
            Some(row) => {
                let fields = compare::differing(&mapped, row);
                let moved = || copied != Some(compare::digest(&compare::shaped(row, &mapped)));
                if fields.is_empty() {
                    Judged::Same
                } else if self.live && untouched_here && arrived && moved() {
                    Judged::MovedOn
                } else {
                    Judged::Different { fields, late: !untouched_here }
                }
            }
        }
    }

    fn count(
        &self,
        key: &str,
        judged: &Judged,
        item: Option<&ItemRow>,
        same: &mut Vec<String>,
        wrong: &mut BTreeMap<String, Vec<String>>,
    ) {
        let mut found = self.found();
        found.source += 1;
        let why = match judged {
            Judged::Same => {
                found.same += 1;
                same.push(key.to_string());
                return;
            }
            Judged::MovedOn => {
                found.moved_on += 1;
                return;
            }
            Judged::Missing { late } => {
                found.missing += 1;
                found.late += u64::from(*late);
                "missing".to_string()
            }
            Judged::Different { fields, late } => {
                found.different += 1;
                found.late += u64::from(*late);
                format!("differs in {}", fields.join(", "))
            }
        };
        // Why it failed when it was copied says more than that it is not there.
        let kept = item.filter(|item| item.state == ItemState::Failed && !item.reason.is_empty());
        found.differs(key, kept.map_or(why.as_str(), |item| item.reason.as_str()));
        if kept.is_none() {
            wrong.entry(why).or_default().push(key.to_string());
        }
    }

    /// Writes down how the items of a page ended. Items that were left out or conflict keep their end.
    async fn mark(
        &self,
        items: &BTreeMap<String, ItemRow>,
        same: Vec<String>,
        wrong: BTreeMap<String, Vec<String>>,
    ) -> Result<()> {
        let open = |key: &String, to: ItemState| {
            items.get(key).is_some_and(|item| {
                item.state != to && !matches!(item.state, ItemState::Skipped | ItemState::Conflicting)
            })
        };
        let ends = std::iter::once((ItemState::Verified, String::new(), same))
            .chain(wrong.into_iter().map(|(why, keys)| (ItemState::Failed, why, keys)));
        for (state, why, mut keys) in ends {
            keys.retain(|key| open(key, state));
            if keys.is_empty() {
                continue;
            }
            let lane = self.lane;
            lane.once("mark items", lane.cx.work.mark(&lane.id, &keys, state, &why)).await?;
            for key in &keys {
                lane.meter.turned(items.get(key).map(|item| item.state), state);
            }
        }
        Ok(())
    }

    /// Judges the rows that only the target has. Not one is read if the counts say that there are none.
    async fn only_in_target(&self) -> Result<()> {
        let lane = self.lane;
        let (on_both, moved_on) = {
            let found = self.found();
            (found.same + found.different, found.moved_on)
        };
        if lane.count(&lane.new).await? <= on_both && moved_on == 0 {
            return Ok(());
        }
        let standing = Standing::load(lane).await?;
        let limit = lane.cx.plan.migration.batch_records;
        let mut pages = pin!(lane.pages(&lane.new, Which::All, Cursor::START, limit));
        while let Some(read) = pages.next().await {
            let records = read?.page.records;
            let keys: Vec<Key> = records.iter().filter_map(|row| lane.mapping.key(row)).collect();
            let source = lane.fetch(&lane.old, &keys).await?;
            let alone: Vec<String> =
                keys.into_iter().map(|key| key.0).filter(|key| !source.contains_key(key)).collect();
            let items = lane.items_of(alone.clone()).await?;
            let mut found = self.found();
            for key in alone {
                let by_run = items.get(&key).is_some_and(|item| item.attempts > 0 && item.state != ItemState::Skipped);
                if standing.has(&key) && !by_run {
                    found.standing += 1;
                } else if self.live && !items.contains_key(&key) {
                    found.moved_on += 1;
                } else {
                    found.extra += 1;
                    found.late += u64::from(by_run);
                    found.differs(key, "extra: not in the source");
                }
            }
        }
        Ok(())
    }
}

/// The keys of the rows that stood in the target before the run, as short fingerprints: eight bytes for each, and only
/// while somebody has to know.
pub(crate) struct Standing(HashSet<u64>);

impl Standing {
    /// Those noted when the lane began.
    pub(crate) async fn load(lane: &Track<'_>) -> Result<Self> {
        let chunks = lane.noted("standing").await?.and_then(|count| count.as_u64()).unwrap_or(0);
        let mut keys = HashSet::new();
        for chunk in 1..=chunks {
            let noted = lane.noted(&format!("standing-{chunk}")).await?;
            let list = noted.as_ref().and_then(serde_json::Value::as_array);
            keys.extend(list.into_iter().flatten().filter_map(serde_json::Value::as_str).map(fingerprint));
        }
        Ok(Self(keys))
    }

    /// Whether a row of this key stood there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains(&fingerprint(key))
    }
}

/// Eight bytes of the key's SHA-256.
pub(crate) fn fingerprint(key: &str) -> u64 {
    Digest::of(key.as_bytes()).0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
