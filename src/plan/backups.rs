//! Where a plan keeps its backups: a folder, or a place in a bucket where nothing else moves.

use super::{BackupsPlan, BucketEnd, FileSetPlan, file_sets, reader::Node, sides::Sides};
use toml::de::DeValue;

/// `"…"`, or `{ bucket = "…", prefix = "…/" }`.
pub(super) fn read(node: &Node<'_>, sides: &Sides, file_sets: &[FileSetPlan]) -> Option<BackupsPlan> {
    if !matches!(node.value, DeValue::Table(_)) {
        return node.path().map(BackupsPlan::Folder);
    }
    let table = node.table()?;
    let bucket = table.need("bucket", "\"r2\"").and_then(|node| sides.bucket(&node, true));
    let prefix = table.need("prefix", "\"cutover-backups/\"").and_then(|node| {
        let prefix = file_sets::prefix(&node)?;
        if prefix.ends_with('/') {
            return Some(prefix);
        }
        node.fault(format!("{}, which is no folder", node.shown()), "a folder, as \"cutover-backups/\"");
        None
    });
    table.close();
    let place = BucketEnd { bucket: bucket?, prefix: prefix? };
    let met = file_sets.iter().find(|set| set.from.meets(&place) || set.to.meets(&place));
    if let Some(set) = met {
        node.fault(format!("a place where the files of `{}` are too", set.name), "a prefix of its own");
        return None;
    }
    Some(BackupsPlan::Bucket(place))
}
