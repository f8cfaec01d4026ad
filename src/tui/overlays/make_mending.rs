//! Makes the dialogs that change single records: what would be done is said before it is asked for. Pure.

use super::{
    dialog::{Choice, Dialog, Does},
    field::{Field, Need},
    make::{self, Make, TYPED, choice, dialog, steering, text},
};
use crate::{
    model::{ItemVerdict, LaneId, Mending, Take},
    tui::{model::Model, reader::LetterLine, say, theme::Role},
};

/// A choice that needs what the first field asks for.
fn typed(label: String, lane: &LaneId, what: Mending) -> Choice {
    Choice { needs: vec![0], ..plain(label, lane, what) }
}

fn plain(label: String, lane: &LaneId, what: Mending) -> Choice {
    steering(label, Make::Mend(lane.clone(), what))
}

/// Move dead letters again: the selected one, or all.
pub(crate) fn retry(model: &Model, lane: &LaneId, letter: &LetterLine) -> Dialog {
    let failed = model.view.lanes.iter().find(|known| &known.lane == lane).map_or(0, |known| known.tally.failed);
    let mut made = dialog(model, "Move dead letters again?");
    made.text = vec![
        text(Role::Text, format!("{}: {}", letter.key, letter.reason)),
        text(Role::Text, "Each is read from the source anew, mapped, written and read back."),
        text(Role::Faint, "What has not been mended on either side stays a dead letter, with its reason."),
        text(Role::Text, ""),
    ];
    made.choices = vec![
        choice("leave them", Does::Nothing),
        plain("move this one again".into(), lane, Mending::Retry { keys: vec![letter.key.clone()] }),
        plain(format!("move all {} of {lane} again", say::full(failed)), lane, Mending::Retry { keys: Vec::new() }),
    ];
    made
}

/// Decide about records that stood in the target before the run: the selected one, or all that wait.
pub(crate) fn decide(model: &Model, lane: &LaneId, letter: &LetterLine) -> Dialog {
    let mut made = dialog(model, "WHOSE RECORD STANDS?");
    made.danger = true;
    made.text = vec![
        text(Role::Text, format!("{}: {}", letter.key, letter.reason)),
        text(Role::Text, "Take the legacy one: the new side's is overwritten; a rollback brings it back."),
        text(Role::Text, "Keep the new one: it stays as it is, and is neither moved nor missed."),
        text(Role::Wait, "For all that wait, type the lane's name (Tab)."),
        text(Role::Text, ""),
    ];
    let one = |take| Mending::Decide { keys: vec![letter.key.clone()], take };
    let all = |take| Mending::Decide { keys: Vec::new(), take };
    made.fields = vec![Field::new("Lane, for all:", Need::Exactly(lane.to_string()))];
    made.focus = 1;
    made.choices = vec![
        choice("leave it undecided", Does::Nothing),
        plain("this one: take the legacy record".into(), lane, one(Take::Source)),
        plain("this one: keep the new record".into(), lane, one(Take::Target)),
        typed("all that wait: take the legacy records".into(), lane, all(Take::Source)),
        typed("all that wait: keep the new records".into(), lane, all(Take::Target)),
    ];
    made
}

/// Make records the same on both sides: the selected one, or all of its class, of which there are so many.
pub(crate) fn repair(model: &Model, lane: &LaneId, key: &str, class: ItemVerdict, count: u64) -> Dialog {
    let word = class.word();
    let (title, would, risk) = match class {
        ItemVerdict::OnlyInSource => {
            ("Write what is missing?", "written to the new side, as the legacy side has it", None)
        }
        ItemVerdict::OnlyInTarget => (
            "DELETE WHAT IS EXTRA?",
            "deleted on the new side if the run wrote it; any other row is left alone",
            Some("DELETE"),
        ),
        _ => ("OVERWRITE WHAT DIFFERS?", "overwritten on the new side, as the legacy side has it", Some("OVERWRITE")),
    };
    let mut made = dialog(model, title);
    made.text = vec![
        text(Role::Text, format!("This one, {key} ({word}): would be {would}.")),
        text(Role::Text, format!("All {} {word} of {lane}: the same would be done to each.", say::full(count))),
        text(Role::Faint, "Each is read from both sides anew first, and read back afterwards. A rollback undoes it."),
        text(Role::Text, ""),
    ];
    let one = Mending::Repair { verdict: class, keys: vec![key.to_owned()] };
    let all = Mending::Repair { verdict: class, keys: Vec::new() };
    let labels = ("repair this one".to_owned(), format!("repair all {} {word}", say::full(count)));
    made.choices = vec![choice("leave it", Does::Nothing)];
    if let Some(word) = risk {
        made.danger = true;
        made.hint = TYPED;
        made.fields = vec![Field::new("Type the word:", Need::Exactly(word.into()))];
        made.text.push(text(Role::Wait, format!("Type {word}, Tab, choose, Enter.")));
        made.choices.extend([typed(labels.0, lane, one), typed(labels.1, lane, all)]);
    } else {
        made.choices.extend([plain(labels.0, lane, one), plain(labels.1, lane, all)]);
    }
    made
}

/// Compare both sides now.
pub(crate) fn compare(model: &Model, lane: &LaneId) -> Dialog {
    let known = model.view.lanes.iter().find(|known| &known.lane == lane);
    let records = known.and_then(|known| known.total).map_or_else(|| "all".into(), say::full);
    let mut made = dialog(model, "Compare both sides?");
    made.text = vec![
        text(Role::Text, format!("Reads {records} records of {lane} on both sides; writes to neither.")),
        text(Role::Text, "Every difference is kept. One that was interrupted goes on where it was."),
        text(Role::Wait, "The run waits until it has ended; an emergency stop ends it at once."),
        text(Role::Text, ""),
    ];
    made.choices = vec![choice("leave it", Does::Nothing), plain("compare".into(), lane, Mending::Compare)];
    made
}

/// Leave a record out.
pub(crate) fn leave_out(model: &Model, lane: &LaneId, letter: &LetterLine) -> Dialog {
    Dialog { title: "LEAVE THIS RECORD OUT?".into(), ..make::exclude(model, lane, &letter.key, &letter.reason) }
}
