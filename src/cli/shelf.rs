//! What the console reads of single records and files: the work tables, page by page, and a record on both sides. Only
//! reads, but for the file that dead letters are exported into.

use super::repair::letter;
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::records::{self, Seen},
    model::{ItemState, ItemVerdict, LaneId, Value},
    plan::DatasetPlan,
    ports::{ItemQuery, ItemRow, VerdictQuery, VerdictRow, Work},
    tui::{
        Compared, DifferenceLine, DifferencePage, DifferencesAsk, Exported, FieldLine, ItemLine, ItemPage, LetterLine,
        LetterPage, LettersAsk, PageAsk, PageOf, PageStart, Reader, RecordAsk, SideFields, Sides, Standing,
    },
    wiring::Bystander,
};
use async_trait::async_trait;
use std::{fmt, io::Write as _, os::unix::fs::OpenOptionsExt as _};

const TROUBLE: [ItemState; 3] = [ItemState::Failed, ItemState::Conflicting, ItemState::Lost];
const CALM: [ItemState; 5] =
    [ItemState::Pending, ItemState::Copying, ItemState::Copied, ItemState::Verified, ItemState::Skipped];
/// Letters read together for a file.
const TOGETHER: u32 = 200;
/// Characters of a value that are shown.
const LONGEST: usize = 4000;

/// The run's work tables and both sides, to be read.
pub(super) struct Shelf(pub(super) Bystander);

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shelf").field(self.work().run()).finish()
    }
}

impl Shelf {
    fn work(&self) -> &dyn Work {
        self.0.cx.work.as_ref()
    }

    fn dataset(&self, lane: &LaneId) -> Result<&DatasetPlan> {
        self.0.cx.plan.datasets.iter().find(|dataset| dataset.lane() == *lane).ok_or_else(|| {
            Fault::new(FaultKind::Plan, format!("find the dataset of {lane}")).detail("the plan has none of this name")
        })
    }

    /// The dead letter of this key.
    async fn failed(&self, ask: &RecordAsk) -> Result<Option<ItemRow>> {
        let query = ItemQuery { keys: vec![ask.key.clone()], limit: 1, ..letters_of(&ask.lane) };
        Ok(self.work().items(&query).await?.pop())
    }
}

fn letters_of(lane: &LaneId) -> ItemQuery {
    ItemQuery { lane: Some(lane.clone()), states: vec![ItemState::Failed], ..ItemQuery::default() }
}

/// A page out of one line more than it takes, which says whether there is another.
fn paged<L>(mut items: Vec<L>, limit: u32, key: impl Fn(&L) -> &str) -> PageOf<Option<String>, L> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| Some(key(last).to_owned()));
    PageOf { items, next }
}

#[async_trait]
impl Reader for Shelf {
    async fn items(&self, ask: &PageAsk) -> Result<ItemPage> {
        items(self.work(), ask).await
    }

    async fn letters(&self, ask: &LettersAsk) -> Result<LetterPage> {
        letters(self.work(), ask).await
    }

    async fn letter(&self, ask: &RecordAsk) -> Result<Vec<FieldLine>> {
        let facts = self.failed(ask).await?.and_then(|item| item.facts);
        let row = facts.as_ref().and_then(|facts| facts.get("row")).and_then(serde_json::Value::as_object);
        let field = |(name, value): (&String, &serde_json::Value)| FieldLine {
            name: name.clone(),
            value: shown(&value.to_string()),
        };
        Ok(row.into_iter().flatten().map(field).collect())
    }

    async fn export(&self, lane: &LaneId) -> Result<Exported> {
        let path = self.0.cx.folder.join(format!("dead-letters-{lane}.jsonl"));
        let fault =
            |error: std::io::Error| Fault::new(FaultKind::Disk, format!("write {}", path.display())).source(error);
        // Records hold what users wrote: nobody else on this machine reads them.
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = std::io::BufWriter::new(file.map_err(fault)?);
        let mut query = ItemQuery { limit: TOGETHER, ..letters_of(lane) };
        let mut letters = 0;
        loop {
            let rows = self.work().items(&query).await?;
            let Some(last) = rows.last() else { break };
            query.after = Some(last.key.clone());
            for row in &rows {
                writeln!(file, "{}", letter(row, true)).map_err(fault)?;
                letters += 1;
            }
        }
        file.flush().map_err(fault)?;
        Ok(Exported { path, letters })
    }

