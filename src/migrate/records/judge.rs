//! How the records of a page stand on both sides: compared field by field, and what is unequal read again from both
//! before it is judged.
//!
//! Neighbours: `verify` counts what comes out and marks the items, `audit` keeps every difference. Must never enter: a
//! write to either side or to the ledger.

use crate::{
    error::Result,
    migrate::{
        compare::{Kinds, shaped},
        convert::{FILTERED, Mapped},
        lane::{Lane, by_key},
    },
    model::{ItemState, Key, Record},
    ports::ItemRow,
};
use std::collections::{BTreeMap, HashSet};

/// How one record stands after two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// Equal.
    Same,
    /// In the source only. `late`: written there since the lane copied, so that copying again mends it.
    Missing { late: bool },
    /// On both sides, in these fields unequal; `late` as above.
    Different { fields: Vec<String>, late: bool },
    /// Unequal, and not as it was at the first look: somebody writes it right now.
    Moving { fields: Vec<String> },
    /// Written on the new side since it was copied, which is right once that side is used.
    MovedOn,
    /// A person or the filter left it out.
    LeftOut,
    /// Stood in the target before the run and is kept as it is there.
    Kept,
}

/// A page, judged.
#[derive(Debug, Default)]
pub(super) struct JudgedPage {
    /// Every record with a key, how it stands and what the ledger knows of it.
    pub(super) records: Vec<(String, Judged, Option<ItemRow>)>,
    /// Records without a key, or twice on the page.
    pub(super) keyless: u64,
    /// Unequal at the first look and equal, or gone, at the second.
    pub(super) moving: u64,
}

/// Judges a page of the source. `live`: the new side is used, and what was written there since counts apart.
pub(super) async fn page(lane: &Lane<'_>, live: bool, records: Vec<Record>) -> Result<JudgedPage> {
    let total = records.len() as u64;
    let page = by_key(records, lane.mapping.key_field());
    let mut out = JudgedPage { keyless: total.saturating_sub(page.len() as u64), ..JudgedPage::default() };
    let keys: Vec<Key> = page.keys().cloned().map(Key).collect();
    let rows = lane.fetch(&lane.new, &keys).await?;
    let mut items = lane.items_of(page.keys().cloned().collect()).await?;
    let kinds = lane.kinds().await?;
    let mapped = wanted(lane, &page, &items).await?;
    let unequal = |key: &str, mapped: &Mapped| match mapped {
        Ok(Some(mapped)) => !kinds.holds(rows.get(key), mapped),
        Ok(None) | Err(_) => true,
    };
    let doubtful: Vec<Key> = page
        .keys()
        .zip(&mapped)
        .filter(|(key, mapped)| unequal(key, mapped))
        .map(|(key, _)| Key(key.clone()))
        .collect();
    let again_old = lane.fetch(&lane.old, &doubtful).await?;
    let again_new = lane.fetch(&lane.new, &doubtful).await?;
    let again = wanted(lane, &again_old, &items).await?;
    let mut again: BTreeMap<&String, Mapped> = again_old.keys().zip(again).collect();
    let doubtful: HashSet<&str> = doubtful.iter().map(|key| key.0.as_str()).collect();
    for (key, record) in page {
        let item = items.remove(&key);
        let judged = if doubtful.contains(key.as_str()) {
            let (Some(now), Some(mapped)) = (again_old.get(&key), again.remove(&key)) else {
                out.moving += 1;
                continue;
            };
            let row = again_new.get(&key);
            let judged = judge(kinds, live, mapped, row, item.as_ref());
            let moved = *now != record || row != rows.get(&key);
            match judged {
                Judged::Same => {
                    out.moving += 1;
                    Judged::Same
                }
                Judged::Different { fields, .. } if moved && !live => Judged::Moving { fields },
                judged => judged,
            }
        } else {
            Judged::Same
        };
        out.records.push((key, judged, item));
    }
    Ok(out)
}

/// What the target is to hold of these records, by what the ledger knows of them.
pub(super) async fn wanted(
    lane: &Lane<'_>,
    records: &BTreeMap<String, Record>,
    items: &BTreeMap<String, ItemRow>,
) -> Result<Vec<Mapped>> {
    let mapped = lane.mapped(records.values()).await?;
    let wanted = |(key, mapped): (&String, Mapped)| mapped.map(|mapped| Some(lane.wanted(mapped?, items.get(key))));
    Ok(records.keys().zip(mapped).map(wanted).collect())
}

fn judge(kinds: &Kinds, live: bool, mapped: Mapped, row: Option<&Record>, item: Option<&ItemRow>) -> Judged {
    if item.is_some_and(ItemRow::is_left_out) {
        return Judged::LeftOut;
    }
    if row.is_some() && item.is_some_and(ItemRow::is_kept) {
        return Judged::Kept;
    }
    let mapped = match mapped {
        Ok(Some(mapped)) => mapped,
        // It was copied when it still fitted.
        Ok(None) if item.is_some_and(|item| item.state != ItemState::Skipped) => {
            return Judged::Different {
                fields: vec!["the filter, which it fitted when it was copied".to_owned()],
                late: true,
            };
        }
        Ok(None) => return Judged::LeftOut,
        Err(_) if row.is_none() => return Judged::Missing { late: item.is_none() },
        Err(why) => return Judged::Different { fields: vec![why], late: false },
    };
    if live && item.is_some_and(|item| item.state == ItemState::Conflicting) {
        return Judged::MovedOn;
    }
    let copied = item.and_then(|item| item.digest);
    let untouched_here = copied == Some(kinds.digest(&mapped));
    let arrived = item.is_some_and(|item| item.state == ItemState::Verified);
    let Some(row) = row else {
        return if live && untouched_here && arrived {
            Judged::MovedOn
        } else {
            Judged::Missing { late: item.is_none_or(|item| item.reason == FILTERED) }
        };
    };
    let fields = kinds.differing(&mapped, row);
    let moved = || copied != Some(kinds.digest(&shaped(row, &mapped)));
    if fields.is_empty() {
        Judged::Same
    } else if live && untouched_here && arrived && moved() {
        Judged::MovedOn
    } else {
        Judged::Different { fields, late: !untouched_here }
    }
}

/// The rows that only the target has, among these.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// Stood there before the run and are not its affair.
    pub(super) standing: u64,
    /// Created by users on the new side since; only while it is used.
    pub(super) moved_on: u64,
    /// Nobody accounts for them. True: the run wrote it, so its record was deleted in the source since.
    pub(super) extra: Vec<(String, bool)>,
}

/// Judges rows of the target whose record the source does not have.
pub(super) async fn alone(lane: &Lane<'_>, live: bool, standing: &super::Standing, rows: &[Record]) -> Result<Alone> {
    let keys: Vec<Key> = rows.iter().filter_map(|row| lane.mapping.key(row)).collect();
    let source = lane.fetch(&lane.old, &keys).await?;
    let keys: Vec<String> = keys.into_iter().map(|key| key.0).filter(|key| !source.contains_key(key)).collect();
    let items: BTreeMap<String, ItemRow> = lane.items_of(keys.clone()).await?;
    let mut out = Alone::default();
    for key in keys {
        let by_run = items.get(&key).is_some_and(|item| item.attempts > 0 && item.state != ItemState::Skipped);
        if standing.has(&key) && !by_run {
            out.standing += 1;
        } else if live && !items.contains_key(&key) {
            out.moved_on += 1;
        } else {
            out.extra.push((key, by_run));
        }
    }
    Ok(out)
}
