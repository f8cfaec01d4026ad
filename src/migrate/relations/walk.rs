//! Walks through a side, page after page, and asks once more for whatever looks wrong.

use super::{
    Relations,
    seen::{Seen, fingerprint},
    subject::{Files, Reference, Subject},
};
use crate::{
    error::{FaultKind, Result},
    migrate::lane::Which,
    model::{ItemState, Key, LaneId, Record, Timestamp, text},
    ports::{Cursor, ItemQuery, ItemRow, ItemVerdict, VerdictRow},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    pin::pin,
};

/// Values that may have come twice and are looked for in a second walk.
const SUSPECTS: usize = 1 << 17;
/// Files asked for at once.
const FILES_AT_ONCE: usize = 16;

/// What is known while a side is walked through.
struct Walk<'w> {
    subject: &'w Subject<'w>,
    /// Where each finding is kept, if it is.
    ledger: Option<&'w LaneId>,
    found: Relations,
    /// Findings that are not kept yet.
    rows: Vec<VerdictRow>,
    seen: Seen,
    /// Fingerprints of values that may have come twice.
    suspects: HashSet<u64>,
    /// References whose other side does not answer to their field.
    closed: BTreeSet<String>,
}

impl Subject<'_> {
    /// Looks at every record, and keeps each finding under this lane's name.
    ///
    /// # Errors
    /// What a store says after all attempts; `Cancelled`.
    pub(crate) async fn look(&self, ledger: Option<&LaneId>) -> Result<Relations> {
        let mut walk = Walk {
            subject: self,
            ledger,
            found: Relations::default(),
            rows: Vec::new(),
            seen: Seen::new(),
            suspects: HashSet::new(),
            closed: BTreeSet::new(),
        };
        let mut pages = pin!(self.pages());
        while let Some(page) = pages.next().await {
            let page = page?;
            walk.page(&page).await?;
            walk.keep().await?;
            let records = walk.found.records;
            self.track.cx.report.note(None, format!("{}: {records} records looked at", self.dataset.name));
            self.track.cx.signals.breathe().await?;
        }
        if !walk.suspects.is_empty() {
            walk.twice().await?;
            walk.keep().await?;
        }
        Ok(walk.found)
    }

    fn pages(&self) -> impl futures::Stream<Item = Result<Vec<Record>>> + '_ {
        let limit = self.track.compared_at_once();
        self.track.pages(&self.side, Which::All, Cursor::START, limit).map(|read| read.map(|read| read.page.records))
    }

    fn key(&self, record: &Record) -> Option<Key> {
        record.key(&self.side.set.key)
    }
}

