//! A small world for tests of the data movers: both sides in memory, a run that can be killed and started again.

use crate::{
    engine::{PauseGate, Reporter, Signals, StepContext},
    model::{LaneId, StepId},
    plan::{BlobPlan, BucketEnd, DatasetPlan, FileSetPlan, Plan, SetPlan},
    ports::{
        Ports,
        fakes::{self, FakeBucket, FakeStore, FakeWork, Trouble},
    },
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Both sides, the ledger and the plan.
pub(crate) struct World {
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) old: Arc<FakeStore>,
    pub(crate) new: Arc<FakeStore>,
    pub(crate) media: Arc<FakeBucket>,
    pub(crate) r2: Arc<FakeBucket>,
    pub(crate) backups: Arc<FakeBucket>,
    pub(crate) work: Arc<FakeWork>,
    pub(crate) plan: Plan,
    pub(crate) folder: tempfile::TempDir,
    gate: Mutex<Option<PauseGate>>,
}

/// Users with a computed and a dropped field.
pub(crate) fn users() -> DatasetPlan {
    DatasetPlan {
        name: "users".into(),
        needs: vec![],
        from: SetPlan { store: "old".into(), name: "users".into() },
        to: SetPlan { store: "new".into(), name: "users".into() },
        key: "id".into(),
        updated: Some("updated_at".into()),
        overlap: std::time::Duration::from_secs(2),
        map: BTreeMap::from([("name".into(), "first ~ ' ' ~ last".into())]),
        drop: vec!["secret".into()],
        on_conflict: crate::plan::OnConflict::Overwrite,
        back: None,
        continue_on_error: None,
        fields: crate::plan::FieldsPlan::default(),
        blob: None,
    }
}

/// Files with bytes behind them.
pub(crate) fn files() -> DatasetPlan {
    DatasetPlan {
        name: "files".into(),
        needs: vec!["users".into()],
        from: SetPlan { store: "old".into(), name: "files".into() },
        to: SetPlan { store: "new".into(), name: "files".into() },
        map: BTreeMap::new(),
        drop: vec![],
        blob: Some(BlobPlan {
            from: "media".into(),
            path: "file_path".into(),
            to: "r2".into(),
            key: "users/{{ user_id }}/{{ id }}/{{ file_name }}".into(),
            sha256: Some("checksum".into()),
            size: Some("size".into()),
            content_type: None,
            write_back: None,
        }),
        ..users()
    }
}

/// Files of which no record speaks.
pub(crate) fn loose() -> FileSetPlan {
    let end = |bucket: &str, prefix: &str| BucketEnd { bucket: bucket.into(), prefix: prefix.into() };
    FileSetPlan { name: "loose".into(), from: end("media", "uploads/"), to: end("r2", "store/") }
}

/// A user.
pub(crate) fn user(id: u32) -> serde_json::Value {
    json!({"id": id, "first": format!("First{id}"), "last": format!("Last{id}"), "email": format!("U{id}@x.test"),
        "staff": id.is_multiple_of(2), "settings": {"b": [1, 2], "a": id}, "secret": "s", "updated_at": ""})
}

/// The bytes of a file; every seventh is empty.
pub(crate) fn bytes(id: u32) -> Vec<u8> {
    if id.is_multiple_of(7) {
        Vec::new()
    } else {
        format!("content of file {id} ").repeat(id as usize % 5 + 1).into_bytes()
    }
}

/// A file's record.
pub(crate) fn file(id: u32) -> serde_json::Value {
    let bytes = bytes(id);
    json!({"id": id, "user_id": id % 3, "file_name": format!("f{id} ü.csv"), "file_path": format!("media/{id}.csv"),
        "size": bytes.len(), "checksum": crate::model::Digest::of(&bytes).to_hex(), "updated_at": ""})
}

/// The key of a file in the new bucket.
pub(crate) fn blob_key(id: u32) -> String {
    format!("users/{}/{id}/f{id} ü.csv", id % 3)
}

impl World {
    /// So many users and files on the legacy side, nothing on the new side.
    pub(crate) fn new(users_: u32, files_: u32) -> Self {
        let trouble = Trouble::none();
        let sides = (FakeStore::new("old", &trouble), FakeStore::lossy("new", &trouble));
        Self::between(sides, trouble, users_, files_)
    }