    async fn differences(&self, ask: &DifferencesAsk) -> Result<DifferencePage> {
        differences(self.work(), ask).await
    }

    async fn sides(&self, ask: &RecordAsk) -> Result<Sides> {
        let both = records::both_sides(&self.0.cx, self.dataset(&ask.lane)?, &ask.key).await?;
        let value = |value: Option<Value>| value.map(|value| shown(&value.to_json().to_string()));
        let fields = both.fields.into_iter().map(|field| SideFields {
            name: field.name,
            legacy: value(field.source),
            new: value(field.target),
            differs: field.differs,
        });
        let standing = |seen: Seen| match seen {
            Seen::There => Standing::There,
            Seen::Absent => Standing::Wanting("not there".into()),
            Seen::LeftOut => Standing::Wanting("there, and the filter leaves it out: fields as they are".into()),
            Seen::Unfit(why) => Standing::Wanting(format!("there, and cannot be moved as it is: {why}")),
            Seen::Unreachable(why) => Standing::Unreachable(why),
        };
        Ok(Sides { fields: fields.collect(), legacy: standing(both.source), new: standing(both.target) })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

async fn items(work: &dyn Work, ask: &PageAsk) -> Result<ItemPage> {
    let limit = usize::try_from(ask.limit).unwrap_or(usize::MAX);
    let (mut items, mut at) = (Vec::new(), ask.from.clone());
    loop {
        let states = if at.calm { CALM.to_vec() } else { TROUBLE.to_vec() };
        // One more than is shown, to know whether there is another page.
        let rest = ask.limit.saturating_add(1) - u32::try_from(items.len()).unwrap_or(u32::MAX);
        let query = ItemQuery {
            lane: Some(ask.lane.clone()),
            batch: Some(ask.batch.clone()),
            states,
            after: at.after.take(),
            limit: rest,
            ..ItemQuery::default()
        };
        items.extend(work.items(&query).await?.into_iter().map(|row| (at.calm, line(row))));
        if items.len() > limit || at.calm {
            break;
        }
        at = PageStart { calm: true, after: None };
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next =
        items.last().filter(|_| more).map(|(calm, last)| PageStart { calm: *calm, after: Some(last.key.clone()) });
    Ok(ItemPage { items: items.into_iter().map(|(_, line)| line).collect(), next })
}

async fn letters(work: &dyn Work, ask: &LettersAsk) -> Result<LetterPage> {
    let limit = ask.limit.saturating_add(1);
    let query = ItemQuery { after: ask.after.clone(), limit, ..letters_of(&ask.lane) };
    let line = |row: ItemRow| LetterLine { asks: row.asks(), key: row.key, attempts: row.attempts, reason: row.reason };
    let lines = work.items(&query).await?.into_iter().map(line).collect();
    Ok(paged(lines, ask.limit, |line: &LetterLine| &line.key))
}

async fn differences(work: &dyn Work, ask: &DifferencesAsk) -> Result<DifferencePage> {
    let compared = match records::audited(work, &ask.lane).await? {
        None => Compared::Never,
        Some(found) if found.complete => Compared::Whole,
        Some(_) => Compared::HalfWay,
    };
    let verdicts = ask.class.map_or_else(|| ItemVerdict::MENDABLE.to_vec(), |class| vec![class]);
    let limit = ask.limit.saturating_add(1);
    let query = VerdictQuery { verdicts, after: ask.after.clone(), limit, ..VerdictQuery::default() };
    let line = |row: VerdictRow| DifferenceLine { key: row.key, class: row.verdict, detail: row.detail, at: row.at };
    let lines = work.verdicts(&ask.lane, &query).await?.into_iter().map(line).collect();
    let page = paged(lines, ask.limit, |line: &DifferenceLine| &line.key);
    Ok(DifferencePage { page, sums: work.verdict_sums(&ask.lane).await?, compared })
}

fn line(row: ItemRow) -> ItemLine {
    ItemLine {
        key: row.key,
        state: row.state,
        bytes: row.bytes,
        attempts: row.attempts,
        error: row.error,
        reason: row.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Compared, DifferencesAsk, ItemVerdict, LettersAsk, PageAsk, PageStart, VerdictRow, differences, items, letters,
    };
    use crate::{
        model::{BatchId, BatchState, ItemState, LaneId, LaneKind, Timestamp},
        ports::{
            BatchRow, ItemRow, Work,
            fakes::{FakeWork, Trouble},
        },
    };

    #[tokio::test]
    async fn pages_bring_every_item_once_and_trouble_first() {
        let work = FakeWork::new(&Trouble::none());
        let (lane, batch) = (LaneId::new("files-content"), BatchId::new("files-content-0001"));
        let item = |n: u32| ItemRow {
            lane: lane.clone(),
            key: format!("k{n:02}"),
            batch: batch.clone(),
            state: if n.is_multiple_of(3) { ItemState::Failed } else { ItemState::Verified },
            source: String::new(),
            digest: None,
            bytes: 1,
            attempts: 1,
            error: None,
            reason: String::new(),
            facts: None,
            before: None,
        };
        let row = BatchRow {
            batch: batch.clone(),
            lane: lane.clone(),
            kind: LaneKind::Files,
            number: 1,
            state: BatchState::Done,
            from: None,
            next: None,
            items: 10,
            failed: 4,
            bytes: 10,
            attempts: 1,
            error: String::new(),
            started: None,
            finished: None,
        };
        work.save(&row, &(0..10).map(item).collect::<Vec<_>>()).await.unwrap();
        for limit in 1..12 {
            let (mut keys, mut from) = (Vec::new(), PageStart::default());
            loop {
                let ask = PageAsk { lane: lane.clone(), batch: batch.clone(), from, limit };
                let page = items(work.as_ref(), &ask).await.unwrap();
                assert!(!page.items.is_empty() && page.items.len() <= usize::try_from(limit).unwrap());
                keys.extend(page.items.into_iter().map(|item| item.key));
                let Some(next) = page.next else { break };
                from = next;
            }
            assert_eq!(keys.join(" "), "k00 k03 k06 k09 k01 k02 k04 k05 k07 k08", "in pages of {limit}");
        }
    }

    /// All keys, page after page of this size.
    async fn letter_keys(work: &FakeWork, lane: &LaneId, limit: u32) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = letters(work, &LettersAsk { lane: lane.clone(), after, limit }).await.unwrap();
            assert!(page.items.len() <= usize::try_from(limit).unwrap());
            keys.extend(page.items.into_iter().map(|line| line.key));
            let Some(next) = page.next else { return keys };
            after = next;
        }
    }

    #[tokio::test]
    async fn dead_letters_and_differences_come_page_by_page_and_none_twice() {
        let work = FakeWork::new(&Trouble::none());
        let lane = LaneId::new("users");
        let item = |n: u32| ItemRow {
            lane: lane.clone(),
            key: format!("k{n:02}"),
            batch: BatchId::new("users-0001"),
            state: if n.is_multiple_of(2) { ItemState::Failed } else { ItemState::Verified },
            source: String::new(),
            digest: None,
            bytes: 0,
            attempts: 1,
            error: None,
            reason: if n == 4 { "stood there before, and differs in email".into() } else { "refused".into() },
            facts: None,
            before: None,
        };
        work.enlist(&[], &(0..20).map(item).collect::<Vec<_>>(), &[]).await.unwrap();
        let verdict = |n: u32| VerdictRow {
            lane: lane.clone(),
            key: format!("v{n:02}"),
            verdict: if n.is_multiple_of(5) { ItemVerdict::OnlyInSource } else { ItemVerdict::Differs },
            detail: "email".into(),
            at: Timestamp::UNIX_EPOCH,
        };
        work.judge(&(0..20).map(verdict).collect::<Vec<_>>()).await.unwrap();
        for limit in 1..24 {
            let keys = letter_keys(&work, &lane, limit).await;
            assert_eq!(keys.join(" "), "k00 k02 k04 k06 k08 k10 k12 k14 k16 k18", "in pages of {limit}");
        }
        let ask = |class, after, limit| DifferencesAsk { lane: lane.clone(), class, after, limit };
        let page = differences(work.as_ref(), &ask(None, Some("v17".into()), 10)).await.unwrap();
        assert_eq!((page.compared, page.page.items.len(), &page.page.next), (Compared::Never, 2, &None));
        assert_eq!((page.count(ItemVerdict::OnlyInSource), page.count(ItemVerdict::Differs)), (4, 16));
        let missing = differences(work.as_ref(), &ask(Some(ItemVerdict::OnlyInSource), None, 3)).await.unwrap();
        let keys: Vec<&str> = missing.page.items.iter().map(|line| line.key.as_str()).collect();
        assert_eq!((keys.join(" ").as_str(), missing.page.next), ("v00 v05 v10", Some(Some("v10".into()))));
    }
}
