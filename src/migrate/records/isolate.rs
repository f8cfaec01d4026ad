//! Writes to a side so that one poison row does not hold back the others. Must never enter: the ledger.

use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        lane::{Lane, Side},
        meter::Part,
    },
    model::Record,
    ports::WriteOutcome,
};

/// Writes records to a side. A batch that is refused as a whole is halved until the record that cannot be taken stands
/// alone, so that one poison row does not hold back the others.
///
/// # Errors
/// Anything but `Refused`; `Garbage` if the answer does not name every record.
pub(crate) async fn write_isolating(lane: &Lane<'_>, side: &Side, records: &[Record]) -> Result<Vec<WriteOutcome>> {
    let mut outcomes = vec![WriteOutcome::Created; records.len()];
    let mut ranges = Vec::new();
    ranges.push(0..records.len());
    let doing = format!("write {} to {}", side.set.name, side.name);
    while let Some(range) = ranges.pop() {
        if range.is_empty() {
            continue;
        }
        match lane.once(&doing, side.store.write(&side.set, &records[range.clone()])).await {
            Ok(list) if list.len() == range.len() => {
                lane.meter.did(Part::Written, range.len() as u64);
                for (place, outcome) in range.zip(list) {
                    outcomes[place] = outcome;
                }
            }
            Ok(list) => {
                let detail = format!("{} records sent, {} answered", range.len(), list.len());
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
            }
            Err(fault) if fault.kind == FaultKind::Refused && range.len() > 1 => {
                let middle = usize::midpoint(range.start, range.end);
                ranges.extend([middle..range.end, range.start..middle]);
            }
            Err(fault) if fault.kind == FaultKind::Refused => {
                outcomes[range.start] = WriteOutcome::Rejected(fault.chain());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(outcomes)
}