    /// So many users between two stores that move rows in bulk.
    pub(crate) fn in_bulk(users_: u32) -> Self {
        let trouble = Trouble::none();
        let (old, new) = (FakeStore::bulk("old", &trouble), FakeStore::bulk("new", &trouble));
        let all = ["id", "first", "last", "email", "staff", "settings", "secret", "updated_at"];
        old.name("users", &all);
        new.name("users", &[&all[..], &["own", "name"]].concat());
        Self::between((old, new), trouble, users_, 0)
    }

    /// So many users in a store that gives rows in bulk, and an empty one that takes them in another dialect.
    pub(crate) fn across(users_: u32) -> Self {
        let trouble = Trouble::none();
        let (old, new) = (FakeStore::giving("old", &trouble), FakeStore::bulk("new", &trouble));
        let all = ["id", "first", "last", "email", "staff", "settings", "secret", "updated_at"];
        old.name("users", &all);
        new.name("users", &[&all[..], &["own", "name"]].concat());
        Self::between((old, new), trouble, users_, 0)
    }

    fn between((old, new): (Arc<FakeStore>, Arc<FakeStore>), trouble: Arc<Trouble>, users_: u32, files_: u32) -> Self {
        let world = Self {
            old,
            new,
            media: FakeBucket::new("media", &trouble),
            r2: FakeBucket::new("r2", &trouble),
            backups: FakeBucket::new("backups", &trouble),
            work: FakeWork::new(&trouble),
            plan: fakes::plan(vec![users(), files()]),
            folder: tempfile::tempdir().unwrap(),
            gate: Mutex::new(None),
            trouble,
        };
        (1..=users_).for_each(|id| world.old.put("users", user(id)));
        for id in 1..=files_ {
            world.add_file(id);
        }
        world
    }

    /// A user uploads a file on the legacy side.
    pub(crate) fn add_file(&self, id: u32) {
        self.media.put_bytes(&format!("media/{id}.csv"), bytes(id));
        self.old.put("files", file(id));
    }

    /// The context of a new process. Trouble is over; the old one's gate is gone.
    pub(crate) fn start(&self) -> StepContext {
        let stop = CancellationToken::new();
        self.trouble.calm(stop.clone());
        let (signals, gate) = Signals::new(stop);
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate);
        let mut ports = Ports::default();
        ports.stores.insert("old".into(), self.old.clone());
        ports.stores.insert("new".into(), self.new.clone());
        ports.buckets.insert("media".into(), self.media.clone());
        ports.buckets.insert("r2".into(), self.r2.clone());
        ports.backups = Some(fakes::backups(&self.backups));
        // Nobody listens: progress must never hold anything up.
        let (to, _nobody) = mpsc::channel(1);
        StepContext {
            plan: Arc::new(self.plan.clone()),
            ports,
            work: self.work.clone(),
            signals,
            report: Reporter::new(StepId::new("data_migration/test"), to),
            folder: self.folder.path().to_path_buf(),
        }
    }

    /// The engine's end of the signals of the process started last.
    pub(crate) fn gate(&self) -> PauseGate {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap()
    }

    /// Rows of a set on the new side, with what the store cannot keep put back.
    pub(crate) fn assert_users_arrived(&self) {
        let mapping = super::Mapping::new(&users()).unwrap();
        let old = self.old.rows("users");
        let new = self.new.rows("users");
        let keys: Vec<&String> = old.keys().collect();
        let arrived: Vec<&String> = new.keys().filter(|key| old.contains_key(*key)).collect();
        assert_eq!(keys, arrived);
        for (key, row) in &old {
            let wanted = mapping.forward(row, &super::mapping::Found::new()).unwrap().unwrap();
            let kinds = super::compare::Kinds::default();
            assert_eq!(kinds.differing(&wanted, &new[key]), Vec::<String>::new(), "user {key}");
        }
    }

    /// Every file of the legacy side is in the new bucket, byte by byte.
    pub(crate) fn assert_files_arrived(&self) {
        let mapping = super::Mapping::new(&files()).unwrap();
        let (media, r2) = (self.media.blobs(), self.r2.blobs());
        for record in self.old.rows("files").values() {
            let (path, key) = (record.text("file_path").unwrap(), mapping.blob_key(record).unwrap());
            assert_eq!(media.get(&path), r2.get(&key), "{key}");
        }
    }

    /// How many items of the lane are in each state, in words.
    pub(crate) fn states(&self, lane: &str) -> BTreeMap<String, usize> {
        let mut states = BTreeMap::new();
        for item in self.work.all(&LaneId::new(lane)).values() {
            *states.entry(format!("{:?}", item.state)).or_default() += 1;
        }
        states
    }
}