impl Walk<'_> {
    async fn page(&mut self, page: &[Record]) -> Result<()> {
        let subject = self.subject;
        let mut again = BTreeSet::new();
        let mut refers: BTreeMap<&str, Vec<(Key, Key)>> = BTreeMap::new();
        for record in page {
            self.found.records += 1;
            let Some(key) = subject.key(record) else {
                self.found.keyless += 1;
                continue;
            };
            if self.seen.note(0, &key.0).is_some() {
                again.insert(key.clone());
            }
            for (n, field) in subject.unique.iter().enumerate() {
                let suspect = record.text(field).and_then(|value| self.seen.note(n + 1, &value));
                if let Some(suspect) = suspect.filter(|_| self.suspects.len() < SUSPECTS) {
                    self.suspects.insert(suspect);
                }
            }
            for reference in subject.references.iter().filter(|reference| !self.closed.contains(&reference.field)) {
                if let Some(to) = record.key(&reference.field) {
                    refers.entry(&reference.field).or_default().push((to, key.clone()));
                }
            }
        }
        self.keys(again.into_iter().collect()).await?;
        for reference in &subject.references {
            if let Some(pairs) = refers.remove(reference.field.as_str()) {
                self.references(reference, pairs).await?;
            }
        }
        if let Some(files) = &subject.files {
            self.files(files, page).await?;
        }
        Ok(())
    }

    /// Two records under one of these keys. That one came twice says little: pages shift while others write.
    async fn keys(&mut self, keys: Vec<Key>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let (track, side) = (&self.subject.track, &self.subject.side);
        let doing = format!("fetch records of {} from {}", side.set.name, side.name);
        let mut times: BTreeMap<Key, u64> = BTreeMap::new();
        for record in track.call(&doing, || side.store.fetch(&side.set, &keys)).await? {
            if let Some(key) = self.subject.key(&record) {
                *times.entry(key).or_default() += 1;
            }
        }
        for (key, times) in times.into_iter().filter(|(_, times)| *times > 1) {
            self.found.doubled.add(|| key.0.clone());
            let field = &self.subject.side.set.key;
            self.finding(&key, field, ItemVerdict::Doubled, &format!("{times} records under this key"));
        }
        Ok(())
    }

    /// References from records of a page: what they refer to, and their own keys.
    async fn references(&mut self, reference: &Reference, pairs: Vec<(Key, Key)>) -> Result<()> {
        let track = &self.subject.track;
        let targets: BTreeSet<&Key> = pairs.iter().map(|(to, _)| to).collect();
        let targets: Vec<Key> = targets.into_iter().cloned().collect();
        let there = match track.fetch(&reference.to, &targets).await {
            Ok(there) => there,
            Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::NotFound | FaultKind::Plan) => {
                let why = text::clean(&fault.chain(), 200);
                self.found.unchecked.push(format!("`{}`: {why}", reference.field));
                self.closed.insert(reference.field.clone());
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let lost: Vec<(Key, Key)> = pairs.into_iter().filter(|(to, _)| !there.contains_key(&to.0)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let (to, from): (Vec<Key>, Vec<Key>) = lost.iter().cloned().unzip();
        // The other record may have been made since, or this one changed.
        let holders = track.fetch(&self.subject.side, &from).await?;
        let there = track.fetch(&reference.to, &to).await?;
        let before = match &reference.before {
            Some(before) => track.fetch(before, &to).await.map(Some)?,
            None => None,
        };
        for (to, from) in lost {
            let holds =
                holders.get(&from.0).and_then(|record| record.key(&reference.field)).is_some_and(|now| now == to);
            if !holds || there.contains_key(&to.0) {
                continue;
            }
            self.found.dangling.add(|| format!("{from} has {} {to}", reference.field));
            let inherited = before.as_ref().is_some_and(|before| !before.contains_key(&to.0));
            self.found.inherited += u64::from(inherited);
            let also = if inherited { ", on the legacy side too" } else { "" };
            let detail = format!("leads to {to} of {}, which is not there{also}", reference.named);
            self.finding(&from, &reference.field, ItemVerdict::Dangling, &detail);
        }
        Ok(())
    }

    /// Files of the records of a page. What the lane of files has proven is there; the others are asked for.
    async fn files(&mut self, files: &Files<'_>, page: &[Record]) -> Result<()> {
        let (track, lane) = (&self.subject.track, self.subject.dataset.blob_lane());
        let mut named: BTreeMap<String, Key> = BTreeMap::new();
        for record in page {
            let legacy = files.mapping.as_legacy(record);
            let has = legacy.text(&files.plan.path).is_some_and(|path| !path.is_empty());
            let Some(key) = self.subject.key(record).filter(|_| has) else { continue };
            match files.mapping.blob_key(&legacy) {
                Ok(blob) => drop(named.insert(blob, key)),
                Err(fault) => self.without_file(&key, &files.plan.path, &fault.detail),
            }
        }
        let keys: Vec<String> = named.keys().cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let query = ItemQuery { lane: Some(lane), keys, limit, ..ItemQuery::default() };
        let proven = |item: &ItemRow| item.state == ItemState::Verified || item.is_left_out();
        for item in track.once("ask the ledger for items", track.cx.work.items(&query)).await? {
            if proven(&item) {
                named.remove(&item.key);
            }
        }
        let asked: Vec<_> = named
            .into_iter()
            .map(|(blob, key)| async move {
                let doing = format!("look at {blob} in {}", files.plan.to);
                let info = track.call(&doing, || files.bucket.head(&blob)).await?;
                Ok::<_, crate::error::Fault>((blob, key, info.is_some()))
            })
            .collect();
        let asked: Vec<(String, Key, bool)> = stream::iter(asked).buffered(FILES_AT_ONCE).try_collect().await?;
        for (blob, key, _) in asked.into_iter().filter(|(_, _, there)| !there) {
            self.without_file(&key, &files.plan.path, &format!("{blob} is not there"));
        }
        Ok(())
    }

    fn without_file(&mut self, key: &Key, field: &str, why: &str) {
        self.found.without_file.add(|| format!("{key}: {}", text::clean(why, 200)));
        self.finding(key, field, ItemVerdict::WithoutFile, why);
    }

    /// Walks once more, for the values that may have come twice.
    async fn twice(&mut self) -> Result<()> {
        if self.suspects.len() >= SUSPECTS {
            let what = format!("values beyond the first {SUSPECTS} that may come twice");
            self.found.unchecked.push(what);
        }
        let subject = self.subject;
        let mut first: HashMap<(usize, String), Key> = HashMap::new();
        let mut pages = pin!(subject.pages());
        while let Some(page) = pages.next().await {
            for record in page? {
                let Some(key) = subject.key(&record) else { continue };
                for (n, field) in subject.unique.iter().enumerate() {
                    let value = record.text(field).filter(|value| self.suspects.contains(&fingerprint(n + 1, value)));
                    let Some(value) = value else { continue };
                    let holder = first.entry((n, value)).or_insert_with(|| key.clone());
                    if *holder != key {
                        let detail = format!("the record {holder} has the same");
                        self.found.doubled.add(|| format!("{key} has the {field} of {holder}"));
                        self.finding(&key, field, ItemVerdict::Doubled, &detail);
                    }
                }
            }
            self.keep().await?;
            subject.track.cx.signals.breathe().await?;
        }
        Ok(())
    }

    fn finding(&mut self, key: &Key, field: &str, verdict: ItemVerdict, detail: &str) {
        if let Some(lane) = self.ledger {
            let (key, detail) = (format!("{key} {field}"), text::clean(detail, 300));
            self.rows.push(VerdictRow { lane: lane.clone(), key, verdict, detail, at: Timestamp::now() });
        }
    }

    /// Keeps what was found so far.
    async fn keep(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let track = &self.subject.track;
        track.once("keep verdicts", track.cx.work.judge(&rows)).await
    }
}
