//! The lane in a process of its own that is killed again and again, at a request chosen by a seed or a little after it,
//! while it copies and while it compares. Whenever a life is let to its end, the bucket must hold the source byte for
//! byte, what stood there must be kept aside as it was, no upload may be left, and the ledger must say the same.
//!
//! `CUTOVER_TEST_KILLS` says how many kills (200), `CUTOVER_TEST_SEED` with which seed. The server lists unfinished
//! uploads, as S3 does. On one that cannot (s3s-fs by itself), an upload whose name was lost in a kill stays open.

use crate::{
    existing::put,
    life::{Life, child, said},
    reader::{Held, assert_same, held, tree},
    server::Server,
    world::{Choices, MIB, World, content, row},
};
use cutover::{migrate::files::VerifyLevel, model::ItemState, ports::BlobMeta};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeMap, time::Duration};

fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What stands in the target before, and is replaced.
const STANDING: &str = "f/3";

struct Stage {
    server: Server,
    world: World,
    source: BTreeMap<String, Held>,
    stood: Vec<u8>,
}

impl Stage {
    async fn set() -> Self {
        let server = Server::start().await;
        let lengths = (0..12).map(|place| place * 991).chain([5 * MIB + 1, 10 * MIB + 5]);
        let files: Vec<(String, Vec<u8>)> =
            lengths.enumerate().map(|(place, length)| (format!("f/{place}"), content(place as u64, length))).collect();
        let rows: Vec<_> = files.iter().map(|(name, _)| row(name, name)).collect();
        let choices = Choices { migration: "batch_files = 4\nconcurrency = 1", ..Choices::default() };
        let world = World::new(&server.endpoint, &choices, &rows).await;
        for (name, content) in &files {
            world.put(name, content);
        }
        let source = files.iter().map(|(name, content)| (name.clone(), held(content))).collect();
        Self { server, world, source, stood: content(99, 4321) }
    }

    /// The bucket and the ledger as before any life.
    async fn begin(&self) {
        self.server.empty();
        let life = Life::begin(self.world.path()).await;
        put(life.target().as_ref(), STANDING, &self.stood, BlobMeta::default()).await;
        life.end().await;
        self.world.forget();
    }

    /// What must be there once a life came to its end.
    async fn assert_complete(&self, when: &str) {
        let mut wanted = self.source.clone();
        wanted.insert(format!(".cutover-aside/run/files-content/{STANDING}"), held(&self.stood));
        assert_same(&tree(&self.server.bucket()), &wanted, when);
        let life = Life::begin(self.world.path()).await;
        assert_eq!(life.uploads().await, Vec::<String>::new(), "{when}: uploads that the ledger takes for open");
        assert_eq!(self.server.leftovers(), Vec::<String>::new(), "{when}: uploads that stand open");
        let items = life.items().await;
        assert_eq!(items.len(), self.source.len(), "{when}");
        for (key, item) in items {
            assert_eq!(item.state, ItemState::Verified, "{when}: {key}: {}", item.reason);
            assert_eq!(
                item.digest.map(|digest| digest.to_string()),
                Some(self.source[&key].1.clone()),
                "{when}: {key}"
            );
            let stood = (key == STANDING).then(|| format!(".cutover-aside/run/files-content/{STANDING}").into());
            assert_eq!(item.before, stood, "{when}: {key}");
        }
        let found = life.verify(VerifyLevel::Content).await.unwrap();
        assert!(found.is_same() && found.same == self.source.len() as u64, "{when}: {}", found.summary());
        life.end().await;
    }

    async fn assert_undone(&self, when: &str) {
        let life = Life::begin(self.world.path()).await;
        life.undo().await.unwrap_or_else(|fault| panic!("{when}: {}", fault.chain()));
        life.end().await;
        let wanted = [(STANDING.to_owned(), held(&self.stood))].into();
        assert_same(&tree(&self.server.bucket()), &wanted, &format!("{when}, undone"));
        assert_eq!(self.server.leftovers(), Vec::<String>::new(), "{when}, undone");
    }

    /// A life that is killed once so many requests have come, and then a little later; whether it was. `Err`: what a life
    /// said that ended badly by itself.
    async fn live(&self, requests: u64, later: Duration) -> Result<bool, String> {
        let mut asked = self.server.asked();
        let until = *asked.borrow() + requests;
        let mut lane = child(self.world.path()).spawn().unwrap();
        tokio::select! {
            _ended = lane.wait() => {}
            _come = async {
                asked.wait_for(|now| *now >= until).await.unwrap();
                // Not a wait for something: the kill is to fall between two requests as well as on one.
                let _over = tokio::time::timeout(later, std::future::pending::<()>()).await;
            } => {}
        }
        if lane.try_wait().unwrap().is_none() {
            lane.kill().await.unwrap();
            self.server.quiet().await;
            return Ok(true);
        }
        match said(lane).await {
            (true, _) => Ok(false),
            (false, said) => Err(said),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_ends_with_everything_there_once() {
    let kills = asked_for("CUTOVER_TEST_KILLS").unwrap_or(200);
    let seed = asked_for("CUTOVER_TEST_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}, {kills} kills");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::set().await;
    stage.begin().await;
    assert_eq!(stage.live(u64::MAX / 2, Duration::ZERO).await, Ok(false), "an undisturbed life comes to its end");
    let whole = *stage.server.asked().borrow();
    stage.assert_complete("an undisturbed life").await;
    stage.begin().await;
    let (mut killed, mut rounds, mut in_round, mut most) = (0, 0, 0, 8);
    while killed < kills || in_round > 0 {
        let dies = killed < kills && in_round < most;
        let requests = if dies { random.random_range(1..=whole) } else { u64::MAX / 2 };
        let later = Duration::from_micros(random.random_range(0..20_000));
        let when = format!("seed {seed}, {killed} kills, {in_round} of them in this round");
        match stage.live(requests, later).await {
            Ok(true) => (killed, in_round) = (killed + 1, in_round + 1),
            Ok(false) => {
                stage.assert_complete(&when).await;
                if random.random_bool(0.3) {
                    stage.assert_undone(&when).await;
                }
                (rounds, in_round, most) = (rounds + 1, 0, random.random_range(2..=20));
                stage.begin().await;
            }
            Err(said) => panic!("{when}: {said}"),
        }
    }
    println!("{killed} kills in {rounds} rounds; an undisturbed life takes {whole} requests");
}
