//! The datasets of a plan and the bytes behind their records.

use super::{
    BlobPlan, DatasetPlan, OnConflict, SetPlan, StorePlan,
    check::Placed,
    fields::{self, Place},
    limits::{OVERLAP, WAITS},
    reader::{Node, Span},
    sides::Sides,
    table::Table,
    template,
    web::server_path,
    write_back,
};
use std::{collections::BTreeMap, time::Duration};

/// All datasets in the order of the file; those with mistakes in them are missing.
pub(super) fn read(root: &Table<'_>, sides: &Sides) -> Vec<Placed<DatasetPlan>> {
    let parts: Vec<_> = root
        .tables("dataset")
        .into_iter()
        .map(|table| {
            let node = table.need("name", "\"users\"");
            let span = node.as_ref().map_or_else(|| table.span.clone(), |node| node.span.clone());
            let name = node.and_then(|node| node.name("_"));
            (name, span, table)
        })
        .collect();
    let names: Vec<String> = parts.iter().filter_map(|(name, ..)| name.clone()).collect();
    let read = |(name, span, table): (Option<String>, Span, Table<'_>)| {
        let plan = dataset(&table, name, &names, sides);
        table.close();
        Some(Placed { plan: plan?, span })
    };
    parts.into_iter().filter_map(read).collect()
}

fn dataset(table: &Table<'_>, name: Option<String>, names: &[String], sides: &Sides) -> Option<DatasetPlan> {
    let needs = table.get("needs").and_then(|node| node.list(|item| item.reference("dataset", names)));
    let from = table.need("from", "{ store = \"…\", path = \"/…/\" }").and_then(|node| set(&node, sides));
    let to = table
        .need("to", "{ store = \"…\", table = \"…\" }")
        .filter(|node| sides.takes_writes(node))
        .and_then(|node| set(&node, sides));
    let key = table.need("key", "\"id\"").and_then(|node| node.filled());
    let updated = table.get("updated").map(|node| node.filled());
    let overlap = overlap(table);
    let map = map(table);
    let drop = list(table, "drop").unwrap_or_default();
    let on_conflict = on_conflict(table, key.as_deref());
    let back = list(table, "back");
    let continue_on_error = table.get("continue_on_error").and_then(|node| node.boolean());
    let place = Place {
        name: name.as_deref(),
        names,
        needs: needs.as_deref().unwrap_or_default(),
        key: key.as_deref(),
        map: &map,
        drop: &drop,
    };
    let fields = fields::read(table, &place);
    let blob = table.get("blob").map(|node| blob(&node, sides, key.as_deref()));
    forbid(table, "drop", &drop, |field| {
        if Some(field) == key.as_deref() {
            Some("the key".into())
        } else {
            map.contains_key(field).then(|| "computed in `map`".into())
        }
    });
    forbid(table, "back", back.as_deref().unwrap_or_default(), |field| {
        let gone =
            || drop.iter().any(|dropped| dropped == field).then(|| "dropped, so the new side does not have it".into());
        fields::no_way_back(&fields, field).or_else(gone)
    });
    Some(DatasetPlan {
        name: name?,
        needs: needs.unwrap_or_default(),
        from: from?,
        to: to?,
        key: key?,
        // A value that could not be read is already a problem.
        updated: updated.flatten(),
        overlap,
        map,
        drop,
        on_conflict,
        back,
        continue_on_error,
        fields,
        blob: blob.flatten(),
    })
}

/// Without a field that says when a record changed there is nothing to overlap.
fn overlap(table: &Table<'_>) -> Duration {
    if let Some(node) = table.get("overlap").filter(|_| table.get("updated").is_none()) {
        node.fault("`overlap` without `updated`", "`updated` as well, or no `overlap`");
    }
    table.duration("overlap", OVERLAP, WAITS)
}

