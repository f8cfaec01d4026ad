//! A server that misbehaves by a seeded schedule: whatever it does, after at most one resume everything is there once,
//! and no upload is left. A ledger on a full disk has its test beside the ledger, which alone can limit its size.

use crate::{
    life::{Life, copy},
    reader::{Held, assert_same, held, tree},
    server::{Asked, Mishap, Server},
    world::{Choices, MIB, World, content, row},
};
use cutover::{error::FaultKind, model::ItemState};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

const CHOICES: Choices<'static> = Choices { bucket: "timeout = \"1s\"", migration: "attempts = 6" };

/// Some short files, some in parts, and what the bucket must hold in the end.
async fn world(endpoint: &str) -> (World, BTreeMap<String, Held>) {
    let lengths = (0..30).map(|place| place * 997).chain([5 * MIB + 1, 11 * MIB, 6 * MIB]);
    let files: Vec<(String, Vec<u8>)> =
        lengths.enumerate().map(|(place, length)| (format!("f/{place}"), content(place as u64, length))).collect();
    let rows: Vec<_> = files.iter().map(|(name, _)| row(name, name)).collect();
    let world = World::new(endpoint, &CHOICES, &rows).await;
    for (name, content) in &files {
        world.put(name, content);
    }
    (world, files.iter().map(|(name, content)| (name.clone(), held(content))).collect())
}

async fn assert_complete(server: &Server, world: &World, wanted: &BTreeMap<String, Held>, when: &str) {
    assert_same(&tree(&server.bucket()), wanted, when);
    assert_eq!(server.leftovers(), Vec::<String>::new(), "{when}");
    let life = Life::begin(world.path()).await;
    assert_eq!(life.uploads().await, Vec::<String>::new(), "{when}");
    let items = life.items().await;
    assert_eq!(items.len(), wanted.len(), "{when}");
    for (key, item) in items {
        assert_eq!(item.state, ItemState::Verified, "{when}: {key}: {}", item.reason);
        assert_eq!(item.digest.map(|digest| digest.to_string()), Some(wanted[&key].1.clone()), "{when}: {key}");
    }
    life.end().await;
}

/// Up to so many requests, by chance, come to this.
async fn a_server_that(
    name: &str,
    most: u64,
    mishap: impl Fn(&mut StdRng, &Asked<'_>) -> Option<Mishap> + Send + Sync + 'static,
) {
    let seed: u64 = rand::random();
    println!("{name}: seed {seed}");
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let server = Server::that(move |asked| {
        let mut random = StdRng::seed_from_u64(seed ^ asked.number);
        let happens = random.random_bool(0.2) && count.load(Ordering::Relaxed) < most;
        let mishap = happens.then(|| mishap(&mut random, asked)).flatten()?;
        count.fetch_add(1, Ordering::Relaxed);
        Some(mishap)
    })
    .await;
    let (world, wanted) = world(&server.endpoint).await;
    if let Err(fault) = copy(&world).await {
        println!("{name}: resumed after {}", fault.chain());
        copy(&world).await.unwrap_or_else(|fault| panic!("{name}, seed {seed}, resumed: {}", fault.chain()));
    }
    let happened = done.load(Ordering::Relaxed);
    assert!(happened > 0, "{name}, seed {seed}: nothing happened");
    assert_complete(&server, &world, &wanted, &format!("{name}, seed {seed}, {happened} times")).await;
}

const BROKEN: Mishap = Mishap::Says(500, "InternalError", None);
const SLOW_DOWN: Mishap = Mishap::Says(503, "SlowDown", Some(1));
const LIES: Mishap = Mishap::Says(200, "InternalError", None);

/// An answer that says well and brings an error, as S3 does once it has begun to answer.
fn lies(asked: &Asked<'_>) -> Option<Mishap> {
    (asked.is_finish() || asked.is_put()).then_some(LIES)
}

#[tokio::test(flavor = "multi_thread")]
async fn says_500() {
    a_server_that("500", 20, |_, _| Some(BROKEN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_to_slow_down() {
    a_server_that("503", 4, |_, _| Some(SLOW_DOWN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_requests() {
    a_server_that("cut requests", 20, |_, _| Some(Mishap::CutsAsking)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_answers() {
    a_server_that("cut answers", 20, |_, _| Some(Mishap::CutsAnswer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls() {
    a_server_that("stalls", 6, |_, _| Some(Mishap::Stalls)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn says_200_with_an_error() {
    a_server_that("200 with an error", 20, |_, asked| lies(asked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_answers() {
    a_server_that("lost answers", 20, |_, _| Some(Mishap::LosesAnswer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_all_of_it() {
    a_server_that("all of it", 20, |random, asked| {
        let any =
            [BROKEN, SLOW_DOWN, LIES, Mishap::CutsAsking, Mishap::CutsAnswer, Mishap::Stalls, Mishap::LosesAnswer];
        match *any.choose(random)? {
            LIES => lies(asked),
            other => Some(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_the_credential_away_in_mid_run() {
    let mended = Arc::new(AtomicBool::new(false));
    let again = Arc::clone(&mended);
    let server = Server::that(move |asked| {
        let shut = asked.number > 20 && !again.load(Ordering::Relaxed);
        shut.then_some(Mishap::Says(403, "AccessDenied", None))
    })
    .await;
    let (world, wanted) = world(&server.endpoint).await;
    let fault = copy(&world).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized, "{}", fault.chain());
    let life = Life::begin(world.path()).await;
    let tally = life.tally().await;
    life.end().await;
    assert_eq!((tally.failed, tally.items()), (0, wanted.len() as u64), "no file is blamed: {tally:?}");
    mended.store(true, Ordering::Relaxed);
    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_complete(&server, &world, &wanted, "the credential is back").await;
}
