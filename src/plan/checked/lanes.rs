//! What moves: datasets, the files behind their records, and files that no record speaks of. Read by `datasets` and `file_sets`.
//! Must never enter: how it is read from a file.

use crate::model::{Kind, LaneId};
use crate::plan::{BucketEnd, WriteBackPlan};
use std::{collections::BTreeMap, time::Duration};

/// Where a dataset's records stand.
#[derive(Debug, Clone)]
pub struct SetPlan {
    /// Name of the store.
    pub store: String,
    /// Table, or path.
    pub name: String,
}

/// A dataset.
#[derive(Debug, Clone)]
pub struct DatasetPlan {
    /// Its name (`[a-z0-9_]+`).
    pub name: String,
    /// Datasets whose records this one refers to; they move first.
    pub needs: Vec<String>,
    /// The legacy side.
    pub from: SetPlan,
    /// The new side.
    pub to: SetPlan,
    /// The field that identifies a record on both sides.
    pub key: String,
    /// The field that says when a record changed last; needed for carrying changes back.
    pub updated: Option<String>,
    /// How long before a time that the store has told a change may still become visible: a transaction writes its
    /// timestamp when it begins, and is seen when it commits.
    pub overlap: Duration,
    /// Fields computed on the way to the new side: field → minijinja expression over the record's fields. A field not
    /// named here is carried as it is.
    pub map: BTreeMap<String, String>,
    /// Fields left out on the way to the new side.
    pub drop: Vec<String>,
    /// What becomes of records whose key stands on the new side before the run.
    pub on_conflict: OnConflict,
    /// Fields that are carried back to the legacy side; `None`: all fields that are neither computed nor dropped.
    pub back: Option<Vec<String>>,
    /// Whether the lane goes on where a record or file cannot be moved; `None`: as `[migration]` says.
    pub continue_on_error: Option<bool>,
    /// What else becomes of the fields, and which records move at all.
    pub fields: FieldsPlan,
    /// The bytes behind each record.
    pub blob: Option<BlobPlan>,
}

/// What becomes of a dataset's fields besides `map` and `drop`, and which records move at all. No field is made twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldsPlan {
    /// Legacy field → its name on the new side.
    pub rename: BTreeMap<String, String>,
    /// Field of the new side → what it is in every record.
    pub constant: BTreeMap<String, serde_json::Value>,
    /// Field of the new side → where its value is found.
    pub lookup: BTreeMap<String, LookupPlan>,
    /// Field of the new side → what it holds, where the store does not say.
    pub kinds: BTreeMap<String, Kind>,
    /// A minijinja expression over the legacy record's fields: the records for which it is not true stay behind.
    pub filter: Option<String>,
    /// Field of the new side → the dataset to whose key it refers.
    pub references: BTreeMap<String, String>,
    /// Fields of the new side of which no two records may have the same value.
    pub unique: Vec<String>,
}

/// A value that another dataset's record has on the new side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupPlan {
    /// That dataset; one that moves first.
    pub dataset: String,
    /// The field of its records there.
    pub field: String,
    /// The legacy field that holds the key of that record.
    pub by: String,
}

impl DatasetPlan {
    /// The fields of the new side that refer to records of a dataset, and which: those that the plan names, those that are
    /// looked up, and for each other dataset in `needs` the field that is called after it (`user_id` for `users`).
    #[must_use]
    pub fn references(&self) -> BTreeMap<String, String> {
        let mut all = self.fields.references.clone();
        all.extend(self.fields.lookup.iter().map(|(field, lookup)| (field.clone(), lookup.dataset.clone())));
        for needed in &self.needs {
            if !all.values().any(|dataset| dataset == needed) {
                all.entry(called_after(needed)).or_insert_with(|| needed.clone());
            }
        }
        all
    }
    /// The lane of its records.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        LaneId::new(self.name.clone())
    }
    /// The lane of its bytes.
    #[must_use]
    pub fn blob_lane(&self) -> LaneId {
        LaneId::new(format!("{}-content", self.name))
    }
}

/// What becomes of a record whose key stands on the new side before the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is overwritten; a rollback restores it.
    #[default]
    Overwrite,
    /// It is kept as it is on the new side.
    Skip,
    /// It is overwritten but for these fields.
    Merge {
        /// The fields that are kept as they are on the new side.
        keep: Vec<String>,
    },
    /// Where it differs a person decides; until then the record counts as failed.
    Ask,
}

/// The bytes behind a dataset's records.
#[derive(Debug, Clone)]
pub struct BlobPlan {
    /// Bucket on the legacy side.
    pub from: String,
    /// The record's field that holds the key in it.
    pub path: String,
    /// Bucket on the new side.
    pub to: String,
    /// The key in it: a minijinja template over the record's fields.
    pub key: String,
    /// The record's field with the expected SHA-256, if it has one.
    pub sha256: Option<String>,
    /// The record's field with the expected length, if it has one.
    pub size: Option<String>,
    /// The record's field with the MIME type, if it has one.
    pub content_type: Option<String>,
    /// The legacy table that is told what has moved.
    pub write_back: Option<WriteBackPlan>,
}

/// Bytes that no record speaks of: everything under a prefix moves under another one, the rest of its key unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSetPlan {
    /// Its name (`[a-z0-9_]+`), also of its lane; no dataset has it.
    pub name: String,
    /// The legacy side; its bucket can be listed.
    pub from: BucketEnd,
    /// The new side.
    pub to: BucketEnd,
}

impl FileSetPlan {
    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        LaneId::new(self.name.clone())
    }
}

/// The field that is called after a dataset: `users` → `user_id`.
fn called_after(dataset: &str) -> String {
    let singular = match (dataset.strip_suffix("ies"), dataset.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => dataset.to_owned(),
    };
    format!("{singular}_id")
}

#[cfg(test)]
mod tests {
    use super::called_after;

    #[test]
    fn a_reference_is_called_after_one_of_many() {
        for (dataset, field) in [("users", "user_id"), ("companies", "company_id"), ("staff", "staff_id")] {
            assert_eq!(called_after(dataset), field);
        }
    }
}
