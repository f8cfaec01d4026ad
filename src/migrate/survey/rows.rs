//! Some of a dataset's records as they are and as they would be, side by side, and what is wrong with the sample.

use crate::{
    migrate::{Mapping, compare::Kinds},
    model::{Record, text::clean},
    plan::DatasetPlan,
};
use serde::{Deserialize, Serialize};

/// Records shown.
const SHOWN: usize = 3;
/// Characters of a value that are shown, and of a reason.
const LONG: usize = 300;

/// A record on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSurvey {
    /// Its key.
    pub key: String,
    /// As the legacy side has it.
    pub source: serde_json::Value,
    /// As the new side would have it; `None` if it would not be moved.
    pub target: Option<serde_json::Value>,
    /// Why not; or which fields are found only once the other dataset has moved.
    pub note: String,
}

/// What is wrong with a sample.
pub(super) struct Wrong {
    /// How many of its records could not be moved.
    pub(super) failed: u64,
    /// In a sentence.
    pub(super) why: String,
}

/// The first records, those that would not be moved before the others; and what is wrong with the sample.
pub(super) fn look(
    dataset: &DatasetPlan,
    mapping: &Mapping,
    kinds: &Kinds,
    records: &[Record],
) -> (Vec<RowSurvey>, Option<Wrong>) {
    let found = mapping.unfound(records);
    let later: Vec<String> = dataset.fields.lookup.keys().map(|field| format!("`{}`", clean(field, 60))).collect();
    let later = if later.is_empty() { String::new() } else { format!("{} still to be looked up", later.join(", ")) };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let (mut failed, mut first) = (0_u64, None);
    for record in records {
        let mapped = mapping.forward(record, &found).map_err(|fault| fault.detail);
        let mapped = mapped.and_then(|mapped| mapped.map(|mapped| kinds.take(mapped)).transpose());
        let key = mapping.key(record).map_or_else(|| "(no key)".to_owned(), |key| clean(&key.0, LONG));
        let (target, note) = match mapped {
            Ok(Some(mapped)) => (Some(short(&mapped)), later.clone()),
            Ok(None) => (None, "the filter leaves it out".to_owned()),
            Err(why) => {
                failed += 1;
                let why = clean(&why, LONG);
                first.get_or_insert_with(|| format!("{key}: {why}"));
                (None, why)
            }
        };
        let failing = target.is_none();
        let rows = if failing { &mut bad } else { &mut good };
        if rows.len() < SHOWN {
            rows.push(RowSurvey { key, source: short(record), target, note });
        }
    }
    let all = records.len();
    let wrong = first.map(|first| {
        let why = format!("{failed} of {all} records looked at cannot be moved, first {first}");
        Wrong { failed, why }
    });
    bad.extend(good);
    bad.truncate(2 * SHOWN);
    (bad, wrong)
}

/// A record as JSON, its texts safe to show and not too long.
fn short(record: &Record) -> serde_json::Value {
    let fields = record.0.iter().map(|(field, value)| {
        let json = match value.to_json() {
            serde_json::Value::String(text) => clean(&text, LONG).into(),
            nested @ (serde_json::Value::Array(_) | serde_json::Value::Object(_))
                if nested.to_string().len() > LONG =>
            {
                clean(&nested.to_string(), LONG).into()
            }
            other => other,
        };
        (field.clone(), json)
    });
    fields.collect::<serde_json::Map<_, _>>().into()
}