/// `on_conflict = "merge"` needs `keep`, the others have none.
fn on_conflict(table: &Table<'_>, record_key: Option<&str>) -> OnConflict {
    #[derive(Clone, Copy, PartialEq)]
    enum Policy {
        Overwrite,
        Skip,
        Merge,
        Ask,
    }
    let policies =
        [("overwrite", Policy::Overwrite), ("skip", Policy::Skip), ("merge", Policy::Merge), ("ask", Policy::Ask)];
    let policy = table.one_of("on_conflict", Policy::Overwrite, &policies);
    let keep = list(table, "keep");
    forbid(table, "keep", keep.as_deref().unwrap_or_default(), |field| {
        (Some(field) == record_key).then(|| "the key".into())
    });
    if policy == Policy::Merge && keep.is_none() {
        table.need("keep", "[\"…\"], the fields that stay as they are on the new side");
    }
    if policy != Policy::Merge
        && let Some(node) = table.get("keep")
    {
        node.fault("`keep`, which only `on_conflict = \"merge\"` has", "`on_conflict = \"merge\"`, or no `keep`");
    }
    match policy {
        Policy::Overwrite => OnConflict::Overwrite,
        Policy::Skip => OnConflict::Skip,
        Policy::Merge => OnConflict::Merge { keep: keep.unwrap_or_default() },
        Policy::Ask => OnConflict::Ask,
    }
}

fn list(table: &Table<'_>, key: &str) -> Option<Vec<String>> {
    table.get(key)?.list(Node::filled)
}

/// Notes a problem at the list under `key` for each field that `why` objects to.
fn forbid(table: &Table<'_>, key: &str, fields: &[String], why: impl Fn(&str) -> Option<String>) {
    let Some(node) = table.get(key) else { return };
    for field in fields {
        if let Some(why) = why(field) {
            let field = crate::model::text::clean(field, 60);
            node.fault(format!("`{field}` in `{}`, which is {why}", node.label), "the list without it");
        }
    }
}

fn map(table: &Table<'_>) -> BTreeMap<String, String> {
    let entries = table.table("map").map(|map| map.entries()).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(field, _, node)| Some((field, fields::expression(&node, "email | lower")?)))
        .collect()
}

/// `{ store = "…", path = "/…/" }` or `{ store = "…", table = "…" }`.
fn set(node: &Node<'_>, sides: &Sides) -> Option<SetPlan> {
    let table = node.table()?;
    let store = table.need("store", "\"…\"").and_then(|node| node.reference("store", &sides.store_names));
    let plan = store.as_deref().and_then(|name| sides.stores.get(name));
    let name = match plan {
        Some(StorePlan::Http { .. }) => table.need("path", "\"/api/…/\"").and_then(|node| server_path(&node)),
        Some(StorePlan::LocalStorage(_)) => table.need("keys", "\"savedFilters\"").and_then(|node| node.filled()),
        Some(_) => table.need("table", "\"users\"").and_then(|node| sql_name(&node)),
        // The store is a problem of its own; without it nobody knows which of the two it would be.
        None => ["path", "table", "keys"].iter().find_map(|key| table.get(key)).and_then(|node| node.filled()),
    };
    if plan.is_none() {
        table.get("table");
        table.get("keys");
    }
    table.close();
    Some(SetPlan { store: store?, name: name? })
}

fn sql_name(node: &Node<'_>) -> Option<String> {
    node.parsed("a table's name", "letters, digits and `_`, not beginning with a digit", |text| {
        let good = !text.starts_with(|c: char| c.is_ascii_digit())
            && (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        good.then(|| text.to_owned())
    })
}

fn blob(node: &Node<'_>, sides: &Sides, record_key: Option<&str>) -> Option<BlobPlan> {
    let table = node.table()?;
    // The new side is listed for what earlier runs left there.
    let bucket = |key, listed| table.need(key, "\"…\"").and_then(|node| sides.bucket(&node, listed));
    let (from, to) = (bucket("from", false), bucket("to", true));
    let path = table.need("path", "\"file_path\"").and_then(|node| node.filled());
    let key = table.need("key", "\"users/{{ user_id }}/{{ id }}\"").and_then(|node| {
        let text = node.filled()?;
        if let Some(why) = template::template(&text) {
            let instead = "a minijinja template over the record's fields, as \"users/{{ user_id }}/{{ id }}\"";
            node.fault(format!("{}, which is no template: {why}", node.shown()), instead);
        }
        Some(text)
    });
    let field = |key| table.get(key).and_then(|node| node.filled());
    let (sha256, size, content_type) = (field("sha256"), field("size"), field("content_type"));
    // One that could not be read is already a problem.
    let write_back = table.get("write_back").and_then(|node| write_back::read(&node, record_key));
    table.close();
    Some(BlobPlan { from: from?, path: path?, to: to?, key: key?, sha256, size, content_type, write_back })
}
