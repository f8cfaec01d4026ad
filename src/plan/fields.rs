//! What becomes of a dataset's fields besides `map` and `drop`, and which of its records move: `rename`, `constant`,
//! `lookup`, `type`, `filter`; and what its fields have to do with other records: `references`, `unique`. Every field of the new side is made once.

use super::{FieldsPlan, LookupPlan, reader::Node, table::Table, template};
use crate::model::{Kind, text::clean};
use std::collections::BTreeMap;

/// What the rest of the dataset says.
pub(super) struct Place<'p> {
    /// The dataset's name.
    pub(super) name: Option<&'p str>,
    /// The names of all datasets.
    pub(super) names: &'p [String],
    /// The datasets that move before it.
    pub(super) needs: &'p [String],
    /// The field that identifies a record.
    pub(super) key: Option<&'p str>,
    /// Computed fields.
    pub(super) map: &'p BTreeMap<String, String>,
    /// Fields left out.
    pub(super) drop: &'p [String],
}

impl Place<'_> {
    fn is_dropped(&self, field: &str) -> bool {
        self.drop.iter().any(|dropped| dropped == field)
    }
}

/// Which fields of the new side are made, and how.
type Made<'p> = BTreeMap<String, &'p str>;

/// What a dataset says of its fields.
pub(super) fn read(table: &Table<'_>, place: &Place<'_>) -> FieldsPlan {
    let mut made: Made<'_> = place.map.keys().map(|field| (field.clone(), "computed in `map`")).collect();
    let constant = constants(table, place, &mut made);
    let lookup = lookups(table, place, &mut made);
    let rename = renames(table, place, &mut made);
    let kinds = kinds(table, place, &made);
    let filter = table.get("filter").and_then(|node| expression(&node, "is_active and email"));
    let references = references(table, place, &lookup);
    let unique = unique(table, place);
    FieldsPlan { rename, constant, lookup, kinds, filter, references, unique }
}

/// Why this field of `back` cannot be carried back, if it cannot.
pub(super) fn no_way_back(fields: &FieldsPlan, field: &str) -> Option<String> {
    let name = |field: &str| clean(field, 60);
    if fields.constant.contains_key(field) {
        return Some("a constant, which the legacy side never had".into());
    }
    if let Some(lookup) = fields.lookup.get(field) {
        return Some(format!("looked up in `{}`, which the legacy side never had", name(&lookup.dataset)));
    }
    let renamed = fields.rename.get(field).filter(|_| !fields.rename.values().any(|to| to == field));
    renamed.map(|to| format!("`{}` on the new side", name(to)))
}

/// An expression over the legacy record's fields.
pub(super) fn expression(node: &Node<'_>, example: &str) -> Option<String> {
    let text = node.filled()?;
    if let Some(why) = template::expression(&text) {
        node.fault(
            format!("{}, which is no expression: {why}", node.shown()),
            format!("a minijinja expression over the record's fields, as \"{example}\""),
        );
    }
    Some(text)
}

/// Notes that this field of the new side is made like this, or that it is made already.
fn make<'m>(node: &Node<'_>, place: &Place<'_>, made: &mut Made<'m>, field: &str, how: &'m str) {
    let shown = clean(field, 60);
    if Some(field) == place.key {
        node.fault(format!("`{shown}`, the key, {how}"), "the key as it is: both sides must know a record by it");
    } else if let Some(earlier) = made.get(field) {
        node.fault(format!("`{shown}`, which is {earlier}, {how} too"), "one of the two");
    }
    made.insert(field.to_owned(), how);
}

fn constants(table: &Table<'_>, place: &Place<'_>, made: &mut Made<'_>) -> BTreeMap<String, serde_json::Value> {
    let entries = table.table("constant").map(|map| map.entries()).unwrap_or_default();
    let read = |(field, _, node): (String, _, Node<'_>)| {
        make(&node, place, made, &field, "a constant");
        Some((field, node.json(&|_, _| ())?))
    };
    entries.into_iter().filter_map(read).collect()
}

