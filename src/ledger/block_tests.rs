//! Blocks of records tell the same as rows would: every order of writes, against the work tables in memory.

use super::Ledger;
use crate::{
    model::{BatchId, Digest, ItemState, LaneId, RunId},
    ports::{
        BatchRow, ItemQuery, ItemRow, RecordBlock, Work,
        fakes::{FakeWork, Trouble, batch},
    },
};
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;

const LANE: &str = "users";
const STATES: [ItemState; 4] = [ItemState::Pending, ItemState::Copied, ItemState::Verified, ItemState::Failed];

/// One write.
#[derive(Debug, Clone)]
enum Write {
    /// The next so many keys as a block in this state, every third of them as an item instead.
    Block(u64, usize),
    /// These of the keys so far by themselves.
    Save(Vec<u64>, usize),
    Mark(Vec<u64>, usize),
    Move(u64, usize),
    Forget,
}

fn write() -> impl Strategy<Value = Write> {
    let keys = || prop::collection::vec(0_u64..60, 1..5);
    prop_oneof![
        4 => (1_u64..12, 0_usize..3).prop_map(|(count, state)| Write::Block(count, state)),
        3 => (keys(), 0_usize..4).prop_map(|(keys, state)| Write::Save(keys, state)),
        3 => (keys(), 0_usize..4).prop_map(|(keys, state)| Write::Mark(keys, state)),
        2 => (1_u64..8, 0_usize..3).prop_map(|(batch, state)| Write::Move(batch, state)),
        1 => Just(Write::Forget),
    ]
}

fn item(key: u64, number: u64, state: ItemState) -> ItemRow {
    let digest = Some(Digest::of(b"alone"));
    ItemRow { digest, attempts: 2, ..ItemRow::record(&LaneId::new(LANE), &batch(number).batch, state, key.to_string()) }
}

struct Both {
    fake: Arc<FakeWork>,
    real: Arc<dyn Work>,
    keys: u64,
    batches: u64,
}

impl Both {
    async fn write(&mut self, write: &Write) {
        match write {
            Write::Block(count, state) => {
                self.batches += 1;
                let (mut records, mut items) = (Vec::new(), Vec::new());
                for key in self.keys..self.keys + count {
                    if key % 3 == 0 {
                        items.push(item(key, self.batches, ItemState::Skipped));
                    } else {
                        records.push((key.to_string(), Digest::of(key.to_string().as_bytes())));
                    }
                }
                self.keys += count;
                let block = RecordBlock { state: STATES[*state], records };
                let row = batch(self.batches);
                assert!(self.fake.save_block(&row, &block, &items).await.unwrap());
                assert!(self.real.save_block(&row, &block, &items).await.unwrap());
            }
            Write::Save(keys, state) => {
                let row = batch(100);
                let mut keys: Vec<u64> = keys.iter().copied().filter(|key| *key < self.keys).collect();
                keys.dedup();
                let items: Vec<ItemRow> = keys.iter().map(|key| item(*key, 100, STATES[*state])).collect();
                self.fake.save(&row, &items).await.unwrap();
                self.real.save(&row, &items).await.unwrap();
            }
            Write::Mark(keys, state) => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let lane = LaneId::new(LANE);
                self.fake.mark(&lane, &keys, STATES[*state], "why").await.unwrap();
                self.real.mark(&lane, &keys, STATES[*state], "why").await.unwrap();
            }
            Write::Move(number, state) if *number <= self.batches => {
                let fake = self.fake.move_block(&batch(*number), STATES[*state]).await.unwrap();
                let real = self.real.move_block(&batch(*number), STATES[*state]).await.unwrap();
                // A block of no records is none in the ledger.
                assert!(fake || !real);
            }
            Write::Move(..) => {}
            Write::Forget => {
                self.fake.forget(&LaneId::new(LANE)).await.unwrap();
                self.real.forget(&LaneId::new(LANE)).await.unwrap();
            }
        }
    }

    async fn same(&self, query: &ItemQuery) {
        let (fake, real) = (self.fake.items(query).await.unwrap(), self.real.items(query).await.unwrap());
        assert_eq!(fake, real, "{query:?}");
    }

    async fn agree(&self, after: u64, limit: u32, keys: &[u64], state: usize) {
        let lane = LaneId::new(LANE);
        assert_eq!(self.fake.tally(&lane).await.unwrap(), self.real.tally(&lane).await.unwrap());
        let all = ItemQuery { lane: Some(lane), limit, ..ItemQuery::default() };
        self.same(&all).await;
        self.same(&ItemQuery { after: Some(after.to_string()), ..all.clone() }).await;
        self.same(&ItemQuery { keys: keys.iter().map(ToString::to_string).collect(), ..all.clone() }).await;
        self.same(&ItemQuery { states: vec![STATES[state]], ..all.clone() }).await;
        self.same(&ItemQuery { text: Some("1".into()), after: Some(after.to_string()), ..all.clone() }).await;
        for number in 1..=self.batches.min(3) {
            let name = batch(number).batch;
            assert_eq!(
                self.fake.batch_tally(&name).await.unwrap(),
                self.real.batch_tally(&name).await.unwrap(),
                "{name}"
            );
            self.same(&ItemQuery { batch: Some(name), ..all.clone() }).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn blocks_tell_what_rows_would(
        writes in prop::collection::vec(write(), 1..14),
        after in 0_u64..60,
        limit in 1_u32..30,
        keys in prop::collection::vec(0_u64..70, 1..8),
        state in 0_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let ledger = Ledger::open(dir.path()).await.unwrap();
            let mut both = Both {
                fake: FakeWork::new(&Trouble::none()),
                real: ledger.work(&RunId::new("run-1")),
                keys: 0,
                batches: 0,
            };
            for write in &writes {
                both.write(write).await;
                both.agree(after, limit, &keys, state).await;
            }
            ledger.close().await;
        });
    }
}

