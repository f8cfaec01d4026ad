//! The work tables as the console reads them: items of a batch, a page at a time, those in trouble first. Only reads.

use crate::{
    error::Result,
    model::ItemState,
    ports::{ItemQuery, ItemRow, Work},
    tui::{ItemLine, ItemPage, Items, PageAsk, PageStart},
};
use async_trait::async_trait;
use std::{fmt, sync::Arc};

const TROUBLE: [ItemState; 3] = [ItemState::Failed, ItemState::Conflicting, ItemState::Lost];
const CALM: [ItemState; 5] =
    [ItemState::Pending, ItemState::Copying, ItemState::Copied, ItemState::Verified, ItemState::Skipped];

/// The work tables of a run, to be read.
pub(super) struct Shelf(pub(super) Arc<dyn Work>);

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shelf").field(self.0.run()).finish()
    }
}

#[async_trait]
impl Items for Shelf {
    async fn page(&self, ask: &PageAsk) -> Result<ItemPage> {
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
            items.extend(self.0.items(&query).await?.into_iter().map(|row| (at.calm, line(row))));
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
    use super::{Items, PageAsk, PageStart, Shelf};
    use crate::{
        model::{BatchId, BatchState, ItemState, LaneId, LaneKind},
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
        let shelf = Shelf(work);
        for limit in 1..12 {
            let (mut keys, mut from) = (Vec::new(), PageStart::default());
            loop {
                let ask = PageAsk { lane: lane.clone(), batch: batch.clone(), from, limit };
                let page = shelf.page(&ask).await.unwrap();
                assert!(!page.items.is_empty() && page.items.len() <= usize::try_from(limit).unwrap());
                keys.extend(page.items.into_iter().map(|item| item.key));
                let Some(next) = page.next else { break };
                from = next;
            }
            assert_eq!(keys.join(" "), "k00 k03 k06 k09 k01 k02 k04 k05 k07 k08", "in pages of {limit}");
        }
    }
}
