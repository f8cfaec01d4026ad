//! Compares all records of both sides, and judges what is only in the target.

use super::{
    Which,
    audit::Standings,
    judge::{self, Judged},
    pump,
    stretches::{Compared, Stretches},
    verdicts,
};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        Verified,
        lane::{Lane, ReadPage, Track},
        meter::Part,
    },
    model::{Digest, ItemState, Key, LaneKind, LaneStage, Record, Timestamp},
    plan::DatasetPlan,
    ports::{BatchRow, BlockPage, Cursor, ItemQuery, ItemRow},
};
use futures::{StreamExt as _, stream};
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
    run(cx, dataset, false).await
}

/// The same once the new side is used: rows that were changed, created or deleted there since they were copied are
/// counted apart and are no difference.
///
/// # Errors
/// As [`verify`].
pub async fn verify_live(cx: &StepContext, dataset: &DatasetPlan) -> Result<Verified> {
    run(cx, dataset, true).await
}

async fn run(cx: &StepContext, dataset: &DatasetPlan, live: bool) -> Result<Verified> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let verifier = Verifier { lane: &lane, live, found: Mutex::new(Verified::new(lane.id.clone())) };
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
    found: Mutex<Verified>,
}

impl Verifier<'_> {
    async fn all(&self) -> Result<Verified> {
        let lane = self.lane;
        verdicts::forget(lane).await?;
        lane.take_stock().await?;
        lane.meter.set_total(Some(lane.count(&lane.old).await?));
        if let Some(stretches) = Stretches::of(lane).await? {
            let batches = stream::iter(stretches.batches.iter().map(Ok));
            pump(lane, batches, || lane.room(), |batch| self.stretch(&stretches, batch)).await?;
            self.left_over().await?;
        } else if let Some(stretches) = Stretches::page_by_page(lane).await? {
            pump(lane, stretches.pages(), || lane.room(), |page| self.block(&stretches, page)).await?;
            self.settle().await?;
            self.left_over().await?;
        } else {
            let limit = lane.compared_at_once();
            pump(lane, lane.pages(&lane.old, Which::All, Cursor::START, limit), || lane.room(), |read| self.page(read))
                .await?;
        }
        self.only_in_target().await?;
        lane.take_stock().await?;
        let mut found = self.found().clone();
        verdicts::sum_up(lane, &Standings::of(&found)).await?;
        found.conclude(Timestamp::now());
        Ok(found)
    }

    fn found(&self) -> MutexGuard<'_, Verified> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the stretch of a batch, and looks closely at what does not seem the same.
    async fn stretch(&self, stretches: &Stretches<'_>, batch: &BatchRow) -> Result<()> {
        let lane = self.lane;
        lane.pace.rows(batch.items, 0, &lane.cx.signals).await?;
        let compared = stretches.compare(batch).await?;
        self.add(&compared);
        let field = lane.mapping.key_field();
        let odd = compared.odd.iter().filter_map(|record| record.key(field));
        let open: Vec<Key> = compared.doubtful.iter().cloned().chain(odd).collect();
        self.verified(batch, &open).await?;
        self.look_closely(compared).await
    }

    /// Compares a page, and looks closely at what does not seem the same.
    async fn block(&self, stretches: &Stretches<'_>, page: (Cursor, BlockPage)) -> Result<()> {
        let lane = self.lane;
        lane.pace.rows(page.1.block.rows() as u64, 0, &lane.cx.signals).await?;
        let compared = stretches.compare_page(page).await?;
        self.add(&compared);
        self.look_closely(compared).await
    }

    fn add(&self, compared: &Compared) {
        let seen = compared.same + compared.left_out;
        {
            let mut found = self.found();
            found.source += seen;
            found.same += compared.same;
            found.left_out += compared.left_out;
        }
        self.lane.moved(seen, 0);
        self.lane.meter.did(Part::Verified, seen);
    }

    async fn look_closely(&self, compared: Compared) -> Result<()> {
        let lane = self.lane;
        if !compared.odd.is_empty() {
            self.judge(compared.odd).await?;
        }
        let limit = usize::try_from(lane.cx.plan.migration.batch_records).unwrap_or(usize::MAX);
        for keys in compared.doubtful.chunks(limit.max(1)) {
            let records = lane.fetch(&lane.old, keys).await?;
            self.found().moving += (keys.len() - records.len().min(keys.len())) as u64;
            self.judge(records.into_values().collect()).await?;
        }
        Ok(())
    }

    /// Marks what was copied as the same on both sides, batch by batch, if every record that was copied was found to be.
    async fn settle(&self) -> Result<()> {
        let lane = self.lane;
        lane.take_stock().await?;
        let tally = lane.meter.tally();
        if tally.copied + tally.verified != self.found().same {
            return Ok(());
        }
        let batches = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
        for batch in batches {
            self.verified(&batch, &[]).await?;
        }
        Ok(())
    }

    /// Marks what a batch has copied as the same on both sides, but for these keys.
    async fn verified(&self, batch: &BatchRow, but: &[Key]) -> Result<()> {
        let lane = self.lane;
        let copied = lane.once("ask the ledger for sums", lane.cx.work.batch_tally(&batch.batch)).await?.copied;
        if lane.once("mark a block", lane.cx.work.move_block(batch, ItemState::Verified)).await? {
            lane.meter.turned_all(Some(ItemState::Copied), ItemState::Verified, copied);
            return Ok(());
        }
        let but: HashSet<&str> = but.iter().map(|key| key.0.as_str()).collect();
        let query = ItemQuery {
            batch: Some(batch.batch.clone()),
            states: vec![ItemState::Copied],
            limit: lane.cx.plan.migration.batch_records,
            ..ItemQuery::default()
        };
        let mut pages = pin!(lane.items(&query));
        while let Some(items) = pages.next().await {
            let keys = items?.into_iter().map(|item| item.key).filter(|key| !but.contains(key.as_str()));
            let keys: Vec<String> = keys.collect();
            lane.once("mark items", lane.cx.work.mark(&lane.id, &keys, ItemState::Verified, "")).await?;
            lane.meter.turned_all(Some(ItemState::Copied), ItemState::Verified, keys.len() as u64);
        }
        Ok(())
    }

    /// Marks what other batches than those of the main pass moved: their records were counted with their stretches.
    async fn left_over(&self) -> Result<()> {
        let lane = self.lane;
        lane.take_stock().await?;
        let tally = lane.meter.tally();
        if tally.copied + tally.failed == 0 {
            return Ok(());
        }
        let states = vec![ItemState::Copied, ItemState::Failed];
        let query = ItemQuery { states, limit: lane.cx.plan.migration.batch_records, ..ItemQuery::default() };
        let mut pages = pin!(lane.items(&query));
        while let Some(items) = pages.next().await {
            let keys: Vec<Key> = items?.into_iter().map(|item| Key(item.key)).collect();
            let records = lane.fetch(&lane.old, &keys).await?;
            let judged = judge::page(lane, self.live, records.into_values().collect()).await?;
            let same = judged.records.iter().filter(|(_, judged, _)| *judged == Judged::Same);
            let same: Vec<String> = same.map(|(key, ..)| key.clone()).collect();
            let items = judged.records.into_iter().filter_map(|(key, _, item)| Some((key, item?))).collect();
            self.mark(&items, same, BTreeMap::new()).await?;
        }
        Ok(())
    }

    async fn page(&self, read: ReadPage) -> Result<()> {
        let rows = read.page.records.len() as u64;
        self.lane.pace.rows(rows, 0, &self.lane.cx.signals).await?;
        self.judge(read.page.records).await
    }

    /// Judges records of the source, counts, and marks the items.
    async fn judge(&self, records: Vec<Record>) -> Result<()> {
        let lane = self.lane;
        let total = records.len() as u64;
        let judged = judge::page(lane, self.live, records).await?;
        verdicts::keep(lane, &verdicts::on_page(lane, &judged, None)).await?;
        let mut same = Vec::new();
        let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, judged, item) in &judged.records {
            self.count(key, judged, item.as_ref(), &mut same, &mut wrong);
        }
        {
            let mut found = self.found();
            found.moving += judged.moving;
            found.source += judged.keyless;
            if judged.keyless > 0 {
                found.missing += judged.keyless;
                let what = format!("{} records without a key, or twice on one page", judged.keyless);
                found.differs("(no key)", what);
            }
        }
        let items = judged.records.into_iter().filter_map(|(key, _, item)| Some((key, item?))).collect();
        self.mark(&items, same, wrong).await?;
        lane.moved(total, 0);
        lane.meter.did(Part::Verified, total);
        Ok(())
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
            Judged::LeftOut => {
                found.left_out += 1;
                return;
            }
            Judged::Kept => {
                found.standing += 1;
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
            Judged::Moving { fields } => {
                found.different += 1;
                found.moving += 1;
                found.late += 1;
                format!("differs in {}, and is being written", fields.join(", "))
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
        let limit = lane.compared_at_once();
        let mut pages = pin!(lane.pages(&lane.new, Which::All, Cursor::START, limit));
        while let Some(read) = pages.next().await {
            let found = judge::alone(lane, self.live, &standing, &read?.page.records).await?;
            let extra = found.extra.iter().map(|(key, late)| verdicts::extra(lane, key.clone(), *late));
            verdicts::keep(lane, &extra.collect::<Vec<_>>()).await?;
            let mut sums = self.found();
            sums.standing += found.standing;
            sums.moved_on += found.moved_on;
            for (key, late) in found.extra {
                sums.extra += 1;
                sums.late += u64::from(late);
                sums.differs(key, "extra: not in the source");
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