fn lookups(table: &Table<'_>, place: &Place<'_>, made: &mut Made<'_>) -> BTreeMap<String, LookupPlan> {
    let entries = table.table("lookup").map(|map| map.entries()).unwrap_or_default();
    let read = |(field, _, node): (String, _, Node<'_>)| {
        make(&node, place, made, &field, "looked up");
        let inner = node.table()?;
        let dataset = inner.need("dataset", "\"users\"").and_then(|node| {
            let dataset = node.reference("dataset", place.names)?;
            if Some(dataset.as_str()) == place.name {
                node.fault("the dataset itself", "another dataset, one that moves before it");
            } else if !place.needs.contains(&dataset) {
                node.fault(
                    format!("`{dataset}`, which need not have moved by then"),
                    format!("`needs = [\"{dataset}\"]` in the dataset as well"),
                );
            }
            Some(dataset)
        });
        let wanted = inner.need("field", "\"uuid\"").and_then(|node| node.filled());
        // Without it the legacy field has the name of the new one.
        let by = inner.get("by").map_or_else(|| Some(field.clone()), |node| node.filled());
        inner.close();
        Some((field, LookupPlan { dataset: dataset?, field: wanted?, by: by? }))
    };
    entries.into_iter().filter_map(read).collect()
}

fn references(table: &Table<'_>, place: &Place<'_>, lookup: &BTreeMap<String, LookupPlan>) -> BTreeMap<String, String> {
    let entries = table.table("references").map(|map| map.entries()).unwrap_or_default();
    let read = |(field, _, node): (String, _, Node<'_>)| {
        let dataset = node.reference("dataset", place.names)?;
        if lookup.contains_key(&field) {
            let what = format!("`{}`, which is looked up, and refers to what it was found in", clean(&field, 60));
            node.fault(what, "one of the two");
        } else if Some(dataset.as_str()) != place.name && !place.needs.contains(&dataset) {
            node.fault(
                format!("`{dataset}`, which need not have moved by then"),
                format!("`needs = [\"{dataset}\"]` in the dataset as well"),
            );
        }
        Some((field, dataset))
    };
    entries.into_iter().filter_map(read).collect()
}

fn unique(table: &Table<'_>, place: &Place<'_>) -> Vec<String> {
    let Some(node) = table.get("unique") else { return Vec::new() };
    let fields = node.list(Node::filled).unwrap_or_default();
    if fields.iter().any(|field| Some(field.as_str()) == place.key) {
        node.fault("the key, which comes once anyway".to_owned(), "the list without it");
    }
    fields
}

fn renames(table: &Table<'_>, place: &Place<'_>, made: &mut Made<'_>) -> BTreeMap<String, String> {
    let entries = table.table("rename").map(|map| map.entries()).unwrap_or_default();
    let read = |(field, _, node): (String, _, Node<'_>)| {
        let name = node.filled()?;
        let shown = clean(&field, 60);
        if Some(field.as_str()) == place.key {
            node.fault(
                format!("`{shown}`, the key, renamed"),
                "the key under its name: both sides must know a record by it",
            );
        } else if place.is_dropped(&field) {
            node.fault(format!("`{shown}`, which is dropped, renamed"), "one of the two");
        }
        make(&node, place, made, &name, "the new name of a field");
        Some((field, name))
    };
    entries.into_iter().filter_map(read).collect()
}

fn kinds(table: &Table<'_>, place: &Place<'_>, made: &Made<'_>) -> BTreeMap<String, Kind> {
    let entries = table.table("type").map(|map| map.entries()).unwrap_or_default();
    let read = |(field, _, node): (String, _, Node<'_>)| {
        if place.is_dropped(&field) && !made.contains_key(&field) {
            node.fault(format!("a type for `{}`, which is dropped", clean(&field, 60)), "one of the two");
        }
        Some((field, node.parsed("a type", Kind::WORDS, Kind::parse)?))
    };
    entries.into_iter().filter_map(read).collect()
}