#[tokio::test]
async fn keys_without_order_are_no_block() {
    let dir = TempDir::new().unwrap();
    let ledger = Ledger::open(dir.path()).await.unwrap();
    let work = ledger.work(&RunId::new("run-1"));
    let mut taken = Vec::new();
    for number in 1..=201 {
        // Keys that are counted up stay blocks, also where a number gets longer; keys from all over do not.
        let counted = (1..=50).map(|n| ((number * 50 + n).to_string(), Digest::of(b"x"))).collect();
        let block = RecordBlock { state: ItemState::Copied, records: counted };
        assert!(work.save_block(&batch(number), &block, &[]).await.unwrap());
        if number > 40 {
            continue;
        }
        let anywhere = (0..50).map(|n| (Digest::of(format!("{number}/{n}").as_bytes()).to_hex(), Digest::of(b"x")));
        let block = RecordBlock { state: ItemState::Copied, records: anywhere.collect() };
        let row =
            BatchRow { lane: LaneId::new("tokens"), batch: BatchId::new(format!("tokens-{number}")), ..batch(number) };
        taken.push(work.save_block(&row, &block, &[]).await.unwrap());
    }
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 32, "{taken:?}");
}

#[tokio::test]
async fn a_hurt_block_is_named_and_no_other_run_is_asked() {
    let dir = TempDir::new().unwrap();
    let ledger = Ledger::open(dir.path()).await.unwrap();
    let work = ledger.work(&RunId::new("run-1"));
    let records = (0..1000).map(|key| (format!("key {key}"), Digest::of(b"x"))).collect();
    assert!(work.save_block(&batch(1), &RecordBlock { state: ItemState::Copied, records }, &[]).await.unwrap());
    let query = ItemQuery { lane: Some(LaneId::new(LANE)), limit: 5, ..ItemQuery::default() };
    assert_eq!(work.items(&query).await.unwrap().len(), 5);
    assert!(ledger.work(&RunId::new("run-2")).items(&query).await.unwrap().is_empty());
    let hurt = "UPDATE block_bodies SET body = substr(body, 1, 40)";
    super::tests::tamper(&dir, hurt).await;
    let fault = work.items(&query).await.unwrap_err();
    assert!(fault.chain().contains("damaged"), "{}", fault.chain());
}
