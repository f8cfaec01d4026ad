//! The stores and buckets of a plan.

use super::{
    Auth, BucketPlan, PartsPlan, StorePlan, databases,
    limits::{PART_SIZE, PARTS, PARTS_ABOVE, STORE_TIMEOUT, TIMEOUTS},
    reader::{Node, is_name},
    request::{Texts, auth},
    table::Table,
    web,
};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// Both, and every name that was given, also to those with mistakes in them.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) stores: BTreeMap<String, StorePlan>,
    pub(super) store_names: Vec<String>,
    pub(super) buckets: BTreeMap<String, BucketPlan>,
    pub(super) bucket_names: Vec<String>,
}

#[derive(Clone, Copy)]
enum StoreKind {
    Http,
    LocalStorage,
    Sqlite,
    Postgres,
    MySql,
    D1,
}

#[derive(Clone, Copy)]
enum BucketKind {
    Filesystem,
    S3,
    Http,
}

impl Sides {
    /// Whether the store of a set takes writes; a problem if not. Unknown ones are problems of their own.
    pub(super) fn takes_writes(&self, set: &Node<'_>) -> bool {
        let DeValue::Table(fields) = set.value else { return true };
        let Some(store) = fields.get("store") else { return true };
        let name = store.get_ref().as_str().unwrap_or_default();
        let only_read = self.stores.get(name).is_some_and(StorePlan::is_only_read);
        if only_read {
            let found = format!("`{name}` for `{}.store`, which is only read", set.label);
            set.cx.fault(&store.span(), found, "a store that takes writes");
        }
        !only_read
    }

    /// The name of a bucket; with `listed` one that can say what is in it.
    pub(super) fn bucket(&self, node: &Node<'_>, listed: bool) -> Option<String> {
        let name = node.reference("bucket", &self.bucket_names)?;
        if listed && self.buckets.get(&name).is_some_and(|bucket| !bucket.is_listable()) {
            let found = format!("the bucket {}, an HTTP server, which cannot be listed", node.shown());
            node.fault(found, "a bucket of the kind `filesystem` or `s3`");
        }
        Some(name)
    }
}

pub(super) fn read(root: &Table<'_>) -> Sides {
    let (store_names, stores) = named(root, "stores", store);
    let (bucket_names, buckets) = named(root, "buckets", bucket);
    Sides { stores, store_names, buckets, bucket_names }
}

fn named<T>(root: &Table<'_>, key: &str, read: impl Fn(&Table<'_>) -> Option<T>) -> (Vec<String>, BTreeMap<String, T>) {
    let mut names = Vec::new();
    let mut things = BTreeMap::new();
    for (name, span, node) in root.table(key).map(|table| table.entries()).unwrap_or_default() {
        if !is_name(&name, "_-") {
            let shown = crate::model::text::clean(&name, 60);
            root.cx.fault(&span, format!("the name `{shown}`"), "1 to 64 of `a-z`, `0-9` and `_-`");
        }
        names.push(name.clone());
        if let Some(thing) = node.table().and_then(|table| read(&table)) {
            things.insert(name, thing);
        }
    }
    (names, things)
}

fn store(table: &Table<'_>) -> Option<StorePlan> {
    let kinds = [
        ("http", StoreKind::Http),
        ("local-storage", StoreKind::LocalStorage),
        ("postgres", StoreKind::Postgres),
        ("mysql", StoreKind::MySql),
        ("sqlite", StoreKind::Sqlite),
        ("d1", StoreKind::D1),
    ];
    let kind = table.need("kind", "\"http\"")?.one_of(&kinds)?;
    let plan = match kind {
        StoreKind::Http => web::http(table).map(|plan| StorePlan::Http(Box::new(plan))),
        StoreKind::LocalStorage => web::local_storage(table).map(StorePlan::LocalStorage),
        StoreKind::Sqlite => {
            let path = table.need("path", "\"target.db\"").and_then(|node| node.path());
            path.map(|path| StorePlan::Sqlite { path })
        }
        StoreKind::Postgres => databases::postgres(table),
        StoreKind::MySql => databases::mysql(table),
        StoreKind::D1 => databases::d1(table),
    };
    table.close();
    plan
}

fn bucket(table: &Table<'_>) -> Option<BucketPlan> {
    let kinds = [("filesystem", BucketKind::Filesystem), ("s3", BucketKind::S3), ("http", BucketKind::Http)];
    let kind = table.need("kind", "\"s3\"")?.one_of(&kinds)?;
    let plan = match kind {
        BucketKind::Filesystem => {
            let root = table.need("root", "\"media\"").and_then(|node| node.path());
            root.map(|root| BucketPlan::Filesystem { root })
        }
        BucketKind::S3 => s3(table),
        BucketKind::Http => {
            let endpoint = table.need("endpoint", "\"https://…\"").and_then(|node| node.url());
            let auth = auth(table, "auth", Auth::None, Texts::Plain);
            let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
            let writable = table.boolean("writable", false);
            endpoint.map(|endpoint| BucketPlan::Http { endpoint, auth, timeout, writable })
        }
    };
    table.close();
    plan
}

fn s3(table: &Table<'_>) -> Option<BucketPlan> {
    let endpoint = table.need("endpoint", "\"https://…\"").and_then(|node| node.url());
    let bucket = table.need("bucket", "\"list-cutter\"").and_then(|node| {
        let name = |text: &str| (3..=63).contains(&text.len()) && is_name(text, ".-");
        node.parsed("a bucket's name", "3 to 63 of `a-z`, `0-9` and `.-`", |text| name(text).then(|| text.to_owned()))
    });
    let region = table.get("region").map_or(Some("auto".into()), |node| node.filled());
    let access_key = table.need("access_key", "\"${R2_ACCESS_KEY}\"").and_then(|node| node.secret(Texts::Plain));
    let secret_key = table.need("secret_key", "\"${R2_SECRET_KEY}\"").and_then(|node| node.secret(Texts::Plain));
    let path_style = table.boolean("path_style", true);
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    let above = table.bytes("parts_above", PARTS_ABOVE, PARTS);
    let size = table.bytes("part_size", PART_SIZE, PARTS);
    Some(BucketPlan::S3 {
        endpoint: endpoint?,
        bucket: bucket?,
        region: region?,
        access_key: access_key?,
        secret_key: secret_key?,
        path_style,
        timeout,
        parts: PartsPlan { above, size },
    })
}
