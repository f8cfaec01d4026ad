//! Objects that stand in the target before the run: what the plan's three policies make of them, and that the undo gives
//! back exactly what was there, with all that travels with it.

use crate::{
    life::{Life, child, copy},
    reader::{Held, assert_same, held, tree},
    server::{Mishap, Server},
    world::{Choices, MIB, World, content, row},
};
use bytes::Bytes;
use cutover::{
    error::FaultKind,
    model::ItemState,
    ports::{BlobBody, BlobMeta, BlobStore, Put},
};
use futures::{StreamExt as _, stream};
use std::collections::BTreeMap;
use tokio::sync::watch;

pub(crate) async fn put(bucket: &dyn BlobStore, key: &str, content: &[u8], meta: BlobMeta) {
    let bytes = stream::iter([Ok(Bytes::copy_from_slice(content))]).boxed();
    let body = BlobBody { size: content.len() as u64, version: None, meta: BlobMeta::default(), bytes };
    bucket.put(key, body, &Put { meta, ..Put::default() }).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
}

const NEW: &str = "new";
/// Stand in the target with the source's content.
const SAME: [&str; 2] = ["same", "same-long"];
/// Stand there with another one, the last one with one of the same length.
const OTHER: [&str; 3] = ["other", "other-long", "other-alike"];
/// Stand there, and no row speaks of them.
const FOREIGN: [&str; 2] = ["foreign", "beside/x"];

fn length(key: &str) -> usize {
    if key.ends_with("long") { 5 * MIB + 77 } else { 7000 }
}

fn source(key: &str) -> Vec<u8> {
    content(1, length(key))
}

fn standing(key: &str) -> Vec<u8> {
    match key {
        _ if SAME.contains(&key) => source(key),
        "other-long" => content(2, 11 * MIB),
        "other-alike" => content(2, length(key)),
        _ => content(2, 300),
    }
}

/// What travels with an object that stands there.
fn meta(key: &str) -> BlobMeta {
    BlobMeta {
        content_type: Some("text/csv; charset=latin1".into()),
        cache_control: Some("no-store".into()),
        content_disposition: Some("attachment".into()),
        user: [("owner".to_owned(), format!("größe of {key}")), ("empty".to_owned(), String::new())].into(),
        ..BlobMeta::default()
    }
}

struct Stage {
    server: Server,
    world: World,
    before: BTreeMap<String, Held>,
    kept: BTreeMap<String, serde_json::Value>,
}

impl Stage {
    async fn set(policy: &str) -> Self {
        let server = Server::start().await;
        let keys: Vec<&str> = [NEW].into_iter().chain(SAME).chain(OTHER).collect();
        let rows: Vec<_> = keys.iter().map(|key| row(*key, *key)).collect();
        let migration = format!("on_existing = \"{policy}\"\nmax_failures = 10");
        let choices = Choices { migration: &migration, ..Choices::default() };
        let world = World::new(&server.endpoint, &choices, &rows).await;
        for key in &keys {
            world.put(key, &source(key));
        }
        let life = Life::begin(world.path()).await;
        for key in SAME.into_iter().chain(OTHER).chain(FOREIGN) {
            put(life.target().as_ref(), key, &standing(key), meta(key)).await;
        }
        life.end().await;
        let before = tree(&server.bucket());
        let kept = before.keys().map(|key| (key.clone(), server.kept(key))).collect();
        Self { server, world, before, kept }
    }

    /// The states of the files whose key is one of these.
    async fn assert_ended(&self, keys: &[&str], state: ItemState, error: Option<FaultKind>) {
        let life = Life::begin(self.world.path()).await;
        let items = life.items().await;
        life.end().await;
        for key in keys {
            assert_eq!((items[*key].state, items[*key].error), (state, error), "{key}: {}", items[*key].reason);
        }
    }

    /// What stood there, with these as the source has them and, kept aside, as they were.
    fn replaced(&self, keys: &[&str]) -> BTreeMap<String, Held> {
        let mut wanted = self.before.clone();
        wanted.insert(NEW.into(), held(&source(NEW)));
        for key in keys {
            let was = wanted.insert((*key).into(), held(&source(key))).unwrap();
            wanted.insert(format!(".cutover-aside/run/files-content/{key}"), was);
        }
        wanted
    }

    async fn undo(&self) {
        let life = Life::begin(self.world.path()).await;
        life.undo().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        assert_eq!((life.items().await.len(), life.uploads().await.len()), (0, 0));
        life.end().await;
        assert_same(&tree(&self.server.bucket()), &self.before, "after the undo");
        for (key, kept) in &self.kept {
            assert_eq!(self.server.kept(key), *kept, "what travels with {key}");
        }
        assert_eq!(self.server.leftovers(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_left_alone_and_another_is_replaced() {
    let stage = Stage::set("skip-same").await;
    copy(&stage.world).await.unwrap();
    stage.assert_ended(&SAME, ItemState::Skipped, None).await;
    stage.assert_ended(&OTHER, ItemState::Verified, None).await;
    assert_same(&tree(&stage.server.bucket()), &stage.replaced(&OTHER), "skip-same");
    for key in SAME {
        assert_eq!(stage.server.kept(key), stage.kept[key], "{key} is not touched");
    }
    stage.undo().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_replaced() {
    let stage = Stage::set("overwrite").await;
    copy(&stage.world).await.unwrap();
    let all = [&SAME[..], &OTHER[..]].concat();
    stage.assert_ended(&all, ItemState::Verified, None).await;
    assert_same(&tree(&stage.server.bucket()), &stage.replaced(&all), "overwrite");
    stage.undo().await;
    copy(&stage.world).await.unwrap();
    assert_same(&tree(&stage.server.bucket()), &stage.replaced(&all), "forward once more");
    stage.undo().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced() {
    let stage = Stage::set("fail").await;
    copy(&stage.world).await.unwrap();
    let all = [&SAME[..], &OTHER[..]].concat();
    stage.assert_ended(&all, ItemState::Failed, Some(FaultKind::Exists)).await;
    stage.assert_ended(&[NEW], ItemState::Verified, None).await;
    assert_same(&tree(&stage.server.bucket()), &stage.replaced(&[]), "fail");
    stage.undo().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_kill_left_open_is_gone_after_the_undo() {
    let (told, mut second_part) = watch::channel(false);
    let server = Server::that(move |asked| {
        let second = asked.query.split('&').any(|pair| pair == "partNumber=2");
        second.then(|| told.send_replace(true)).map(|_| Mishap::Stalls)
    })
    .await;
    let world = World::new(&server.endpoint, &Choices::default(), &[row("long", "long")]).await;
    world.put("long", &content(5, 11 * MIB));
    let mut lane = child(world.path()).spawn().unwrap();
    second_part.wait_for(|came| *came).await.unwrap();
    lane.kill().await.unwrap();
    server.quiet().await;
    assert!(!server.leftovers().is_empty(), "the upload stands open");
    let life = Life::begin(world.path()).await;
    life.undo().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_eq!(life.uploads().await, Vec::<String>::new());
    life.end().await;
    assert_eq!(server.leftovers(), Vec::<String>::new());
    assert_same(&tree(&server.bucket()), &BTreeMap::new(), "after the undo");
}
