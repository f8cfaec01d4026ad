//! The bytes of a plan that no record speaks of.

use super::{
    BucketEnd, DatasetPlan, FileSetPlan,
    check::{self, Placed},
    reader::Node,
    sides::Sides,
    table::Table,
};

/// All file sets in the order of the file; those with mistakes in them are missing.
pub(super) fn read(root: &Table<'_>, sides: &Sides, datasets: &[Placed<DatasetPlan>]) -> Vec<FileSetPlan> {
    let sets: Vec<_> = root.tables("files").iter().filter_map(|table| file_set(table, sides)).collect();
    let names = |set: &Placed<FileSetPlan>| (set.plan.name.clone(), set.span.clone());
    check::unique(root.cx, "file set", &sets.iter().map(names).collect::<Vec<_>>());
    for (index, Placed { plan, span }) in sets.iter().enumerate() {
        if datasets.iter().any(|dataset| dataset.plan.name == plan.name) {
            root.cx.fault(span, format!("the name `{}`, which a dataset has", plan.name), "a name of its own");
        }
        if plan.from.meets(&plan.to) {
            root.cx.fault(span, format!("`{}`, which moves to where it comes from", plan.name), "another `to`");
        }
        let same = sets[..index].iter().find(|other| other.plan.to == plan.to && other.plan.name != plan.name);
        if let Some(other) = same {
            let found = format!("`{}`, which moves to the same place as `{}`", plan.name, other.plan.name);
            root.cx.fault(span, found, "another `to` for one of them");
        }
    }
    sets.into_iter().map(|set| set.plan).collect()
}

impl BucketEnd {
    /// A key can begin as both say.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let within = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        self.bucket == other.bucket && within
    }
}

fn file_set(table: &Table<'_>, sides: &Sides) -> Option<Placed<FileSetPlan>> {
    let node = table.need("name", "\"media\"");
    let span = node.as_ref().map_or_else(|| table.span.clone(), |node| node.span.clone());
    let name = node.and_then(|node| node.name("_"));
    let from = table.need("from", "{ bucket = \"…\", prefix = \"uploads/\" }").and_then(|node| end(&node, sides));
    let to = table.need("to", "{ bucket = \"…\", prefix = \"media/\" }").and_then(|node| end(&node, sides));
    table.close();
    Some(Placed { plan: FileSetPlan { name: name?, from: from?, to: to? }, span })
}

/// `{ bucket = "…", prefix = "…" }`
fn end(node: &Node<'_>, sides: &Sides) -> Option<BucketEnd> {
    let table = node.table()?;
    // Both sides are listed: the one for what there is, the other for what earlier runs left there.
    let bucket = table.need("bucket", "\"…\"").and_then(|node| sides.bucket(&node, true));
    let prefix = table.get("prefix").map_or(Some(String::new()), |node| prefix(&node));
    table.close();
    Some(BucketEnd { bucket: bucket?, prefix: prefix? })
}

pub(super) fn prefix(node: &Node<'_>) -> Option<String> {
    let instead = "how keys begin, as \"uploads/\": not with a slash, and without empty parts, `.` and `..`";
    let text = node.text()?;
    // The last part may be the beginning of a name, or empty after a slash.
    let folders = text.rsplit_once('/').map(|(folders, _)| folders);
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if folders.is_some_and(|folders| folders.split('/').any(bad)) || text.contains('\0') {
        node.fault(format!("{}, which no key begins with", node.shown()), instead);
        return None;
    }
    Some(text)
}
